"""A model's weights as the decode step reads them: where they lie if they can be read there, else a copy."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from understudy.acting.native.plan import FORMATS, LAYER, MATRIX
from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTM
from understudy.models.transformer import Block, Transformer

BYTES = 64
"""Int8 rows are padded with zeros to a multiple of this."""


class Weights:
    """The tables of a model's matrices and of each layer's other weights; they hold what the tables point to."""

    def __init__(self, model: LanguageModel, format: str):
        self.format = format
        self._held: list[Tensor] = []
        core = model.core
        self.layers = np.zeros(model.spec.layers, LAYER)
        if isinstance(core, Transformer):
            matrices = [linear for block in core.blocks for linear in self._block(block)]
            for row, block in zip(self.layers, core.blocks, strict=True):
                self._fill_layer(row, block)
        else:
            assert isinstance(core, LSTM)
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

    @staticmethod
    def _block(block: nn.Module) -> list[tuple[Tensor, Tensor | None]]:
        assert isinstance(block, Block)
        linears = block.attention.qkv, block.attention.out, block.mlp.up, block.mlp.out
        return [(linear.weight, linear.bias) for linear in linears]

    def _fill_layer(self, row: np.void, block: nn.Module) -> None:
        assert isinstance(block, Block)
        for name, norm in (("norm_1", block.norm_1), ("norm_2", block.norm_2)):
            if isinstance(norm, nn.LayerNorm):
                row[f"{name}_gain"], row[f"{name}_bias"] = self.address(norm.weight), self.address(norm.bias)
        for name, convolution in (("qkv", block.attention.convolution), ("mlp", block.mlp.convolution)):
            if convolution is not None:
                row[f"{name}_taps"] = self.address(convolution.taps_RD)

    def _fill_matrix(self, row: np.void, weight: Tensor, bias: Tensor | None) -> None:
        row["rows"], row["columns"] = weight.shape
        row["bias"] = self.address(torch.zeros(len(weight)) if bias is None else bias)
        if self.format == "int8":
            packed, scales, offsets = to_int8(weight.detach())
            row["columns"] = packed.shape[1]
            row["scales"], row["offsets"] = self.address(scales), self.address(offsets, torch.int32)
            row["address"], row["stride"] = self.address(packed, torch.int8), packed.shape[1]
        else:
            dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.format]
            row["address"], row["stride"] = self.address(weight, dtype), weight.shape[1] * dtype.itemsize


def _gates(rnn: nn.LSTM) -> Iterator[tuple[Tensor, Tensor | None]]:
    for layer in range(rnn.num_layers):
        for kind in ("ih", "hh"):
            yield getattr(rnn, f"weight_{kind}_l{layer}"), getattr(rnn, f"bias_{kind}_l{layer}")


def to_int8(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix in int8 with a scale for each row, columns padded with zeros; and 128 times each row's sum.

    >>> packed, scales, offsets = to_int8(torch.tensor([[1.0, -0.5]]))
    >>> packed[0, :3].tolist(), offsets.tolist()
    ([127, -64, 0], [8064])
    """
    weight = weight.float()
    scales = weight.abs().amax(dim=1).clamp_min(1e-30) / 127
    columns = -(-weight.shape[1] // BYTES) * BYTES
    packed = torch.zeros(len(weight), columns, dtype=torch.int8)
    packed[:, : weight.shape[1]] = (weight / scales[:, None]).round()
    return packed, scales, 128 * packed.sum(dim=1, dtype=torch.int32)


def format_number(format: str) -> int:
    """The format as the step knows it."""
    return FORMATS.index(format)
