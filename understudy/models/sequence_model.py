"""What language models and players have in common: an encoder of what comes in, a core, and choices that come out.

Shape suffixes: B batch rows, T time steps, D width, N chosen positions, A possibilities of all choices side by side.
"""

from typing import Any

import torch
from torch import Tensor, nn

from understudy.models.core import Core
from understudy.models.lstm import LSTM
from understudy.models.spec import CoreSpec, check_dropout
from understudy.models.transformer import Transformer


def make_core(spec: CoreSpec) -> Core | None:
    """Return a fresh core; None where the specification says that there is none."""
    if spec.core == "none":
        return None
    return LSTM(spec) if spec.core == "lstm" else Transformer(spec)


class SequenceModel(nn.Module):
    """Chooses at each step, given all steps so far. The choice is a token, or what a player does."""

    spec: CoreSpec
    core: Any

    @property
    def encoder(self) -> nn.Module:
        """The module that gets the inputs and gives vectors."""
        raise NotImplementedError

    @property
    def context(self) -> int:
        """Longest sequence in steps."""
        return self.spec.context

    def initial_state(self, batch_size: int, max_len: int | None = None) -> Any:
        """Return a fresh state of the core for `batch_size` rows of at most `max_len` steps."""
        return self.core.initial_state(batch_size, max_len) if self.core is not None else None

    def hidden(self, inputs_BT: Tensor, state: Any = None, reset_BT: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return y_BTD, from which choices are made, and the state after. Arguments are those of `Core.forward`."""
        raise NotImplementedError

    def choices(self, hidden_ND: Tensor, masks_NA: Tensor | None = None) -> list[Tensor]:
        """Return the logits of each choice that is made at a step; those that a mask forbids have no probability."""
        raise NotImplementedError

    def description(self) -> dict[str, Any]:
        """Return what a checkpoint has to say about the model, so that it can be built again."""
        raise NotImplementedError

    @property
    def outputs(self) -> str:
        """What there is to choose from, in a few words."""
        raise NotImplementedError

    @property
    def guessing(self) -> float | None:
        """The loss of a model that guesses, in nats; None where choices are real numbers."""
        raise NotImplementedError

    def set_dropout(self, share: float) -> None:
        """Set the share of activations dropped in training, whatever the model was built with.

        Raises ConfigError outside 0 to 1.
        """
        check_dropout(share)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = share
            elif isinstance(getattr(module, "dropout", None), float):  # attention; torch's LSTM
                setattr(module, "dropout", share)  # noqa: B010 - torch types attributes of modules as tensors

    def parameter_count(self, learned: bool = False) -> int:
        """Return the number of parameters, a tied head counted once; with `learned`, those that are not frozen."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad or not learned)


def exact(logits: Tensor) -> Tensor:
    """Return logits in at least float32, as sampling and evaluation want them."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
