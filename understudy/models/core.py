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
        """Return a fresh state for `batch_size` rows of at most `max_len` steps (default: the context)."""
        raise NotImplementedError

    def repeated(self, state: Any, times: int) -> Any:
        """Return a state with each row of `state` repeated `times` times. The input is not modified."""
        raise NotImplementedError

    def set_dropout(self, share: float) -> None:
        """Set the share of activations dropped in training. Raises ConfigError outside 0 to 1."""
        check_dropout(share)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = share
            elif isinstance(getattr(module, "dropout", None), float):  # attention; torch's LSTM
                setattr(module, "dropout", share)  # noqa: B010 - torch types attributes of modules as tensors

    def forward(self, x_BTD: Tensor, state: Any = None, reset_BT: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run T steps and return y_BTD with the state after them. `reset_BT` marks steps before which a row resets.

        `state=None` is the training path: it starts fresh, and returns None in place of a state. A given state may be
        overwritten, so continue with the returned one.

        Raises:
            TooLongError: a segment outgrows the context, or the room of its state.
        """
        raise NotImplementedError
