"""A batch of rows that decode step after step: their buffers, and their state as the plain path has it.

Shape suffixes: B batch rows, V vocabulary, L layers, D width, R recent inputs, H heads, S cache slots, K head size.
"""

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from understudy.models.cache import Cache, check_room
from understudy.models.huge_pages import HugePages
from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTMState
from understudy.native.layout import BLOCK, FORMATS, ROWS
from understudy.native.vectors import LANES
from understudy.native.weights import Weights, by_fours, fill, pair_halves, to_int8
from understudy.native.workers import Job, Team

_numbers = count(1)
NEAR_TIE = 0.05
"""Logits of int8 weights are off by a hundredth or two (docs/journal.md)."""


class Session:
    """Steps for the rows of one state.

    The state given stays good as it was. The states returned are overwritten by the next step: the cache's keys and
    values are the given one's own, the rest lies in buffers of the session.

    With `exact` weights beside rounded ones, a step is taken again with those when some row's two likeliest tokens are
    nearly tied, since rounding then decides which of them leads.
    """

    def __init__(
        self,
        model: LanguageModel,
        weights: Weights,
        state: Cache | LSTMState,
        team: Team,
        exact: Weights | None = None,
        most: int = 0,
    ):
        """Make the session. `most` is the most tokens in one step, where that may be more than one per row."""
        self._team, self._weights, self._vocabulary = team, weights, model.vocab_size
        self._plan, self._layers = weights.plan.copy(), weights.layers.copy()
        self._ids_at, self._logits_at = self._plan["ids"], self._plan["logits"]["address"]
        # Also held by a thread that is late
        self._held: list[Any] = [weights, exact, state]
        self._job = Job(next(_numbers), self._held, self._plan, self._layers, weights.matrices)
        self._speakers = frozenset(model.speakers)
        self._types: Tensor | None = None
        self._state: Cache | LSTMState
        if isinstance(state, Cache):
            batch = len(state.length_B)
            self._take_cache(state)
        else:
            batch = state.h_LBD.shape[1]
            self._state = LSTMState(*(self._hold(part.float().clone().contiguous()) for part in state))
            for row, h_BD, c_BD in zip(self._layers, *self._state, strict=True):
                row["hidden"], row["cell"] = h_BD.data_ptr(), c_BD.data_ptr()
        # Each row is a group of one token, the next of its sequence.
        order = self._hold(torch.arange(batch + 1)).data_ptr()
        fill(self._plan, threads=team.threads, batch=batch, asked=batch, groups=batch, sequences=order, firsts=order)
        self._make_buffers(batch, max(batch, most), model.spec.width, model.spec.heads)
        self._margins: np.ndarray | None = None
        if exact:
            margins_B = self._hold(torch.zeros(batch))
            self._margins = margins_B.numpy()
            fill(self._plan, margins=margins_B.data_ptr())
            self._exact_plan, self._exact = self._plan.copy(), exact
            fill(self._exact_plan, format=int(exact.plan["format"][0]), margins=0)
            self._exact_job = Job(next(_numbers), self._held, self._exact_plan, self._layers, exact.matrices)
            # A step changes these in place. Keys and values are only written a second time.
            self._before = [part.clone() for part in self._changing()]

    def step(self, ids_B: Tensor, state: Any, emptied_B1: Tensor | None = None) -> tuple[Tensor, Any]:
        """Feed one token per row, to `emptied` rows as their first; return logits_BV and the state after it.

        Raises TooLongError where the cache is full.
        """
        ids_B, logits_BV = ids_B.contiguous(), torch.empty(len(ids_B), self._vocabulary)
        if emptied_B1 is not None:
            self._state = self._state.empty_rows(emptied_B1[:, 0])
        if isinstance(self._state, Cache):
            check_room(self._state, self._state.longest + 1)
        # A token that says who speaks sets its row's type.
        if self._types is not None:
            for row, token in enumerate(ids_B.tolist()):
                if token in self._speakers:
                    self._types[row] = token

        self._ids_at[0], self._logits_at[0] = ids_B.data_ptr(), logits_BV.data_ptr()
        if self._margins is None:
            self._team.step(self._job)
        else:
            for copied, part in zip(self._before, self._changing(), strict=True):
                copied.copy_(part)
            self._team.step(self._job)
            if min(self._margins.tolist()) < NEAR_TIE:
                for copied, part in zip(self._before, self._changing(), strict=True):
                    part.copy_(copied)
                fill(self._exact_plan, ids=self._ids_at[0])
                fill(self._exact_plan["logits"], address=self._logits_at[0])
                self._team.step(self._exact_job)

        if isinstance(self._state, Cache):
            self._lengths += 1
            self._state.longest += 1
        return logits_BV, self._state

    def _changing(self) -> list[Tensor]:
        return list(self._state.recent if isinstance(self._state, Cache) else self._state)

    def _take_cache(self, cache: Cache) -> None:
        """Copy what steps change in the state, and note in the tables where all of it lies."""
        self._slots = cache.keys_LBHSK.shape[3]
        lengths_B = self._hold(cache.length_B.clone())
        # The same numbers: numpy adds to them in a tenth of torch's time.
        self._lengths = lengths_B.numpy()
        if self._speakers:
            known_B = torch.full_like(lengths_B, -1) if cache.type_B is None else cache.type_B.clone()
            self._types = self._hold(known_B)
            fill(self._plan, types=self._types.data_ptr())
        recent = tuple(self._hold(recent_BRD.float().clone()) for recent_BRD in cache.recent)
        self._state = replace(cache, length_B=lengths_B, recent=recent, type_B=self._types)
        fill(self._plan, slots=self._slots, lengths=lengths_B.data_ptr())
        pages = HugePages()
        fill(self._plan, packed_format=FORMATS.index(self._weights.format))
        if cache.longest > 0:
            self._packed = {name: self._hold(pages.copy(part)) for name, part in self._packed_copy(cache).items()}
        else:  # of which the system need not give memory yet
            first = replace(cache, keys_LBHSK=cache.keys_LBHSK[:, :1], values_LBHSK=cache.values_LBHSK[:, :1])
            self._packed = {
                name: self._hold(pages.zeros((len(part), len(cache.length_B), *part.shape[2:]), part.dtype))
                for name, part in self._packed_copy(first).items()
            }
        for name, part in {"keys": cache.keys_LBHSK, "values": cache.values_LBHSK, **self._packed}.items():
            for row, layer in zip(self._layers, part, strict=True):
                row[name] = layer.data_ptr()
        if recent:
            fill(self._plan, recent=recent[0].data_ptr())
            for row, qkv_BRD, mlp_BRD in zip(self._layers, recent[1::2], recent[2::2], strict=True):
                row["qkv_recent"], row["mlp_recent"] = qkv_BRD.data_ptr(), mlp_BRD.data_ptr()

    def _packed_copy(self, cache: Cache) -> dict[str, Tensor]:
        """Return the cache packed in the weights' format, by the parts' names in the table of layers."""
        parts: dict[str, Tensor] = {}
        if self._weights.format == "float32":
            return parts
        free = -(-self._slots // ROWS) * ROWS - cache.longest
        for name, part_LBHSK in (("key", cache.keys_LBHSK), ("value", cache.values_LBHSK)):
            packed = part_LBHSK[:, :, :, : cache.longest]
            if self._weights.format == "bfloat16":
                packed = pair_halves(packed)
            else:
                packed, scales, offsets = to_int8(F.pad(packed, (0, -packed.shape[-1] % BLOCK)))
                parts[f"{name}_scales"] = F.pad(scales, (0, free))
                if name == "key":
                    parts["key_offsets"] = F.pad(offsets, (0, free))
            packed = F.pad(packed, (0, 0, 0, free))
            fill(self._plan, packed_stride=packed.shape[-1] * packed.element_size())
            parts[f"packed_{name}s"] = by_fours(packed) if name == "key" else packed.contiguous()
        return parts

    def _make_buffers(self, sequences: int, batch: int, width: int, heads: int) -> None:
        """Give the step room to work in: a vector per row and operand, and what each thread needs for attention."""
        narrow, wide = _padded(width), _padded(4 * width)
        lstm = isinstance(self._state, LSTMState)
        columns = {"stream": narrow, "normed": narrow, "wide": wide}
        columns |= {"hidden": narrow, "recurrent": wide} if lstm else {"branch": narrow, "mixed": narrow}
        for name, room in columns.items():
            fill(self._plan[name], address=self._floats(batch, room), stride=4 * room)
        if not (lstm or self._plan["pre_norm"][0]):
            self._plan["normed"] = self._plan["stream"]
        fill(self._plan["logits"], stride=4 * self._vocabulary)
        # `spare` takes the two vectors of `margin`.
        fill(self._plan, zeros=self._floats(1, ROWS), spare=self._floats(1, BLOCK // 2))
        if not lstm:
            slots = _padded(self._slots)
            fill(self._plan, weights=self._floats(self._team.threads, slots), weights_stride=4 * slots)
            # As float32, or as two bytes per number with a scale behind them
            query = _padded(width // heads) + BLOCK
            fill(self._plan, queries=self._floats(self._team.threads, query), queries_stride=4 * query)
        # For each thread the largest result: of a matrix, of the head for every sequence, or of all heads of attention
        *inner, vocabulary = (_padded(int(rows)) for rows in self._weights.matrices["rows"])
        results = max(batch * max(inner), sequences * vocabulary, batch * (width + heads * LANES))
        fill(self._plan, scratch=self._floats(self._team.threads, results), scratch_stride=4 * results)
        # Operands in bytes, high ones before low ones. Only an LSTM's two inputs are wanted at the same time.
        fill(self._plan, bytes_stride=2 * wide)
        for names in (("normed", "mixed", "wide"), ("hidden",)):
            bytes_ = self._hold(torch.full((batch, 2 * wide), 128, dtype=torch.uint8)).data_ptr()
            scales = self._floats(1, batch)
            for name in names:
                fill(self._plan[name], bytes=bytes_, scales=scales)

    def _floats(self, rows: int, columns: int) -> int:
        return self._hold(torch.zeros(rows, columns)).data_ptr()

    def _hold(self, tensor: Tensor) -> Tensor:
        self._held.append(tensor)
        return tensor


def _padded(count: int) -> int:
    """Return the count rounded up to whole blocks: room for the zeros after a vector in any format."""
    return -(-count // BLOCK) * BLOCK
