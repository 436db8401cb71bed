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
from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTMState
from understudy.native.layout import BLOCK, FORMATS, ROWS
from understudy.native.weights import Weights, by_fours, fill, pair_halves, to_int8
from understudy.native.workers import Job, Team

_numbers = count(1)
NEARLY_LEVEL = 0.05
"""Scores of int8 weights are off by a hundredth or two (docs/journal.md)."""


class Session:
    """Steps for the rows of one state.

    The state given stays good. Those returned are overwritten by the next step: the cache is the given one's own, and
    what else rows remember lies in buffers of the session.

    With `exact` weights beside rounded ones a step is taken again with those where it leaves some row's two likeliest
    tokens nearly level, since which of them leads is then a matter of the rounding.
    """

    def __init__(
        self,
        model: LanguageModel,
        weights: Weights,
        state: Cache | LSTMState,
        team: Team,
        exact: Weights | None = None,
    ):
        self._team, self._weights, self._vocabulary = team, weights, model.vocab_size
        self._heads = model.spec.heads
        self._plan, self._layers = weights.plan.copy(), weights.layers.copy()
        self._job = Job(next(_numbers), self._plan, self._layers, weights.matrices)
        self._ids_at, self._scores_at = self._plan["ids"], self._plan["scores"]
        self._held: list[Tensor] = []
        self._speakers = frozenset(model.speakers)
        self._types: Tensor | None = None
        self._cache: Cache | None = None
        if isinstance(state, Cache):
            batch = len(state.length_B)
            self._take_cache(state)
        else:
            batch = state.h_LBD.shape[1]
            self._take_lstm(state)
        fill(self._plan, threads=team.threads, batch=batch)
        self._make_buffers(batch, model.spec.width)
        self._margins: np.ndarray | None = None
        if exact:
            margins_B = self._hold(torch.zeros(batch))
            self._margins = margins_B.numpy()
            fill(self._plan, margins=margins_B.data_ptr())
            self._exact_plan, self._exact = self._plan.copy(), exact
            fill(self._exact_plan, format=int(exact.plan["format"][0]), margins=0)
            self._exact_job = Job(next(_numbers), self._exact_plan, self._layers, exact.matrices)
            self._before = [part.clone() for part in self._remembered()]

    def step(self, ids_B: Tensor, state: Any, emptied_B1: Tensor | None = None) -> tuple[Tensor, Any]:
        """logits_BV after one more token a row, and the state then; rows that are `emptied` start anew with it."""
        ids_B, logits_BV = ids_B.contiguous(), torch.empty(len(ids_B), self._vocabulary)
        if emptied_B1 is not None:
            self._empty(emptied_B1[:, 0])
        if self._cache is None:
            self._take_step(ids_B, logits_BV)
            return logits_BV, self._lstm_state
        check_room(self._cache, self._cache.longest + 1)
        self._note_speakers(ids_B)
        self._take_step(ids_B, logits_BV)
        self._lengths_there += 1
        self._cache.longest += 1
        return logits_BV, self._cache

    def _take_step(self, ids_B: Tensor, logits_BV: Tensor) -> None:
        ids, scores = ids_B.data_ptr(), logits_BV.data_ptr()
        self._ids_at[0], self._scores_at[0] = ids, scores
        if self._margins is None:
            self._team.step(self._job)
            return
        for copied, part in zip(self._before, self._remembered(), strict=True):
            copied.copy_(part)
        self._team.step(self._job)
        if min(self._margins.tolist()) < NEARLY_LEVEL:
            for copied, part in zip(self._before, self._remembered(), strict=True):
                part.copy_(copied)
            fill(self._exact_plan, ids=ids, scores=scores)
            self._team.step(self._exact_job)

    def _remembered(self) -> list[Tensor]:
        """What a step changes in place; keys and values only come to be written twice."""
        return list(self._lstm_state if self._cache is None else self._cache.recent)

    def load_row(self, row: int, one: Any, state: Any) -> Any:
        """Return the state with a row replaced by that of the batch of `one`, which is not modified."""
        if self._cache is None:
            return self._lstm_state.load_row(row, one)
        self._cache = self._cache.load_row(row, one)
        for name, part in self._rounded(one).items():
            self._near[name][:, row] = part[:, 0]
        return self._cache

    def _empty(self, rows_B: Tensor) -> None:
        if self._cache is None:
            self._lstm_state.empty_rows(rows_B)
        else:
            self._cache = self._cache.empty_rows(rows_B)

    def _note_speakers(self, ids_B: Tensor) -> None:
        """Each row's type: the token that said last who speaks."""
        if self._types is not None:
            for row, token in enumerate(ids_B.tolist()):
                if token in self._speakers:
                    self._types[row] = token

    def _take_cache(self, cache: Cache) -> None:
        self._slots = cache.keys_LBHSK.shape[3]
        lengths_B = self._hold(cache.length_B.clone())
        self._lengths_there = lengths_B.numpy()  # the same numbers, which numpy adds to in a tenth of torch's time
        if self._speakers:
            known_B = torch.full_like(lengths_B, -1) if cache.type_B is None else cache.type_B.clone()
            self._types = self._hold(known_B)
            fill(self._plan, types=self._types.data_ptr())
        recent = tuple(self._hold(recent_BRD.float().clone()) for recent_BRD in cache.recent)
        self._cache = replace(cache, length_B=lengths_B, recent=recent, type_B=self._types)
        fill(self._plan, slots=self._slots, lengths=lengths_B.data_ptr())
        for row, keys_BHSK, values_BHSK in zip(self._layers, cache.keys_LBHSK, cache.values_LBHSK, strict=True):
            row["keys"], row["values"] = keys_BHSK.data_ptr(), values_BHSK.data_ptr()
        fill(self._plan, near_format=FORMATS.index(self._weights.format))
        self._near = {name: self._hold(part) for name, part in self._rounded(cache).items()}
        for name, part in self._near.items():
            for row, layer in zip(self._layers, part, strict=True):
                row[name] = layer.data_ptr()
        if recent:
            fill(self._plan, recent=recent[0].data_ptr())
            for row, qkv_BRD, mlp_BRD in zip(self._layers, recent[1::2], recent[2::2], strict=True):
                row["qkv_recent"], row["mlp_recent"] = qkv_BRD.data_ptr(), mlp_BRD.data_ptr()

    def _rounded(self, cache: Cache) -> dict[str, Tensor]:
        """Copy what the cache holds in the weights' format, by the names that the table of layers has for the parts."""
        parts: dict[str, Tensor] = {}
        if self._weights.format == "float32":
            return parts
        more = -(-self._slots // ROWS) * ROWS - cache.longest
        for name, part_LBHSK in (("key", cache.keys_LBHSK), ("value", cache.values_LBHSK)):
            near = part_LBHSK[:, :, :, : cache.longest]
            if self._weights.format == "bfloat16":
                near = pair_halves(near)
            else:
                near, scales, offsets = to_int8(F.pad(near, (0, -near.shape[-1] % BLOCK)))
                parts[f"{name}_scales"] = F.pad(scales, (0, more))
                if name == "key":
                    parts["key_offsets"] = F.pad(offsets, (0, more))
            near = F.pad(near, (0, 0, 0, more))
            fill(self._plan, near_stride=near.shape[-1] * near.element_size())
            parts[f"near_{name}s"] = by_fours(near) if name == "key" else near.contiguous()
        return parts

    def _take_lstm(self, state: LSTMState) -> None:
        self._lstm_state = LSTMState(*(self._hold(part.float().clone().contiguous()) for part in state))
        for row, h_BD, c_BD in zip(self._layers, *self._lstm_state, strict=True):
            row["hidden"], row["cell"] = h_BD.data_ptr(), c_BD.data_ptr()

    def _make_buffers(self, batch: int, width: int) -> None:
        lstm = self._cache is None
        narrow, wide, columns = _padded(width), _padded(8 * width if lstm else 4 * width), _padded(4 * width)
        for name in ("stream", "normed", "narrow", "mixed"):
            fill(self._plan, **{name: self._floats(batch, narrow)})
        if not (lstm or self._plan["pre_norm"][0]):
            fill(self._plan, normed=self._plan["stream"][0])
        fill(self._plan, narrow_stride=4 * narrow)
        fill(self._plan, wide=self._floats(batch, wide), wide_stride=4 * wide)
        fill(self._plan, zeros=self._floats(1, ROWS), spare=self._floats(batch, ROWS))
        if not lstm:
            room = _padded(self._slots)
            fill(self._plan, weights=self._floats(self._team.threads, room), weights_stride=4 * room)
            query = _padded(width // self._heads) + BLOCK  # as float32, or as two bytes a number with a scale behind
            fill(self._plan, queries=self._floats(self._team.threads, query), queries_stride=4 * query)
        for name in ("bytes", "more_bytes"):
            high_and_low = self._hold(torch.full((batch, 2 * columns), 128, dtype=torch.uint8))
            fill(self._plan, **{name: high_and_low.data_ptr(), "bytes_stride": 2 * columns})
        fill(self._plan, byte_scales=self._floats(1, batch), more_byte_scales=self._floats(1, batch))

    def _floats(self, rows: int, columns: int) -> int:
        return self._hold(torch.zeros(rows, columns)).data_ptr()

    def _hold(self, tensor: Tensor) -> Tensor:
        self._held.append(tensor)
        return tensor


def _padded(count: int) -> int:
    """Room for so many numbers, and for zeros up to a whole block in any format."""
    return -(-count // BLOCK) * BLOCK
