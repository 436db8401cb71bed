"""The Transformer core: GPT-1's block, GPT-2's and the modern one by configuration, with a preallocated cache.

Shape suffixes: B batch rows, T time steps, D width, L layers, H heads, K head size, S cache slots.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from understudy.errors import TooLongError
from understudy.models import passes
from understudy.models.attention import Attention, zero_bias
from understudy.models.cache import AttentionInputs, Cache, layout_cached
from understudy.models.convolution import ConvState, ShortConvolution
from understudy.models.core import Core, positions, segment_mask, segments_in
from understudy.models.device import compute_dtype
from understudy.models.huge_pages import HugePages
from understudy.models.norm import RMSNorm
from understudy.models.spec import STYLES, BlockStyle, CoreSpec


class Transformer(Core):
    """Decoder-only Transformer (Vaswani 2017; Radford 2018) whose rows can be reset at any step.

    >>> from understudy.models.spec import CoreConfig
    >>> core = Transformer(CoreConfig(layers=1, width=8, heads=2, context=16).resolved())
    >>> state = core.initial_state(batch_size=2, max_len=16)
    >>> y_BTD, state = core(torch.zeros(2, 5, 8), state)
    >>> state.length_B
    tensor([5, 5])
    """

    def __init__(self, spec: CoreSpec):
        super().__init__()
        self.context = spec.context
        self.heads, self.head_size = spec.heads, spec.width // spec.heads
        self.style = STYLES[spec.block]
        self.convolution = ShortConvolution(spec.width, std=0.5) if self.style.short_convolution else None
        self.blocks = nn.ModuleList(Block(spec, self.style, layer) for layer in range(spec.layers))
        self.drop = nn.Dropout(spec.dropout)
        self.positions = None if self.style.rotary else nn.Parameter(torch.zeros(spec.context, spec.width))
        if self.positions is not None:
            nn.init.normal_(self.positions, std=0.02)
        # A pre-norm stream is normalised once more at the end; the modern one at its start too, since its
        # embeddings begin far smaller than what the blocks add.
        self.norm_in = _norm(spec.width, self.style) if self.style.rms_norm else nn.Identity()
        self.norm_out = _norm(spec.width, self.style) if self.style.pre_norm else nn.Identity()
        for slot, convolution in enumerate(self._convolutions()):
            convolution.slot = slot
        self._rotations: tuple[Tensor, Tensor] | None = None
        self.checkpoint_activations = False
        """Whether training keeps only what enters each block, and computes the rest again in the backward pass."""

    def initial_state(self, batch_size: int, max_len: int | None = None) -> Cache:
        """Return an empty cache with room for `max_len` tokens per row (default: the context)."""
        max_len = self.context if max_len is None else max_len
        if max_len > self.context:
            raise TooLongError(f"{max_len} tokens do not fit the model's context of {self.context}")
        weight = next(self.parameters())
        shape = (len(self.blocks), batch_size, self.heads, max_len, self.head_size)
        length_B = torch.zeros(batch_size, dtype=torch.long, device=weight.device)
        recent = tuple(weight.new_zeros(batch_size, *module.taps_RD.shape) for module in self._convolutions())
        # On a CPU the cache is float32 even where the weights are bfloat16: torch attends seven times faster to it.
        if weight.device.type == "cpu":
            pages, dtype = HugePages(), torch.promote_types(weight.dtype, torch.float32)
            return Cache(pages.zeros(shape, dtype), pages.zeros(shape, dtype), length_B, recent)
        return Cache(weight.new_zeros(shape), weight.new_zeros(shape), length_B, recent)

    def _convolutions(self) -> list[ShortConvolution]:
        return [module for module in self.modules() if isinstance(module, ShortConvolution)]

    @override
    def forward(
        self, x_BTD: Tensor, state: Cache | None = None, reset_BT: Tensor | None = None
    ) -> tuple[Tensor, Cache | None]:
        time = x_BTD.shape[1]
        if state is None:
            layout = self._layout_fresh(x_BTD, reset_BT)
            if time > self.context:
                raise TooLongError(f"{time} tokens do not fit the model's context of {self.context}")
        else:
            state, layout = layout_cached(state, time, reset_BT)
        layout.conv = ConvState(state.recent if state else (), reset_BT if self.convolution else None)
        if self.convolution is not None:
            x_BTD = self.convolution(x_BTD, layout.conv)
        x_BTD = self.norm_in(self.drop(self._with_positions(x_BTD, layout)))
        # Either keep all activations, or only what enters a block and compute the rest again (Chen 2016).
        again = self.checkpoint_activations and state is None and torch.is_grad_enabled()
        run = partial(checkpoint, use_reentrant=False) if again else lambda block, *inputs: block(*inputs)
        for index, block in enumerate(self.blocks):
            cached = None if state is None else (state.keys_LBHSK[index], state.values_LBHSK[index])
            x_BTD = run(block, x_BTD, layout, cached)
        if state is not None:
            state = replace(state, recent=tuple(layout.conv.after[slot] for slot in range(len(state.recent))))
        return self.norm_out(x_BTD), state

    def _layout_fresh(self, x_BTD: Tensor, reset_BT: Tensor | None) -> AttentionInputs:
        if reset_BT is None:
            return AttentionInputs(causal=True)
        # Rotary positions matter only relative to one another, so they need not start again at a reset.
        position_BT = None if self.style.rotary else positions(reset_BT)[0]
        if x_BTD.device.type == "cpu":  # segment by segment: far less to compute than a masked square
            return AttentionInputs(position_BT, causal=True, segments=segments_in(reset_BT))
        return AttentionInputs(position_BT, segment_mask(reset_BT)[:, None])

    def _with_positions(self, x_BTD: Tensor, layout: AttentionInputs) -> Tensor:
        """Add learned positions, or put the rotations of rotary ones into the layout."""
        time, position_BT = x_BTD.shape[1], layout.position_BT
        if self.positions is not None:
            learned = self.positions[:time] if position_BT is None else F.embedding(position_BT, self.positions)
            return x_BTD + learned
        # Under autocast the queries and keys come in its dtype, and must not be widened by their rotation.
        table = self.rotary_table(x_BTD.device, compute_dtype(x_BTD))
        cosine, sine = (part[:time] if position_BT is None else part[position_BT][:, None] for part in table)
        layout.rotation = cosine, sine
        return x_BTD

    def rotary_table(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the cosines and sines of Su 2021 (base 10,000), made once per device and dtype.

        Half of each head is rotated; the other half matches content at any distance (Black 2022, "GPT-NeoX").
        """
        table = self._rotations
        if table is None or table[0].dtype != dtype or table[0].device != device:
            with torch.inference_mode(False):  # a table first made while sampling must serve training too
                turned = -(-self.head_size // 4)
                frequency = torch.zeros(self.head_size // 2, dtype=torch.float64)
                frequency[:turned] = 10_000.0 ** (-torch.arange(turned, dtype=torch.float64) / turned)
                angle = torch.outer(torch.arange(self.context, dtype=torch.float64), frequency)
                cosine, sine = torch.cat([angle.cos()] * 2, dim=-1), torch.cat([-angle.sin(), angle.sin()], dim=-1)
                table = (cosine.to(device, dtype), sine.to(device, dtype))
            self._rotations = table
        return table


class Block(nn.Module):
    """Attention and MLP, each with a residual connection, and norms before or after them."""

    def __init__(self, spec: CoreSpec, style: BlockStyle, layer: int):
        super().__init__()
        self.pre_norm = style.pre_norm
        self.attention = Attention(spec, style)
        self.mlp = MLP(spec, style)
        self.norm_1 = _norm(spec.width, style)
        self.norm_2 = _norm(spec.width, style)
        # N(0, 0.02) as GPT-1; GPT-2 scales what adds to the stream by 1/√(2L); modern: 1/√fan-in, scaled likewise.
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            std = parameter.shape[1] ** -0.5 if style.rms_norm else 0.02
            if style.pre_norm and name.endswith("out.weight"):
                std /= math.sqrt(2 * spec.layers)
            nn.init.normal_(parameter, std=std)

    def forward(self, x_BTD: Tensor, layout: AttentionInputs, cached: tuple[Tensor, Tensor] | None) -> Tensor:
        """Run one layer; `cached` are its keys and values, if there is a cache."""
        if self.pre_norm:
            x_BTD = x_BTD + self.attention(self.norm_1(x_BTD), layout, cached)
            return x_BTD + self.mlp(self.norm_2(x_BTD), layout)
        x_BTD = self.norm_1(x_BTD + self.attention(x_BTD, layout, cached))
        return self.norm_2(x_BTD + self.mlp(x_BTD, layout))


class MLP(nn.Module):
    """Two matrices, four times as wide between, with tanh GELU (GPT) or squared ReLU (So 2021: as good and cheaper)."""

    def __init__(self, spec: CoreSpec, style: BlockStyle):
        super().__init__()
        self.squared_relu = style.squared_relu
        self.convolution = ShortConvolution(spec.width, std=0.1) if style.short_convolution else None
        self.up = nn.Linear(spec.width, 4 * spec.width, bias=style.bias)
        self.out = nn.Linear(4 * spec.width, spec.width, bias=style.bias)
        self.drop = nn.Dropout(spec.dropout)
        zero_bias(self)

    @override
    def forward(self, x_BTD: Tensor, layout: AttentionInputs) -> Tensor:
        if self.convolution is not None:
            x_BTD = self.convolution(x_BTD, layout.conv)
        up_BTF = self.up(x_BTD)
        up_BTF = squared_relu(up_BTF) if self.squared_relu else gelu(up_BTF)
        return self.drop(self.out(up_BTF))


class _SquaredReLUFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        return positive * positive  # square() is a slower kernel

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return (gradients[0] * positive).mul_(2)


def squared_relu(x: Tensor) -> Tensor:
    """Return max(x, 0)², elementwise (So 2021, "Primer").

    >>> squared_relu(torch.tensor([-1.0, 3.0]))
    tensor([0., 9.])
    """
    if passes.fits(x):
        return passes.squared_relu(x)
    y: Tensor = _SquaredReLUFunction.apply(x)
    return y


def gelu(x: Tensor) -> Tensor:
    """Return the tanh form of GELU, elementwise (Hendrycks 2016)."""
    return passes.gelu(x) if passes.fits(x) else F.gelu(x, approximate="tanh")


def _norm(width: int, style: BlockStyle) -> nn.Module:
    return RMSNorm() if style.rms_norm else nn.LayerNorm(width, eps=1e-5)
