"""Functions with backward passes of their own: half the memory traffic of autograd's, same numbers."""

from collections.abc import Sequence
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


class _ShortConvolution(torch.autograd.Function):
    """Adds everything without a look at the resets, then takes back what came from across one: that is little."""

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


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, episodes: list[tuple[int, int, int]] | None) -> Tensor:
        batch, heads, time, size = q.shape
        ctx.episodes = [(slice(row, row + 1), slice(a, b)) for row, a, b in episodes or ()]
        ctx.episodes = ctx.episodes or [(slice(0, batch), slice(0, time))]
        ctx.scale = size**-0.5
        hidden_TT = torch.full((time, time), float("-inf"), dtype=q.dtype, device=q.device).triu_(1)
        y_BTHK = q.new_empty(batch, time, heads, size)
        weights = []
        for rows, steps in ctx.episodes:
            q_GLK, k_GLK, v_GLK = (x[rows, :, steps].flatten(0, 1) for x in (q, k, v))
            length = q_GLK.shape[1]
            scores_GLL = torch.baddbmm(hidden_TT[:length, :length], q_GLK, k_GLK.mT, alpha=ctx.scale)
            p_GLL = scores_GLL.softmax(dim=-1)
            y_BTHK[rows, steps] = (p_GLL @ v_GLK).view(-1, heads, length, size).transpose(1, 2)
            weights.append(p_GLL)
        ctx.save_for_backward(q, k, v, *weights)
        return y_BTHK

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *weights = ctx.saved_tensors
        dy_BHTK = gradients[0].transpose(1, 2)
        out = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v)]
        for (rows, steps), p_GLL in zip(ctx.episodes, weights, strict=True):
            q_GLK, k_GLK, v_GLK, dy_GLK = (x[rows, :, steps].flatten(0, 1) for x in (q, k, v, dy_BHTK))
            dp_GLL = dy_GLK @ v_GLK.mT
            ds_GLL = torch.ops.aten._softmax_backward_data(dp_GLL, p_GLL, -1, p_GLL.dtype).mul_(ctx.scale)
            found = ds_GLL @ k_GLK, ds_GLL.mT @ q_GLK, p_GLL.mT @ dy_GLK
            for x, dx_GLK in zip(out, found, strict=True):
                x[rows, :, steps] = dx_GLK.view(-1, q.shape[1], *dx_GLK.shape[1:])
        return *out, None


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return (x * cosine).addcmul_(x.roll(x.shape[-1] // 2, dims=-1), sine)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors  # turned back, which is turned by the opposite angle
        y = gradients[0]
        return (y * cosine).addcmul_(y.roll(y.shape[-1] // 2, dims=-1), sine, value=-1), None, None


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


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + K/2]) of the last dimension by its angle (Su 2021).

    Args:
        x: of shape (..., T, K).
        cosine: cos of the K/2 angles, twice over: (T, K), or of any shape that broadcasts to x's.
        sine: −sin of the angles, then sin, alike.

    >>> quarter = torch.tensor([0.0, 0.0]), torch.tensor([-1.0, 1.0])
    >>> rotate(torch.tensor([2.0, 1.0]), *quarter)
    tensor([-1.,  2.])
    """
    y: Tensor = _Rotation.apply(x, cosine, sine)
    return y


def weighted_nll(logits_NV: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    """Σ w · −log softmax(logits)[target], in nats: a sum, so that sums over parts add up to the sum over the whole.

    Probabilities below the smallest normal float32 count as that number (87 nats).

    >>> weighted_nll(torch.zeros(2, 4), torch.tensor([1, 3]), torch.tensor([1.0, 0.5]))  # 1.5 ln 4
    tensor(2.0794)
    """
    loss: Tensor = _WeightedNLL.apply(logits_NV, targets_N, weights_N)
    return loss


def short_convolution(padded_BPD: Tensor, taps_RD: Tensor, crossing: Sequence[tuple[Tensor, ...]] = ()) -> Tensor:
    """y[t] = x[t] + Σᵣ tap[r] · x[t − r], channel by channel (Fu 2023, "H3"; So 2021, "Primer").

    Args:
        padded_BPD: the inputs, with the R before the first of them in front: P = R + T.
        taps_RD: weight of the input r steps back, r from 1 to R.
        crossing: for each r the (rows, steps) whose r-th input back lies in another episode, and does not count.

    >>> short_convolution(torch.tensor([[[0.0], [1.0], [2.0], [4.0]]]), torch.tensor([[0.5]])).flatten()
    tensor([1.0000, 2.5000, 5.0000])
    """
    y_BTD: Tensor = _ShortConvolution.apply(padded_BPD, taps_RD.to(padded_BPD.dtype), *crossing)
    return y_BTD


def causal_attention(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, episodes: list[tuple[int, int, int]] | None = None
) -> Tensor:
    """y_BTHK = softmax(q kᵀ / √K) v, where no step sees a later one, nor another episode's (Vaswani 2017).

    Written out as plain products, which a CPU does far faster in bfloat16 than torch's fused attention; it keeps all
    weights for the backward pass, a square of T numbers a head.

    Args:
        q_BHTK, k_BHTK, v_BHTK: queries, keys and values.
        episodes: (row, first step, end) of each episode; together they hold every step. None: each row is one.

    >>> x_BHTK = torch.eye(2)[None, None]
    >>> causal_attention(x_BHTK, x_BHTK, x_BHTK)[0, :, 0]
    tensor([[1.0000, 0.0000],
            [0.3302, 0.6698]])
    """
    y_BTHK: Tensor = _CausalAttention.apply(q_BHTK, k_BHTK, v_BHTK, episodes)
    return y_BTHK
