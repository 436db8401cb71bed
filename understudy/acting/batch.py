"""Sequences that grow side by side in one preallocated state, each in a slot of its own, some tokens at a time.

Shape suffixes: B slots, T time steps, V vocabulary, L layers, H heads, S cache slots, K head size, D width.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from typing_extensions import override

from understudy.acting.engine import PlainSession
from understudy.acting.graphs import GraphSession, graph_session
from understudy.models.cache import Cache
from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTMState


class Batch(Protocol):
    """The contract. What a sequence says does not depend on the others, nor on how its tokens are cut."""

    def begin(self, slot: int) -> None:
        """Begin a sequence in a slot, whatever was there before."""

    def feed(self, tokens: Mapping[int, Sequence[int]], wanted: Collection[int]) -> dict[int, Tensor]:
        """Append tokens to the sequences in some slots; return logits_V after the last one for the slots wanted."""

    def save(self, slot: int, start: int) -> tuple[Any, int]:
        """Return what the state holds of a sequence's tokens from `start` on, and its size in bytes."""

    def load(self, slot: int, saved: Any) -> None:
        """Append to a sequence tokens whose part of the state was saved at the same place of another one."""


class PlainBatch(Batch):
    """Prompts by the model itself, one after another; then a step of all slots for all that decode.

    A prompt grows in a state of its own until its logits are wanted for the first time.
    """

    def __init__(self, model: LanguageModel, slots: int) -> None:
        self._model = model
        self._state = model.initial_state(slots)
        self._session: PlainSession | GraphSession | None = None
        self._prompts: dict[int, Any] = {}
        # Tokens in each row, those of free slots included, which step along
        self._lengths = [0] * slots

    @override
    def begin(self, slot: int) -> None:
        self._prompts[slot] = self._model.initial_state(1)

    @override
    @torch.inference_mode()
    def feed(self, tokens: Mapping[int, Sequence[int]], wanted: Collection[int]) -> dict[int, Tensor]:
        # First the step of those that decode: it moves every row, also the one into which a prompt will go.
        steps = {slot: ids for slot, ids in tokens.items() if slot not in self._prompts}
        found = {}
        if steps:
            assert all(len(ids) == 1 for ids in steps.values())
            logits_BV = self._step({slot: ids[0] for slot, ids in steps.items()})
            found = {slot: logits_BV[slot] for slot in steps}
        for slot in tokens.keys() - steps.keys():
            ids_1T = torch.tensor([tokens[slot]], device=self._model.embedding.weight.device)
            hidden_1TD, self._prompts[slot] = self._model.hidden(ids_1T, self._prompts[slot])
            if slot in wanted:
                found[slot] = self._model.logits(hidden_1TD[0, -1], float32=True)
                self._enter(slot)
        return found

    def _enter(self, slot: int) -> None:
        """Move a prompt into the common state."""
        one = self._prompts.pop(slot)
        session = self._session or PlainSession(self._model)
        self._state = session.load_row(slot, one, self._state)
        self._lengths[slot] = int(one.length_B[0]) if isinstance(one, Cache) else 0

    def _step(self, tokens: Mapping[int, int]) -> Tensor:
        """Feed one token to each of some slots, and anything to the others; return logits_BV."""
        device = self._model.embedding.weight.device
        if self._session is None:
            self._session = graph_session(self._model, self._state) or PlainSession(self._model)
        # Slots that nobody uses start again before they are full.
        full = [length == self._state.max_len for length in self._lengths]
        emptied_B1 = torch.tensor(full, device=device)[:, None] if any(full) else None
        self._lengths = [1 if is_full else length + 1 for length, is_full in zip(self._lengths, full, strict=True)]
        ids_B = torch.tensor([tokens.get(slot, 0) for slot in range(len(full))], device=device)
        logits_BV, self._state = self._session.step(ids_B, self._state, emptied_B1)
        return logits_BV

    @override
    @torch.inference_mode()
    def save(self, slot: int, start: int) -> tuple[Any, int]:
        state, row = (self._prompts[slot], 0) if slot in self._prompts else (self._state, slot)
        if isinstance(state, LSTMState):
            parts = [part_LBD[:, row].clone() for part_LBD in state]
        else:
            end = int(state.length_B[row])
            parts = [part[:, row, :, start:end].clone() for part in (state.keys_LBHSK, state.values_LBHSK)]
            parts += [recent_BRD[row].clone() for recent_BRD in state.recent]
            if state.type_B is not None:
                parts.append(state.type_B[row].clone())
        return parts, sum(part.nbytes for part in parts)

    @override
    @torch.inference_mode()
    def load(self, slot: int, saved: Any) -> None:
        state = self._prompts[slot]
        if isinstance(state, LSTMState):
            self._prompts[slot] = LSTMState(*(part_LD[:, None].clone() for part_LD in saved))
            return
        keys_LHSK, values_LHSK, *others = saved
        start, end = state.longest, state.longest + keys_LHSK.shape[2]
        state.keys_LBHSK[:, 0, :, start:end] = keys_LHSK
        state.values_LBHSK[:, 0, :, start:end] = values_LHSK
        state.length_B[0] = state.longest = end
        recent = tuple(recent_RD[None].clone() for recent_RD in others[: len(state.recent)])
        state.recent = recent
        if len(others) > len(recent):
            state.type_B = others[-1][None].clone()
