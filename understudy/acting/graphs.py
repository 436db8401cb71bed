"""Decode steps on a GPU as a CUDA graph: recorded once, then replayed without any Python per kernel.

Shape suffixes: B batch rows, V vocabulary, L layers, D width, R recent inputs.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from understudy.models.cache import Cache, check_room
from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTMState

Work = Callable[[], None]


def graph_session(model: LanguageModel, state: Any) -> "GraphSession | None":
    """Return a session for the rows of this state where the model is on a GPU, else None."""
    if model.embedding.weight.device.type != "cuda" or model.training or torch.is_autocast_enabled("cuda"):
        return None
    return GraphSession(model, state)


def record(work: Work) -> Work:
    """Record the work as a CUDA graph and return its replay. The work must have run once before."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class GraphSession:
    """Steps for the rows of one state, each the same kernels at the same addresses.

    The state given stays good. Those returned are overwritten by the next step: keys and values stay where they lie in
    the state given, and what short convolutions and LSTMs remember lies in tensors of the session. Attention reads the
    whole cache under a mask, since its shape must not change.
    """

    def __init__(self, model: LanguageModel, state: Cache | LSTMState, record: Callable[[Work], Work] = record) -> None:
        self._model, self._record = model, record
        self._replay: Work | None = None
        self._held: Cache | LSTMState  # the state in tensors that stay where they are
        self._longest, self._ragged = 0, False  # of a cache, as the plain path has them
        if isinstance(state, Cache):
            self._longest, self._ragged, batch = state.longest, state.ragged, len(state.length_B)
            type_B = state.type_B
            if type_B is None and model.speakers:
                type_B = torch.full_like(state.length_B, -1)
            # As if some row had filled all slots but one: every row is then placed by tensors alone.
            self._held = replace(
                state,
                length_B=state.length_B.clone(),
                recent=tuple(recent_BRD.clone() for recent_BRD in state.recent),
                type_B=None if type_B is None else type_B.clone(),
                longest=state.max_len - 1,
                ragged=True,
            )
        else:
            batch = state.h_LBD.shape[1]
            self._held = LSTMState(state.h_LBD.clone(), state.c_LBD.clone())
        weight = model.embedding.weight
        self._ids_B = torch.zeros(batch, dtype=torch.long, device=weight.device)
        logits_dtype = torch.promote_types(weight.dtype, torch.float32)
        self._logits_BV = torch.zeros(batch, model.vocab_size, dtype=logits_dtype, device=weight.device)

    def step(self, ids_B: Tensor, state: Any, emptied_B1: Tensor | None = None) -> tuple[Tensor, Any]:
        """Feed one token per row, to `emptied` rows as their first; return logits_BV and the state after it."""
        self._ids_B.copy_(ids_B)
        if emptied_B1 is not None:
            self._note(self._held.empty_rows(emptied_B1[:, 0]))
        if isinstance(self._held, Cache):
            check_room(self._held, self._longest + 1)
        if self._replay:
            self._replay()
        else:
            # A graph is recorded of work that has run once, and then does not run it.
            self._advance()
            try:
                self._replay = self._record(self._advance)
            except RuntimeError as error:
                warnings.warn(f"no CUDA graph could be recorded, so steps are slower: {error}", stacklevel=2)
                self._replay = self._advance
        self._longest += 1
        return self._logits_BV.clone(), self._state()

    def load_row(self, row: int, one: Any, state: Any) -> Any:
        """Return the state with a row replaced by that of the batch of `one`, which is not modified."""
        self._note(self._held.load_row(row, one))
        return self._state()

    def _advance(self) -> None:
        """Take a step from what is held, and write what it gives over it."""
        hidden_B1D, after = self._model.hidden(self._ids_B[:, None], self._held)
        self._logits_BV.copy_(self._model.logits(hidden_B1D[:, 0], float32=True))
        for held, new in zip(_changing(self._held), _changing(after), strict=True):
            held.copy_(new)

    def _note(self, changed: Cache | LSTMState) -> None:
        """Note how long the longest row is after rows were changed; what is held goes on as if it were nearly full."""
        if isinstance(changed, Cache):
            self._longest, self._ragged = changed.longest, True

    def _state(self) -> Cache | LSTMState:
        """Return the state as the plain path has it."""
        held = self._held
        if isinstance(held, LSTMState):
            return held
        type_B = None if held.type_B is None else held.type_B.clone()
        length_B = held.length_B.clone()
        return replace(held, length_B=length_B, type_B=type_B, longest=self._longest, ragged=self._ragged)


def _changing(state: Any) -> list[Tensor]:
    """Return the tensors that a step makes new ones of. Keys and values are written where they lie."""
    if isinstance(state, Cache):
        return [state.length_B, *state.recent, *([] if state.type_B is None else [state.type_B])]
    return list(state)
