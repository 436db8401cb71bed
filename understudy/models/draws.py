"""What a policy does, drawn from the probabilities of one choice.

Shape suffixes: N rows, A possibilities.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Moves(NamedTuple):
    """How to draw from all actions but the idle one, which keeps its probability."""

    idle: int
    temperature: float
    """Above 0; 1 changes nothing."""

    def sharpened(self, p_NA: Tensor) -> Tensor:
        """Return the probabilities p to draw from: those of moves are to each other as p^(1/temperature).

        >>> Moves(idle=2, temperature=0.5).sharpened(torch.tensor([[0.3, 0.1, 0.6]]))
        tensor([[0.3600, 0.0400, 0.6000]])
        """
        moving_NA = p_NA.clone()
        moving_NA[:, self.idle] = 0
        tiny = torch.finfo(p_NA.dtype).tiny
        # The likeliest move counts 1, so that not all powers can be too small for a number.
        power_NA = (moving_NA / moving_NA.amax(-1, keepdim=True).clamp_min(tiny)) ** (1 / self.temperature)
        power_NA *= moving_NA.sum(-1, keepdim=True) / power_NA.sum(-1, keepdim=True).clamp_min(tiny)
        power_NA[:, self.idle] = p_NA[:, self.idle]
        return power_NA


def draw(logits_NA: Tensor, temperature: float, draw_N: Tensor, moves: Moves | None = None) -> Tensor:
    """Return which possibility the numbers drawn evenly from 0 to 1 choose, per row; at temperature 0 the likeliest."""
    if not temperature:
        return logits_NA.argmax(dim=-1)
    # The first possibility at which the running sum of the probabilities exceeds the number drawn.
    p_NA = (logits_NA / temperature).softmax(dim=-1)
    if moves:
        p_NA = moves.sharpened(p_NA)
    sum_NA = p_NA.cumsum(dim=-1)
    # Rounding must not take the number to the sum's very end, behind which lies what has no probability.
    below_N = torch.minimum(draw_N * sum_NA[:, -1], sum_NA[:, -1].nextafter(torch.zeros(())))
    return torch.searchsorted(sum_NA, below_N[:, None], right=True)[:, 0]
