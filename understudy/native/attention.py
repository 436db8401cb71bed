"""Attention of one new token a row to its cache, one head of one row at a time."""

from understudy.native.kv_cache import (
    AHEAD,
    keep_bytes,
    keep_halves,
    mix_bytes,
    mix_halves,
    score_bytes,
    score_halves,
)
from understudy.native.layout import BLOCK, CACHE_LINE, ROWS
from understudy.native.matmul import LEAST, float_1, one_row
from understudy.native.pointwise import (
    F,
    copy,
    exponential,
    native,
    put_lanes,
    rms_norm,
    rotate,
    splat_at,
    take_lanes,
)
from understudy.native.vectors import (
    LANES,
    add,
    ask_for,
    get_integer,
    larger,
    largest,
    load,
    mul,
    muladd,
    put,
    splat,
    store,
    sub,
    total,
)
from understudy.native.work_sharing import finish, take


@native
def _softmax(address, count, scale):  # type: ignore[no-untyped-def]
    """e^(scale · (x − max x)), in place; the sum of them."""
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
    # What was put behind the end is e^-87 each: far below what a float32 sum of at least 1 can hold.
    return total(sums)


@native
def _mix(values, stride, weights, count, target, size, scale):  # type: ignore[no-untyped-def]
    """scale · Σ weight · value over `count` values of `size` numbers."""
    column = 0
    while column + 4 * LANES <= size:
        a = b = c = d = splat(0.0)
        for slot in range(count):
            weight = splat_at(weights, slot)
            at = values + slot * stride + F * column
            a = muladd(load(at), weight, a)
            b = muladd(load(at + F * LANES), weight, b)
            c = muladd(load(at + 2 * F * LANES), weight, c)
            d = muladd(load(at + 3 * F * LANES), weight, d)
        to, s = target + F * column, splat(scale)
        store(to, mul(a, s))
        store(to + F * LANES, mul(b, s))
        store(to + 2 * F * LANES, mul(c, s))
        store(to + 3 * F * LANES, mul(d, s))
        column += 4 * LANES
    for at in range(column, size, LANES):
        a = splat(0.0)
        for slot in range(count):
            a = muladd(take_lanes(values + slot * stride + F * at, size - at), splat_at(weights, slot), a)
        put_lanes(target + F * at, mul(a, splat(scale)), size - at)


@native
def _score(p, q, keys, count, weights):  # type: ignore[no-untyped-def]
    """The query's products with the keys."""
    stride = F * p.head_size
    for slot in range(0, count - 3, 4):
        for line in range(0, 4 * stride, CACHE_LINE):
            ask_for(keys + slot * stride + AHEAD + line)
        float_1(keys + slot * stride, stride, q, 0, p.head_size, weights + F * slot, 0, p.zeros)
    for slot in range(count // 4 * 4, count):
        one_row(keys + slot * stride, stride, q, 0, p.head_size, weights + F * slot, 0, p.zeros)


@native
def _keep(p, layer, place, position, k, v):  # type: ignore[no-untyped-def]
    """The new key and value into the cache, and into the copy of it that steps with rounded weights read."""
    stride, room = F * p.head_size, (p.slots + ROWS - 1) // ROWS * ROWS
    copy(k, layer.keys + (place * p.slots + position) * stride, p.head_size)
    copy(v, layer.values + (place * p.slots + position) * stride, p.head_size)
    if p.near_format == 0:
        return
    first, slot = place * room + position // ROWS * ROWS, place * room + position
    key = layer.near_keys + first * p.near_stride + position % ROWS * BLOCK
    value = layer.near_values + slot * p.near_stride
    if p.near_format == 1:
        keep_halves(k, key, ROWS * BLOCK, p.head_size)
        keep_halves(v, value, BLOCK, p.head_size)
    else:
        keep_bytes(k, key, ROWS * BLOCK, p.head_size, layer.key_scales + F * slot, layer.key_offsets + F * slot)
        keep_bytes(v, value, BLOCK, p.head_size, layer.value_scales + F * slot, 0)


@native
def _look(p, layer, place, count, q, query, weights, out):  # type: ignore[no-untyped-def]
    """What the query takes from the values of the first `count` slots; `query` and `weights` are room to work in."""
    size, softness = p.head_size, p.head_size**-0.5
    if p.format == 0:
        first = place * p.slots * F * size
        _score(p, q, layer.keys + first, count, weights)
        scale = 1.0 / _softmax(weights, count, softness)
        _mix(layer.values + first, F * size, weights, count, out, size, scale)
        return
    first = place * ((p.slots + ROWS - 1) // ROWS * ROWS)
    keys, values = layer.near_keys + first * p.near_stride, layer.near_values + first * p.near_stride
    if p.near_format == 1:
        score_halves(p, q, keys, count, weights, query)
        scale = 1.0 / _softmax(weights, count, softness)
        mix_halves(values, p.near_stride, weights, count, out, size, scale)
    else:
        score_bytes(p, q, keys, layer.key_scales + F * first, layer.key_offsets + F * first, count, weights, query)
        scale = 1.0 / _softmax(weights, count, softness)
        mix_bytes(values, p.near_stride, layer.value_scales + F * first, weights, count, out, size, scale)


@native
def _head(p, layer, thread, row, head):  # type: ignore[no-untyped-def]
    size = p.head_size
    q = p.wide + row * p.wide_stride + F * head * size
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
    _keep(p, layer, place, position, k, v)
    query, weights = p.queries + thread * p.queries_stride, p.weights + thread * p.weights_stride
    _look(p, layer, place, position + 1, q, query, weights, p.mixed + row * p.narrow_stride + F * head * size)


@native
def attend(p, layer, thread, control, phase):  # type: ignore[no-untyped-def]
    """This thread's share of the heads: the new token's key and value into the cache, what it sees into `mixed`.

    True for the thread that finishes last.
    """
    pieces, done = p.batch * p.heads, 0
    seen = get_integer(p.lengths) + 1  # by the first row: rows are alike, or nearly
    least = LEAST // (2 * F * p.head_size * seen) + 1
    while True:
        first, number = take(control, phase, pieces, least, p.threads)
        if number == 0:
            return finish(control, done, pieces)
        done += number
        for item in range(first, first + number):
            _head(p, layer, thread, item // p.heads, item % p.heads)
