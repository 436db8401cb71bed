"""Matrix times the batch's vectors, shared among the threads; what follows each output channel goes with it."""

from understudy.native.kernels import make_tile
from understudy.native.layout import BLOCK, ROWS
from understudy.native.pointwise import F, copy, gelu, native, short_convolution, squared_relu, to_bytes
from understudy.native.work_sharing import finish, take

LEAST = 16384
"""Bytes of a matrix that a thread takes at least, for one vector or many: some third of a microsecond."""
GELU, SQUARED_RELU = 1, 2

float_1, float_2, float_4 = (make_tile("float32", vectors) for vectors in (1, 2, 4))
half_1, half_2, half_4 = (make_tile("bfloat16", vectors) for vectors in (1, 2, 4))
byte_1, byte_2 = (make_tile("int8", vectors) for vectors in (1, 2))
one_row = make_tile("float32", vectors=1, rows=1)


@native
def _float_rows(m, row, batch, x, x_stride, y, y_stride):  # type: ignore[no-untyped-def]
    w, stride, columns, bias = m.address + row * m.stride, m.stride, m.columns, m.bias + F * row
    if m.rows - row < ROWS:
        for b in range(batch):
            for i in range(m.rows - row):
                to, from_ = y + b * y_stride + F * i, w + i * stride
                one_row(from_, stride, x + b * x_stride, x_stride, columns, to, y_stride, bias + F * i)
        return
    b = 0
    while b + 4 <= batch:
        float_4(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)
        b += 4
    if b + 2 <= batch:
        float_2(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)
        b += 2
    if b < batch:
        float_1(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)


@native
def _half_rows(m, row, batch, x, x_stride, y, y_stride):  # type: ignore[no-untyped-def]
    w, stride, columns, bias = m.address + row * m.stride, m.stride, m.columns, m.bias + F * row
    b = 0
    while b + 4 <= batch:
        half_4(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)
        b += 4
    if b + 2 <= batch:
        half_2(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)
        b += 2
    if b < batch:
        half_1(w, stride, x + b * x_stride, x_stride, columns, y + b * y_stride, y_stride, bias)


@native
def _byte_rows(m, row, batch, x, x_stride, x_scales, y, y_stride):  # type: ignore[no-untyped-def]
    w, n, columns, bias = m.address + row * m.stride, m.stride, m.columns, m.bias + F * row
    scales, offsets = m.scales + F * row, m.offsets + F * row
    b = 0
    while b + 2 <= batch:  # four would take more sums than there are registers
        to, steps = y + b * y_stride, x_scales + F * b
        byte_2(w, n, x + b * x_stride, x_stride, columns, to, y_stride, bias, scales, offsets, steps)
        b += 2
    if b < batch:
        to, steps = y + b * y_stride, x_scales + F * b
        byte_1(w, n, x + b * x_stride, x_stride, columns, to, y_stride, bias, scales, offsets, steps)


@native
def _rows(p, m, row, x, x_stride, bytes_, scales, y, y_stride):  # type: ignore[no-untyped-def]
    """Four rows' products with the whole batch."""
    if p.format == 0:
        _float_rows(m, row, p.batch, x, x_stride, y + F * row, y_stride)
        return
    to, to_stride = y + F * row, y_stride
    if m.rows - row < ROWS:  # packed by fours, with rows of zeros at the end: these results have no place in y
        to, to_stride = p.spare, F * ROWS
    if p.format == 1:
        _half_rows(m, row, p.batch, x, x_stride, to, to_stride)
    else:
        _byte_rows(m, row, p.batch, bytes_, p.bytes_stride, scales, to, to_stride)
    if to == p.spare:
        for b in range(p.batch):
            copy(to + b * to_stride, y + b * y_stride + F * row, m.rows - row)


@native
def prepare(p, x, x_stride, count, bytes_, scales):  # type: ignore[no-untyped-def]
    """Where the weights are int8: every row of x in bytes."""
    if p.format == 2:
        columns = (count + BLOCK - 1) // BLOCK * BLOCK
        for b in range(p.batch):
            to_bytes(x + b * x_stride, bytes_ + b * p.bytes_stride, scales + F * b, count, columns)


@native
def product(p, m, control, phase, x, x_stride, bytes_, scales, y, y_stride, after, taps, recent):  # type: ignore[no-untyped-def]
    """This thread's share of y = matrix · x + bias for each row of the batch, then what comes `after` it.

    Where the weights are int8 the vectors are those at `bytes_`, which `prepare` made of x. True for the thread that
    finishes last.
    """
    pieces, done = (m.rows + ROWS - 1) // ROWS, 0
    least = LEAST // (ROWS * m.stride) + 1
    while True:
        piece, number = take(control, phase, pieces, least, p.threads)
        if number == 0:
            return finish(control, done, pieces)
        done += number
        first, end = piece * ROWS, min(m.rows, (piece + number) * ROWS)
        for row in range(first, end, ROWS):
            _rows(p, m, row, x, x_stride, bytes_, scales, y, y_stride)
        for b in range(p.batch):
            if after == GELU:
                gelu(y + b * y_stride + F * first, end - first)
            elif after == SQUARED_RELU:
                squared_relu(y + b * y_stride + F * first, end - first)
            if taps != 0:
                short_convolution(y + b * y_stride, taps, recent + b * 3 * F * m.rows, m.rows, first, end - first)
