"""A policy's step as compiled code: what rows see goes through encoder, core and heads; an action is drawn for each.

Addresses are int64, matrices lie with a row for each input. `roll.py` fills plans and calls `rollout_kernels.py`, which
calls these.

Shape suffixes: T steps, R rows, A possibilities.
"""
# mypy: allow-untyped-defs

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from understudy.compiled import compiled, inlined
from understudy.native import vectors as vec
from understudy.native.pointwise import F, hyperbolic_tangent, sigmoid

LANES = vec.LANES
BLOCK = 32
"""Rows that go through the network together, a multiple of 4."""
NORM_EPS = np.float32(1e-5)
FARTHEST = np.float32(10.0)
# Columns of a plan: sizes, then addresses
SEEN, LAST, WIDTH, LAYERS, CORE, ACTIONS, HEAD, ROWS, IDLE = range(9)
MEAN, SCALE, ENCODER, LSTM, HEAD_W, HEAD_B, NUMBERS, H, C, LASTS, KEYS, STEPS = range(9, 21)
PLAN = 21


class Taken(NamedTuple):
    """What a rollout writes, as `acting.rollout.Trajectories` has it, and where its worlds stand."""

    observations: NDArray[np.float32]
    masks: NDArray[np.bool_]
    actions: NDArray[np.int64]
    log_probs: NDArray[np.float32]
    values: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_values: NDArray[np.float32]
    begins: NDArray[np.bool_]
    decided: NDArray[np.bool_]
    earned: NDArray[np.float64]
    """[T, R]: what a row has earned in the episode that ends with this step."""
    lengths: NDArray[np.int64]
    """[T, worlds]: steps of the episode that ends with this step, negative if it is cut by hand; 0 where none does."""
    who: NDArray[np.int64]
    """[R]: the number of the plan that decides."""
    latest: int
    ended: NDArray[np.bool_]
    fresh: NDArray[np.bool_]
    """[R]: an episode begins with the next step."""
    so_far: NDArray[np.float64]
    """[R]: earned in the episode so far."""
    ages: NDArray[np.int64]
    """[worlds]."""
    cuts: NDArray[np.int64]
    """[worlds]: the age at which an episode is cut short by hand; 0: none."""
    agents: int
    sides: NDArray[np.int64]
    """[agents]: the number of each one's side."""
    spirits: NDArray[np.float32]
    """[agents]: the share of each one's reward that is its side's mean."""


@inlined
def tile(x, x_stride, count, w, w_stride, b, y, y_stride, more):
    """Write four rows by 64 columns of x · w + b, or add to them."""
    if more:
        b, b_1, b_2, b_3 = y, y + y_stride, y + 2 * y_stride, y + 3 * y_stride
    else:
        b_1, b_2, b_3 = b, b, b
    a0, a1, a2, a3 = vec.load(b), vec.load(b + 64), vec.load(b + 128), vec.load(b + 192)
    c0, c1, c2, c3 = vec.load(b_1), vec.load(b_1 + 64), vec.load(b_1 + 128), vec.load(b_1 + 192)
    d0, d1, d2, d3 = vec.load(b_2), vec.load(b_2 + 64), vec.load(b_2 + 128), vec.load(b_2 + 192)
    e0, e1, e2, e3 = vec.load(b_3), vec.load(b_3 + 64), vec.load(b_3 + 128), vec.load(b_3 + 192)
    for k in range(count):
        at = w + k * w_stride
        w0, w1, w2, w3 = vec.load(at), vec.load(at + 64), vec.load(at + 128), vec.load(at + 192)
        one = vec.splat(vec.get(x + F * k))
        a0, a1 = vec.muladd(one, w0, a0), vec.muladd(one, w1, a1)
        a2, a3 = vec.muladd(one, w2, a2), vec.muladd(one, w3, a3)
        one = vec.splat(vec.get(x + x_stride + F * k))
        c0, c1 = vec.muladd(one, w0, c0), vec.muladd(one, w1, c1)
        c2, c3 = vec.muladd(one, w2, c2), vec.muladd(one, w3, c3)
        one = vec.splat(vec.get(x + 2 * x_stride + F * k))
        d0, d1 = vec.muladd(one, w0, d0), vec.muladd(one, w1, d1)
        d2, d3 = vec.muladd(one, w2, d2), vec.muladd(one, w3, d3)
        one = vec.splat(vec.get(x + 3 * x_stride + F * k))
        e0, e1 = vec.muladd(one, w0, e0), vec.muladd(one, w1, e1)
        e2, e3 = vec.muladd(one, w2, e2), vec.muladd(one, w3, e3)
    vec.store(y, a0)
    vec.store(y + 64, a1)
    vec.store(y + 128, a2)
    vec.store(y + 192, a3)
    y += y_stride
    vec.store(y, c0)
    vec.store(y + 64, c1)
    vec.store(y + 128, c2)
    vec.store(y + 192, c3)
    y += y_stride
    vec.store(y, d0)
    vec.store(y + 64, d1)
    vec.store(y + 128, d2)
    vec.store(y + 192, d3)
    y += y_stride
    vec.store(y, e0)
    vec.store(y + 64, e1)
    vec.store(y + 128, e2)
    vec.store(y + 192, e3)


@inlined
def narrow_tile(x, x_stride, count, w, w_stride, b, y, y_stride, more):
    """Write four rows by 16 columns of x · w + b, or add to them."""
    if more:
        a, c, d, e = vec.load(y), vec.load(y + y_stride), vec.load(y + 2 * y_stride), vec.load(y + 3 * y_stride)
    else:
        a, c, d, e = vec.load(b), vec.load(b), vec.load(b), vec.load(b)
    for k in range(count):
        column, at = vec.load(w + k * w_stride), x + F * k
        a = vec.muladd(vec.splat(vec.get(at)), column, a)
        c = vec.muladd(vec.splat(vec.get(at + x_stride)), column, c)
        d = vec.muladd(vec.splat(vec.get(at + 2 * x_stride)), column, d)
        e = vec.muladd(vec.splat(vec.get(at + 3 * x_stride)), column, e)
    vec.store(y, a)
    vec.store(y + y_stride, c)
    vec.store(y + 2 * y_stride, d)
    vec.store(y + 3 * y_stride, e)


@compiled
def multiply(x, x_stride, inputs, w, outputs, b, y, y_stride, rows, more):
    """Write x · w + b for rows up to the next multiple of 4, or add to y; `outputs` is a multiple of 16."""
    column = 0
    while column < outputs:
        at = F * column
        wide = column + 4 * LANES <= outputs
        for row in range(0, rows, 4):
            source, to = x + row * x_stride, y + at + row * y_stride
            if wide:
                tile(source, x_stride, inputs, w + at, F * outputs, b + at, to, y_stride, more)
            else:
                narrow_tile(source, x_stride, inputs, w + at, F * outputs, b + at, to, y_stride, more)
        column += 4 * LANES if wide else LANES


@inlined
def normalise(x, y, width):
    """Write x / √(mean(x²) + eps)."""
    squares = vec.splat(np.float32(0))
    for at in range(0, F * width, F * LANES):
        one = vec.load(x + at)
        squares = vec.muladd(one, one, squares)
    scale = vec.splat(np.float32(1) / np.sqrt(vec.total(squares) / np.float32(width) + NORM_EPS))
    for at in range(0, F * width, F * LANES):
        vec.store(y + at, vec.mul(vec.load(x + at), scale))


@inlined
def remember(gates, c, h, width):
    """Make the gates' sums the next cell and output."""
    side = F * width
    for at in range(0, side, F * LANES):
        enter, keep = sigmoid(vec.load(gates + at)), sigmoid(vec.load(gates + side + at))
        new, leave = hyperbolic_tangent(vec.load(gates + 2 * side + at)), sigmoid(vec.load(gates + 3 * side + at))
        cell = vec.muladd(keep, vec.load(c + at), vec.mul(enter, new))
        vec.store(c + at, cell)
        vec.store(h + at, vec.mul(leave, hyperbolic_tangent(cell)))


@inlined
def see(plan, seen, rows, count, x, wide):
    """Write what comes in for some rows, observations and last actions, in standard deviations from its mean."""
    for n in range(count):
        row, to = rows[n], x + n * wide
        for k in range(plan[SEEN] + plan[LAST]):
            if k < plan[SEEN]:
                one = np.float32(seen[row, k])
            else:
                one = vec.get(plan[LASTS] + F * (row * plan[LAST] + k - plan[SEEN]))
            one = (one - vec.get(plan[MEAN] + F * k)) / vec.get(plan[SCALE] + F * k)
            vec.put(to + F * k, min(max(one, -FARTHEST), FARTHEST))


@compiled
def forward(plan, seen, rows, count, room, keeps):
    """Write the heads of some rows to the last part of `room`; with `keeps`, what they remember after it.

    Args:
        plan: sizes and addresses.
        seen: [R, SEEN] observations.
        rows: which of them.
        count: how many.
        room: BLOCK rows each of inputs, two of hidden vectors, of gates and of heads, one behind the other.
        keeps: whether this is a step, and not only a look.

    Returns:
        The address of the heads: [count, HEAD].
    """
    width, inputs = plan[WIDTH], plan[SEEN] + plan[LAST]
    wide = F * max(width, (inputs + LANES - 1) // LANES * LANES)
    x, y, z = room, room + BLOCK * wide, room + 2 * BLOCK * wide
    gates = room + 3 * BLOCK * wide
    heads = gates + BLOCK * F * 4 * width

    see(plan, seen, rows, count, x, wide)

    # The encoder.
    zero = vec.splat(np.float32(0))
    for layer in range(plan[LAYERS]):
        w, b = vec.get_integer(plan[ENCODER] + 16 * layer), vec.get_integer(plan[ENCODER] + 16 * layer + 8)
        multiply(x, wide, inputs, w, width, b, y, wide, count, False)
        for n in range(count):
            for at in range(n * wide, n * wide + F * width, F * LANES):
                vec.store(y + at, vec.larger(vec.load(y + at), zero))
        x, y, inputs = y, x, width

    # The core.
    if plan[CORE] > 0:
        for n in range(count):
            normalise(x + n * wide, x + n * wide, width)
    for layer in range(plan[CORE]):
        table = plan[LSTM] + 24 * layer
        enter, again, bias = vec.get_integer(table), vec.get_integer(table + 8), vec.get_integer(table + 16)
        for n in range(count):
            before = plan[H] + F * width * (layer * plan[ROWS] + rows[n])
            for at in range(0, F * width, F * LANES):
                vec.store(z + n * wide + at, vec.load(before + at))
        multiply(x, wide, width, enter, 4 * width, bias, gates, F * 4 * width, count, False)
        multiply(z, wide, width, again, 4 * width, bias, gates, F * 4 * width, count, True)
        for n in range(count):
            place = F * width * (layer * plan[ROWS] + rows[n])
            cells = plan[C] + place
            if not keeps:
                for at in range(0, F * width, F * LANES):
                    vec.store(z + n * wide + at, vec.load(cells + at))
                cells = z + n * wide
            remember(gates + n * F * 4 * width, cells, y + n * wide, width)
            if keeps:
                for at in range(0, F * width, F * LANES):
                    vec.store(plan[H] + place + at, vec.load(y + n * wide + at))
        x, y = y, x
    if plan[CORE] > 0:
        for n in range(count):
            normalise(x + n * wide, x + n * wide, width)

    multiply(x, wide, width, plan[HEAD_W], plan[HEAD], plan[HEAD_B], heads, F * plan[HEAD], count, False)
    return heads


@inlined
def mixed(number):
    """Return a number whose bits all depend on all bits of this one, as `acting.player.mixed` does."""
    number = (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@inlined
def value_at(plan, head):
    """Return the value of a row, in the game's own rewards."""
    return vec.get(head + F * plan[ACTIONS]) * vec.get(plan[NUMBERS] + F) + vec.get(plan[NUMBERS])


@inlined
def draw(plan, head, row, mask):
    """Draw an action for a row, and return it with the logarithm of its probability."""
    most = -np.float32(np.inf)
    for a in range(plan[ACTIONS]):
        if mask[a]:
            most = max(most, vec.get(head + F * a))
    total = np.float32(0)
    for a in range(plan[ACTIONS]):
        if mask[a]:
            total += np.exp(vec.get(head + F * a) - most)
    key = np.uint64(vec.get_integer(plan[KEYS] + 8 * row)) + np.uint64(vec.get_integer(plan[STEPS] + 8 * row))
    drawn = np.float32((mixed(key) >> np.uint64(11)) * 2.0**-53) * total
    chosen, reached = 0, np.float32(0)
    # Moves sharpened, as `models.draws.Moves` does it.
    likeliest, moving, sharpened = np.float32(0), np.float32(0), np.float32(0)
    if plan[IDLE] >= 0:
        for a in range(plan[ACTIONS]):
            if mask[a] and a != plan[IDLE]:
                likeliest = max(likeliest, np.exp(vec.get(head + F * a) - most))
        for a in range(plan[ACTIONS]):
            if mask[a] and a != plan[IDLE]:
                one = np.exp(vec.get(head + F * a) - most)
                moving += one
                sharpened += (one / likeliest) ** vec.get(plan[NUMBERS] + 2 * F)
    for a in range(plan[ACTIONS]):
        if mask[a]:
            # Where rounding has taken the number to the sum's very end, it is the last one that may be done.
            chosen = a
            one = np.exp(vec.get(head + F * a) - most)
            if plan[IDLE] >= 0 and a != plan[IDLE]:
                one = (one / likeliest) ** vec.get(plan[NUMBERS] + 2 * F) * moving / sharpened
            reached += one
            if reached > drawn:
                break
    return chosen, vec.get(head + F * chosen) - most - np.log(total)


@compiled
def decide(taken, step, plans, start, stop, rows, room):
    """Have the plans decide for the rows from `start` to `stop`."""
    for number in range(len(plans)):
        plan, count = plans[number], 0
        for row in range(start, stop):
            if taken.who[row] == number:
                rows[count] = row
                count += 1
            if count == BLOCK or (row == stop - 1 and count > 0):
                heads = forward(plan, taken.observations[step], rows, count, room, True)
                for n in range(count):
                    one, head = rows[n], heads + n * F * plan[HEAD]
                    action, log_prob = draw(plan, head, one, taken.masks[step, one])
                    vec.put_integer(plan[STEPS] + 8 * one, vec.get_integer(plan[STEPS] + 8 * one) + 1)
                    taken.actions[step, one, 0] = action
                    for a in range(plan[LAST]):
                        vec.put(plan[LASTS] + F * (one * plan[LAST] + a), np.float32(a == action))
                    if number == taken.latest:
                        taken.log_probs[step, one] = log_prob
                        taken.values[step, one] = value_at(plan, head)
                        taken.decided[step, one] = not taken.ended[one]
                count = 0
    for row in range(start, stop):
        taken.begins[step, row] = taken.fresh[row]
        taken.fresh[row] = False


@inlined
def share_rewards(taken, step, world):
    """Mix the rewards of a world's agents by team spirit, as `games.teams.Teams.step` does."""
    first = world * taken.agents
    for leader in range(taken.agents):
        total, count, leads = np.float32(0), 0, True
        for agent in range(taken.agents):
            if taken.sides[agent] == taken.sides[leader]:
                leads = leads and agent >= leader
                total += taken.rewards[step, first + agent]
                count += 1
        spirit = taken.spirits[leader]
        if leads and spirit > 0:
            for agent in range(taken.agents):
                if taken.sides[agent] == taken.sides[leader]:
                    own = taken.rewards[step, first + agent]
                    taken.rewards[step, first + agent] = (1 - spirit) * own + spirit * (total / np.float32(count))


@compiled
def finish(taken, step, plans, start, stop, rows, room):
    """Note what the rows from `start` to `stop` earned, and what is still due where they were cut short.

    Returns how many worlds are over.
    """
    plan, count, over = plans[taken.latest], 0, 0
    for world in range(start // taken.agents, stop // taken.agents):
        share_rewards(taken, step, world)
        taken.ages[world] += 1
        if taken.ages[world] == taken.cuts[world]:
            for row in range(world * taken.agents, (world + 1) * taken.agents):
                taken.truncated[step, row] = not taken.terminated[step, row]
    for row in range(start, stop):
        taken.so_far[row] += taken.rewards[step, row]
        taken.ended[row] = taken.terminated[step, row] or taken.truncated[step, row]
        if taken.truncated[step, row] and taken.decided[step, row]:
            rows[count] = row
            count += 1
        if count == BLOCK or (row == stop - 1 and count > 0):
            heads = forward(plan, taken.observations[step + 1], rows, count, room, False)
            for n in range(count):
                taken.final_values[step, rows[n]] = value_at(plan, heads + n * F * plan[HEAD])
            count = 0
    for world in range(start // taken.agents, stop // taken.agents):
        ended = True
        for agent in range(taken.agents):
            ended = ended and taken.ended[world * taken.agents + agent]
        if ended:
            taken.lengths[step, world] = (
                -taken.ages[world] if taken.ages[world] == taken.cuts[world] else taken.ages[world]
            )
            taken.cuts[world] = 0
            for agent in range(taken.agents):
                taken.earned[step, world * taken.agents + agent] = taken.so_far[world * taken.agents + agent]
            over += 1
    return over
