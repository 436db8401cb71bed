"""Passes over memory with gradients: what `kernels.py` computes, as functions of tensors.

They stand beside the same in plain torch, which other devices and formats take, and all that needs no gradient: so
numba is loaded for training alone.

Shape suffixes: B batch rows, T time steps, D channels, R recent inputs, J queries, keys and values, H heads, K head
size, N all steps, of one batch row after another.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

FORMATS = (torch.float32, torch.bfloat16)


def fits(*tensors: Tensor) -> bool:
    """Return whether what is computed from these can be learned from in passes: on a CPU, in a format they read.

    What torch.compile compiles has none.
    """
    wanted = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return wanted and all(x.device.type == "cpu" and x.dtype in FORMATS for x in tensors)


def array(x: Tensor, *shape: int) -> np.ndarray:
    """Return a tensor's numbers as an array, in its own memory where they are contiguous; bfloat16 as uint16."""
    x = x.detach().contiguous()
    found: np.ndarray = (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()
    return found.reshape(shape) if shape else found


def _rows(*tensors: Tensor) -> list[np.ndarray]:
    return [array(x, -1, x.shape[-1]) for x in tensors]


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, eps: float) -> Tensor:
        from understudy.models import kernels

        y, scale_N = torch.empty(x.shape, dtype=dtype), torch.empty(x.numel() // x.shape[-1])
        kernels.normalise(*_rows(x, y), array(scale_N), eps)
        ctx.dtype = x.dtype
        ctx.save_for_backward(y, scale_N)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        from understudy.models import kernels

        y, scale_N = ctx.saved_tensors
        dx = torch.empty(y.shape, dtype=ctx.dtype)
        dy_ND, y_ND, dx_ND = _rows(gradients[0], y, dx)
        kernels.normalise_back(dy_ND, y_ND, array(scale_N), dx_ND)
        return dx, None, None


def rms_norm(x: Tensor, dtype: torch.dtype, eps: float) -> Tensor:
    """Return `norm.rms_norm`."""
    y: Tensor = _RMSNorm.apply(x, dtype, eps)
    return y


class _ShortConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, taps_RD: Tensor, reach_N: np.ndarray) -> Tensor:
        from understudy.models import kernels

        y_BTD = torch.empty(x_BTD.shape, dtype=x_BTD.dtype)
        x_ND, y_ND = _rows(x_BTD, y_BTD)
        kernels.convolve(x_ND, array(taps_RD.float()), reach_N, y_ND)
        ctx.reach_N = reach_N
        ctx.save_for_backward(x_BTD, taps_RD)
        return y_BTD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        from understudy.models import kernels

        x_BTD, taps_RD = ctx.saved_tensors
        dx_BTD, dtaps_RD = torch.empty(x_BTD.shape, dtype=x_BTD.dtype), torch.zeros(taps_RD.shape)
        dy_ND, x_ND, dx_ND = _rows(gradients[0], x_BTD, dx_BTD)
        kernels.convolve_back(dy_ND, x_ND, array(taps_RD.float()), ctx.reach_N, dx_ND, array(dtaps_RD))
        return dx_BTD, dtaps_RD.to(taps_RD.dtype), None


def short_convolution(x_BTD: Tensor, taps_RD: Tensor, reach_N: np.ndarray) -> Tensor:
    """Return y[t] = x[t] + Σᵣ tap[r] · x[t − r], r from 1 to the step's reach."""
    y_BTD: Tensor = _ShortConvolution.apply(x_BTD, taps_RD, reach_N)
    return y_BTD


class _Heads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv_BTJHK: Tensor, cosine_TK: Tensor, sine_TK: Tensor, eps: float) -> tuple[Tensor, ...]:
        from understudy.models import kernels

        batch, time, _, *sizes = qkv_BTJHK.shape
        # Turned back by the opposite angle in the backward pass
        turn_TJK = torch.stack([cosine_TK, sine_TK], dim=1).float()
        scale_NJH = torch.empty(batch * time, 2, sizes[0])
        parts = [torch.empty(batch, time, *sizes, dtype=qkv_BTJHK.dtype) for _ in range(3)]
        x, turn, *outputs, scale = map(array, (qkv_BTJHK.flatten(0, 1), turn_TJK, *parts, scale_NJH))
        kernels.heads(x, turn, eps, *(y.reshape(-1, *sizes) for y in outputs), scale)
        ctx.save_for_backward(qkv_BTJHK, turn_TJK, scale_NJH)
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        from understudy.models import kernels

        qkv_BTJHK, turn_TJK, scale_NJH = ctx.saved_tensors
        dqkv_BTJHK = torch.empty(qkv_BTJHK.shape, dtype=qkv_BTJHK.dtype)
        kept = qkv_BTJHK.flatten(0, 1), turn_TJK, scale_NJH, dqkv_BTJHK.flatten(0, 1)
        kernels.heads_back(*map(array, (*(dy.flatten(0, 1) for dy in gradients), *kept)))
        return dqkv_BTJHK, None, None, None


def heads(qkv_BTJHK: Tensor, cosine_TK: Tensor, sine_TK: Tensor, eps: float) -> tuple[Tensor, ...]:
    """Return q_BTHK and k_BTHK, normalised and rotated as by `attention.rotate`, and v_BTHK."""
    parts: tuple[Tensor, ...] = _Heads.apply(qkv_BTJHK, cosine_TK, sine_TK, eps)
    return parts


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, name: str) -> Tensor:
        from understudy.models import kernels

        y, ctx.name = torch.empty(x.shape, dtype=x.dtype), name
        getattr(kernels, name)(array(x, -1), array(y, -1))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        from understudy.models import kernels

        (x,) = ctx.saved_tensors
        dx = torch.empty(x.shape, dtype=x.dtype)
        getattr(kernels, f"{ctx.name}_back")(array(gradients[0], -1), array(x, -1), array(dx, -1))
        return dx, None


def squared_relu(x: Tensor) -> Tensor:
    """Return max(x, 0)², elementwise."""
    y: Tensor = _Pointwise.apply(x, "squared_relu")
    return y


def gelu(x: Tensor) -> Tensor:
    """Return the tanh form of GELU, elementwise."""
    y: Tensor = _Pointwise.apply(x, "gelu")
    return y
