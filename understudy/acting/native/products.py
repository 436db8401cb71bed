"""Matrix times the batch's vectors, shared among the threads; what follows each output channel goes with it."""

from understudy.acting.native.pointwise import F, gelu, native, short_convolution, squared_relu, to_bytes
from understudy.acting.native.team import finish, take
from understudy.acting.native.tiles import make_tile

PIECE = 16
"""Rows of a matrix that stay together."""
ROWS = 4
"""Rows of a tile."""
GELU, SQUARED_RELU = 1, 2

float_1x1, float_4x1, float_4x2, float_4x4 = (make_tile("float32", *size) for size in ((1, 1), (4, 1), (4, 2), (4, 4)))
half_1x1, half_4x1, half_4x2, half_4x4 = (make_tile("bfloat16", *size) for size in ((1, 1), (4, 1), (4, 2), (4, 4)))
byte_1x1, byte_4x1, byte_4x2, byte_4x4 = (make_tile("int8", *size) for size in ((1, 1), (4, 1), (4, 2), (4, 4)))


@native
def _rows_float(m, row, count, batch, x, x_stride, y, y_stride):  # type: ignore[no-untyped-def]
    w, stride, columns = m.address + row * m.stride, m.stride, m.columns
    bias, y = m.bias + F * row, y + F * row
    if count < ROWS:
        for i in range(count):
            for b in range(batch):
                float_1x1(w + i * stride, 0, x + b * x_stride, 0, columns, y + b * y_stride + F * i, 0, bias + F * i)
        return
    b = 0
    while b + 4 <= batch:
        float_4x4(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)
        b += 4
    if b + 2 <= batch:
        float_4x2(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)
        b += 2
    if b < batch:
        float_4x1(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)


@native
def _rows_half(m, row, count, batch, x, x_stride, y, y_stride):  # type: ignore[no-untyped-def]
    w, stride, columns = m.address + row * m.stride, m.stride, m.columns
    bias, y = m.bias + F * row, y + F * row
    if count < ROWS:
        for i in range(count):
            for b in range(batch):
                half_1x1(w + i * stride, 0, x + b * x_stride, 0, columns, y + b * y_stride + F * i, 0, bias + F * i)
        return
    b = 0
    while b + 4 <= batch:
        half_4x4(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)
        b += 4
    if b + 2 <= batch:
        half_4x2(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)
        b += 2
    if b < batch:
        half_4x1(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)


@native
def _rows_byte(m, row, count, batch, x, x_stride, x_scales, y, y_stride):  # type: ignore[no-untyped-def]
    w, stride, columns = m.address + row * m.stride, m.stride, m.columns
    bias, scales, offsets, y = m.bias + F * row, m.scales + F * row, m.offsets + F * row, y + F * row
    if count < ROWS:
        for i in range(count):
            for b in range(batch):
                byte_1x1(
                    w + i * stride, 0, x + b * x_stride, 0, columns, y + b * y_stride + F * i, 0,
                    bias + F * i, scales + F * i, offsets + F * i, x_scales + F * b,
                )  # fmt: skip
        return
    b = 0
    while b + 4 <= batch:
        byte_4x4(
            w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias, scales, offsets,
            x_scales + F * b,
        )  # fmt: skip
        b += 4
    if b + 2 <= batch:
        byte_4x2(
            w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias, scales, offsets,
            x_scales + F * b,
        )  # fmt: skip
        b += 2
    if b < batch:
        byte_4x1(
            w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias, scales, offsets,
            x_scales + F * b,
        )  # fmt: skip


@native
def prepare(p, x, x_stride, count, bytes_, scales):  # type: ignore[no-untyped-def]
    """Where the weights are int8: every row of x in bytes."""
    if p.format == 2:
        for b in range(p.batch):
            to_bytes(x + b * x_stride, bytes_ + b * p.bytes_stride, scales + F * b, count, (count + 63) // 64 * 64)


@native
def product(p, m, control, phase, x, x_stride, bytes_, scales, y, y_stride, after, taps, recent):  # type: ignore[no-untyped-def]
    """This thread's share of y = matrix · x + bias for each row of the batch, then what comes `after` it.

    Where the weights are int8 the vectors are those at `bytes_`, which `prepare` made of x. True for the thread that
    finishes last.
    """
    pieces, last = (m.rows + PIECE - 1) // PIECE, False
    while True:
        piece, number = take(control, phase, pieces, p.threads)
        if number == 0:
            return last
        first, end = piece * PIECE, min(m.rows, (piece + number) * PIECE)
        for row in range(first, end, ROWS):
            if p.format == 0:
                _rows_float(m, row, end - row, p.batch, x, x_stride, y, y_stride)
            elif p.format == 1:
                _rows_half(m, row, end - row, p.batch, x, x_stride, y, y_stride)
            else:
                _rows_byte(m, row, end - row, p.batch, bytes_, p.bytes_stride, scales, y, y_stride)
        for b in range(p.batch):
            if after == GELU:
                gelu(y + b * y_stride + F * first, end - first)
            elif after == SQUARED_RELU:
                squared_relu(y + b * y_stride + F * first, end - first)
            if taps != 0:
                short_convolution(y + b * y_stride, taps, recent + b * 3 * F * m.rows, m.rows, first, end - first)
        last = finish(control, number, pieces)
