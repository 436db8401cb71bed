"""The key/value cache in each format: append to it, score its keys, mix its values.

The cache itself is float32. Steps with rounded weights read a packed copy in their format, which is two or four times
as fast. Its keys are packed as a matrix's rows are, so that a tile computes a query's products with them. Its values
lie one after another. In int8 each key and each value has a scale of its own.
"""
# mypy: allow-untyped-defs

from understudy.native import vectors as vec
from understudy.native.layout import BLOCK, CACHE_LINE, ROWS
from understudy.native.matmul import byte_1, float_1, half_1, one_row
from understudy.native.pointwise import F, copy, native, put_lanes, splat_at, take_lanes, to_bytes

AHEAD = 4096
"""How far ahead of a stream of keys or values memory is prefetched, in bytes."""


@native
def append(p, layer, place, position, k, v):
    """Write the new key and value to the cache, and to its packed copy where there is one.

    Args:
        p: the plan.
        layer: the layer's row.
        place: index of the head among all heads of all sequences.
        position: slot of the new token.
        k: address of the key.
        v: address of the value.
    """
    stride, room = F * p.head_size, (p.slots + ROWS - 1) // ROWS * ROWS
    if layer.keys != 0:
        copy(k, layer.keys + (place * p.slots + position) * stride, p.head_size)
        copy(v, layer.values + (place * p.slots + position) * stride, p.head_size)
    if p.packed_format == 0:
        return
    first, slot = place * room + position // ROWS * ROWS, place * room + position
    key = layer.packed_keys + first * p.packed_stride + position % ROWS * BLOCK
    value = layer.packed_values + slot * p.packed_stride
    if p.packed_format == 1:
        _append_halves(k, key, ROWS * BLOCK, p.head_size)
        _append_halves(v, value, BLOCK, p.head_size)
    else:
        _append_bytes(k, key, ROWS * BLOCK, p.head_size, layer.key_scales + F * slot, layer.key_offsets + F * slot)
        _append_bytes(v, value, BLOCK, p.head_size, layer.value_scales + F * slot, 0)


@native
def _append_halves(source, target, step, size):
    """Write a vector in bfloat16, two numbers per word; blocks of 32 numbers lie `step` bytes apart."""
    for block in range((size + 2 * vec.LANES - 1) // (2 * vec.LANES)):
        at, rest = source + 2 * F * vec.LANES * block, size - 2 * vec.LANES * block
        vec.store_halves(target + step * block, take_lanes(at, rest), take_lanes(at + F * vec.LANES, rest - vec.LANES))


@native
def _append_bytes(source, target, step, size, scale, offset):
    """Write a vector in int8, its scale and, to `offset` unless 0, 128 · its sum; blocks of 64 lie `step` apart."""
    peak = vec.splat(0.0)
    for at in range(0, size, vec.LANES):
        peak = vec.larger(peak, vec.magnitude(take_lanes(source + F * at, size - at)))
    unit = max(vec.largest(peak), 1e-30) / 127
    vec.put(scale, unit)
    sums, inverse = vec.splat(0.0), vec.splat(1.0 / unit)
    for at in range(0, size, vec.LANES):
        number = vec.rounded(vec.mul(take_lanes(source + F * at, size - at), inverse))
        vec.store_bytes(target + at // BLOCK * step + at % BLOCK, number)
        sums = vec.add(sums, number)
    if offset != 0:
        vec.put_whole(offset, 128 * vec.total(sums))


@native
def score_floats(p, q, keys, count, weights):
    """Write the query's products with the first `count` keys to `weights`."""
    stride = F * p.head_size
    for slot in range(0, count - 3, 4):
        for line in range(0, 4 * stride, CACHE_LINE):
            vec.prefetch(keys + slot * stride + AHEAD + line)
        float_1(keys + slot * stride, stride, q, 0, p.head_size, weights + F * slot, 0, p.zeros, 0, 0, 0)
    for slot in range(count // 4 * 4, count):
        one_row(keys + slot * stride, stride, q, 0, p.head_size, weights + F * slot, 0, p.zeros, 0, 0, 0)


@native
def score_packed(p, q, keys, scales, offsets, count, weights, query):
    """Write the query's products with packed keys. `query` is room for q in their format and, after it, its scale."""
    stride, unit = p.packed_stride, query + 2 * p.packed_stride
    if p.format == 1:
        copy(q, query, p.head_size)
    else:
        to_bytes(q, query, unit, p.head_size, stride)
    for slot in range(0, count, ROWS):
        at, here = keys + slot * stride, F * slot
        if p.format == 1:
            half_1(at, 0, query, 0, stride // 2, weights + here, 0, p.zeros, 0, 0, 0)
        else:
            byte_1(at, 0, query, 0, stride, weights + here, 0, p.zeros, scales + here, offsets + here, unit)


@native
def _put_scaled(target, a, b, c, d, scale, count):
    """Store the first `count` of 64 float32 times a scale."""
    put_lanes(target, vec.mul(a, vec.splat(scale)), count)
    put_lanes(target + F * vec.LANES, vec.mul(b, vec.splat(scale)), count - vec.LANES)
    put_lanes(target + 2 * F * vec.LANES, vec.mul(c, vec.splat(scale)), count - 2 * vec.LANES)
    put_lanes(target + 3 * F * vec.LANES, vec.mul(d, vec.splat(scale)), count - 3 * vec.LANES)


@native
def mix_floats(values, stride, weights, count, target, size, scale):
    """Write scale · Σ weight · value to `target`, over `count` values of `size` numbers."""
    column = 0
    while column + 4 * vec.LANES <= size:
        a = b = c = d = vec.splat(0.0)
        for slot in range(count):
            weight = splat_at(weights, slot)
            at = values + slot * stride + F * column
            a = vec.muladd(vec.load(at), weight, a)
            b = vec.muladd(vec.load(at + F * vec.LANES), weight, b)
            c = vec.muladd(vec.load(at + 2 * F * vec.LANES), weight, c)
            d = vec.muladd(vec.load(at + 3 * F * vec.LANES), weight, d)
        _put_scaled(target + F * column, a, b, c, d, scale, 4 * vec.LANES)
        column += 4 * vec.LANES
    for at in range(column, size, vec.LANES):
        a = vec.splat(0.0)
        for slot in range(count):
            a = vec.muladd(take_lanes(values + slot * stride + F * at, size - at), splat_at(weights, slot), a)
        put_lanes(target + F * at, vec.mul(a, vec.splat(scale)), size - at)


@native
def mix_halves(values, stride, weights, count, target, size, scale):
    """Write scale · Σ weight · value to `target`, over values in bfloat16."""
    for column in range(0, size, 4 * vec.LANES):
        a = b = c = d = vec.splat(0.0)
        at, rest = values + 2 * column, size - column
        if rest > 2 * vec.LANES:
            for slot in range(count):
                here, weight = at + slot * stride, splat_at(weights, slot)
                vec.prefetch(here + AHEAD)
                vec.prefetch(here + AHEAD + CACHE_LINE)
                a = vec.muladd(vec.load_lower(here), weight, a)
                b = vec.muladd(vec.load_upper(here), weight, b)
                c = vec.muladd(vec.load_lower(here + BLOCK), weight, c)
                d = vec.muladd(vec.load_upper(here + BLOCK), weight, d)
        else:
            for slot in range(count):
                here, weight = at + slot * stride, splat_at(weights, slot)
                vec.prefetch(here + AHEAD)
                a = vec.muladd(vec.load_lower(here), weight, a)
                b = vec.muladd(vec.load_upper(here), weight, b)
        _put_scaled(target + F * column, a, b, c, d, scale, rest)


@native
def mix_bytes(values, stride, scales, weights, count, target, size, scale):
    """Write scale · Σ weight · value to `target`, over values in int8, each of which has a scale."""
    for column in range(0, size, BLOCK):
        a = b = c = d = vec.splat(0.0)
        at = values + column
        for slot in range(count):
            here, weight = at + slot * stride, vec.splat(vec.get(weights + F * slot) * vec.get(scales + F * slot))
            vec.prefetch(here + AHEAD)
            a = vec.muladd(vec.load_bytes(here), weight, a)
            b = vec.muladd(vec.load_bytes(here + vec.LANES), weight, b)
            c = vec.muladd(vec.load_bytes(here + 2 * vec.LANES), weight, c)
            d = vec.muladd(vec.load_bytes(here + 3 * vec.LANES), weight, d)
        _put_scaled(target + F * column, a, b, c, d, scale, size - column)
