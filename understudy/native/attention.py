"""Attention of each row's new token to its cache, one head of one row at a time."""
# mypy: allow-untyped-defs

from understudy.native.kv_cache import append, mix_bytes, mix_floats, mix_halves, score_floats, score_packed
from understudy.native.layout import ROWS
from understudy.native.matmul import LEAST
from understudy.native.pointwise import F, exponential, native, rms_norm, rotate
from understudy.native.vectors import LANES, add, get_integer, larger, largest, load, mul, put, splat, store, sub, total
from understudy.native.work_sharing import finish, take


@native
def _softmax(address, count, scale):
    """Replace each x by e^(scale · (x − max x)); return the sum of the results."""
    for at in range(count, (count + LANES - 1) // LANES * LANES):
        put(address + F * at, -1e30)
    peak = splat(-1e30)
    for at in range(0, count, LANES):
        peak = larger(peak, load(address + F * at))
    peak = splat(largest(peak))
    sums = splat(0.0)
    for at in range(0, count, LANES):
        x = exponential(mul(sub(load(address + F * at), peak), splat(scale)))
        store(address + F * at, x)
        sums = add(sums, x)
    # The padding adds e^-87 per number, far below the precision of a float32 sum of at least 1.
    return total(sums)


@native
def _attend_head(p, layer, thread, row, head):
    """Append the new key and value of one head to its cache, and write to `mixed` what its query attends to."""
    size = p.head_size
    q = p.wide.address + row * p.wide.stride + F * head * size
    k, v = q + F * p.width, q + 2 * F * p.width
    position = get_integer(p.lengths + 8 * row)
    if p.qk_norm:
        rms_norm(q, q, size)
        rms_norm(k, k, size)
    if p.cosine != 0:
        turn = F * size * position
        rotate(q, p.cosine + turn, p.sine + turn, size)
        rotate(k, p.cosine + turn, p.sine + turn, size)
    place = row * p.heads + head
    append(p, layer, place, position, k, v)

    # The query's products with all keys so far
    count = position + 1
    query, weights = p.queries + thread * p.queries_stride, p.weights + thread * p.weights_stride
    whole, packed = place * p.slots * F * size, place * ((p.slots + ROWS - 1) // ROWS * ROWS)
    keys, values = layer.packed_keys + packed * p.packed_stride, layer.packed_values + packed * p.packed_stride
    if p.format == 0:
        score_floats(p, q, layer.keys + whole, count, weights)
    else:
        score_packed(p, q, keys, layer.key_scales + F * packed, layer.key_offsets + F * packed, count, weights, query)

    # The mean of the values, weighted by their softmax
    scale = 1.0 / _softmax(weights, count, size**-0.5)
    to = p.mixed.address + row * p.mixed.stride + F * head * size
    if p.format == 0:
        mix_floats(layer.values + whole, F * size, weights, count, to, size, scale)
    elif p.format == 1:
        mix_halves(values, p.packed_stride, weights, count, to, size, scale)
    else:
        mix_bytes(values, p.packed_stride, layer.value_scales + F * packed, weights, count, to, size, scale)


@native
def attend(p, layer, thread, control, phase):
    """Take this thread's share of the heads. Returns True for the thread that finishes last."""
    pieces, done = p.batch * p.heads, 0
    # The first row's length stands for all, since rows are nearly alike.
    seen = get_integer(p.lengths) + 1
    least = LEAST // (2 * F * p.head_size * seen) + 1
    while True:
        first, number = take(control, phase, pieces, least, p.threads)
        if number == 0:
            return finish(control, done, pieces)
        done += number
        for item in range(first, first + number):
            _attend_head(p, layer, thread, item // p.heads, item % p.heads)
