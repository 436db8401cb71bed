"""What a decode step does besides products, one vector at a time: norms, activations, convolutions, rounding to int8.

Addresses are int64. `count` is the number of float32 from there on.
"""
# mypy: allow-untyped-defs

from typing import Any

import numpy as np
from numba import njit

from understudy.native import vectors as vec

F = 4
"""Bytes of a float32."""
FINEST = 128 * 127
"""The largest integer that two bytes stand for here, as 128 · one + the other."""
EPS = 1e-5


def native(function: Any) -> Any:
    """Compile a function for use by other compiled functions only."""
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(error_model="numpy", **options)(function)


@native
def take_lanes(address, count):
    """Load up to 16 float32, zeros after them; none where `count` is below 1."""
    return vec.load(address) if count >= vec.LANES else vec.load_part(address, count)


@native
def splat_at(address, index):
    """Return a vector with one float32 of an array in each lane."""
    return vec.splat(vec.get(address + F * index))


@native
def put_lanes(address, value, count):
    """Store up to 16 float32, none where `count` is below 1."""
    if count >= vec.LANES:
        vec.store(address, value)
    else:
        vec.store_part(address, value, count)


@native
def exponential(x):
    """Return e^x within two units in the last place, from e^−87 to e^88 (Cephes' polynomial)."""
    x = vec.smaller(vec.larger(x, vec.splat(-87.0)), vec.splat(88.0))
    n = vec.rounded(vec.mul(x, vec.splat(1.44269504088896341)))
    x = vec.muladd(n, vec.splat(-0.693359375), x)
    x = vec.muladd(n, vec.splat(2.12194440e-4), x)
    y = vec.muladd(vec.splat(1.9875691500e-4), x, vec.splat(1.3981999507e-3))
    y = vec.muladd(y, x, vec.splat(8.3334519073e-3))
    y = vec.muladd(y, x, vec.splat(4.1665795894e-2))
    y = vec.muladd(y, x, vec.splat(1.6666665459e-1))
    y = vec.muladd(y, x, vec.splat(5.0000001201e-1))
    return vec.mul(vec.add(vec.muladd(y, vec.mul(x, x), x), vec.splat(1.0)), vec.two_to_the(n))


@native
def sigmoid(x):
    """Return 1 / (1 + e^−x)."""
    return vec.div(vec.splat(1.0), vec.add(vec.splat(1.0), exponential(vec.sub(vec.splat(0.0), x))))


@native
def hyperbolic_tangent(x):
    """Return tanh x."""
    return vec.sub(vec.splat(1.0), vec.div(vec.splat(2.0), vec.add(exponential(vec.add(x, x)), vec.splat(1.0))))


@native
def gelu(address, count):
    """Apply the tanh form of GELU in place (Hendrycks 2016)."""
    for at in range(0, count, vec.LANES):
        x = take_lanes(address + F * at, count - at)
        inner = vec.mul(
            vec.mul(x, vec.splat(0.7978845608028654)), vec.muladd(vec.mul(x, x), vec.splat(0.044715), vec.splat(1.0))
        )
        y = vec.mul(vec.mul(x, vec.splat(0.5)), vec.add(vec.splat(1.0), hyperbolic_tangent(inner)))
        put_lanes(address + F * at, y, count - at)


@native
def squared_relu(address, count):
    """Apply max(x, 0)² in place."""
    for at in range(0, count, vec.LANES):
        x = vec.larger(take_lanes(address + F * at, count - at), vec.splat(0.0))
        put_lanes(address + F * at, vec.mul(x, x), count - at)


@native
def copy(source, target, count):
    """Copy a vector."""
    for at in range(0, count, vec.LANES):
        put_lanes(target + F * at, take_lanes(source + F * at, count - at), count - at)


@native
def accumulate(address, more, count):
    """Add the vector at `more` in place."""
    for at in range(0, count, vec.LANES):
        x = vec.add(take_lanes(address + F * at, count - at), take_lanes(more + F * at, count - at))
        put_lanes(address + F * at, x, count - at)


@native
def rms_norm(source, target, count):
    """Write x / √(mean(x²) + eps) to `target`."""
    squares = vec.splat(0.0)
    for at in range(0, count, vec.LANES):
        x = take_lanes(source + F * at, count - at)
        squares = vec.muladd(x, x, squares)
    scale = vec.splat((vec.total(squares) / count + EPS) ** -0.5)
    for at in range(0, count, vec.LANES):
        put_lanes(target + F * at, vec.mul(take_lanes(source + F * at, count - at), scale), count - at)


@native
def layer_norm(source, target, gain, bias, count):
    """Write (x − mean) / √(variance + eps) · gain + bias to `target` (Ba 2016)."""
    sums = vec.splat(0.0)
    for at in range(0, count, vec.LANES):
        sums = vec.add(sums, take_lanes(source + F * at, count - at))
    mean = vec.total(sums) / count
    squares = vec.splat(0.0)
    whole = count // vec.LANES * vec.LANES
    for at in range(0, whole, vec.LANES):
        x = vec.sub(vec.load(source + F * at), vec.splat(mean))
        squares = vec.muladd(x, x, squares)
    variance = vec.total(squares)
    for at in range(whole, count):
        variance += (vec.get(source + F * at) - mean) ** 2
    scale = vec.splat((variance / count + EPS) ** -0.5)
    for at in range(0, count, vec.LANES):
        x = vec.mul(vec.sub(take_lanes(source + F * at, count - at), vec.splat(mean)), scale)
        x = vec.muladd(x, take_lanes(gain + F * at, count - at), take_lanes(bias + F * at, count - at))
        put_lanes(target + F * at, x, count - at)


@native
def rotate(address, cosine, sine, count):
    """Rotate each pair (x[i], x[i + count/2]) in place, as `models.attention.rotate` does."""
    half = count // 2
    for at in range(half):
        low, high = F * at, F * (at + half)
        a, b = vec.get(address + low), vec.get(address + high)
        vec.put(address + low, a * vec.get(cosine + low) + b * vec.get(sine + low))
        vec.put(address + high, b * vec.get(cosine + high) + a * vec.get(sine + high))


@native
def short_convolution(address, taps, recent, width, first, count):
    """Convolve `count` channels from `first` on with the three inputs before, in place; those move up by one.

    Args:
        address: the input, of `width` channels.
        taps: weights of the inputs 1, 2 and 3 steps back.
        recent: those inputs, the oldest first.
    """
    row = F * width
    for at in range(first, first + count, vec.LANES):
        rest = first + count - at
        here, tap, before = address + F * at, taps + F * at, recent + F * at
        x = take_lanes(here, rest)
        third, second = take_lanes(before, rest), take_lanes(before + row, rest)
        last = take_lanes(before + 2 * row, rest)
        y = vec.muladd(last, take_lanes(tap, rest), x)
        y = vec.muladd(second, take_lanes(tap + row, rest), y)
        y = vec.muladd(third, take_lanes(tap + 2 * row, rest), y)
        put_lanes(before, second, rest)
        put_lanes(before + row, last, rest)
        put_lanes(before + 2 * row, x, rest)
        put_lanes(here, y, rest)


@native
def margin(address, count, room):
    """Return the difference between the largest and the second largest number. `room` takes two vectors."""
    # The two largest of each lane
    first = second = vec.splat(-3e38)
    whole = count // vec.LANES * vec.LANES
    for at in range(0, whole, vec.LANES):
        x = vec.load(address + F * at)
        second = vec.larger(second, vec.smaller(first, x))
        first = vec.larger(first, x)
    vec.store(room, first)
    vec.store(room + F * vec.LANES, second)
    # The two largest of these and of what is left
    best = next_best = np.float32(-3e38)
    for start, end in ((room, room + 2 * F * vec.LANES), (address + F * whole, address + F * count)):
        for at in range(start, end, F):
            x = vec.get(at)
            next_best = max(next_best, min(best, x))
            best = max(best, x)
    return best - next_best


@native
def to_bytes(source, target, scale, count, columns):
    """Round a vector to integers times a scale: high bytes go to `target`, low ones `columns` after them.

    An integer is 128 · high + low. Both are stored with 128 added, since the products need one side to be unsigned.
    """
    peak = vec.splat(0.0)
    for at in range(0, count, vec.LANES):
        peak = vec.larger(peak, vec.magnitude(take_lanes(source + F * at, count - at)))
    step = max(vec.largest(peak), 1e-30) / FINEST
    vec.put(scale, step)
    inverse = vec.splat(1.0 / step)
    for at in range(0, count, vec.LANES):
        number = vec.rounded(vec.mul(take_lanes(source + F * at, count - at), inverse))
        high = vec.rounded(vec.mul(number, vec.splat(1 / 128)))
        vec.store_bytes(target + at, vec.add(high, vec.splat(128.0)))
        vec.store_bytes(target + columns + at, vec.add(vec.muladd(high, vec.splat(-128.0), number), vec.splat(128.0)))


@native
def lstm_cell(gates, more_gates, hidden, cell, count):
    """Update a row's hidden and cell values in place, from the two sums of its gates (input, forget, cell, output)."""
    row = F * count
    for at in range(0, count, vec.LANES):
        rest = count - at
        one, other = gates + F * at, more_gates + F * at
        i = vec.add(take_lanes(one, rest), take_lanes(other, rest))
        f = vec.add(take_lanes(one + row, rest), take_lanes(other + row, rest))
        g = vec.add(take_lanes(one + 2 * row, rest), take_lanes(other + 2 * row, rest))
        o = vec.add(take_lanes(one + 3 * row, rest), take_lanes(other + 3 * row, rest))
        c = vec.muladd(sigmoid(f), take_lanes(cell + F * at, rest), vec.mul(sigmoid(i), hyperbolic_tangent(g)))
        put_lanes(cell + F * at, c, rest)
        put_lanes(hidden + F * at, vec.mul(sigmoid(o), hyperbolic_tangent(c)), rest)
