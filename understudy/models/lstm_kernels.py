"""What an LSTM does between its products at a step, in one pass over memory.

Numbers are float32 or bfloat16, the latter as its bits in uint16; cells are float32. Each runs on one thread, without
holding Python's lock.

Shape suffixes: B rows, D width, G = 4D gates: input, forget, cell, output.
"""
# mypy: allow-untyped-defs, disable-error-code="call-arg"

import numpy as np
from numba.extending import register_jitable

from understudy.models.kernels import _exponential, _put, _wide, fast

ONE = np.float32(1)


@register_jitable
def _sigmoid(x):
    return ONE / (ONE + _exponential(-x))


@register_jitable
def _tanh(x):
    """Return tanh(x) to a few units in the last place, by the quotient of polynomials that Eigen's `ptanh` has."""
    x = min(max(x, np.float32(-7.905311107635498)), np.float32(7.905311107635498))
    square = x * x
    p = np.float32(-2.76076847742355e-16) * square + np.float32(2.00018790482477e-13)
    p = p * square + np.float32(-8.60467152213735e-11)
    p = p * square + np.float32(5.12229709037114e-08)
    p = p * square + np.float32(1.48572235717979e-05)
    p = p * square + np.float32(6.37261928875436e-04)
    p = p * square + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06) * square + np.float32(1.18534705686654e-04)
    q = q * square + np.float32(2.26843463243900e-03)
    q = q * square + np.float32(4.89352518554385e-03)
    return x * p / q


# Short loops over few arrays each: LLVM makes vectors of a loop only where it can tell that its arrays do not overlap.


@fast
def step(gates_BG, c_BD, keep_B, later_BD, y_BD):
    """Make gates of their sums in place, and write the cells and outputs after them.

    `c_BD` are the cells before; they count as 0 where `keep_B` is false.
    """
    width = c_BD.shape[1]
    for b in range(len(c_BD)):
        gates, c, later, y, keep = gates_BG[b], c_BD[b], later_BD[b], y_BD[b], np.float32(keep_B[b])
        i, f, g, o = gates[:width], gates[width : 2 * width], gates[2 * width : 3 * width], gates[3 * width :]
        both = gates[: 2 * width]
        for d in range(len(both)):
            _put(both, d, _sigmoid(_wide(both[d])))
        for d in range(len(g)):
            _put(g, d, _tanh(_wide(g[d])))
        for d in range(len(o)):
            _put(o, d, _sigmoid(_wide(o[d])))
        for d in range(len(later)):
            later[d] = _wide(f[d]) * (c[d] * keep) + _wide(i[d]) * _wide(g[d])
        for d in range(len(later)):
            _put(y, d, _wide(o[d]) * _tanh(later[d]))


@fast
def step_back(gates_BG, c_BD, keep_B, later_BD, dy_BD, dh_BD, keep_next_B, dc_BD, tanh_D):
    """Make gates of `step` the gradients of their sums in place, and `dc_BD` the gradient of the cells before.

    The gradient of the outputs is `dy_BD`, and `dh_BD` where the next step did not begin anew; of the cells after,
    `dc_BD`. `tanh_D` and the like is room.
    """
    width = c_BD.shape[1]
    for b in range(len(c_BD)):
        gates, c, later, dy, dh, dc = gates_BG[b], c_BD[b], later_BD[b], dy_BD[b], dh_BD[b], dc_BD[b]
        keep, keep_next = np.float32(keep_B[b]), np.float32(keep_next_B[b])
        i, f, g, o = gates[:width], gates[width : 2 * width], gates[2 * width : 3 * width], gates[3 * width :]
        for d in range(width):
            tanh_D[d] = _tanh(later[d])
        for d in range(width):
            out, gate = _wide(dy[d]) + keep_next * _wide(dh[d]), _wide(o[d])
            dc[d] += out * gate * (ONE - tanh_D[d] * tanh_D[d])
            _put(o, d, out * tanh_D[d] * gate * (ONE - gate))
        for d in range(width):
            enters, new = _wide(i[d]), _wide(g[d])
            _put(i, d, dc[d] * new * enters * (ONE - enters))
            _put(g, d, dc[d] * enters * (ONE - new * new))
        for d in range(width):
            gate = _wide(f[d])
            _put(f, d, dc[d] * (c[d] * keep) * gate * (ONE - gate))
            dc[d] *= gate * keep
