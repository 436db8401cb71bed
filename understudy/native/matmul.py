"""Matrix times the batch's vectors, shared among the threads, with what is applied to the product."""
# mypy: allow-untyped-defs

from understudy.native.kernels import make_tile
from understudy.native.layout import BLOCK, GELU, ROWS, SQUARED_RELU
from understudy.native.pointwise import F, copy, gelu, native, short_convolution, squared_relu, to_bytes
from understudy.native.work_sharing import finish, take

LEAST = 16384
"""Bytes of a matrix that a thread takes at least, for one vector or many: about a third of a microsecond."""

float_1, float_2, float_4 = (make_tile("float32", vectors) for vectors in (1, 2, 4))
half_1, half_2, half_4 = (make_tile("bfloat16", vectors) for vectors in (1, 2, 4))
byte_1, byte_2 = (make_tile("int8", vectors) for vectors in (1, 2))
one_row = make_tile("float32", vectors=1, rows=1)


def _over_batch(four, two, one):
    """Make the function that multiplies four rows with each vector of the batch, by the largest tiles that fit."""

    @native
    def multiply(m, row, batch, x, y, y_stride):
        w, stride, columns, bias = m.address + row * m.stride, m.stride, m.columns, m.bias + F * row
        b = 0
        while b + 4 <= batch:
            four(w, stride, x.address + b * x.stride, x.stride, columns, y + b * y_stride, y_stride, bias)
            b += 4
        if b + 2 <= batch:
            two(w, stride, x.address + b * x.stride, x.stride, columns, y + b * y_stride, y_stride, bias)
            b += 2
        if b < batch:
            one(w, stride, x.address + b * x.stride, x.stride, columns, y + b * y_stride, y_stride, bias)

    return multiply


_float_rows, _half_rows = _over_batch(float_4, float_2, float_1), _over_batch(half_4, half_2, half_1)


@native
def _byte_rows(p, m, row, x, y, y_stride):
    """Multiply four rows in int8 with each vector of the batch."""
    w, n, columns, bias = m.address + row * m.stride, m.stride, m.columns, m.bias + F * row
    scales, offsets, stride = m.scales + F * row, m.offsets + F * row, p.bytes_stride
    b = 0
    # Four vectors would take more sums than there are registers.
    while b + 2 <= p.batch:
        at, to, units = x.bytes + b * stride, y + b * y_stride, x.scales + F * b
        byte_2(w, n, at, stride, columns, to, y_stride, bias, scales, offsets, units)
        b += 2
    if b < p.batch:
        at, to, units = x.bytes + b * stride, y + b * y_stride, x.scales + F * b
        byte_1(w, n, at, stride, columns, to, y_stride, bias, scales, offsets, units)


@native
def _rows(p, m, row, x, y):
    """Multiply four rows, or the last few, with each vector of the batch."""
    rest, to, to_stride = m.rows - row, y.address + F * row, y.stride
    if rest < ROWS and p.format == 0:
        for b in range(p.batch):
            for i in range(rest):
                w, at = m.address + (row + i) * m.stride, x.address + b * x.stride
                one_row(
                    w, m.stride, at, x.stride, m.columns, to + b * to_stride + F * i, to_stride, m.bias + F * (row + i)
                )
        return
    # Packed matrices end with rows of zeros, whose results have no place in y.
    if rest < ROWS:
        to, to_stride = p.spare, F * ROWS
    if p.format == 0:
        _float_rows(m, row, p.batch, x, to, to_stride)
    elif p.format == 1:
        _half_rows(m, row, p.batch, x, to, to_stride)
    else:
        _byte_rows(p, m, row, x, to, to_stride)
    if rest < ROWS:
        for b in range(p.batch):
            copy(to + b * to_stride, y.address + b * y.stride + F * row, rest)


@native
def quantize(p, x, count):
    """Round the operand's vectors of `count` numbers to bytes, where the weights are int8."""
    if p.format == 2:
        columns = (count + BLOCK - 1) // BLOCK * BLOCK
        for b in range(p.batch):
            to_bytes(x.address + b * x.stride, x.bytes + b * p.bytes_stride, x.scales + F * b, count, columns)


@native
def product(p, m, control, phase, x, y, recent):
    """Compute this thread's share of y = matrix · x + bias for each row of the batch, activated and convolved.

    Args:
        p: the plan.
        m: the matrix.
        control: address of the words by which threads synchronize.
        phase: the phase whose pieces are the groups of rows.
        x: operand, which `quantize` has prepared.
        y: operand for the results.
        recent: earlier inputs of the matrix's convolution, where it has one.

    Returns:
        True for the thread that finishes last.
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
            _rows(p, m, row, x, y)
        # The activation and the convolution, while the results are in the processor's cache
        for b in range(p.batch):
            to = y.address + b * y.stride
            if m.activation == GELU:
                gelu(to + F * first, end - first)
            elif m.activation == SQUARED_RELU:
                squared_relu(to + F * first, end - first)
            if m.taps != 0:
                short_convolution(to, m.taps, recent + b * 3 * F * m.rows, m.rows, first, end - first)
