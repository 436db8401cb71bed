"""The Transformer's key/value cache: where new tokens go, and what they see.

A token's slot is its position in its segment. So a reset row simply starts again at slot 0, ragged rows share one
tensor, and what lies beyond a row's length is never looked at.

Shape suffixes: B batch rows, T time steps, L layers, H heads, K head size, S cache slots, R recent inputs, D width.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from understudy.errors import TooLongError
from understudy.models.convolution import ConvState
from understudy.models.core import positions, segment_mask


@dataclass
class Cache:
    """Keys and values of every row's current segment, and how many tokens of each are held."""

    keys_LBHSK: Tensor
    values_LBHSK: Tensor
    length_B: Tensor
    recent: tuple[Tensor, ...] = ()
    """recent_BRD of each short convolution: the last inputs of each row's segment, zeros before its start."""
    type_B: Tensor | None = None
    """The type of each row's last token, kept here for a model of tokens that have types (see `LanguageModel`)."""
    longest: int = 0
    """At least length_B.max(), known without asking the device."""
    ragged: bool = False
    """False only where every row holds exactly `longest` tokens, which needs no mask."""

    @property
    def max_len(self) -> int:
        """Tokens that each row has room for."""
        return self.keys_LBHSK.shape[3]

    def empty_rows(self, rows_B: Tensor) -> "Cache":
        """Return the cache with these rows at a fresh start. Its tensors are changed in place."""
        self.length_B[rows_B] = 0
        for recent_BRD in self.recent:
            recent_BRD[rows_B] = 0
        if self.type_B is not None:
            self.type_B[rows_B] = -1
        return replace(self, longest=int(self.length_B.max()), ragged=True)

    def rows(self, rows_B: Tensor) -> "Cache":
        """Return a copy of these rows."""
        length_B = self.length_B[rows_B]
        return replace(
            self,
            keys_LBHSK=self.keys_LBHSK[:, rows_B],
            values_LBHSK=self.values_LBHSK[:, rows_B],
            length_B=length_B,
            recent=tuple(recent_BRD[rows_B] for recent_BRD in self.recent),
            type_B=None if self.type_B is None else self.type_B[rows_B],
            longest=int(length_B.max()),
            ragged=True,
        )

    def with_rows(self, rows_B: Tensor, part: "Cache") -> "Cache":
        """Return the cache with these rows replaced by those of `part`. Its tensors are changed in place."""
        self.keys_LBHSK[:, rows_B], self.values_LBHSK[:, rows_B] = part.keys_LBHSK, part.values_LBHSK
        self.length_B[rows_B] = part.length_B
        for mine, theirs in zip(self.recent, part.recent, strict=True):
            mine[rows_B] = theirs
        if self.type_B is not None and part.type_B is not None:
            self.type_B[rows_B] = part.type_B
        return replace(self, longest=int(self.length_B.max()), ragged=True)

    def load_row(self, row: int, one: "Cache") -> "Cache":
        """Return the cache with a row replaced by the only one of `one`. Its tensors are changed in place.

        Raises TooLongError where that row does not fit.
        """
        check_room(self, one.longest)
        for mine, theirs in ((self.keys_LBHSK, one.keys_LBHSK), (self.values_LBHSK, one.values_LBHSK)):
            mine[:, row, :, : one.longest] = theirs[:, 0, :, : one.longest]
        self.length_B[row] = one.length_B[0]
        for mine, theirs in zip(self.recent, one.recent, strict=True):
            mine[row] = theirs[0]
        type_B = self.type_B
        if one.type_B is not None:
            type_B = torch.full_like(self.length_B, -1) if type_B is None else type_B
            type_B[row] = one.type_B[0]
        return replace(self, type_B=type_B, longest=int(self.length_B.max()), ragged=True)

    def repeated(self, times: int) -> "Cache":
        """Return a cache with each row repeated `times` times."""
        return replace(
            self,
            keys_LBHSK=self.keys_LBHSK.repeat_interleave(times, dim=1),
            values_LBHSK=self.values_LBHSK.repeat_interleave(times, dim=1),
            length_B=self.length_B.repeat_interleave(times),
            recent=tuple(recent_BRD.repeat_interleave(times, dim=0) for recent_BRD in self.recent),
            type_B=None if self.type_B is None else self.type_B.repeat_interleave(times),
        )


@dataclass
class CacheUpdate:
    """Where new keys and values go in the cache, and which ones the queries read afterwards."""

    start: int
    """Slots in use before, by the row that uses most."""
    scatter: tuple[Tensor, Tensor, Tensor] | None = None
    """(rows, slots, times) of the tokens to keep; None where every row appends all of them at `start`."""
    beside: bool = False
    """True: queries read the old slots and the new keys beside them; false: the cache after the write."""

    def __call__(self, cache_BHSK: Tensor, new_BHTK: Tensor) -> Tensor:
        """Store a layer's new keys, or values; return those that its queries read."""
        end = self.start + new_BHTK.shape[2]
        new_BHTK = new_BHTK.to(cache_BHSK.dtype)
        seen = torch.cat([cache_BHSK[:, :, : self.start], new_BHTK], dim=2) if self.beside else cache_BHSK[:, :, :end]
        if self.scatter is None:
            cache_BHSK[:, :, self.start : end] = new_BHTK
        else:
            rows, slots, times = self.scatter
            cache_BHSK[rows, :, slots] = new_BHTK[rows, :, times]
        return seen


@dataclass
class AttentionInputs:
    """Where each new token stands and what it may attend to; the same for all layers."""

    position_BT: Tensor | None = None
    """Position in the segment; None for 0..T-1 in every row."""
    mask_B1TS: Tensor | None = None
    """True where a query may look; None for causal (new tokens alone) or everything (one token on its cache)."""
    causal: bool = False
    write: CacheUpdate | None = None
    """What becomes of new keys and values where there is a cache."""
    segments: list[tuple[int, int, int]] | None = None
    """(row, first step, end) of each segment, in order, where each attends within itself alone."""
    rotation: tuple[Tensor, Tensor] | None = None
    """Cosines and sines of rotary positions, as `rotate` takes them."""
    conv: ConvState = field(default_factory=ConvState)


def layout_cached(cache: Cache, time: int, reset_BT: Tensor | None) -> tuple[Cache, AttentionInputs]:
    """Place `time` new tokens after the cached ones. Returns the grown cache and the attention inputs."""
    # Rows that reset before the first token simply start again at slot 0.
    if reset_BT is not None:
        if bool(reset_BT[:, 0].any()):
            length_B = cache.length_B.masked_fill(reset_BT[:, 0], 0)
            longest, shortest = int(length_B.max()), int(length_B.min())
            cache = replace(cache, length_B=length_B, longest=longest, ragged=shortest < longest)
        if time > 1 and bool(reset_BT[:, 1:].any()):
            return _layout_with_resets(cache, reset_BT)

    # The usual case: every row grows by the new tokens.
    check_room(cache, cache.longest + time)
    step_T = torch.arange(time, device=cache.length_B.device)
    grown = replace(cache, length_B=cache.length_B + time, longest=cache.longest + time)
    if cache.ragged:
        position_BT = cache.length_B[:, None] + step_T
        row_B1 = torch.arange(len(position_BT), device=step_T.device)[:, None]
        write = CacheUpdate(cache.longest, scatter=(row_B1, position_BT, step_T[None]))
    else:
        position_BT = cache.longest + step_T[None]
        write = CacheUpdate(cache.longest)

    # A query sees its row up to itself. That is everything for one token of an even batch, and causal without a past.
    mask_B1TS = None
    if cache.ragged or (time > 1 and cache.longest > 0):
        mask_B1TS = (torch.arange(grown.longest, device=step_T.device) <= position_BT[:, :, None])[:, None]
    return grown, AttentionInputs(position_BT, mask_B1TS, mask_B1TS is None and time > 1, write)


def _layout_with_resets(cache: Cache, reset_BT: Tensor) -> tuple[Cache, AttentionInputs]:
    """Lay out the general case: a row resets within the piece, and only its last segment is kept."""
    since_reset_BT, last_reset_BT = positions(reset_BT)
    continues_BT = last_reset_BT < 0
    position_BT = since_reset_BT + torch.where(continues_BT, cache.length_B[:, None], 0)
    check_room(cache, int(position_BT.max()) + 1)

    # What is seen: the cached tokens where no reset lies between, and the new ones of the same segment.
    slot_S = torch.arange(cache.longest, device=reset_BT.device)
    old_BTS = continues_BT[:, :, None] & (slot_S < cache.length_B[:, None])[:, None, :]
    mask_B1TS = torch.cat([old_BTS, segment_mask(reset_BT)], dim=2)[:, None]

    # What is kept: each row's last segment.
    rows, times = (last_reset_BT == last_reset_BT[:, -1:]).nonzero(as_tuple=True)
    write = CacheUpdate(cache.longest, scatter=(rows, position_BT[rows, times], times), beside=True)
    length_B = position_BT[:, -1] + 1
    grown = replace(cache, length_B=length_B, longest=int(length_B.max()), ragged=True)
    return grown, AttentionInputs(position_BT, mask_B1TS, write=write)


def check_room(cache: Cache, needed: int) -> None:
    """Raise TooLongError where a row of `needed` tokens does not fit the cache."""
    if needed > cache.max_len:
        raise TooLongError(f"a segment of {needed} tokens does not fit the cache of {cache.max_len}")
