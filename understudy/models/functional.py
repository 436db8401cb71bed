"""Elementwise functions with backward passes of their own: half the memory traffic of autograd's, same numbers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        return positive * positive  # square() is a slower kernel

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return (gradients[0] * positive).mul_(2)


class _RMSNorm(torch.autograd.Function):
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


class _WeightedNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
        exact = torch.promote_types(logits_NV.dtype, torch.float32)
        p_NV = logits_NV.softmax(dim=-1, dtype=exact)
        p_N1 = p_NV.gather(1, targets_N[:, None])
        # Below float32's smallest number the probability is 0; its logarithm stays finite.
        nll_N = -p_N1.squeeze(1).clamp_min(torch.finfo(exact).tiny).log()
        if logits_NV.requires_grad:
            gradient_NV = p_NV.scatter_(1, targets_N[:, None], p_N1 - 1).mul_(weights_N[:, None])
            ctx.save_for_backward(gradient_NV.to(logits_NV.dtype))
        return (nll_N * weights_N).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV * gradients[0].to(gradient_NV.dtype), None, None


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)², elementwise (So 2021, "Primer").

    >>> squared_relu(torch.tensor([-1.0, 3.0]))
    tensor([0., 9.])
    """
    y: Tensor = _SquaredReLU.apply(x)
    return y


def rms_norm(x: Tensor, dtype: torch.dtype | None = None, eps: float = 1e-5) -> Tensor:
    """x / √(mean(x²) + eps) over the last dimension, without a gain (Zhang & Sennrich 2019), rounded to `dtype`.

    >>> rms_norm(torch.tensor([3.0, -3.0]))
    tensor([ 1.0000, -1.0000])
    """
    y: Tensor = _RMSNorm.apply(x, dtype or x.dtype, eps)
    return y


def weighted_nll(logits_NV: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    """Σ w · −log softmax(logits)[target], in nats: a sum, so that sums over parts add up to the sum over the whole.

    Probabilities below the smallest normal float32 count as that number (87 nats).

    >>> weighted_nll(torch.zeros(2, 4), torch.tensor([1, 3]), torch.tensor([1.0, 0.5]))  # 1.5 ln 4
    tensor(2.0794)
    """
    loss: Tensor = _WeightedNLL.apply(logits_NV, targets_N, weights_N)
    return loss
