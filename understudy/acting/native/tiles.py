"""Products of a few rows of a matrix with a few vectors: what nearly all of a decode step's time goes into.

A tile reads its rows of the matrix once, for all its vectors. Formats of the matrix: float32, bfloat16 (widened in
registers, so that nothing but the weights is rounded), and int8 with a scale for each row. For int8 the vectors come
in two bytes a number, high and low, so that they lose next to nothing; sums of bytes are exact in any order.
"""

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.extending import intrinsic

from understudy.acting.native.vectors import (
    F32,
    F32X16,
    I8,
    I16X16,
    I32,
    I32X16,
    I64,
    LANES,
    call,
    first_lanes,
    read,
    read_part,
    summed,
    widened,
    write,
)

BYTES = 64
"""Int8 rows are padded with zeros to a multiple of this."""
I8X64 = ir.VectorType(I8, BYTES)
FEATURES = llvmlite.binding.get_host_cpu_features()


class _Tile:
    """Builds one tile; see `make_tile`."""

    def __init__(self, builder: ir.IRBuilder, rows: int, vectors: int, sums: ir.Type, number: int):
        self.builder, self.rows, self.vectors = builder, rows, vectors
        self.cells = [(row, one) for row in range(rows) for one in range(vectors)]
        self.sums = {
            (*cell, part): cgutils.alloca_once_value(builder, ir.Constant(sums, None))
            for cell in self.cells
            for part in range(number)
        }

    def starts(self, address: ir.Value, stride: ir.Value, count: int) -> list[ir.Value]:
        """Addresses of the first `count` rows."""
        return [self.builder.add(address, self.builder.mul(stride, I64(number))) for number in range(count)]

    def sum(self, key: tuple[int, int, int]) -> ir.Value:
        """A cell's sum over all lanes."""
        return summed(self.builder, self.builder.load(self.sums[key]))


def _float_tile(builder: ir.IRBuilder, half: bool, rows: int, vectors: int, given: list[ir.Value]) -> None:
    matrix, matrix_stride, x, x_stride, columns, y, y_stride, bias = given
    tile = _Tile(builder, rows, vectors, F32X16, 1)
    row_starts, x_starts = tile.starts(matrix, matrix_stride, rows), tile.starts(x, x_stride, vectors)
    size = 2 if half else 4
    kind = I16X16 if half else F32X16

    def accumulate(column: ir.Value, mask: ir.Value | None) -> None:
        def lanes(start: ir.Value, size: int, kind: ir.VectorType) -> ir.Value:
            at = builder.add(start, builder.mul(column, I64(size)))
            return read(builder, at, kind, size) if mask is None else read_part(builder, at, kind, mask)

        xs = [lanes(start, 4, F32X16) for start in x_starts]
        for row, start in enumerate(row_starts):
            weights = lanes(start, size, kind)
            if half:
                weights = widened(builder, weights)
            for one, values in enumerate(xs):
                place = tile.sums[row, one, 0]
                sums = call(builder, "llvm.fmuladd.v16f32", F32X16, weights, values, builder.load(place))
                builder.store(sums, place)

    whole = builder.and_(columns, I64(-LANES))
    with cgutils.for_range_slice(builder, I64(0), whole, I64(LANES), I64) as (column, _):
        accumulate(column, None)
    rest = builder.sub(columns, whole)
    with builder.if_then(builder.icmp_signed(">", rest, I64(0)), likely=False):
        accumulate(whole, first_lanes(builder, rest))
    biases = [read(builder, builder.add(bias, I64(4 * row)), F32) for row in range(rows)]
    for row, one in tile.cells:
        at = builder.add(builder.add(y, builder.mul(y_stride, I64(one))), I64(4 * row))
        write(builder, at, builder.fadd(tile.sum((row, one, 0)), biases[row]))


def dot_bytes(builder: ir.IRBuilder, sums: ir.Value, positive: ir.Value, signed: ir.Value) -> ir.Value:
    """Sums of 16 lanes, each plus the products of four bytes 0…255 with four bytes −128…127."""
    if FEATURES.get("avx512vnni"):
        return call(builder, "llvm.x86.avx512.vpdpbusd.512", I32X16, sums, positive, signed)
    for part in range(4):
        lanes = ir.Constant(I32X16, list(range(part, BYTES, 4)))
        a, b = (builder.shuffle_vector(x, ir.Constant(I8X64, ir.Undefined), lanes) for x in (positive, signed))
        sums = builder.add(sums, builder.mul(builder.zext(a, I32X16), builder.sext(b, I32X16)))
    return sums


def _byte_tile(builder: ir.IRBuilder, rows: int, vectors: int, given: list[ir.Value]) -> None:
    matrix, matrix_stride, x, x_stride, columns, y, y_stride, bias, scales, offsets, x_scales = given
    tile = _Tile(builder, rows, vectors, I32X16, 2)
    row_starts, x_starts = tile.starts(matrix, matrix_stride, rows), tile.starts(x, x_stride, vectors)
    with cgutils.for_range_slice(builder, I64(0), columns, I64(BYTES), I64) as (column, _):
        xs = []
        for start in x_starts:
            high = builder.add(start, column)
            xs.append([read(builder, at, I8X64, 1) for at in (high, builder.add(high, columns))])
        for row, start in enumerate(row_starts):
            weights = read(builder, builder.add(start, column), I8X64, 1)
            for one, parts in enumerate(xs):
                for part, values in enumerate(parts):
                    place = tile.sums[row, one, part]
                    builder.store(dot_bytes(builder, builder.load(place), values, weights), place)
    of_rows = (bias, F32), (scales, F32), (offsets, I32)
    known = [[read(builder, builder.add(at, I64(4 * row)), kind) for at, kind in of_rows] for row in range(rows)]
    x_known = [read(builder, builder.add(x_scales, I64(4 * one)), F32) for one in range(vectors)]
    for row, one in tile.cells:
        row_bias, row_scale, offset = known[row]
        high, low = (builder.sitofp(builder.sub(tile.sum((row, one, part)), offset), F32) for part in (0, 1))
        value = builder.fadd(builder.fmul(high, F32(128.0)), low)
        value = builder.fadd(builder.fmul(builder.fmul(value, row_scale), x_known[one]), row_bias)
        write(builder, builder.add(builder.add(y, builder.mul(y_stride, I64(one))), I64(4 * row)), value)


def make_tile(kind: str, rows: int, vectors: int) -> Any:
    """A tile for matrices in this format, which writes y[one][row] = matrix[row] · x[one] + bias[row].

    Its arguments are addresses and strides in bytes: matrix, matrix_stride, x, x_stride, columns, y, y_stride, bias;
    for int8 then the rows' scales, 128 times the sum of each row's weights, and the vectors' scales.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: list[ir.Value]) -> ir.Value:
        if kind == "int8":
            _byte_tile(builder, rows, vectors, list(values))
        else:
            _float_tile(builder, kind == "bfloat16", rows, vectors, list(values))
        return context.get_dummy_value()

    if kind == "int8":

        def typed(context, matrix, matrix_stride, x, x_stride, columns, y, y_stride, bias, scales, offsets, x_scales):  # type: ignore[no-untyped-def]
            return types.void(*[types.int64] * 11), generate
    else:

        def typed(context, matrix, matrix_stride, x, x_stride, columns, y, y_stride, bias):  # type: ignore[no-untyped-def]
            return types.void(*[types.int64] * 8), generate

    return intrinsic(typed)
