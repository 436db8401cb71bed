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


def _over_batch(most, many, two, one):
    """Make the function that multiplies four rows with each vector of the batch: `most` at once, two, one."""

    @native
    def multiply(m, row, batch, x, x_stride, x_scales, y, y_stride):
        w, stride, columns, bias = m.address + row * m.stride, m.stride, m.columns, m.bias + F * row
        scales, offsets = m.scales + F * row, m.offsets + F * row
        b = 0
        while b + most <= batch:
            at, to, units = x + b * x_stride, y + b * y_stride, x_scales + F * b
            many(w, stride, at, x_stride, columns, to, y_stride, bias, scales, offsets, units)
            b += most
        if b + 2 <= batch:
            at, to, units = x + b * x_stride, y + b * y_stride, x_scales + F * b
            two(w, stride, at, x_stride, columns, to, y_stride, bias, scales, offsets, units)
            b += 2
        if b < batch:
            at, to, units = x + b * x_stride, y + b * y_stride, x_scales + F * b
            one(w, stride, at, x_stride, columns, to, y_stride, bias, scales, offsets, units)

    return multiply


_float_rows, _half_rows = _over_batch(4, float_4, float_2, float_1), _over_batch(4, half_4, half_2, half_1)
# Four vectors in int8 would take more sums than there are registers.
_byte_rows = _over_batch(2, byte_2, byte_2, byte_1)


@native
def _rows(p, m, row, x, y):
    """Multiply four rows, or the last few, with each vector of the batch."""
    rest, to, to_stride = m.rows - row, y.address + F * row, y.stride
    if rest < ROWS and p.format == 0:
        for b in range(p.batch):
            for i in range(row, m.rows):
                w, at, here = m.address + i * m.stride, x.address + b * x.stride, y.address + b * y.stride + F * i
                one_row(w, 0, at, 0, m.columns, here, 0, m.bias + F * i, 0, 0, 0)
        return
    # Packed matrices end with rows of zeros, whose results have no place in y.
    if rest < ROWS:
        to, to_stride = p.spare, F * ROWS
    if p.format == 0:
        _float_rows(m, row, p.batch, x.address, x.stride, 0, to, to_stride)
    elif p.format == 1:
        _half_rows(m, row, p.batch, x.address, x.stride, 0, to, to_stride)
    else:
        _byte_rows(m, row, p.batch, x.bytes, p.bytes_stride, x.scales, to, to_stride)
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
