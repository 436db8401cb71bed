"""Attention of one new token a row to its cache, one head of one row at a time."""

from understudy.acting.native.plan import BLOCK, ROWS
from understudy.acting.native.pointwise import (
    F,
    copy,
    exponential,
    native,
    put_lanes,
    rms_norm,
    rotate,
    take_lanes,
)
from understudy.acting.native.products import LEAST, float_1, half_1, one_row
from understudy.acting.native.team import finish, take
from understudy.acting.native.vectors import (
    LANES,
    add,
    get,
    get_integer,
    larger,
    largest,
    load,
    load_lower,
    load_upper,
    mul,
    muladd,
    put,
    splat,
    store,
    store_halves,
    sub,
    total,
)


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
def splat_at(address, index):  # type: ignore[no-untyped-def]
    """16 times one float32."""
    return splat(get(address + F * index))


@native
def _mix_near(values, stride, weights, count, target, size, scale):  # type: ignore[no-untyped-def]
    """The same of values in bfloat16, two in a word."""
    for column in range(0, size, 2 * LANES):
        a = b = c = d = splat(0.0)
        at = values + 2 * column
        whole = count // 2 * 2
        for slot in range(0, whole, 2):
            here, weight, next_weight = at + slot * stride, splat_at(weights, slot), splat_at(weights, slot + 1)
            a = muladd(load_lower(here), weight, a)
            b = muladd(load_upper(here), weight, b)
            c = muladd(load_lower(here + stride), next_weight, c)
            d = muladd(load_upper(here + stride), next_weight, d)
        if whole < count:
            here, weight = at + whole * stride, splat_at(weights, whole)
            a = muladd(load_lower(here), weight, a)
            b = muladd(load_upper(here), weight, b)
        to, rest = target + F * column, size - column
        put_lanes(to, mul(add(a, c), splat(scale)), rest)
        if rest > LANES:
            put_lanes(to + F * LANES, mul(add(b, d), splat(scale)), rest - LANES)


@native
def _keep_near(source, target, step, size):  # type: ignore[no-untyped-def]
    """A vector in bfloat16, two numbers in a word; blocks of 32 numbers lie `step` bytes apart."""
    for block in range((size + 2 * LANES - 1) // (2 * LANES)):
        at, rest = source + 2 * F * LANES * block, size - 2 * LANES * block
        upper = splat(0.0)
        if rest > LANES:
            upper = take_lanes(at + F * LANES, rest - LANES)
        store_halves(target + step * block, take_lanes(at, rest), upper)


@native
def _score(p, q, keys, count, weights):  # type: ignore[no-untyped-def]
    """The query's products with the keys."""
    stride = F * p.head_size
    for slot in range(0, count - 3, 4):
        float_1(keys + slot * stride, stride, q, 0, p.head_size, weights + F * slot, 0, p.zeros)
    for slot in range(count // 4 * 4, count):
        one_row(keys + slot * stride, stride, q, 0, p.head_size, weights + F * slot, 0, p.zeros)


@native
def _score_near(p, q, keys, count, weights, padded, query):  # type: ignore[no-untyped-def]
    """The same of keys in bfloat16, packed by fours; `query` is room for q and the zeros after it."""
    copy(q, query, p.head_size)
    for slot in range(0, count, ROWS):
        half_1(keys + slot * 2 * padded, 0, query, 0, padded, weights + F * slot, 0, p.zeros)


@native
def _head(p, layer, thread, row, head):  # type: ignore[no-untyped-def]
    size, slots = p.head_size, p.slots
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
    stride, place = F * size, row * p.heads + head
    keys, values = layer.keys + place * slots * stride, layer.values + place * slots * stride
    copy(k, keys + position * stride, size)
    copy(v, values + position * stride, size)
    padded = (size + 2 * LANES - 1) // (2 * LANES) * 2 * LANES
    room = (slots + ROWS - 1) // ROWS * ROWS
    near_keys = layer.near_keys + place * room * 2 * padded
    near_values = layer.near_values + place * room * 2 * padded
    if layer.near_keys != 0:
        group, member = position // ROWS, position % ROWS
        _keep_near(k, near_keys + group * ROWS * 2 * padded + member * BLOCK, ROWS * BLOCK, size)
        _keep_near(v, near_values + position * 2 * padded, BLOCK, size)
    count, weights = position + 1, p.weights + thread * p.weights_stride
    out = p.mixed + row * p.narrow_stride + F * head * size
    if layer.near_keys != 0 and p.format != 0:
        _score_near(p, q, near_keys, count, weights, padded, p.queries + thread * F * padded)
        scale = 1.0 / _softmax(weights, count, size**-0.5)
        _mix_near(near_values, 2 * padded, weights, count, out, size, scale)
    else:
        _score(p, q, keys, count, weights)
        scale = 1.0 / _softmax(weights, count, size**-0.5)
        _mix(values, stride, weights, count, out, size, scale)


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
