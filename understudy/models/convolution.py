"""Short convolutions: each input is joined by the few before it, and a state keeps the last of them.

Shape suffixes: B batch rows, T time steps, D channels, R recent inputs, P = R + T.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from understudy.models import passes
from understudy.models.core import positions

RECENT = 3
"""How many inputs back a short convolution reaches."""


class ConvState:
    """The last few inputs of every short convolution, each at the slot of its module.

    Attributes:
        fresh: whether there are no inputs before these.
        after: by slot, what a later piece needs; filled as the convolutions run.
    """

    def __init__(self, before: tuple[Tensor, ...] = (), reset_BT: Tensor | None = None):
        self._before, self.fresh = before, not before
        self.after: dict[int, Tensor] = {}
        self._since_BT: Tensor | None = None
        self._reach_N: np.ndarray | None = None
        if reset_BT is not None:
            since_BT, last_reset_BT = positions(reset_BT)
            self._since_BT = torch.where(last_reset_BT < 0, RECENT, since_BT)

    @cached_property
    def crossing(self) -> list[tuple[Tensor, ...]]:
        """For each number of steps back the (rows, steps) whose input there lies in another segment."""
        if self._since_BT is None:
            return []
        return [(self._since_BT < back).nonzero(as_tuple=True) for back in range(1, RECENT + 1)]

    def reach(self, batch: int, time: int) -> np.ndarray:
        """Return for each step of each row how many inputs before it count, at a fresh start."""
        if self._reach_N is None:
            reach_BT = torch.arange(time).clamp_(max=RECENT).expand(batch, time)
            if self._since_BT is not None:
                reach_BT = torch.minimum(reach_BT, self._since_BT)
            self._reach_N = reach_BT.flatten().numpy()
        return self._reach_N

    def pad(self, slot: int, x_BTD: Tensor) -> Tensor:
        """Return the inputs with those before them in front (zeros at a fresh start), and keep the last ones."""
        batch, _, width = x_BTD.shape
        before_BRD = self._before[slot] if self._before else x_BTD.new_zeros(batch, RECENT, width)
        padded_BPD = torch.cat([before_BRD.to(x_BTD.dtype), x_BTD], dim=1)
        # Only inputs of the present segment count for what follows.
        last_BRD = padded_BPD[:, -RECENT:].detach()
        if self._since_BT is not None:
            age_R1 = torch.arange(RECENT, 0, -1, device=last_BRD.device)[:, None]
            last_BRD = last_BRD.masked_fill(self._since_BT[:, -1:, None] + 1 < age_R1, 0)
        self.after[slot] = last_BRD
        return padded_BPD


class ShortConvolution(nn.Module):
    """Each input joined by a share of the few before it in its segment, channel by channel.

    Copying needs to know which token followed which. With this the first layer already knows, and copying is learned
    in a fraction of the tokens (docs/journal.md).
    """

    def __init__(self, width: int, std: float):
        super().__init__()
        self.slot = 0
        """Place in the model's `ConvState`, which numbers its convolutions."""
        self.taps_RD = nn.Parameter(torch.empty(RECENT, width))
        nn.init.normal_(self.taps_RD, std=std)

    @override
    def forward(self, x_BTD: Tensor, state: ConvState) -> Tensor:
        if state.fresh and passes.fits(x_BTD, self.taps_RD):
            return passes.short_convolution(x_BTD, self.taps_RD, state.reach(*x_BTD.shape[:2]))
        return short_convolution(state.pad(self.slot, x_BTD), self.taps_RD, state.crossing)


class _ShortConvolutionFunction(torch.autograd.Function):
    # Adds everything without a look at the resets, then takes back the little that came from across one.

    @staticmethod
    def forward(ctx: Any, padded_BPD: Tensor, taps_RD: Tensor, *crossing: tuple[Tensor, ...]) -> Tensor:
        ctx.save_for_backward(padded_BPD, taps_RD)
        ctx.crossing = crossing
        reach = len(taps_RD)
        y_BTD = padded_BPD[:, reach:].clone()
        for back, tap_D in enumerate(taps_RD, start=1):
            before_BTD = padded_BPD[:, reach - back : -back]
            y_BTD.addcmul_(before_BTD, tap_D)
            for at in crossing[back - 1 : back]:
                y_BTD[at] -= before_BTD[at] * tap_D
        return y_BTD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        padded_BPD, taps_RD = ctx.saved_tensors
        y_BTD, reach = gradients[0], len(taps_RD)
        x_BPD, taps = F.pad(y_BTD, (0, 0, reach, 0)), torch.empty_like(taps_RD)
        for back, tap_D in enumerate(taps_RD, start=1):
            before_BTD = padded_BPD[:, reach - back : -back]
            x_BPD[:, reach - back : -back].addcmul_(y_BTD, tap_D)
            taps[back - 1] = (before_BTD * y_BTD).sum(dim=(0, 1))
            for at in ctx.crossing[back - 1 : back]:
                x_BPD[:, reach - back : -back][at] -= y_BTD[at] * tap_D
                taps[back - 1] -= (before_BTD[at] * y_BTD[at]).sum(dim=0)
        return x_BPD, taps, *(None for _ in ctx.crossing)


def short_convolution(padded_BPD: Tensor, taps_RD: Tensor, crossing: Sequence[tuple[Tensor, ...]] = ()) -> Tensor:
    """Return y[t] = x[t] + Σᵣ tap[r] · x[t − r], channel by channel (Fu 2023, "H3"; So 2021, "Primer").

    Args:
        padded_BPD: the inputs, with the R before the first of them in front: P = R + T.
        taps_RD: weight of the input r steps back, r from 1 to R.
        crossing: for each r the (rows, steps) whose r-th input back lies in another segment and does not count.

    >>> short_convolution(torch.tensor([[[0.0], [1.0], [2.0], [4.0]]]), torch.tensor([[0.5]])).flatten()
    tensor([1.0000, 2.5000, 5.0000])
    """
    y_BTD: Tensor = _ShortConvolutionFunction.apply(padded_BPD, taps_RD.to(padded_BPD.dtype), *crossing)
    return y_BTD
