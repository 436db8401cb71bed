"""Cores: sequence models that carry state, under chatbots and players alike.

One contract, tested in tests/contracts/test_cores.py: a whole sequence, its pieces and its single steps give the same
answer, with any cuts and any resets; a reset equals a fresh start; no step sees a later one.

Shape suffixes: B batch rows, T time steps, D width, L layers, H heads, K head size, S cache slots; G segments:
runs of steps between two resets.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Core(nn.Module):
    """The contract. `LSTM` and `Transformer` are final: nothing else subclasses it."""

    context: int

    def initial_state(self, batch_size: int, max_len: int | None = None) -> Any:
        """Return a fresh state for `batch_size` rows of at most `max_len` steps (default: the context)."""
        raise NotImplementedError

    def forward(self, x_BTD: Tensor, state: Any = None, reset_BT: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run T steps and return y_BTD with the state after them. `reset_BT` marks steps before which a row resets.

        `state=None` is the training path: it starts fresh, and returns None in place of a state. A given state may be
        overwritten, so continue with the returned one.

        Raises:
            TooLongError: a segment outgrows the context, or the room of its state.
        """
        raise NotImplementedError


def segments_in(reset_BT: Tensor) -> list[tuple[int, int, int]]:
    """Return (row, first step, end) of each run of steps between two resets.

    >>> segments_in(torch.tensor([[False, False, True], [True, False, False]]))
    [(0, 0, 2), (0, 2, 3), (1, 0, 3)]
    """
    time = reset_BT.shape[1]
    starts_BT = reset_BT.clone()
    starts_BT[:, 0] = True
    start_G = starts_BT.flatten().nonzero().squeeze(1)
    length_G = torch.cat([start_G, start_G.new_tensor([starts_BT.numel()])]).diff()
    return [(at // time, at % time, at % time + n) for at, n in zip(start_G.tolist(), length_G.tolist(), strict=True)]


def positions(reset_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the steps since the last reset (or the start), and the last reset's step (-1 before the first)."""
    step_T = torch.arange(reset_BT.shape[1], device=reset_BT.device)
    last_reset_BT = torch.where(reset_BT, step_T, -1).cummax(dim=1).values
    return step_T - last_reset_BT.clamp(min=0), last_reset_BT


def segment_mask(reset_BT: Tensor) -> Tensor:
    """Return mask_BTT, true where the second step is at or before the first, in the same segment."""
    segment_BT = reset_BT.cumsum(dim=1)
    time = reset_BT.shape[1]
    causal_TT = torch.ones(time, time, dtype=torch.bool, device=reset_BT.device).tril()
    return causal_TT & (segment_BT[:, :, None] == segment_BT[:, None, :])
