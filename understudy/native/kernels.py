"""Products of four rows of a matrix with a few vectors: what nearly all of a decode step's time goes into.

A tile reads its rows once for all its vectors and prefetches the next ones while it computes. Formats:

- float32: the matrix as torch has it, row after row.
- bfloat16: widened in registers, so that only the weights are rounded.
- int8, with a scale per row. The vectors come in two bytes per number, high and low, so that they lose next to nothing.
  Sums of bytes are exact in any order.

In bfloat16 and int8 four rows lie together, 64 bytes of each in turn, so that memory is read in one stream, which the
processor predicts better than four side by side (docs/journal.md). `weights.py` packs them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
from llvmlite import ir
from numba import types
from numba.core import cgutils

from understudy.native import vectors as vec
from understudy.native.layout import BLOCK, ROWS

AHEAD = 8192
"""How far ahead of a stream memory is prefetched, in bytes."""
I8X64 = ir.VectorType(vec.I8, BLOCK)
FEATURES = llvmlite.binding.get_host_cpu_features()


class _Tile:
    """The part that tiles of all formats share: arguments, running sums and results."""

    def __init__(self, builder: ir.IRBuilder, rows: int, vectors: int, given: Sequence[ir.Value]):
        self.builder, self.rows, self.vectors = builder, rows, vectors
        self.matrix, self.stride, x, x_stride, self.columns, self.y, self.y_stride, self.bias, *self.rounding = given
        self.xs = [self.at(x, (x_stride, one)) for one in range(vectors)]
        self.sums: dict[tuple[int, int, int], ir.Value] = {}

    def at(self, address: ir.Value, *steps: tuple[ir.Value, int]) -> ir.Value:
        """Return the address after `number` steps of each `size`."""
        for size, number in steps:
            address = self.builder.add(address, self.builder.mul(size, vec.I64(number)))
        return address

    def make_sums(self, kind: ir.Type, parts: int) -> None:
        """Set the sums of each cell to zero, in several parts."""
        for row, one in self.cells():
            for part in range(parts):
                self.sums[row, one, part] = cgutils.alloca_once_value(self.builder, ir.Constant(kind, None))

    def cells(self) -> Iterator[tuple[int, int]]:
        """Return every (row, vector)."""
        return ((row, one) for row in range(self.rows) for one in range(self.vectors))

    def add_product(self, key: tuple[int, int, int], a: ir.Value, b: ir.Value) -> None:
        """Add a · b to a sum."""
        sums = vec.call(self.builder, "llvm.fmuladd.v16f32", vec.F32X16, a, b, self.builder.load(self.sums[key]))
        self.builder.store(sums, self.sums[key])

    def totals(self, one: int, part: int = 0) -> ir.Value:
        """Return a vector's totals: of four rows side by side, or of one row alone."""
        sums = [self.builder.load(self.sums[row, one, part]) for row in range(self.rows)]
        return vec.summed(self.builder, sums[0]) if self.rows == 1 else vec.summed_by_four(self.builder, sums)

    def finish(self, results: list[ir.Value]) -> None:
        """Write each vector's results with the rows' biases."""
        for one, value in enumerate(results):
            bias = vec.read(self.builder, self.bias, value.type)
            vec.write(self.builder, self.at(self.y, (self.y_stride, one)), self.builder.fadd(value, bias))


def _float_tile(tile: _Tile) -> None:
    builder = tile.builder
    tile.make_sums(vec.F32X16, 1)
    starts = [tile.at(tile.matrix, (tile.stride, row)) for row in range(tile.rows)]

    def accumulate(column: ir.Value, mask: ir.Value | None) -> None:
        def lanes(start: ir.Value) -> ir.Value:
            at = tile.at(start, (column, 4))
            return vec.read(builder, at, vec.F32X16) if mask is None else vec.read_part(builder, at, vec.F32X16, mask)

        xs = [lanes(start) for start in tile.xs]
        for row, start in enumerate(starts):
            # For one vector the processor's own prefetching is better.
            if tile.vectors > 1:
                vec.fetch(builder, tile.at(start, (column, 4), (tile.stride, tile.rows)))
            weights = lanes(start)
            for one, x in enumerate(xs):
                tile.add_product((row, one, 0), weights, x)

    # Whole vectors of columns, then the rest
    whole = builder.and_(tile.columns, vec.I64(-vec.LANES))
    with cgutils.for_range_slice(builder, vec.I64(0), whole, vec.I64(vec.LANES), vec.I64) as (column, _):
        accumulate(column, None)
    rest = builder.sub(tile.columns, whole)
    with builder.if_then(builder.icmp_signed(">", rest, vec.I64(0)), likely=False):
        accumulate(whole, vec.first_lanes(builder, rest))
    tile.finish([tile.totals(one) for one in range(tile.vectors)])


def _half_tile(tile: _Tile) -> None:
    """A block of 64 bytes is 32 columns: the first 16 are lower halves of its words, the others upper halves."""
    builder = tile.builder
    tile.make_sums(vec.F32X16, 1)
    with cgutils.for_range_slice(builder, vec.I64(0), tile.columns, vec.I64(BLOCK // 2), vec.I64) as (column, _):
        xs = [
            [vec.read(builder, tile.at(start, (column, 4), (vec.I64(BLOCK), part)), vec.F32X16) for part in (0, 1)]
            for start in tile.xs
        ]
        for row in range(tile.rows):
            at = tile.at(tile.matrix, (column, 2 * tile.rows), (vec.I64(BLOCK), row))
            vec.fetch(builder, builder.add(at, vec.I64(AHEAD)))
            words = vec.read(builder, at, vec.I32X16)
            for part, half in enumerate((vec.lower, vec.upper)):
                weights = half(builder, words)
                for one in range(tile.vectors):
                    tile.add_product((row, one, 0), weights, xs[one][part])
    tile.finish([tile.totals(one) for one in range(tile.vectors)])


def dot_bytes(builder: ir.IRBuilder, sums: ir.Value, positive: ir.Value, signed: ir.Value) -> ir.Value:
    """Add to each of 16 sums the products of four bytes 0…255 with four bytes −128…127."""
    if FEATURES.get("avx512vnni"):
        return vec.call(builder, "llvm.x86.avx512.vpdpbusd.512", vec.I32X16, sums, positive, signed)
    # Without that instruction: every fourth byte, widened
    for part in range(4):
        lanes = ir.Constant(vec.I32X16, list(range(part, BLOCK, 4)))
        a, b = (builder.shuffle_vector(x, ir.Constant(I8X64, ir.Undefined), lanes) for x in (positive, signed))
        sums = builder.add(sums, builder.mul(builder.zext(a, vec.I32X16), builder.sext(b, vec.I32X16)))
    return sums


def _byte_tile(tile: _Tile) -> None:
    builder, (scales, offsets, x_scales) = tile.builder, tile.rounding
    tile.make_sums(vec.I32X16, 2)
    with cgutils.for_range_slice(builder, vec.I64(0), tile.columns, vec.I64(BLOCK), vec.I64) as (column, _):
        xs = [
            [vec.read(builder, tile.at(builder.add(start, column), (tile.columns, part)), I8X64, 1) for part in (0, 1)]
            for start in tile.xs
        ]
        for row in range(tile.rows):
            at = tile.at(tile.matrix, (column, tile.rows), (vec.I64(BLOCK), row))
            vec.fetch(builder, builder.add(at, vec.I64(AHEAD)))
            weights = vec.read(builder, at, I8X64, 1)
            for one in range(tile.vectors):
                for part in (0, 1):
                    place = tile.sums[row, one, part]
                    builder.store(dot_bytes(builder, builder.load(place), xs[one][part], weights), place)
    # From sums to results: the high bytes count 128 times, and the offset takes back the 128 added to each byte.
    four_floats, four_numbers = ir.VectorType(vec.F32, ROWS), ir.VectorType(vec.I32, ROWS)
    offset, scale = vec.read(builder, offsets, four_numbers), vec.read(builder, scales, four_floats)
    results = []
    for one in range(tile.vectors):
        high, low = (builder.sitofp(builder.sub(tile.totals(one, part), offset), four_floats) for part in (0, 1))
        x_scale = vec.spread(builder, vec.read(builder, tile.at(x_scales, (vec.I64(4), one)), vec.F32), ROWS)
        whole = builder.fadd(builder.fmul(high, ir.Constant(four_floats, [128.0] * ROWS)), low)
        results.append(builder.fmul(whole, builder.fmul(scale, x_scale)))
    tile.finish(results)


def make_tile(kind: str, vectors: int, rows: int = ROWS) -> Any:
    """Make a tile for matrices in this format. It writes y[one][row] = matrix[row] · x[one] + bias[row].

    Its arguments are addresses and strides in bytes: matrix, stride, x, x_stride, columns, y, y_stride, bias, and for
    int8 the rows' scales, 128 · the sum of each row's weights, and the vectors' scales. Other formats ignore these.
    """
    fill_in = {"float32": _float_tile, "bfloat16": _half_tile, "int8": _byte_tile}[kind]
    return vec.instruction(types.void, *[types.int64] * 11)(
        lambda builder, *given: fill_in(_Tile(builder, rows, vectors, given))
    )
