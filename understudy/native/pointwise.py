"""What a decode step does besides products, one vector of activations at a time: norms, activations, int8.

Addresses are int64, `count` is the number of float32 from there on.
"""

from typing import Any

from numba import njit

from understudy.native.vectors import (
    LANES,
    add,
    choose_equal,
    div,
    get,
    larger,
    largest,
    load,
    load_part,
    magnitude,
    mul,
    muladd,
    put,
    rounded,
    smaller,
    smaller_than,
    splat,
    store,
    store_bytes,
    store_part,
    sub,
    total,
    two_to_the,
)

F = 4
"""Bytes of a float32."""
FINEST = 128 * 127
"""The largest whole number that two bytes, 128 times one plus the other, stand for here."""
EPS = 1e-5


def native(function: Any) -> Any:
    """Compiled with what calls it, for no use from Python."""
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(error_model="numpy", **options)(function)


@native
def take_lanes(address, count):  # type: ignore[no-untyped-def]
    """Up to 16 float32 from the address, zeros after them."""
    return load(address) if count >= LANES else load_part(address, count)


@native
def splat_at(address, index):  # type: ignore[no-untyped-def]
    """16 times one float32."""
    return splat(get(address + F * index))


@native
def put_lanes(address, value, count):  # type: ignore[no-untyped-def]
    """Up to 16 float32 to the address."""
    if count >= LANES:
        store(address, value)
    else:
        store_part(address, value, count)


@native
def exponential(x):  # type: ignore[no-untyped-def]
    """e to the x within two units of the last place, from e^−87 to e^88 (Cephes' polynomial)."""
    x = smaller(larger(x, splat(-87.0)), splat(88.0))
    n = rounded(mul(x, splat(1.44269504088896341)))
    x = muladd(n, splat(-0.693359375), x)
    x = muladd(n, splat(2.12194440e-4), x)
    y = muladd(splat(1.9875691500e-4), x, splat(1.3981999507e-3))
    y = muladd(y, x, splat(8.3334519073e-3))
    y = muladd(y, x, splat(4.1665795894e-2))
    y = muladd(y, x, splat(1.6666665459e-1))
    y = muladd(y, x, splat(5.0000001201e-1))
    return mul(add(muladd(y, mul(x, x), x), splat(1.0)), two_to_the(n))


@native
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + e^−x)."""
    return div(splat(1.0), add(splat(1.0), exponential(sub(splat(0.0), x))))


@native
def hyperbolic_tangent(x):  # type: ignore[no-untyped-def]
    """Tanh x."""
    return sub(splat(1.0), div(splat(2.0), add(exponential(add(x, x)), splat(1.0))))


@native
def gelu(address, count):  # type: ignore[no-untyped-def]
    """The tanh form of GELU, in place (Hendrycks 2016)."""
    for at in range(0, count, LANES):
        x = take_lanes(address + F * at, count - at)
        inner = mul(mul(x, splat(0.7978845608028654)), muladd(mul(x, x), splat(0.044715), splat(1.0)))
        y = mul(mul(x, splat(0.5)), add(splat(1.0), hyperbolic_tangent(inner)))
        put_lanes(address + F * at, y, count - at)


@native
def squared_relu(address, count):  # type: ignore[no-untyped-def]
    """max(x, 0)², in place."""
    for at in range(0, count, LANES):
        x = larger(take_lanes(address + F * at, count - at), splat(0.0))
        put_lanes(address + F * at, mul(x, x), count - at)


@native
def copy(source, target, count):  # type: ignore[no-untyped-def]
    """The vector, somewhere else too."""
    for at in range(0, count, LANES):
        put_lanes(target + F * at, take_lanes(source + F * at, count - at), count - at)


@native
def accumulate(address, more, count):  # type: ignore[no-untyped-def]
    """Add the vector at `more`, in place."""
    for at in range(0, count, LANES):
        x = add(take_lanes(address + F * at, count - at), take_lanes(more + F * at, count - at))
        put_lanes(address + F * at, x, count - at)


@native
def rms_norm(source, target, count):  # type: ignore[no-untyped-def]
    """x / √(mean(x²) + eps)."""
    squares = splat(0.0)
    for at in range(0, count, LANES):
        x = take_lanes(source + F * at, count - at)
        squares = muladd(x, x, squares)
    scale = splat((total(squares) / count + EPS) ** -0.5)
    for at in range(0, count, LANES):
        put_lanes(target + F * at, mul(take_lanes(source + F * at, count - at), scale), count - at)


@native
def layer_norm(source, target, gain, bias, count):  # type: ignore[no-untyped-def]
    """(x − mean) / √(variance + eps) · gain + bias (Ba 2016)."""
    sums = splat(0.0)
    for at in range(0, count, LANES):
        sums = add(sums, take_lanes(source + F * at, count - at))
    mean = total(sums) / count
    squares = splat(0.0)
    whole = count // LANES * LANES
    for at in range(0, whole, LANES):
        x = sub(load(source + F * at), splat(mean))
        squares = muladd(x, x, squares)
    variance = total(squares)
    for at in range(whole, count):
        variance += (get(source + F * at) - mean) ** 2
    scale = splat((variance / count + EPS) ** -0.5)
    for at in range(0, count, LANES):
        x = mul(sub(take_lanes(source + F * at, count - at), splat(mean)), scale)
        x = muladd(x, take_lanes(gain + F * at, count - at), take_lanes(bias + F * at, count - at))
        put_lanes(target + F * at, x, count - at)


@native
def rotate(address, cosine, sine, count):  # type: ignore[no-untyped-def]
    """Turn each pair (x[i], x[i + count/2]), in place; as `models.attention.rotate` does."""
    half = count // 2
    for at in range(half):
        low, high = F * at, F * (at + half)
        a, b = get(address + low), get(address + high)
        put(address + low, a * get(cosine + low) + b * get(sine + low))
        put(address + high, b * get(cosine + high) + a * get(sine + high))


@native
def short_convolution(address, taps, recent, width, first, count):  # type: ignore[no-untyped-def]
    """Join channels `first` … of an input with the three inputs before it, in place; they move up by one.

    Args:
        address: the input, of `width` channels.
        taps: weights of the inputs 1, 2 and 3 steps back.
        recent: those inputs, the oldest first.
    """
    row = F * width
    for at in range(first, first + count, LANES):
        rest = first + count - at
        here, tap, before = address + F * at, taps + F * at, recent + F * at
        x = take_lanes(here, rest)
        third, second, last = (
            take_lanes(before, rest),
            take_lanes(before + row, rest),
            take_lanes(before + 2 * row, rest),
        )
        y = muladd(last, take_lanes(tap, rest), x)
        y = muladd(second, take_lanes(tap + row, rest), y)
        y = muladd(third, take_lanes(tap + 2 * row, rest), y)
        put_lanes(before, second, rest)
        put_lanes(before + row, last, rest)
        put_lanes(before + 2 * row, x, rest)
        put_lanes(here, y, rest)


@native
def margin(address, count):  # type: ignore[no-untyped-def]
    """By how much the largest of the numbers exceeds the second largest."""
    first = second = splat(-3e38)  # of each lane
    whole = count // LANES * LANES
    for at in range(0, whole, LANES):
        x = load(address + F * at)
        second = larger(second, smaller(first, x))
        first = larger(first, x)
    best, next_best = largest(first), largest(second)
    same = total(choose_equal(first, splat(best)))  # how many lanes hold the largest
    if same > 1.5:
        next_best = best
    else:
        next_best = max(next_best, largest(smaller_than(first, splat(best))))
    for at in range(whole, count):
        x = get(address + F * at)
        if x > best:
            best, next_best = x, best
        elif x > next_best:
            next_best = x
    return best - next_best


@native
def to_bytes(source, target, scale, count, columns):  # type: ignore[no-untyped-def]
    """The vector in whole numbers of a step put at `scale`: high bytes at `target`, low ones `columns` after them.

    A number is 128 · high + low; both are stored with 128 added, since the products want one side without a sign.
    """
    peak = splat(0.0)
    for at in range(0, count, LANES):
        peak = larger(peak, magnitude(take_lanes(source + F * at, count - at)))
    step = max(largest(peak), 1e-30) / FINEST
    put(scale, step)
    inverse = splat(1.0 / step)
    for at in range(0, count, LANES):
        number = rounded(mul(take_lanes(source + F * at, count - at), inverse))
        high = rounded(mul(number, splat(1 / 128)))
        store_bytes(target + at, add(high, splat(128.0)))
        store_bytes(target + columns + at, add(muladd(high, splat(-128.0), number), splat(128.0)))


@native
def lstm_cell(gates, more_gates, hidden, cell, count):  # type: ignore[no-untyped-def]
    """New hidden and cell values of one row, in place, from the two sums of its gates (input, forget, cell, output)."""
    row = F * count
    for at in range(0, count, LANES):
        rest = count - at
        i, f, g, o = (
            add(take_lanes(gates + F * at, rest), take_lanes(more_gates + F * at, rest)),
            add(take_lanes(gates + row + F * at, rest), take_lanes(more_gates + row + F * at, rest)),
            add(take_lanes(gates + 2 * row + F * at, rest), take_lanes(more_gates + 2 * row + F * at, rest)),
            add(take_lanes(gates + 3 * row + F * at, rest), take_lanes(more_gates + 3 * row + F * at, rest)),
        )
        c = muladd(sigmoid(f), take_lanes(cell + F * at, rest), mul(sigmoid(i), hyperbolic_tangent(g)))
        put_lanes(cell + F * at, c, rest)
        put_lanes(hidden + F * at, mul(sigmoid(o), hyperbolic_tangent(c)), rest)
