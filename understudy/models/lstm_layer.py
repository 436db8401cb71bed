"""A layer of an LSTM on a CPU, with gradients: products by torch, everything between them in one pass over memory.

torch's own layer takes several passes, and where rows begin anew in the middle it needs their segments as rows.

Shape suffixes: T time steps, B batch rows, D width, G = 4D gates.
"""

from typing import Any

import torch
from torch import Tensor

from understudy.models.passes import FORMATS, array


def fits(x: Tensor) -> bool:
    """Return whether the layer can compute with this: on a CPU, in a format that its passes read."""
    return x.device.type == "cpu" and x.dtype in FORMATS and not torch.compiler.is_compiling()


class LSTMLayer(torch.autograd.Function):
    """y_TBD, h_BD and c_BD after the steps, for x_TBD, the weights, h_BD and c_BD before, and where rows go on.

    keep_TB is bool, false where a row begins anew; None: nowhere. The format is that of x; cells are float32.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,
        x_TBD: Tensor,
        in_GD: Tensor,
        rec_GD: Tensor,
        bias_G: Tensor,
        h_BD: Tensor,
        c_BD: Tensor,
        keep_TB: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        from understudy.models import lstm_kernels as kernels

        steps, batch, width = len(x_TBD), *h_BD.shape
        gates_TBG = torch.addmm(bias_G, x_TBD.flatten(0, 1), in_GD.t()).view(steps, batch, -1)
        y_TBD = x_TBD.new_empty(steps + 1, batch, width)
        c_TBD = torch.empty(steps + 1, batch, width)
        y_TBD[0], c_TBD[0] = h_BD, c_BD
        kept = [bool(one) for one in keep_TB.all(1)] if keep_TB is not None else [True] * steps
        every = torch.ones(batch, dtype=torch.bool)
        for t in range(steps):
            before_BD = y_TBD[t] if kept[t] else y_TBD[t] * keep_TB[t][:, None]  # type: ignore[index]
            gates_TBG[t].addmm_(before_BD, rec_GD.t())
            keep_B = every if kept[t] else keep_TB[t]  # type: ignore[index]
            kernels.step(*map(array, (gates_TBG[t], c_TBD[t], keep_B, c_TBD[t + 1], y_TBD[t + 1])))
        ctx.kept = kept
        ctx.save_for_backward(x_TBD, in_GD, rec_GD, gates_TBG, y_TBD, c_TBD, keep_TB)
        return y_TBD[1:], y_TBD[-1].clone(), c_TBD[-1].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        from understudy.models import lstm_kernels as kernels

        x_TBD, in_GD, rec_GD, gates_TBG, y_TBD, c_TBD, keep_TB = ctx.saved_tensors
        dy_TBD, dh_BD, dc_BD = gradients
        steps, batch, _ = x_TBD.shape
        every = torch.ones(batch, dtype=torch.bool)
        keeps = [every if kept else keep_TB[t] for t, kept in enumerate(ctx.kept)] + [every]
        # The gates are needed once: their gradients take their places.
        dgates_TBG, dc_BD = gates_TBG, dc_BD.float().clone()
        dh_BD, room_D = dh_BD.to(x_TBD.dtype), torch.empty(dc_BD.shape[1])
        for t in range(steps - 1, -1, -1):
            views = (dgates_TBG[t], c_TBD[t], keeps[t], c_TBD[t + 1], dy_TBD[t], dh_BD, keeps[t + 1], dc_BD, room_D)
            kernels.step_back(*map(array, views))
            dh_BD = dgates_TBG[t] @ rec_GD
        if not ctx.kept[0]:
            dh_BD = dh_BD * keeps[0][:, None]
        before_TBD = y_TBD[:-1] if keep_TB is None else y_TBD[:-1] * keep_TB[..., None]
        flat_NG = dgates_TBG.flatten(0, 1)
        dx_TBD = (flat_NG @ in_GD).view_as(x_TBD) if ctx.needs_input_grad[0] else None
        din_GD, drec_GD = (flat_NG.t() @ x.flatten(0, 1) for x in (x_TBD, before_TBD))
        return dx_TBD, din_GD, drec_GD, flat_NG.sum(0), dh_BD, dc_BD, None
