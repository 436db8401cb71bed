"""Matrix times the batch's vectors, shared among the threads, with what is applied to the product."""
# mypy: allow-untyped-defs

from understudy.native.kernels import make_tile
from understudy.native.layout import BLOCK, GELU, ROWS, SQUARED_RELU
from understudy.native.pointwise import F, copy, gelu, native, short_convolution, squared_relu, to_bytes
from understudy.native.vectors import get_integer
from understudy.native.work_sharing import TAKEN, bounds, close, cut, may_write, overdue, take, written

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
def sequence(p, row):
    """Return where the sequence of a row of the batch stands among all."""
    return get_integer(p.sequences + 8 * row)


@native
def _rows(p, m, row, count, x, y, y_stride):
    """Multiply four rows, or the last few, with `count` vectors; y has room for all four."""
    if p.format == 1:
        _half_rows(m, row, count, x.address, x.stride, 0, y, y_stride)
    elif p.format == 2:
        _byte_rows(m, row, count, x.bytes, p.bytes_stride, x.scales, y, y_stride)
    elif row + ROWS <= m.rows:
        _float_rows(m, row, count, x.address, x.stride, 0, y, y_stride)
    else:
        # Packed matrices end with rows of zeros, this one does not.
        for b in range(count):
            for i in range(row, m.rows):
                w, at, here = m.address + i * m.stride, x.address + b * x.stride, y + b * y_stride + F * (i - row)
                one_row(w, 0, at, 0, m.columns, here, 0, m.bias + F * i, 0, 0, 0)


@native
def quantize(p, x, count):
    """Round the operand's vectors of `count` numbers to bytes, where the weights are int8."""
    if p.format == 2:
        columns = (count + BLOCK - 1) // BLOCK * BLOCK
        for b in range(p.batch):
            to_bytes(x.address + b * x.stride, x.bytes + b * p.bytes_stride, x.scales + F * b, count, columns)


@native
def product(p, m, count, thread, control, phase, x, y, recent):
    """Compute this thread's share of y = matrix · x + bias for the first rows of the batch, activated and convolved.

    Args:
        p: the plan.
        m: the matrix.
        count: rows of the batch.
        thread: this thread's number.
        control: address of the words by which threads synchronize.
        phase: the phase whose pieces are the groups of rows.
        x: operand, which `quantize` has prepared.
        y: operand for the results.
        recent: earlier inputs of the matrix's convolution, where it has one.

    Returns:
        True for the thread that must begin the next phase.
    """
    groups, size = (m.rows + ROWS - 1) // ROWS, ROWS * m.stride
    sharing, halves = cut(groups, size, p.threads)
    results = p.scratch + thread * p.scratch_stride
    while True:
        piece = take(control, phase, thread, sharing, halves, TAKEN)
        if piece < 0:
            piece = overdue(control, phase, thread, groups, size * (3 + count) // 4, sharing, halves)
        if piece < 0:
            return close(control, phase, sharing, halves)
        first, end = bounds(piece, groups, sharing, halves)
        stride = F * ROWS * (end - first)
        first, end = ROWS * first, min(m.rows, ROWS * end)
        for row in range(first, end, ROWS):
            _rows(p, m, row, count, x, results + F * (row - first), stride)
        for b in range(count):
            if m.activation == GELU:
                gelu(results + b * stride, end - first)
            elif m.activation == SQUARED_RELU:
                squared_relu(results + b * stride, end - first)

        if may_write(control, phase, piece):
            for b in range(count):
                to = y.address + b * y.stride
                copy(results + b * stride, to + F * first, end - first)
                if m.taps != 0:
                    before = recent + sequence(p, b) * 3 * F * m.rows
                    short_convolution(to, m.taps, before, m.rows, first, end - first)
            written(control, phase, piece)
