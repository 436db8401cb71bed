"""The norm of both cores."""

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from understudy.models import passes
from understudy.models.device import compute_dtype

EPS = 1e-5
"""What the norm adds to the mean of the squares."""


class _RMSNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, eps: float) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact)
        scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)
        y = torch.mul(x, scale, out=torch.empty_like(x, dtype=dtype))  # one pass, also where it rounds
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        y, scale = ctx.saved_tensors
        along = torch.linalg.vecdot(gradients[0], y).unsqueeze(-1).div_(-y.shape[-1])
        across = torch.addcmul(gradients[0], y, along)
        return torch.mul(across, scale, out=torch.empty_like(across, dtype=scale.dtype)), None, None


def rms_norm(x: Tensor, dtype: torch.dtype | None = None, eps: float = EPS) -> Tensor:
    """x / √(mean(x²) + eps) over the last dimension, without a gain (Zhang & Sennrich 2019), rounded to `dtype`.

    >>> rms_norm(torch.tensor([3.0, -3.0]))
    tensor([ 1.0000, -1.0000])
    """
    dtype = dtype or x.dtype
    if passes.fits(x) and dtype in passes.FORMATS:
        return passes.rms_norm(x, dtype, eps)
    y: Tensor = _RMSNormFunction.apply(x, dtype, eps)
    return y


class RMSNorm(nn.Module):
    """Root-mean-square norm without a gain, since the matrices that follow can scale."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        # Rounded at once to the dtype that autocast gives the matrices.
        return rms_norm(x, compute_dtype(x))
