"""Causal multi-head attention, over the new tokens alone or over a cache too.

Shape suffixes: B batch rows, T time steps, D width, H heads, K head size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.models.cache import Layout, Write
from understudy.models.convolution import ShortConvolution
from understudy.models.core import BlockStyle, CoreSpec
from understudy.models.functional import causal_attention, rms_norm, rotate

LONGEST_SQUARE = 1024
"""Beyond so many steps attention by hand, which keeps every weight for the backward pass, takes too much memory."""


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

    def forward(
        self, x_BTD: Tensor, layout: Layout, cached: tuple[Tensor, Tensor] | None, write: Write | None
    ) -> Tensor:
        """See `Block.forward`."""
        batch, time, width = x_BTD.shape
        qkv = self.qkv(x_BTD)
        if self.convolution is not None:
            qkv = self.convolution(qkv, layout.recent)
        qkv = qkv.view(batch, time, 3, self.heads, self.head_size).permute(2, 0, 3, 1, 4)
        qk, v = qkv[:2], qkv[2]
        if self.qk_norm:
            qk = rms_norm(qk)
        if layout.cosine is not None and layout.sine is not None:
            qk = rotate(qk, layout.cosine, layout.sine)
        q, k = qk.unbind()
        if cached is not None and write is not None:
            k, v = write(cached, k, v)
        y_BTHK = attend(q.to(k.dtype), k, v, layout, self.dropout if self.training else 0.0)
        return self.drop(self.out(y_BTHK.reshape(batch, time, width).to(qkv.dtype)))


def attend(q_BHTK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, layout: Layout, dropout: float) -> Tensor:
    """y_BTHK: what each query takes from the values that `layout` lets it see.

    On a CPU bfloat16 goes by hand where it can, else in float32: torch's own kernel is slowest in bfloat16 there
    (docs/journal.md).
    """
    if q_BHTK.dtype == torch.bfloat16 and q_BHTK.device.type == "cpu":
        if layout.causal and not dropout and q_BHTK.shape[2] <= LONGEST_SQUARE:
            return causal_attention(q_BHTK, k_BHSK, v_BHSK, layout.episodes)
        with torch.autocast("cpu", enabled=False):  # which would undo it
            return attend(q_BHTK.float(), k_BHSK.float(), v_BHSK.float(), layout, dropout)
    if layout.episodes is not None:
        return _attend_by_episode(q_BHTK, k_BHSK, v_BHSK, layout.episodes, dropout)
    y_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHSK, v_BHSK, layout.mask_B1TS, dropout, layout.causal)
    return y_BHTK.transpose(1, 2)


def episodes_in(reset_BT: Tensor) -> list[tuple[int, int, int]]:
    """(row, first step, end) of each run of steps between two resets.

    >>> episodes_in(torch.tensor([[False, False, True], [True, False, False]]))
    [(0, 0, 2), (0, 2, 3), (1, 0, 3)]
    """
    time = reset_BT.shape[1]
    starts_BT = reset_BT.clone()
    starts_BT[:, 0] = True
    start_G = starts_BT.flatten().nonzero().squeeze(1)
    length_G = torch.cat([start_G, start_G.new_tensor([starts_BT.numel()])]).diff()
    return [(at // time, at % time, at % time + n) for at, n in zip(start_G.tolist(), length_G.tolist(), strict=True)]


def _attend_by_episode(q: Tensor, k: Tensor, v: Tensor, episodes: list[tuple[int, int, int]], dropout: float) -> Tensor:
    attended = []
    for row, first, end in episodes:
        q_1HLK, k_1HLK, v_1HLK = (x_BHTK[row : row + 1, :, first:end] for x_BHTK in (q, k, v))
        attended.append(F.scaled_dot_product_attention(q_1HLK, k_1HLK, v_1HLK, None, dropout, is_causal=True))
    batch, heads, time, size = q.shape
    return torch.cat([y_1HLK[0].transpose(0, 1) for y_1HLK in attended]).view(batch, time, heads, size)


def zero_bias(module: nn.Module) -> None:
    """Every bias in the module starts at 0."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
