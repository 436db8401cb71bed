"""What a core is built from: its kind, its shape and the style of its blocks."""

from dataclasses import dataclass
from typing import Literal

from understudy.config import in_range
from understudy.errors import ConfigError

CoreKind = Literal["transformer", "lstm"]
Size = Literal["tiny", "small", "base", "gpt1"]
BlockKind = Literal["modern", "gpt1", "gpt2"]


@dataclass(frozen=True)
class CoreSpec:
    """A fully resolved core: what a model is built from and what a checkpoint records."""

    core: Literal[CoreKind, "none"]
    """None: only a policy can do without a core."""
    block: BlockKind
    layers: int
    width: int
    heads: int
    context: int
    dropout: float = 0.0


@dataclass(frozen=True)
class BlockStyle:
    """The features in which Transformer blocks differ."""

    pre_norm: bool = False
    rms_norm: bool = False
    rotary: bool = False
    qk_norm: bool = False
    short_convolution: bool = False
    bias: bool = False
    squared_relu: bool = False


STYLES: dict[BlockKind, BlockStyle] = {
    "gpt1": BlockStyle(bias=True),
    "gpt2": BlockStyle(bias=True, pre_norm=True),
    "modern": BlockStyle(
        pre_norm=True, rms_norm=True, rotary=True, qk_norm=True, short_convolution=True, squared_relu=True
    ),
}

# LSTM widths give about the parameters of the Transformer of the same name: 8 D² per layer against 12 D².
SHAPES: dict[tuple[str, str], dict[str, int]] = {
    ("transformer", "tiny"): dict(layers=4, width=128, heads=4, context=256),
    ("transformer", "small"): dict(layers=3, width=224, heads=2, context=512),
    ("transformer", "base"): dict(layers=6, width=384, heads=6, context=512),
    ("transformer", "gpt1"): dict(layers=12, width=768, heads=12, context=512),
    ("lstm", "tiny"): dict(layers=2, width=224, heads=1, context=256),
    ("lstm", "small"): dict(layers=2, width=336, heads=1, context=512),
    ("lstm", "base"): dict(layers=2, width=816, heads=1, context=512),
    ("lstm", "gpt1"): dict(layers=2, width=2304, heads=1, context=512),
}


@dataclass(frozen=True)
class CoreConfig:
    """Which core, and how large: one dial, every part of which can be overridden."""

    core: CoreKind = "transformer"
    """Kind of core: a Transformer (attention with a key/value cache) or an LSTM (constant state)."""
    size: Size = "small"
    """Size dial: tiny 0.8M, small 1.8M, base 10.6M, gpt1 85M parameters, embeddings not counted."""
    block: BlockKind = "modern"
    """Block (Transformer only): modern (pre-RMSNorm, rotary, QK norm, no biases), gpt1 (post-LN) or gpt2 (pre-LN)."""
    layers: int | None = None
    """Number of layers; by default the size's."""
    width: int | None = None
    """Width of the residual stream or of the LSTM's state; by default the size's."""
    heads: int | None = None
    """Attention heads (Transformer only); by default the size's."""
    context: int | None = None
    """Longest sequence in tokens; by default the size's."""
    dropout: float = 0.0
    """Share of activations dropped in training."""

    def resolved(self) -> CoreSpec:
        """Return the size's numbers with the overrides applied. Raises ConfigError for an impossible shape.

        >>> CoreConfig(size="tiny", width=64).resolved().layers
        4
        """
        shape = dict(SHAPES[self.core, self.size])
        for name in shape:
            if (given := getattr(self, name)) is not None:
                in_range(name, given, 1)
                shape[name] = given
        check_dropout(self.dropout)
        if self.core == "transformer" and shape["width"] % (2 * shape["heads"]):
            raise ConfigError(
                f"--width {shape['width']} does not split into {shape['heads']} heads of even size; "
                f"try --width {2 * shape['heads'] * max(1, round(shape['width'] / (2 * shape['heads'])))}"
            )
        return CoreSpec(core=self.core, block=self.block, dropout=self.dropout, **shape)


def check_dropout(share: float) -> None:
    """Raise ConfigError unless `share` is a dropout rate."""
    in_range("dropout", share, 0, 1, below=True)
