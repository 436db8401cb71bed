"""A model's weights as the decode step reads them: in place where their format allows it, else as a copy."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.models.huge_pages import HugePages
from understudy.models.language_model import LanguageModel
from understudy.models.lstm import LSTM
from understudy.models.transformer import Block, Transformer
from understudy.native.layout import BLOCK, FORMATS, GELU, LAYER, MATRIX, PLAN, ROWS, SQUARED_RELU


class Weights:
    """A model's part of the tables, shared by all sessions. It holds the tensors that the tables point to."""

    def __init__(self, model: LanguageModel, format: str):
        self.format = format
        self._held: list[Tensor] = []
        self._pages = HugePages()
        core, spec, embedding = model.core, model.spec, model.embedding.weight
        self.plan, self.layers = np.zeros(1, PLAN), np.zeros(spec.layers, LAYER)
        fill(self.plan, format=FORMATS.index(format), vocabulary=model.vocab_size, width=spec.width)
        fill(self.plan, layers=spec.layers, heads=spec.heads, head_size=spec.width // spec.heads)
        fill(self.plan, embedding=self._address(embedding, None), embedding_is_half=embedding.dtype == torch.bfloat16)
        fill(self.plan, embedding_stride=embedding.shape[1] * embedding.element_size())
        if isinstance(core, Transformer):
            matrices = self._fill_transformer(core)
        else:
            assert isinstance(core, LSTM)
            fill(self.plan, lstm=True, rms_norm=True)
            names = [f"{kind}_l{layer}" for layer in range(spec.layers) for kind in ("ih", "hh")]
            matrices = [
                self._matrix(getattr(core.rnn, f"weight_{name}"), getattr(core.rnn, f"bias_{name}")) for name in names
            ]
        self.matrices = np.concatenate([*matrices, self._matrix(embedding, None)])

    def _address(self, tensor: Tensor, dtype: torch.dtype | None = torch.float32) -> int:
        """Return where the tensor lies, or a copy of it in another number format."""
        tensor = tensor.detach().to(dtype or tensor.dtype).contiguous()
        self._held.append(tensor)
        return tensor.data_ptr()

    def _norm(self, norm: nn.Module) -> tuple[int, int]:
        """Return where the gain and the bias of a norm lie, 0 where it has none."""
        return (self._address(norm.weight), self._address(norm.bias)) if isinstance(norm, nn.LayerNorm) else (0, 0)

    def _fill_transformer(self, core: Transformer) -> list[np.ndarray]:
        """Fill in the plan and the layers; return the matrices."""
        style = core.style
        fill(self.plan, pre_norm=style.pre_norm, rms_norm=style.rms_norm, qk_norm=style.qk_norm)
        if core.positions is not None:
            fill(self.plan, positions=self._address(core.positions))
        else:
            cosine_SK, sine_SK = core.rotary_table(torch.device("cpu"), torch.float32)
            fill(self.plan, cosine=self._address(cosine_SK), sine=self._address(sine_SK))
        if core.convolution is not None:
            fill(self.plan, taps=self._address(core.convolution.taps_RD))

        # A norm stands after each branch; in a pre-norm model it is the next branch's, and the very first stands alone.
        blocks = [block for block in core.blocks if isinstance(block, Block)]
        norms = [self._norm(norm) for block in blocks for norm in (block.norm_1, block.norm_2)]
        if style.pre_norm:
            (gain, bias), *norms = *norms, self._norm(core.norm_out)
            fill(self.plan, start_gain=gain, start_bias=bias)

        matrices = []
        activation = SQUARED_RELU if style.squared_relu else GELU
        for row, block, middle, end in zip(self.layers, blocks, norms[::2], norms[1::2], strict=True):
            row["middle_gain"], row["middle_bias"] = middle
            row["end_gain"], row["end_bias"] = end
            qkv, out, up, down = block.attention.qkv, block.attention.out, block.mlp.up, block.mlp.out
            convolutions = block.attention.convolution, block.mlp.convolution
            taps, row["mlp_taps"] = (self._address(one.taps_RD) if one else 0 for one in convolutions)
            matrices += [
                self._matrix(qkv.weight, qkv.bias, taps=taps),
                self._matrix(out.weight, out.bias),
                self._matrix(up.weight, up.bias, activation=activation),
                self._matrix(down.weight, down.bias),
            ]
        return matrices

    def _matrix(self, weight: Tensor, bias: Tensor | None, **more: int) -> np.ndarray:
        """Return a matrix's row of the table."""
        row, weight = np.zeros(1, MATRIX), weight.detach()
        rows, columns = weight.shape
        if self.format == "float32":
            fill(row, address=self._address(weight), stride=4 * columns)
        elif self.format == "bfloat16":
            packed = by_fours(pair_halves(weight))
            columns = packed.shape[1] * BLOCK // 2
            fill(row, address=self._address(self._pages.copy(packed), None), stride=2 * columns)
        else:
            whole, scales, offsets = to_int8(weight)
            packed = by_fours(whole)
            columns = packed.shape[1] * BLOCK
            fill(row, address=self._address(self._pages.copy(packed), None), stride=columns)
            fill(row, scales=self._address(_padded(scales)), offsets=self._address(_padded(offsets), None))
        bias = torch.zeros(rows) if bias is None else bias
        fill(row, rows=rows, columns=columns, bias=self._address(_padded(bias)), **more)
        return row


def fill(table: np.ndarray, **fields: int) -> None:
    """Set fields of a table of one row."""
    for name, value in fields.items():
        table[name] = value


def to_int8(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows in int8, the scale of each, and 128 · the sum of each.

    >>> whole, scales, offsets = to_int8(torch.tensor([[1.0, -0.5]]))
    >>> whole.tolist(), offsets.tolist()
    ([[127, -64]], [8064])
    """
    rows = rows.float()
    scales = rows.abs().amax(dim=-1).clamp_min(1e-30) / 127
    whole = (rows / scales[..., None]).round().to(torch.int8)
    return whole, scales, 128 * whole.sum(dim=-1, dtype=torch.int32)


def pair_halves(rows: Tensor) -> Tensor:
    """Return rows in bfloat16, padded with zeros, with the two halves of each 32 numbers interleaved.

    >>> pair_halves(torch.arange(32.0)[None])[0, :4].tolist()
    [0.0, 16.0, 1.0, 17.0]
    """
    rows = F.pad(rows, (0, -rows.shape[-1] % 32)).bfloat16()
    return rows.unflatten(-1, (-1, 2, 16)).transpose(-1, -2).flatten(-3)


def by_fours(rows: Tensor) -> Tensor:
    """Return rows packed by fours, 64 bytes of each in turn, padded with zeros: (…, groups, blocks, 4, 64 bytes).

    >>> by_fours(torch.zeros(5, 100, dtype=torch.int8)).shape
    torch.Size([2, 2, 4, 64])
    """
    block = BLOCK // rows.element_size()
    rows = F.pad(rows, (0, -rows.shape[-1] % block, 0, -rows.shape[-2] % ROWS))
    return rows.unflatten(-1, (-1, block)).unflatten(-3, (-1, ROWS)).transpose(-3, -2).contiguous()


def _padded(numbers: Tensor) -> Tensor:
    """Pad one number per row with zeros to whole groups of rows."""
    return F.pad(numbers.detach(), (0, -len(numbers) % ROWS))
