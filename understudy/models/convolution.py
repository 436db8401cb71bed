"""Short convolutions: each input is joined by the few before it, of which a state must keep the last.

Shape suffixes: B batch rows, T time steps, D channels, R recent inputs, P = R + T.
"""

import torch
from torch import Tensor, nn

from understudy.models.functional import short_convolution

RECENT = 3
"""How many inputs back a short convolution reaches."""


class Recent:
    """The last few inputs of every short convolution, read and renewed in the order in which those run."""

    def __init__(self, before: tuple[Tensor, ...] = (), reset_BT: Tensor | None = None):
        self._before = iter(before)
        self.after: list[Tensor] = []
        self._since_BT: Tensor | None = None
        self.crossing: list[tuple[Tensor, ...]] = []
        if reset_BT is not None:
            since_BT, last_reset_BT = positions(reset_BT)
            self._since_BT = torch.where(last_reset_BT < 0, RECENT, since_BT)
            self.crossing = [(self._since_BT < back).nonzero(as_tuple=True) for back in range(1, RECENT + 1)]

    def padded(self, x_BTD: Tensor) -> Tensor:
        """The inputs with those before them in front; zeros at a fresh start."""
        batch, _, width = x_BTD.shape
        before_BRD = next(self._before, None)
        if before_BRD is None:
            before_BRD = x_BTD.new_zeros(batch, RECENT, width)
        return torch.cat([before_BRD.to(x_BTD.dtype), x_BTD], dim=1)

    def keep(self, padded_BPD: Tensor) -> None:
        """Remember the last inputs, as far as they belong to the present episode."""
        last_BRD = padded_BPD[:, -RECENT:].detach()
        if self._since_BT is not None:
            age_R1 = torch.arange(RECENT, 0, -1, device=last_BRD.device)[:, None]
            last_BRD = last_BRD.masked_fill(self._since_BT[:, -1:, None] + 1 < age_R1, 0)
        self.after.append(last_BRD)


class ShortConvolution(nn.Module):
    """Each input joined by a share of the few before it in its episode, channel by channel.

    What copying needs to know (which token came after which) is then there from the first layer on, and is learned in
    a fraction of the tokens (docs/journal.md).
    """

    def __init__(self, width: int, std: float):
        super().__init__()
        self.taps_RD = nn.Parameter(torch.empty(RECENT, width))
        nn.init.normal_(self.taps_RD, std=std)

    def forward(self, x_BTD: Tensor, recent: Recent) -> Tensor:
        """See `functional.short_convolution`."""
        padded_BPD = recent.padded(x_BTD)
        recent.keep(padded_BPD)
        return short_convolution(padded_BPD, self.taps_RD, recent.crossing)


def positions(reset_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Steps since the last reset (or since the start), and the last reset's step (-1 where there was none)."""
    step_T = torch.arange(reset_BT.shape[1], device=reset_BT.device)
    last_reset_BT = torch.where(reset_BT, step_T, -1).cummax(dim=1).values
    return step_T - last_reset_BT.clamp(min=0), last_reset_BT
