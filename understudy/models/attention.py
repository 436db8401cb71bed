"""Causal multi-head attention, over the new tokens alone or over a cache too.

Shape suffixes: B batch rows, T time steps, D width, H heads, K head size.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from understudy.models import passes
from understudy.models.cache import AttentionInputs
from understudy.models.convolution import ShortConvolution
from understudy.models.norm import EPS, rms_norm
from understudy.models.spec import BlockStyle, CoreSpec

LONGEST_SQUARE = 1024
"""Longest sequence for attention by hand, which keeps every weight for the backward pass."""
GROUP_WORTH = 100_000
"""Weights of attention that may be computed for nothing before another group of segments is cheaper."""


class Attention(nn.Module):
    """Queries, keys and values from one matrix, attention, and a matrix after it."""

    def __init__(self, spec: CoreSpec, style: BlockStyle):
        super().__init__()
        self.heads, self.head_size = spec.heads, spec.width // spec.heads
        self.qk_norm, self.dropout = style.qk_norm, spec.dropout
        self.qkv = nn.Linear(spec.width, 3 * spec.width, bias=style.bias)
        self.convolution = ShortConvolution(3 * spec.width, std=0.1) if style.short_convolution else None
        self.out = nn.Linear(spec.width, spec.width, bias=style.bias)
        self.drop = nn.Dropout(spec.dropout)
        zero_bias(self)

    @override
    def forward(self, x_BTD: Tensor, layout: AttentionInputs, cached: tuple[Tensor, Tensor] | None) -> Tensor:
        batch, time, width = x_BTD.shape
        qkv = self.qkv(x_BTD)
        if self.convolution is not None:
            qkv = self.convolution(qkv, layout.conv)
        qkv_BTJHK = qkv.view(batch, time, 3, self.heads, self.head_size)
        if self.qk_norm and layout.rotation is not None and cached is None and passes.fits(qkv):
            q, k, v = (part.transpose(1, 2) for part in passes.heads(qkv_BTJHK, *layout.rotation, EPS))
        else:
            qkv_JBHTK = qkv_BTJHK.permute(2, 0, 3, 1, 4)
            qk, v = qkv_JBHTK[:2], qkv_JBHTK[2]
            if self.qk_norm:
                qk = rms_norm(qk)
            if layout.rotation is not None:
                qk = rotate(qk, *layout.rotation)
            q, k = qk.unbind()
        if cached is not None and layout.write is not None:
            k, v = layout.write(cached[0], k), layout.write(cached[1], v)
        y_BTHK = attend(q.to(k.dtype), k, v, layout, self.dropout if self.training else 0.0)
        return self.drop(self.out(y_BTHK.reshape(batch, time, width).to(qkv.dtype)))


def attend(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, layout: AttentionInputs, dropout: float) -> Tensor:
    """Return y_BTHK: for each query the weighted mean of the values that `layout` lets it see."""
    # On a CPU torch's own kernel is slowest in bfloat16 (docs/journal.md): go by hand where possible, else in float32.
    if q_BHTK.dtype == torch.bfloat16 and q_BHTK.device.type == "cpu":
        if layout.causal and not dropout and q_BHTK.shape[2] <= LONGEST_SQUARE:
            return causal_attention(q_BHTK, k_BHSK, v_BHSK, layout.segments)
        with torch.autocast("cpu", enabled=False):  # which would undo it
            return attend(q_BHTK.float(), k_BHSK.float(), v_BHSK.float(), layout, dropout)
    if layout.segments is not None:
        return _attend_by_segment(q_BHTK, k_BHSK, v_BHSK, layout.segments, dropout)
    y_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHSK, v_BHSK, layout.mask_B1TS, dropout, layout.causal)
    return y_BHTK.transpose(1, 2)


def _attend_by_segment(q: Tensor, k: Tensor, v: Tensor, segments: list[tuple[int, int, int]], dropout: float) -> Tensor:
    attended = []
    for row, first, end in segments:
        q_1HLK, k_1HLK, v_1HLK = (x_BHTK[row : row + 1, :, first:end] for x_BHTK in (q, k, v))
        attended.append(F.scaled_dot_product_attention(q_1HLK, k_1HLK, v_1HLK, None, dropout, is_causal=True))
    batch, heads, time, size = q.shape
    return torch.cat([y_1HLK[0].transpose(0, 1) for y_1HLK in attended]).view(batch, time, heads, size)


def zero_bias(module: nn.Module) -> None:
    """Set every bias in the module to 0."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)


class _Group(NamedTuple):
    """Segments of similar length, side by side, each filled up to the longest of them with its own last step."""

    length: int
    row_N: Tensor
    """For each (segment, head, step) the row of (row, step, head) that it is."""
    filling: Tensor
    """Which of them fill up. No step sees a later one, so they change nothing as long as they have no gradient."""


@lru_cache(maxsize=32)
def _grouped(segments: tuple[tuple[int, int, int], ...], time: int, heads: int) -> tuple[list[_Group], Tensor]:
    """Return the groups, and for each (row, step, head) its place among the groups' (segment, head, step)."""
    groups, longest, wasted = list[list[tuple[int, int, int]]](), 0, 0
    for segment in sorted(segments, key=lambda segment: segment[1] - segment[2]):
        length = segment[2] - segment[1]
        wasted += heads * (longest**2 - length**2)
        if not groups or wasted > GROUP_WORTH:
            longest, wasted = length, 0
            groups.append([])
        groups[-1].append(segment)

    made, place_N, first = [], np.empty(sum(end - start for _, start, end in segments) * heads, np.int64), 0
    for group in groups:
        row_G11, start_G11, end_G11 = np.array(group).T[:, :, None, None]
        step_G1L = start_G11 + np.arange((end_G11 - start_G11).max())
        filling_G1L = step_G1L >= end_G11
        row_GHL = (row_G11 * time + np.minimum(step_G1L, end_G11 - 1)) * heads + np.arange(heads)[:, None]
        filling_N = np.broadcast_to(filling_G1L, row_GHL.shape).ravel()
        row_N = row_GHL.ravel()
        place_N[row_N[~filling_N]] = first + (~filling_N).nonzero()[0]
        first += len(row_N)
        made.append(_Group(step_G1L.shape[-1], torch.from_numpy(row_N), torch.from_numpy(filling_N.nonzero()[0])))
    return made, torch.from_numpy(place_N)


class _CausalAttentionFunction(torch.autograd.Function):
    # Segment by segment would take many small operations, and one masked square much work for nothing.

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, segments: list[tuple[int, int, int]] | None) -> Tensor:
        batch, heads, time, size = q.shape
        all_rows = tuple(segments or ((row, 0, time) for row in range(batch)))
        ctx.groups, ctx.place_N = _grouped(all_rows, time, heads)
        rows = [x.transpose(1, 2).reshape(-1, size) for x in (q, k, v)]
        longest = max(group.length for group in ctx.groups)
        hidden_LL = torch.full((longest, longest), float("-inf"), dtype=q.dtype, device=q.device).triu_(1)
        kept, found = [], []
        for length, row_N, _ in ctx.groups:
            q_GLK, k_GLK, v_GLK = (x.index_select(0, row_N).view(-1, length, size) for x in rows)
            p_GLL = torch.baddbmm(hidden_LL[:length, :length], q_GLK, k_GLK.mT, alpha=size**-0.5).softmax(dim=-1)
            found.append((p_GLL @ v_GLK).view(-1, size))
            kept += [q_GLK, k_GLK, v_GLK, p_GLL]
        ctx.save_for_backward(*kept)
        return torch.cat(found).index_select(0, ctx.place_N).view(batch, time, heads, size)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        batch, time, heads, size = gradients[0].shape
        dy_NK = gradients[0].reshape(-1, size)
        found: tuple[list[Tensor], ...] = [], [], []
        for number, (length, row_N, filling) in enumerate(ctx.groups):
            q_GLK, k_GLK, v_GLK, p_GLL = ctx.saved_tensors[4 * number : 4 * number + 4]
            dy_GLK = dy_NK.index_select(0, row_N).index_fill_(0, filling, 0).view(-1, length, size)
            dp_GLL = dy_GLK @ v_GLK.mT
            ds_GLL = torch.ops.aten._softmax_backward_data(dp_GLL, p_GLL, -1, p_GLL.dtype).mul_(size**-0.5)
            for some, dx_GLK in zip(found, (ds_GLL @ k_GLK, ds_GLL.mT @ q_GLK, p_GLL.mT @ dy_GLK), strict=True):
                some.append(dx_GLK.view(-1, size))
        flat = [torch.cat(some).index_select(0, ctx.place_N) for some in found]
        return *(dx_NK.view(batch, time, heads, size).transpose(1, 2) for dx_NK in flat), None


def causal_attention(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, segments: list[tuple[int, int, int]] | None = None
) -> Tensor:
    """Return y_BTHK = softmax(q kᵀ / √K) v, where no step sees a later one, nor another segment's (Vaswani 2017).

    Written out as plain products, which a CPU does far faster in bfloat16 than torch's fused attention. It keeps all
    weights for the backward pass: T² numbers per head.

    Args:
        q_BHTK, k_BHTK, v_BHTK: queries, keys and values.
        segments: (row, first step, end) of each segment; together they cover every step. None: each row is one.

    >>> x_BHTK = torch.eye(2)[None, None]
    >>> causal_attention(x_BHTK, x_BHTK, x_BHTK)[0, :, 0]
    tensor([[1.0000, 0.0000],
            [0.3302, 0.6698]])
    """
    y_BTHK: Tensor = _CausalAttentionFunction.apply(q_BHTK, k_BHTK, v_BHTK, segments)
    return y_BTHK


class _RotationFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return (x * cosine).addcmul_(x.roll(x.shape[-1] // 2, dims=-1), sine)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors  # turned back, which is turned by the opposite angle
        y = gradients[0]
        return (y * cosine).addcmul_(y.roll(y.shape[-1] // 2, dims=-1), sine, value=-1), None, None


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate each pair (x[i], x[i + K/2]) of the last dimension by its angle (Su 2021).

    Args:
        x: of shape (..., T, K).
        cosine: cos of the K/2 angles, twice over: (T, K), or of any shape that broadcasts to x's.
        sine: −sin of the angles, then sin, alike.

    >>> quarter = torch.tensor([0.0, 0.0]), torch.tensor([-1.0, 1.0])
    >>> rotate(torch.tensor([2.0, 1.0]), *quarter)
    tensor([-1.,  2.])
    """
    y: Tensor = _RotationFunction.apply(x, cosine, sine)
    return y
