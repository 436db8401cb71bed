"""Decode steps on a GPU as a CUDA graph: recorded once, then replayed without any work of Python's for each kernel.

Shape suffixes: B batch rows, V vocabulary, L layers, D width, R recent inputs.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from understudy.models.cache import Cache, check_room, empty_rows
from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTMState

Work = Callable[[], None]


def graph_step(model: LanguageModel, state: Any) -> Any:
    """`GraphSession.step` for rows in this state where the model is on a GPU, else None."""
    if model.embedding.weight.device.type != "cuda" or model.training or torch.is_autocast_enabled("cuda"):
        return None
    return GraphSession(model, state).step


def record(work: Work) -> Work:
    """The work as a CUDA graph's replay; it must have been done once before."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class GraphSession:
    """Steps for the rows of one state, each the same kernels at the same addresses.

    The state given stays good. Those returned are overwritten by the next step: the cache is the given one's own, and
    what short convolutions and LSTMs remember lies in tensors of the session. Attention reads the whole cache under a
    mask, since its shape must not change.
    """

    def __init__(self, model: LanguageModel, state: Cache | LSTMState, record: Callable[[Work], Work] = record) -> None:
        self._model, self._record = model, record
        self._replay: Work | None = None
        self._told: Cache | None = None
        self._held: Cache | LSTMState
        if isinstance(state, Cache):
            self._told = state
            batch = len(state.length_B)
            self._held = self._fixed(state)
        else:
            batch = state.h_LBD.shape[1]
            self._held = LSTMState(state.h_LBD.clone(), state.c_LBD.clone())
        weight = model.embedding.weight
        self._ids_B = torch.zeros(batch, dtype=torch.long, device=weight.device)
        logits_dtype = torch.promote_types(weight.dtype, torch.float32)
        self._logits_BV = torch.zeros(batch, model.vocab_size, dtype=logits_dtype, device=weight.device)

    def step(self, ids_B: Tensor, state: Any, emptied_B1: Tensor | None = None) -> tuple[Tensor, Any]:
        """logits_BV after one more token a row, and the state then; rows that are `emptied` start anew with it."""
        self._ids_B.copy_(ids_B)
        if emptied_B1 is not None:
            self._empty(emptied_B1[:, 0])
        if self._told:
            check_room(self._told, self._told.longest + 1)
        if self._replay:
            self._replay()
        else:
            self._advance()
            self._replay = self._recorded()
        return self._logits_BV.clone(), self._state()

    def _advance(self) -> None:
        hidden_B1D, after = self._model.hidden(self._ids_B[:, None], self._held)
        self._logits_BV.copy_(self._model.logits(hidden_B1D[:, 0], float32=True))
        for held, new in zip(_parts(self._held), _parts(after), strict=True):
            held.copy_(new)

    def _recorded(self) -> Work:
        try:
            return self._record(self._advance)
        except RuntimeError as error:
            warnings.warn(f"no CUDA graph could be recorded, so steps are slower: {error}", stacklevel=2)
            return self._advance

    def _fixed(self, cache: Cache) -> Cache:
        """The same rows, but placed by tensors alone, as if some row had filled all slots but one."""
        types_B = cache.type_B
        if types_B is None and self._model.speakers:
            types_B = torch.full_like(cache.length_B, -1)
        return replace(
            cache,
            length_B=cache.length_B.clone(),
            recent=tuple(recent_BRD.clone() for recent_BRD in cache.recent),
            type_B=None if types_B is None else types_B.clone(),
            longest=cache.keys_LBHSK.shape[3] - 1,
            ragged=True,
        )

    def _state(self) -> Cache | LSTMState:
        """The state as the plain path has it."""
        if isinstance(self._held, LSTMState):
            return self._held
        assert self._told
        held, types_B = self._held, self._held.type_B
        self._told = replace(
            self._told,
            length_B=held.length_B.clone(),
            longest=self._told.longest + 1,
            recent=held.recent,
            type_B=None if types_B is None else types_B.clone(),
        )
        return self._told

    def _empty(self, rows_B: Tensor) -> None:
        if isinstance(self._held, LSTMState):
            for part_LBD in self._held:
                part_LBD[:, rows_B] = 0
            return
        assert self._told
        self._told = replace(self._told, longest=empty_rows(self._held, rows_B).longest, ragged=True)


def _parts(state: Any) -> list[Tensor]:
    """What a step gives anew; keys and values are written where they lie."""
    if isinstance(state, Cache):
        return [state.length_B, *state.recent, *([] if state.type_B is None else [state.type_B])]
    return list(state)
