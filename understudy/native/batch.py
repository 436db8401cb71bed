"""Sequences that grow side by side, some tokens of each at a time, all in the same steps of native code.

A step is the decode step with a token per row of its batch. The tokens of a prompt are rows like those of replies, so
each weight is read once for all of them, and a token's numbers are the same in whatever company it is computed.

Shape suffixes: B sequences, V vocabulary, L layers, H heads, S cache slots, D width, R recent inputs.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy.models.cache import Cache
from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTMState
from understudy.native.layout import ROWS
from understudy.native.session import Session
from understudy.native.weights import Weights, fill
from understudy.native.workers import Team


@dataclass(frozen=True)
class Saved:
    """What the state holds of some tokens of a sequence."""

    start: int
    end: int
    slots: list[Tensor]
    """A part of each tensor that has a place per token, from the group of rows of `start` to that of `end`."""
    rest: list[Tensor]
    """The sequence's row of each of the others, as it is after the last of the tokens."""
    type: int
    """The type of the last token, −1 for none."""


class NativeBatch(Session):
    """The batch of a scheduler (see `understudy.acting.batch.Batch`)."""

    def __init__(self, model: LanguageModel, weights: Weights, slots: int, most: int, team: Team) -> None:
        """Make `slots` free slots. A step takes at most `most` tokens."""
        super().__init__(model, weights, model.initial_state(slots), team, most=max(most, slots))
        self._most = max(most, slots)
        self._lengths_B = [0] * slots
        self._rows = {name: np.zeros(self._most + 1, np.int64) for name in _ROWS}
        self._held.append(self._rows)
        fill(self._plan, **{name: array.ctypes.data for name, array in self._rows.items() if name != "types"})
        self._last_type = [-1] * slots
        if self._speakers:
            fill(self._plan, types=self._rows["types"].ctypes.data)
        # Steps with rounded weights look at the packed copies alone.
        if isinstance(self._state, Cache) and self._packed:
            self._layers["keys"] = self._layers["values"] = 0

    def begin(self, slot: int) -> None:
        """Begin a sequence in a slot, whatever was there before."""
        self._lengths_B[slot], self._last_type[slot] = 0, -1
        for part in self._rest():
            part[slot] = 0

    def feed(self, tokens: Mapping[int, Sequence[int]], wanted: Collection[int]) -> dict[int, Tensor]:
        """Append tokens to the sequences in some slots; return logits_V after the last one for the slots wanted."""
        if isinstance(self._state, LSTMState):
            return self._feed_in_turn(tokens, wanted)
        found: dict[int, Tensor] = {}
        rows = [(slot, token, at + 1 == len(ids)) for slot, ids in tokens.items() for at, token in enumerate(ids)]
        for start in range(0, len(rows), self._most):
            found |= self._take_step(rows[start : start + self._most], wanted)
        return found

    def _feed_in_turn(self, tokens: Mapping[int, Sequence[int]], wanted: Collection[int]) -> dict[int, Tensor]:
        """Feed the first token of each sequence, then the second: an LSTM cannot take them together."""
        found: dict[int, Tensor] = {}
        for at in range(max(map(len, tokens.values()))):
            rows = [(slot, ids[at], at + 1 == len(ids)) for slot, ids in tokens.items() if at < len(ids)]
            found |= self._take_step(rows, wanted)
        return found

    def _take_step(self, rows: Sequence[tuple[int, int, bool]], wanted: Collection[int]) -> dict[int, Tensor]:
        """Feed tokens, each with its slot and whether it is the last one there, those of a slot side by side."""
        slots, ids, _ = zip(*rows, strict=True)
        lengths, types, firsts, asked = [], [], [], []
        for row, (slot, token, is_last) in enumerate(rows):
            lengths.append(self._lengths_B[slot])
            self._lengths_B[slot] += 1
            if token in self._speakers:
                self._last_type[slot] = token
            types.append(self._last_type[slot])
            if row == 0 or slots[row - 1] != slot:
                firsts.append(row)
            if is_last and slot in wanted:
                asked.append(row)
        given = (ids, lengths, slots, types, [*firsts, len(rows)], asked)
        for array, numbers in zip(self._rows.values(), given, strict=True):
            array[: len(numbers)] = numbers
        logits_BV = torch.empty(len(asked), self._vocabulary)
        fill(self._plan, batch=len(rows), groups=len(firsts), asked=len(asked))
        self._logits_at[0] = logits_BV.data_ptr()
        self._team.step(self._job)
        return {slots[row]: logits_V for row, logits_V in zip(asked, logits_BV, strict=True)}

    def save(self, slot: int, start: int) -> tuple[Saved, int]:
        """Return what the state holds of a sequence's tokens from `start` on, and its size in bytes."""
        end = self._lengths_B[slot]
        parts = [part.clone() for part in self._slots_of(slot, start, end)]
        rest = [part[slot].clone() for part in self._rest()]
        return Saved(start, end, parts, rest, self._last_type[slot]), sum(part.nbytes for part in (*parts, *rest))

    def load(self, slot: int, saved: Saved) -> None:
        """Append to a sequence tokens whose part of the state was saved at the same place of another one."""
        assert saved.start == self._lengths_B[slot]
        self._lengths_B[slot], self._last_type[slot] = saved.end, saved.type
        for mine, theirs in zip(self._slots_of(slot, saved.start, saved.end), saved.slots, strict=True):
            mine.copy_(theirs)
        for part, row in zip(self._rest(), saved.rest, strict=True):
            part[slot] = row

    def _slots_of(self, slot: int, start: int, end: int) -> list[Tensor]:
        """Return the part of each tensor with a place per token, in whole groups of rows, for these tokens."""
        if isinstance(self._state, LSTMState):
            return []
        # Where rows are packed by fours, tokens outside come along: earlier ones are the same, later ones do not count.
        first, after = start // ROWS, -(-end // ROWS)
        parts = self._packed or {"keys": self._state.keys_LBHSK, "values": self._state.values_LBHSK}
        return [
            part[:, slot, :, first:after] if name == "packed_keys" else part[:, slot, :, first * ROWS : after * ROWS]
            for name, part in parts.items()
        ]

    def _rest(self) -> list[Tensor]:
        """Return what the state remembers of each sequence besides, one sequence per row."""
        if isinstance(self._state, LSTMState):
            return [part_LBD.transpose(0, 1) for part_LBD in self._state]
        return list(self._state.recent)


_ROWS = ("ids", "lengths", "sequences", "types", "firsts", "wanted")
