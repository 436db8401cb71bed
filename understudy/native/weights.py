"""A model's weights as the decode step reads them: where they lie if they can be read there, else a copy."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTM
from understudy.models.transformer import Block, Transformer
from understudy.native.layout import BLOCK, FORMATS, LAYER, MATRIX, PLAN, ROWS


class Weights:
    """A model's part in the tables, the same for all that decode with it; it holds what the tables point to."""

    def __init__(self, model: LanguageModel, format: str):
        self.format = format
        self._held: list[Tensor] = []
        core, spec = model.core, model.spec
        self.plan = np.zeros(1, PLAN)
        self.layers = np.zeros(spec.layers, LAYER)
        fill(self.plan, format=FORMATS.index(format), vocabulary=model.vocab_size, width=spec.width)
        fill(self.plan, layers=spec.layers, heads=spec.heads, head_size=spec.width // spec.heads)
        self._fill_embedding(model.embedding.weight)
        if isinstance(core, Transformer):
            self._fill_transformer(core)
            matrices = [linear for block in core.blocks for linear in _linears(block)]
        else:
            assert isinstance(core, LSTM)
            fill(self.plan, lstm=True, rms_norm=True)
            matrices = list(_gates(core.rnn))
        self.matrices = np.zeros(len(matrices) + 1, MATRIX)
        for row, (weight, bias) in zip(self.matrices, [*matrices, (model.embedding.weight, None)], strict=True):
            self._fill_matrix(row, weight, bias)

    def address(self, tensor: Tensor | None, dtype: torch.dtype | None = torch.float32) -> int:
        """Where the tensor lies, or a copy in another number format; 0 for none."""
        if tensor is None:
            return 0
        tensor = tensor.detach().to(dtype or tensor.dtype).contiguous()
        self._held.append(tensor)
        return tensor.data_ptr()

    def _fill_embedding(self, weight: Tensor) -> None:
        fill(self.plan, embedding=self.address(weight, None), embedding_is_half=weight.dtype == torch.bfloat16)
        fill(self.plan, embedding_stride=weight.shape[1] * weight.element_size())

    def _fill_transformer(self, core: Transformer) -> None:
        style = core.style
        fill(self.plan, pre_norm=style.pre_norm, rms_norm=style.rms_norm, qk_norm=style.qk_norm)
        fill(self.plan, squared_relu=style.squared_relu)
        if core.positions is not None:
            fill(self.plan, positions=self.address(core.positions))
        else:
            cosine_SK, sine_SK = core.rotary_table(torch.device("cpu"), torch.float32)
            fill(self.plan, cosine=self.address(cosine_SK), sine=self.address(sine_SK))
        if isinstance(core.norm_out, nn.LayerNorm):
            fill(self.plan, norm_gain=self.address(core.norm_out.weight), norm_bias=self.address(core.norm_out.bias))
        if core.convolution is not None:
            fill(self.plan, taps=self.address(core.convolution.taps_RD))
        for row, block in zip(self.layers, core.blocks, strict=True):
            self._fill_layer(row, block)

    def _fill_layer(self, row: np.void, block: nn.Module) -> None:
        assert isinstance(block, Block)
        for name, norm in (("norm_1", block.norm_1), ("norm_2", block.norm_2)):
            if isinstance(norm, nn.LayerNorm):
                row[f"{name}_gain"], row[f"{name}_bias"] = self.address(norm.weight), self.address(norm.bias)
        for name, convolution in (("qkv", block.attention.convolution), ("mlp", block.mlp.convolution)):
            if convolution is not None:
                row[f"{name}_taps"] = self.address(convolution.taps_RD)

    def _fill_matrix(self, row: np.void, weight: Tensor, bias: Tensor | None) -> None:
        row["rows"], columns = weight.shape
        weight = weight.detach()
        if self.format == "float32":
            row["address"], row["stride"] = self.address(weight), 4 * columns
        elif self.format == "bfloat16":
            packed = by_fours(pair_halves(weight))
            columns = packed.shape[1] * BLOCK // 2
            row["address"], row["stride"] = self.address(packed, None), 2 * columns
        else:
            whole, scales, offsets = to_int8(weight)
            packed = by_fours(whole)
            columns = row["stride"] = packed.shape[1] * BLOCK
            row["address"] = self.address(packed, None)
            row["scales"], row["offsets"] = self.address(_more(scales)), self.address(_more(offsets), None)
        row["columns"] = columns
        row["bias"] = self.address(_more(torch.zeros(len(weight)) if bias is None else bias))


def fill(table: np.ndarray, **fields: int) -> None:
    """Set fields of a table of one row."""
    for name, value in fields.items():
        table[name] = value


def _linears(block: nn.Module) -> list[tuple[Tensor, Tensor | None]]:
    assert isinstance(block, Block)
    linears = block.attention.qkv, block.attention.out, block.mlp.up, block.mlp.out
    return [(linear.weight, linear.bias) for linear in linears]


def _gates(rnn: nn.LSTM) -> Iterator[tuple[Tensor, Tensor | None]]:
    for layer in range(rnn.num_layers):
        for kind in ("ih", "hh"):
            yield getattr(rnn, f"weight_{kind}_l{layer}"), getattr(rnn, f"bias_{kind}_l{layer}")


def to_int8(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows in int8, the scale of each, and 128 times each one's sum.

    >>> whole, scales, offsets = to_int8(torch.tensor([[1.0, -0.5]]))
    >>> whole.tolist(), offsets.tolist()
    ([[127, -64]], [8064])
    """
    rows = rows.float()
    scales = rows.abs().amax(dim=-1).clamp_min(1e-30) / 127
    whole = (rows / scales[..., None]).round().to(torch.int8)
    return whole, scales, 128 * whole.sum(dim=-1, dtype=torch.int32)


def pair_halves(rows: Tensor) -> Tensor:
    """Rows in bfloat16, filled up with zeros, of each 32 numbers the first half in turn with the second.

    >>> pair_halves(torch.arange(32.0)[None])[0, :4].tolist()
    [0.0, 16.0, 1.0, 17.0]
    """
    rows = F.pad(rows, (0, -rows.shape[-1] % 32)).bfloat16()
    return rows.unflatten(-1, (-1, 2, 16)).transpose(-1, -2).flatten(-3)


def by_fours(rows: Tensor) -> Tensor:
    """Rows four at a time, 64 bytes of each in turn, filled up with zeros: (…, groups, blocks, 4, 64 bytes).

    >>> by_fours(torch.zeros(5, 100, dtype=torch.int8)).shape
    torch.Size([2, 2, 4, 64])
    """
    block = BLOCK // rows.element_size()
    rows = F.pad(rows, (0, -rows.shape[-1] % block, 0, -rows.shape[-2] % ROWS))
    return rows.unflatten(-1, (-1, block)).unflatten(-3, (-1, ROWS)).transpose(-3, -2).contiguous()


def _more(numbers: Tensor) -> Tensor:
    """Filled up with zeros to whole groups of rows."""
    return F.pad(numbers.detach(), (0, -len(numbers) % ROWS))
