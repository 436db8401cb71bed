"""Cores: sequence models that carry state, under chatbots and players alike.

One contract, tested in tests/contracts/test_cores.py: a whole sequence, its pieces and its single steps give the same
answer, with any cuts and any resets; a reset equals a fresh start; no step sees a later one.

Shape suffixes: B batch rows, T time steps, D width, L layers, H heads, K head size, S cache slots.
"""

from typing import Any

from torch import Tensor, nn

from understudy.models.spec import check_dropout


class Core(nn.Module):
    """The contract. `LSTM` and `Transformer` are final: nothing else subclasses it."""

    context: int

    def initial_state(self, batch_size: int, max_len: int | None = None) -> Any:
        """A fresh state for `batch_size` rows that will see at most `max_len` steps (default: the context)."""
        raise NotImplementedError

    def repeated(self, state: Any, times: int) -> Any:
        """A state in which each row of `state` stands so many times in a row; what it came from stays as it was."""
        raise NotImplementedError

    def set_dropout(self, share: float) -> None:
        """Drop this share of activations in training from now on."""
        check_dropout(share)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = share
            elif isinstance(getattr(module, "dropout", None), float):  # attention; torch's LSTM
                setattr(module, "dropout", share)  # noqa: B010 - torch types attributes of modules as tensors

    def forward(self, x_BTD: Tensor, state: Any = None, reset_BT: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run T steps on; `reset_BT` marks the steps before which a row forgets everything.

        `state=None` is the training path: a fresh start, and no state is kept: None is returned. A state that was
        given may be overwritten: go on with the one returned.
        """
        raise NotImplementedError
