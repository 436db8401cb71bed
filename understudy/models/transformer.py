"""The Transformer core: GPT-1's block, GPT-2's and the modern one by configuration, with a preallocated cache.

Shape suffixes: B batch rows, T time steps, D width, L layers, H heads, K head size, S cache slots.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.lab.errors import TooLongError
from understudy.models.cache import Cache, Layout, Write, layout_cached, positions, same_episode
from understudy.models.cores import BlockKind, Core, CoreSpec
from understudy.models.device import compute_dtype, cpu_has_amx
from understudy.models.functional import rms_norm, squared_relu

RECENT = 3
"""How many inputs back the short convolution reaches."""


@dataclass(frozen=True)
class BlockStyle:
    """What tells one kind of Transformer block from another."""

    pre_norm: bool
    rms_norm: bool
    rotary: bool
    qk_norm: bool
    short_convolution: bool
    bias: bool
    squared_relu: bool


STYLES: dict[BlockKind, BlockStyle] = {
    "gpt1": BlockStyle(
        pre_norm=False,
        rms_norm=False,
        rotary=False,
        qk_norm=False,
        short_convolution=False,
        bias=True,
        squared_relu=False,
    ),
    "gpt2": BlockStyle(
        pre_norm=True,
        rms_norm=False,
        rotary=False,
        qk_norm=False,
        short_convolution=False,
        bias=True,
        squared_relu=False,
    ),
    "modern": BlockStyle(
        pre_norm=True, rms_norm=True, rotary=True, qk_norm=True, short_convolution=True, bias=False, squared_relu=True
    ),
}


class Transformer(Core):
    """Decoder-only Transformer (Vaswani 2017; Radford 2018) whose rows can be reset at any step.

    >>> from understudy.models.cores import CoreConfig
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
        self.blocks = nn.ModuleList(Block(spec, self.style, layer) for layer in range(spec.layers))
        self.drop = nn.Dropout(spec.dropout)
        self.positions = None if self.style.rotary else nn.Parameter(torch.zeros(spec.context, spec.width))
        if self.positions is not None:
            nn.init.normal_(self.positions, std=0.02)
        # A pre-norm stream is normalised once more at the end; the modern one at its start too, since its
        # embeddings begin far smaller than what the blocks add.
        self.norm_in = _norm(spec.width, self.style) if self.style.rms_norm else nn.Identity()
        self.norm_out = _norm(spec.width, self.style) if self.style.pre_norm else nn.Identity()
        # Each input is joined by a share of the few before it, channel by channel. What copying needs to know (which
        # token came after which) is there from the first layer on, and is learned in a fraction of the steps
        # (short convolution: Fu 2023, "H3"; token shift: Peng 2023, "RWKV").
        self.taps_RD = nn.Parameter(torch.zeros(RECENT, spec.width)) if self.style.short_convolution else None
        if self.taps_RD is not None:
            nn.init.normal_(self.taps_RD, std=0.5)
        self._rotations: tuple[Tensor, Tensor] | None = None

    def initial_state(self, batch_size: int, max_len: int | None = None) -> Cache:
        """An empty cache with room for `max_len` tokens a row (default: the context)."""
        max_len = self.context if max_len is None else max_len
        if max_len > self.context:
            raise TooLongError(f"{max_len} tokens do not fit the model's context of {self.context}")
        weight = next(self.parameters())
        shape = (len(self.blocks), batch_size, self.heads, max_len, self.head_size)
        length_B = torch.zeros(batch_size, dtype=torch.long, device=weight.device)
        recent_BRD = weight.new_zeros(batch_size, RECENT, self.heads * self.head_size)
        return Cache(weight.new_zeros(shape), weight.new_zeros(shape), length_B, recent_BRD)

    def forward(
        self, x_BTD: Tensor, state: Cache | None = None, reset_BT: Tensor | None = None
    ) -> tuple[Tensor, Cache | None]:
        """See `Core.forward`. Raises TooLongError when an episode outgrows the context or the cache."""
        time = x_BTD.shape[1]
        recent_BRD = None if state is None else state.recent_BRD
        if state is None:
            layout, write = self._layout_fresh(x_BTD, reset_BT), None
            if time > self.context:
                raise TooLongError(f"{time} tokens do not fit the model's context of {self.context}")
        else:
            state, layout, write = layout_cached(state, time, reset_BT)
        if self.taps_RD is not None:
            x_BTD, recent_BRD = _convolved(x_BTD, recent_BRD, reset_BT, self.taps_RD)
            if state is not None:
                state.recent_BRD = recent_BRD
        x_BTD = self.norm_in(self.drop(self._withpositions(x_BTD, layout)))
        for index, block in enumerate(self.blocks):
            cached = None if state is None else (state.keys_LBHSK[index], state.values_LBHSK[index])
            x_BTD = block(x_BTD, layout, cached, write)
        return self.norm_out(x_BTD), state

    def _layout_fresh(self, x_BTD: Tensor, reset_BT: Tensor | None) -> Layout:
        if reset_BT is None:
            return Layout(position_BT=None, mask_B1TS=None, causal=True)
        # Rotary positions matter only relative to one another, so they need not start again at a reset.
        position_BT = None if self.style.rotary else positions(reset_BT)[0]
        if x_BTD.device.type == "cpu":  # episode by episode: far less to compute than a masked square
            return Layout(position_BT, mask_B1TS=None, causal=True, pieces=_episode_lengths(reset_BT))
        return Layout(position_BT, same_episode(reset_BT)[:, None], causal=False)

    def _withpositions(self, x_BTD: Tensor, layout: Layout) -> Tensor:
        """Add learned positions, or note the rotations of rotary ones in the layout."""
        time, position_BT = x_BTD.shape[1], layout.position_BT
        if self.positions is not None:
            learned = self.positions[:time] if position_BT is None else self.positions[position_BT]
            return x_BTD + learned
        cosine_SK, sine_SK = self._rotary_table(x_BTD)
        if position_BT is None:
            layout.cosine, layout.sine = cosine_SK[:time], sine_SK[:time]
        else:
            layout.cosine, layout.sine = cosine_SK[position_BT][:, None], sine_SK[position_BT][:, None]
        return x_BTD

    def _rotary_table(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of Su 2021 (base 10,000), made once for each device and dtype."""
        device = x_BTD.device
        # Under autocast the queries and keys come in its dtype, and must not be widened by their rotation.
        dtype = compute_dtype(x_BTD)
        table = self._rotations
        if table is None or table[0].dtype != dtype or table[0].device != device:
            with torch.inference_mode(False):  # a table first made while sampling must serve training too
                frequency = 10_000.0 ** (-torch.arange(0, self.head_size, 2, dtype=torch.float64) / self.head_size)
                angle = torch.outer(torch.arange(self.context, dtype=torch.float64), frequency)
                cosine, sine = torch.cat([angle.cos()] * 2, dim=-1), torch.cat([-angle.sin(), angle.sin()], dim=-1)
                table = (cosine.to(device, dtype), sine.to(device, dtype))
            self._rotations = table
        return table


class Block(nn.Module):
    """Attention and MLP, each around a residual; the norms stand before them or after them."""

    def __init__(self, spec: CoreSpec, style: BlockStyle, layer: int):
        super().__init__()
        self.pre_norm = style.pre_norm
        self.attention = Attention(spec, style)
        self.mlp = MLP(spec, style)
        self.norm_1 = _norm(spec.width, style)
        self.norm_2 = _norm(spec.width, style)
        self._init_weights(spec, style)

    def _init_weights(self, spec: CoreSpec, style: BlockStyle) -> None:
        """N(0, 0.02) as GPT-1; GPT-2 scales what adds to the stream by 1/√(2L); modern: 1/√fan-in, scaled likewise."""
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            std = parameter.shape[1] ** -0.5 if style.rms_norm else 0.02
            if style.pre_norm and name.endswith("out.weight"):
                std /= math.sqrt(2 * spec.layers)
            nn.init.normal_(parameter, std=std)

    def forward(
        self, x_BTD: Tensor, layout: Layout, cached: tuple[Tensor, Tensor] | None, write: Write | None
    ) -> Tensor:
        """One layer on; `cached` holds the layer's keys and values, `write` says where the new ones go."""
        if self.pre_norm:
            x_BTD = x_BTD + self.attention(self.norm_1(x_BTD), layout, cached, write)
            return x_BTD + self.mlp(self.norm_2(x_BTD))
        x_BTD = self.norm_1(x_BTD + self.attention(x_BTD, layout, cached, write))
        return self.norm_2(x_BTD + self.mlp(x_BTD))


class Attention(nn.Module):
    """Causal multi-head attention, over the new tokens alone or over a cache too."""

    def __init__(self, spec: CoreSpec, style: BlockStyle):
        super().__init__()
        self.heads, self.head_size = spec.heads, spec.width // spec.heads
        self.qk_norm, self.dropout = style.qk_norm, spec.dropout
        self.qkv = nn.Linear(spec.width, 3 * spec.width, bias=style.bias)
        self.out = nn.Linear(spec.width, spec.width, bias=style.bias)
        self.drop = nn.Dropout(spec.dropout)
        _zero_bias(self)

    def forward(
        self, x_BTD: Tensor, layout: Layout, cached: tuple[Tensor, Tensor] | None, write: Write | None
    ) -> Tensor:
        """See `Block.forward`."""
        batch, time, width = x_BTD.shape
        qkv = self.qkv(x_BTD).view(batch, time, 3, self.heads, self.head_size)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if self.qk_norm:
            q, k = rms_norm(q), rms_norm(k)
        if layout.cosine is not None and layout.sine is not None:
            q, k = _rotate(q, layout.cosine, layout.sine), _rotate(k, layout.cosine, layout.sine)
        if cached is not None and write is not None:
            k, v = write(cached, k, v)
        dropout = self.dropout if self.training else 0.0
        if q.dtype == torch.bfloat16 and q.device.type == "cpu" and not cpu_has_amx():
            q, k, v = q.float(), k.float(), v.float()  # torch's attention is slower in bfloat16 there
        with torch.autocast(q.device.type, enabled=False):  # which would undo that
            if layout.pieces is not None:
                y_BTD = _attend_in_pieces(q, k, v, layout.pieces, dropout)
            else:
                y_BHTK = F.scaled_dot_product_attention(q, k, v, layout.mask_B1TS, dropout, layout.causal)
                y_BTD = y_BHTK.transpose(1, 2)
        return self.drop(self.out(y_BTD.reshape(batch, time, width)))


class MLP(nn.Module):
    """Two matrices four times as wide between; tanh GELU (GPT), or squared ReLU (So 2021), as good and cheaper."""

    def __init__(self, spec: CoreSpec, style: BlockStyle):
        super().__init__()
        self.squared_relu = style.squared_relu
        self.up = nn.Linear(spec.width, 4 * spec.width, bias=style.bias)
        self.out = nn.Linear(4 * spec.width, spec.width, bias=style.bias)
        self.drop = nn.Dropout(spec.dropout)
        _zero_bias(self)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Each position by itself."""
        up_BTF = self.up(x_BTD)
        up_BTF = squared_relu(up_BTF) if self.squared_relu else F.gelu(up_BTF, approximate="tanh")
        return self.drop(self.out(up_BTF))


def _convolved(
    x_BTD: Tensor, recent_BRD: Tensor | None, reset_BT: Tensor | None, taps_RD: Tensor
) -> tuple[Tensor, Tensor]:
    """Each input plus the R before it in its episode, weighted by channel; and the last R inputs, for what follows."""
    batch, time, width = x_BTD.shape
    if recent_BRD is None:
        recent_BRD = x_BTD.new_zeros(batch, RECENT, width)
    padded = torch.cat([recent_BRD, x_BTD], dim=1)
    since_BT1 = None
    if reset_BT is not None:
        fresh_BT, last_reset_BT = positions(reset_BT)
        since_BT1 = torch.where(last_reset_BT < 0, RECENT, fresh_BT)[:, :, None]  # steps since the episode's start
    y_BTD = x_BTD
    for back, tap_D in enumerate(taps_RD, start=1):
        before_BTD = padded[:, RECENT - back : RECENT - back + time]
        if since_BT1 is not None:
            before_BTD = before_BTD.masked_fill(since_BT1 < back, 0)
        y_BTD = torch.addcmul(y_BTD, before_BTD, tap_D)
    if since_BT1 is not None:
        age_1R1 = torch.arange(RECENT, 0, -1, device=x_BTD.device)[None, :, None]
        return y_BTD, padded[:, -RECENT:].masked_fill(since_BT1[:, -1:] + 1 < age_1R1, 0)
    return y_BTD, padded[:, -RECENT:]


def _episode_lengths(reset_BT: Tensor) -> list[int]:
    starts_BT = reset_BT.clone()
    starts_BT[:, 0] = True
    start_G = starts_BT.flatten().nonzero().squeeze(1)
    end = start_G.new_tensor([starts_BT.numel()])
    return torch.cat([start_G, end]).diff().tolist()


def _attend_in_pieces(q: Tensor, k: Tensor, v: Tensor, lengths: list[int], dropout: float) -> Tensor:
    """Causal attention within each episode; y_NHK over all rows' steps end to end."""
    q_pieces, k_pieces, v_pieces = (x_BHTK.transpose(1, 2).flatten(0, 1).split(lengths) for x_BHTK in (q, k, v))
    attended = [
        F.scaled_dot_product_attention(
            q_LHK.transpose(0, 1)[None], k_LHK.transpose(0, 1)[None], v_LHK.transpose(0, 1)[None], None, dropout, True
        )
        for q_LHK, k_LHK, v_LHK in zip(q_pieces, k_pieces, v_pieces, strict=True)
    ]
    return torch.cat([y_1HLK[0].transpose(0, 1) for y_1HLK in attended])


def _rotate(x_BHTK: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the pairs (x_i, x_{i+K/2}); `sine` carries the sign."""
    half = x_BHTK.shape[-1] // 2
    return x_BHTK * cosine + x_BHTK.roll(half, dims=-1) * sine


class RMSNorm(nn.Module):
    """Root-mean-square norm without a gain: the matrices that follow can scale."""

    def forward(self, x: Tensor) -> Tensor:
        """See `functional.rms_norm`; under autocast in its dtype, which the matrices want."""
        return rms_norm(x, compute_dtype(x))


def _norm(width: int, style: BlockStyle) -> nn.Module:
    return RMSNorm() if style.rms_norm else nn.LayerNorm(width, eps=1e-5)


def _zero_bias(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
