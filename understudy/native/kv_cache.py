"""Keys and values in the format of rounded weights, beside the cache itself: two or four times as fast to read.

Keys are packed as a matrix's rows are, so that a query's products with them are those of a tile; values lie one after
another. In int8 each key and each value has a scale of its own.
"""

from understudy.native.layout import BLOCK, CACHE_LINE, ROWS
from understudy.native.matmul import byte_1, half_1
from understudy.native.pointwise import F, copy, native, put_lanes, splat_at, take_lanes, to_bytes
from understudy.native.vectors import (
    LANES,
    add,
    ask_for,
    get,
    larger,
    largest,
    load_bytes,
    load_lower,
    load_upper,
    magnitude,
    mul,
    muladd,
    put,
    put_whole,
    rounded,
    splat,
    store_bytes,
    store_halves,
    total,
)

AHEAD = 4096
"""How far ahead of a stream of keys or values memory is asked for, in bytes."""


@native
def _put_two(target, a, b, count):  # type: ignore[no-untyped-def]
    """Up to 32 float32 to the address."""
    put_lanes(target, a, count)
    if count > LANES:
        put_lanes(target + F * LANES, b, count - LANES)


@native
def keep_halves(source, target, step, size):  # type: ignore[no-untyped-def]
    """A vector in bfloat16, two numbers in a word; blocks of 32 numbers lie `step` bytes apart."""
    for block in range((size + 2 * LANES - 1) // (2 * LANES)):
        at, rest = source + 2 * F * LANES * block, size - 2 * LANES * block
        upper = splat(0.0)
        if rest > LANES:
            upper = take_lanes(at + F * LANES, rest - LANES)
        store_halves(target + step * block, take_lanes(at, rest), upper)


@native
def score_halves(p, q, keys, count, weights, query):  # type: ignore[no-untyped-def]
    """The query's products with keys in bfloat16; `query` is room for q and the zeros after it."""
    copy(q, query, p.head_size)
    for slot in range(0, count, ROWS):
        half_1(keys + slot * p.near_stride, 0, query, 0, p.near_stride // 2, weights + F * slot, 0, p.zeros)


@native
def mix_halves(values, stride, weights, count, target, size, scale):  # type: ignore[no-untyped-def]
    """scale · Σ weight · value over `count` values of `size` numbers in bfloat16."""
    for column in range(0, size, 4 * LANES):
        a = b = c = d = splat(0.0)
        at, rest = values + 2 * column, size - column
        if rest > 2 * LANES:
            for slot in range(count):
                here, weight = at + slot * stride, splat_at(weights, slot)
                ask_for(here + AHEAD)
                ask_for(here + AHEAD + CACHE_LINE)
                a = muladd(load_lower(here), weight, a)
                b = muladd(load_upper(here), weight, b)
                c = muladd(load_lower(here + BLOCK), weight, c)
                d = muladd(load_upper(here + BLOCK), weight, d)
            _put_two(target + F * (column + 2 * LANES), mul(c, splat(scale)), mul(d, splat(scale)), rest - 2 * LANES)
        else:
            for slot in range(count):
                here, weight = at + slot * stride, splat_at(weights, slot)
                ask_for(here + AHEAD)
                a = muladd(load_lower(here), weight, a)
                b = muladd(load_upper(here), weight, b)
        _put_two(target + F * column, mul(a, splat(scale)), mul(b, splat(scale)), rest)


@native
def keep_bytes(source, target, step, size, scale, offset):  # type: ignore[no-untyped-def]
    """A vector in int8, its scale and 128 times its sum (unless `offset` is 0); blocks of 64 lie `step` bytes apart."""
    peak = splat(0.0)
    for at in range(0, size, LANES):
        peak = larger(peak, magnitude(take_lanes(source + F * at, size - at)))
    unit = max(largest(peak), 1e-30) / 127
    put(scale, unit)
    sums, inverse = splat(0.0), splat(1.0 / unit)
    for at in range(0, size, LANES):
        number = rounded(mul(take_lanes(source + F * at, size - at), inverse))
        store_bytes(target + at // BLOCK * step + at % BLOCK, number)
        sums = add(sums, number)
    if offset != 0:
        put_whole(offset, 128 * total(sums))


@native
def score_bytes(p, q, keys, scales, offsets, count, weights, query):  # type: ignore[no-untyped-def]
    """The query's products with keys in int8; `query` is room for q in bytes and, after them, its scale."""
    columns, unit = p.near_stride, query + 2 * p.near_stride
    to_bytes(q, query, unit, p.head_size, columns)
    for slot in range(0, count, ROWS):
        at, here = keys + slot * columns, F * slot
        byte_1(at, 0, query, 0, columns, weights + here, 0, p.zeros, scales + here, offsets + here, unit)


@native
def mix_bytes(values, stride, scales, weights, count, target, size, scale):  # type: ignore[no-untyped-def]
    """scale · Σ weight · value over `count` values of `size` numbers in int8."""
    for column in range(0, size, BLOCK):
        a = b = c = d = splat(0.0)
        at = values + column
        for slot in range(count):
            here, weight = at + slot * stride, splat(get(weights + F * slot) * get(scales + F * slot))
            ask_for(here + AHEAD)
            a = muladd(load_bytes(here), weight, a)
            b = muladd(load_bytes(here + LANES), weight, b)
            c = muladd(load_bytes(here + 2 * LANES), weight, c)
            d = muladd(load_bytes(here + 3 * LANES), weight, d)
        to, rest, s = target + F * column, size - column, splat(scale)
        _put_two(to, mul(a, s), mul(b, s), rest)
        if rest > 2 * LANES:
            _put_two(to + 2 * F * LANES, mul(c, s), mul(d, s), rest - 2 * LANES)
