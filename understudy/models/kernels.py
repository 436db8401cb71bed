"""What a training step on a CPU does between products, each in one pass over memory, where torch takes several.

Each runs on one thread, without holding Python's lock, and is compiled at its first call (`compiled.py`).
Numbers are float32 or bfloat16, the latter as its bits in uint16; sums are float32. `passes.py` calls them.

Shape suffixes: N rows (of all batch rows one step after the other), D channels, R recent inputs, H heads, K head size.
"""
# mypy: allow-untyped-defs, disable-error-code="call-arg"
# numba passes intrinsics their context by itself.

from functools import partial

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload, register_jitable

from understudy.compiled import compiled

# Sums may be reordered, so that they take whole vectors.
fast = partial(compiled, fastmath=("reassoc", "contract"))


def _wide(x):
    """Return a number as float32."""


def _put(to, at, value):
    """Store a float32 into an array, rounded to nearest even."""


# numba's own integers would grow to 64 bits on the way, which half as many lanes hold.


@intrinsic
def _widened(context, half):
    def build(context, builder, signature, values):
        word = builder.zext(values[0], ir.IntType(32))
        return builder.bitcast(builder.shl(word, word.type(16)), ir.FloatType())

    return types.float32(types.uint16), build


@intrinsic
def _narrowed(context, value):
    def build(context, builder, signature, values):
        bits = builder.bitcast(values[0], ir.IntType(32))
        odd = builder.and_(builder.lshr(bits, bits.type(16)), bits.type(1))
        bits = builder.add(builder.add(bits, bits.type((1 << 15) - 1)), odd)
        return builder.trunc(builder.lshr(bits, bits.type(16)), ir.IntType(16))

    return types.uint16(types.float32), build


@intrinsic
def _two_to_the(context, whole):
    def build(context, builder, signature, values):
        exponent = builder.fptosi(values[0], ir.IntType(32))
        biased = builder.add(exponent, exponent.type(127))
        return builder.bitcast(builder.shl(biased, biased.type(23)), ir.FloatType())

    return types.float32(types.float32), build


@overload(_wide, inline="always")
def _wide_of(x):
    if x == types.uint16:
        return lambda x: _widened(x)
    return lambda x: x


@overload(_put, inline="always")
def _put_of(to, at, value):
    if to.dtype == types.uint16:

        def put(to, at, value):
            to[at] = _narrowed(value)

    else:

        def put(to, at, value):
            to[at] = value

    return put


@fast
def convolve(x_ND, taps_RD, reach_N, y_ND):
    """Write y[n] = x[n] + Σᵣ tap[r] · x[n − r], r from 1 to reach[n]."""
    for n in range(len(x_ND)):
        x, y = x_ND[n], y_ND[n]
        if reach_N[n] == 3:
            a, b, c = x_ND[n - 1], x_ND[n - 2], x_ND[n - 3]
            for d in range(len(x)):
                _put(y, d, _wide(x[d]) + taps_RD[0, d] * _wide(a[d]) + taps_RD[1, d] * _wide(b[d])
                     + taps_RD[2, d] * _wide(c[d]))  # fmt: skip
        else:
            for d in range(len(x)):
                total = _wide(x[d])
                for r in range(reach_N[n]):
                    total += taps_RD[r, d] * _wide(x_ND[n - 1 - r, d])
                _put(y, d, total)


@fast
def convolve_back(dy_ND, x_ND, taps_RD, reach_N, dx_ND, dtaps_RD):
    """Write dx, and add to dtaps."""
    for n in range(len(x_ND)):
        dy, dx = dy_ND[n], dx_ND[n]
        # What later outputs had from here
        ahead = 0
        while ahead < 3 and n + ahead + 1 < len(x_ND) and reach_N[n + ahead + 1] > ahead:
            ahead += 1
        if ahead == 3:
            a, b, c = dy_ND[n + 1], dy_ND[n + 2], dy_ND[n + 3]
            for d in range(len(dy)):
                _put(dx, d, _wide(dy[d]) + taps_RD[0, d] * _wide(a[d]) + taps_RD[1, d] * _wide(b[d])
                     + taps_RD[2, d] * _wide(c[d]))  # fmt: skip
        else:
            for d in range(len(dy)):
                total = _wide(dy[d])
                for r in range(ahead):
                    total += taps_RD[r, d] * _wide(dy_ND[n + 1 + r, d])
                _put(dx, d, total)
        for r in range(reach_N[n]):
            x, dtap = x_ND[n - 1 - r], dtaps_RD[r]
            for d in range(len(dy)):
                dtap[d] += _wide(dy[d]) * _wide(x[d])


@fast
def normalise(x_ND, y_ND, scale_N, eps):
    """Write y = scale · x with scale = 1 / √(mean(x²) + eps)."""
    for n in range(len(x_ND)):
        x, y, squares = x_ND[n], y_ND[n], np.float32(0)
        for d in range(len(x)):
            squares += _wide(x[d]) * _wide(x[d])
        scale = np.float32(1) / np.sqrt(squares / np.float32(len(x)) + np.float32(eps))
        scale_N[n] = scale
        for d in range(len(x)):
            _put(y, d, _wide(x[d]) * scale)


@fast
def normalise_back(dy_ND, y_ND, scale_N, dx_ND):
    """Write dx = scale · (dy − y · mean(dy · y))."""
    for n in range(len(y_ND)):
        y, dy, dx, scale, along = y_ND[n], dy_ND[n], dx_ND[n], scale_N[n], np.float32(0)
        for d in range(len(y)):
            along += _wide(dy[d]) * _wide(y[d])
        along /= np.float32(len(y))
        for d in range(len(y)):
            _put(dx, d, scale * (_wide(dy[d]) - along * _wide(y[d])))


@fast
def heads(qkv_NJHK, turn_TJK, eps, q_NHK, k_NHK, v_NHK, scale_NJH):
    """Write queries and keys normalised and rotated, and values as they are, each for itself.

    `turn_TJK` are the cosines and sines of `models.attention.rotate` for the steps of a batch row.
    """
    half, size = qkv_NJHK.shape[3] // 2, np.float32(qkv_NJHK.shape[3])
    for n in range(len(qkv_NJHK)):
        cosine, sine = turn_TJK[n % len(turn_TJK), 0], turn_TJK[n % len(turn_TJK), 1]
        for h in range(qkv_NJHK.shape[2]):
            for j in range(2):
                x, y = qkv_NJHK[n, j, h], k_NHK[n, h] if j else q_NHK[n, h]
                squares = np.float32(0)
                for i in range(len(x)):
                    squares += _wide(x[i]) * _wide(x[i])
                scale = np.float32(1) / np.sqrt(squares / size + np.float32(eps))
                scale_NJH[n, j, h] = scale
                for i in range(half):
                    a, b = _wide(x[i]) * scale, _wide(x[i + half]) * scale
                    _put(y, i, a * cosine[i] + b * sine[i])
                    _put(y, i + half, b * cosine[i + half] + a * sine[i + half])
            x, y = qkv_NJHK[n, 2, h], v_NHK[n, h]
            for i in range(len(x)):
                y[i] = x[i]


@fast
def heads_back(dq_NHK, dk_NHK, dv_NHK, qkv_NJHK, turn_TJK, scale_NJH, dqkv_NJHK):
    """Write the gradient of what `heads` read."""
    half, size = qkv_NJHK.shape[3] // 2, np.float32(qkv_NJHK.shape[3])
    for n in range(len(qkv_NJHK)):
        cosine, sine = turn_TJK[n % len(turn_TJK), 0], turn_TJK[n % len(turn_TJK), 1]
        for h in range(qkv_NJHK.shape[2]):
            for j in range(2):
                x, dx, dy = qkv_NJHK[n, j, h], dqkv_NJHK[n, j, h], dk_NHK[n, h] if j else dq_NHK[n, h]
                scale, along = scale_NJH[n, j, h], np.float32(0)
                for i in range(half):
                    a, b = _wide(dy[i]), _wide(dy[i + half])
                    along += (a * cosine[i] + b * sine[i + half]) * _wide(x[i])
                    along += (b * cosine[i + half] + a * sine[i]) * _wide(x[i + half])
                along *= scale * scale / size
                for i in range(half):
                    a, b = _wide(dy[i]), _wide(dy[i + half])
                    _put(dx, i, scale * (a * cosine[i] + b * sine[i + half] - along * _wide(x[i])))
                    b = b * cosine[i + half] + a * sine[i]
                    _put(dx, i + half, scale * (b - along * _wide(x[i + half])))
            x, dx = dv_NHK[n, h], dqkv_NJHK[n, 2, h]
            for i in range(len(x)):
                dx[i] = x[i]


@fast
def squared_relu(x_N, y_N):
    """Write y = max(x, 0)²."""
    for n in range(len(x_N)):
        x = max(_wide(x_N[n]), np.float32(0))
        _put(y_N, n, x * x)


@fast
def squared_relu_back(dy_N, x_N, dx_N):
    """Write dx = 2 · max(x, 0) · dy."""
    for n in range(len(x_N)):
        _put(dx_N, n, np.float32(2) * max(_wide(x_N[n]), np.float32(0)) * _wide(dy_N[n]))


@register_jitable
def _exponential(x):
    """Return e^x within two units in the last place, from e^−87 to e^88 (Cephes' polynomial)."""
    x = min(max(x, np.float32(-87)), np.float32(88))
    n = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    x = x - n * np.float32(0.693359375)
    x = x + n * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4) * x + np.float32(1.3981999507e-3)
    y = y * x + np.float32(8.3334519073e-3)
    y = y * x + np.float32(4.1665795894e-2)
    y = y * x + np.float32(1.6666665459e-1)
    y = y * x + np.float32(5.0000001201e-1)
    return (y * (x * x) + x + np.float32(1)) * _two_to_the(n)


@register_jitable
def _share_kept(x):
    """Return the factor of x in GELU's tanh form: 1 / (1 + e^(−2u)), u = √(2/π) · (x + 0.044715 x³)."""
    u = np.float32(-2 * 0.7978845608028654) * x * (np.float32(1) + np.float32(0.044715) * x * x)
    return np.float32(1) / (np.float32(1) + _exponential(u))


@fast
def gelu(x_N, y_N):
    """Write the tanh form of GELU (Hendrycks 2016)."""
    for n in range(len(x_N)):
        x = _wide(x_N[n])
        _put(y_N, n, x * _share_kept(x))


@fast
def gelu_back(dy_N, x_N, dx_N):
    """Write dx of `gelu`."""
    for n in range(len(x_N)):
        x = _wide(x_N[n])
        kept = _share_kept(x)
        slope = np.float32(2 * 0.7978845608028654) * (np.float32(1) + np.float32(3 * 0.044715) * x * x)
        _put(dx_N, n, _wide(dy_N[n]) * kept * (np.float32(1) + x * (np.float32(1) - kept) * slope))
