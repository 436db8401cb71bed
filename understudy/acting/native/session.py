"""A batch of rows that decode step after step: their buffers, and their state as the plain path has it.

Shape suffixes: B batch rows, T time steps, V vocabulary, L layers, D width, R recent inputs, S cache slots.
"""

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.acting.native.plan import BLOCK, PLAN, ROWS
from understudy.acting.native.weights import Weights, format_number
from understudy.acting.native.workers import Job, Team
from understudy.lab.errors import TooLongError
from understudy.models.cache import Cache
from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTMState
from understudy.models.transformer import Transformer

_numbers = count(1)


class Session:
    """Steps for the rows of one state.

    The state given stays good. Those returned are overwritten by the next step: the cache is the given one's own, and
    what else rows remember lies in buffers of the session.
    """

    def __init__(self, model: LanguageModel, weights: Weights, state: Any, team: Team):
        self._team, self._vocabulary, self._weights = team, model.vocab_size, weights
        self._plan = np.zeros(1, PLAN)
        self._layers = weights.layers.copy()
        self._job = Job(next(_numbers), self._plan, self._layers, weights.matrices)
        self._held: list[Tensor] = []
        if isinstance(model.core, Transformer):
            assert isinstance(state, Cache)
            batch = len(state.length_B)
            self._take_cache(model.core, state)
        else:
            assert isinstance(state, LSTMState)
            batch = state.h_LBD.shape[1]
            self._take_lstm(state)
        self._set(threads=team.threads, batch=batch, width=model.spec.width, layers=model.spec.layers)
        self._set(heads=model.spec.heads, head_size=model.spec.width // model.spec.heads)
        self._set(vocabulary=model.vocab_size, format=format_number(weights.format))
        self._make_buffers(batch, model)

    def step(self, ids_B: Tensor, state: Any, emptied_B1: Tensor | None = None) -> tuple[Tensor, Any]:
        """scores_BV after one more token a row, and the state then; rows that are `emptied` start anew with it."""
        if self._is_cache:
            if emptied_B1 is not None:
                self._lengths.masked_fill_(emptied_B1[:, 0], 0)
            longest = int(self._lengths.max()) if emptied_B1 is not None else state.longest
            if longest >= self._slots:
                raise TooLongError(f"an episode of {longest + 1} tokens does not fit the cache of {self._slots}")
        scores_BV = torch.empty(len(ids_B), self._vocabulary)
        self._ids.copy_(ids_B)
        self._plan["scores"] = scores_BV.data_ptr()
        self._team.step(self._job)
        if self._is_cache:
            self._lengths += 1
            ragged = state.ragged or emptied_B1 is not None
            state = replace(
                state, length_B=self._lengths.clone(), longest=longest + 1, ragged=ragged, recent=self._recent
            )
            return scores_BV, state
        return scores_BV, self._lstm_state

    def _take_cache(self, core: Transformer, state: Cache) -> None:
        self._is_cache, self._slots = True, state.keys_LBHSK.shape[3]
        self._lengths = self._hold(state.length_B.clone())
        self._recent = tuple(self._hold(recent_BRD.float().clone()) for recent_BRD in state.recent)
        style = core.style
        self._set(pre_norm=style.pre_norm, rms_norm=style.rms_norm, qk_norm=style.qk_norm)
        self._set(squared_relu=style.squared_relu, slots=self._slots, lengths=self._lengths.data_ptr())
        for index, (keys_BHSK, values_BHSK) in enumerate(zip(state.keys_LBHSK, state.values_LBHSK, strict=True)):
            self._layers[index]["keys"] = keys_BHSK.data_ptr()
            self._layers[index]["values"] = values_BHSK.data_ptr()
        if core.positions is not None:
            self._set(positions=self._weights.address(core.positions))
        else:
            cosine_SK, sine_SK = core._rotary_table(torch.zeros(0))
            self._set(cosine=self._hold(cosine_SK).data_ptr(), sine=self._hold(sine_SK).data_ptr())
        if isinstance(core.norm_out, torch.nn.LayerNorm):
            self._set(norm_gain=self._weights.address(core.norm_out.weight))
            self._set(norm_bias=self._weights.address(core.norm_out.bias))
        if core.convolution is not None:
            self._set(taps=self._weights.address(core.convolution.taps_RD), recent=self._recent[0].data_ptr())
            for row, qkv_BRD, mlp_BRD in zip(self._layers, self._recent[1::2], self._recent[2::2], strict=True):
                row["qkv_recent"], row["mlp_recent"] = qkv_BRD.data_ptr(), mlp_BRD.data_ptr()

    def _take_lstm(self, state: LSTMState) -> None:
        self._is_cache = False
        self._lstm_state = LSTMState(*(self._hold(part.float().clone().contiguous()) for part in state))
        self._set(lstm=True, rms_norm=True)
        for row, h_BD, c_BD in zip(self._layers, *self._lstm_state, strict=True):
            row["hidden"], row["cell"] = h_BD.data_ptr(), c_BD.data_ptr()

    def _make_buffers(self, batch: int, model: LanguageModel) -> None:
        width, lstm = model.spec.width, not self._is_cache
        self._ids = self._hold(torch.zeros(batch, dtype=torch.long))
        embedding = model.embedding.weight
        self._set(ids=self._ids.data_ptr(), embedding=self._weights.address(embedding, None))
        self._set(embedding_stride=width * embedding.element_size())
        self._set(embedding_is_half=embedding.dtype == torch.bfloat16)
        narrow, wide = _padded(width), _padded(8 * width if lstm else 4 * width)
        for name in ("stream", "normed", "narrow", "mixed"):
            self._set(**{name: self._floats(batch, narrow)})
        if not (lstm or self._plan["pre_norm"]):
            self._set(normed=int(self._plan["stream"][0]))
        self._set(narrow_stride=4 * narrow, wide=self._floats(batch, wide), wide_stride=4 * wide)
        self._set(zeros=self._floats(1, ROWS), spare=self._floats(batch, ROWS))
        if not lstm:
            room = _padded(self._slots)
            self._set(weights=self._floats(self._team.threads, room), weights_stride=4 * room)
        columns = _padded(4 * width)
        high_and_low = [self._hold(torch.full((batch, 2 * columns), 128, dtype=torch.uint8)) for _ in range(2)]
        self._set(bytes=high_and_low[0].data_ptr(), more_bytes=high_and_low[1].data_ptr(), bytes_stride=2 * columns)
        self._set(byte_scales=self._floats(1, batch), more_byte_scales=self._floats(1, batch))

    def _floats(self, rows: int, columns: int) -> int:
        return self._hold(torch.zeros(rows, columns)).data_ptr()

    def _hold(self, tensor: Tensor) -> Tensor:
        self._held.append(tensor)
        return tensor

    def _set(self, **fields: int) -> None:
        for name, value in fields.items():
            self._plan[name] = value


def _padded(count: int) -> int:
    """Room for so many numbers, and for zeros up to a whole block in any format."""
    return -(-count // BLOCK) * BLOCK
