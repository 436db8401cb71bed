"""Gymnasium's CartPole-v1 by the same equations, many carts in one call: what the races of training play.

An episode ends when the pole falls or the cart leaves the track, and is cut short after 500 steps.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from understudy.games.env import Action, Array, Buffers, Env, Observation
from understudy.games.sharing import Sharing
from understudy.native import roll
from understudy.native.policy_kernels import decide, finish
from understudy.native.rollout_kernels import begin, next_seed

HORIZON = 500


class Written(NamedTuple):
    """What a step writes into."""

    observations: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


class CartPole(Env):
    """Carts with a pole each. `carts` is the whole state: position, velocity, angle, angular velocity."""

    def __init__(self, worlds: int) -> None:
        super().__init__(
            "cartpole", "1", worlds, ("cart",), Observation((4,)), Action(choices=(2,), names=("left", "right"))
        )
        self.carts, self.sharing = np.zeros((worlds, 4)), Sharing(worlds, 0)
        self.clock = np.full(worlds, HORIZON, np.int64)

    def _reset(self, seeds: Array, out: Buffers, chosen: Array) -> None:
        out.masks[chosen] = True
        for world in np.flatnonzero(chosen):
            reset(self.carts, self.clock, seeds[world], world, out.observations)

    def _step(self, actions: Array, out: Buffers) -> None:
        out.masks[:] = True
        written = Written(out.observations, out.rewards, out.terminated, out.truncated)
        step(self.carts, self.clock, actions, written, 0, self.worlds)
        ended = out.terminated | out.truncated
        out.final_observations[ended] = out.observations[ended]


@numba.njit(nogil=True)
def reset(carts, clock, seed, world, observations):
    """Begin an episode at random near the middle."""
    np.random.seed(seed & 0xFFFFFFFF)
    clock[world] = 0
    for at in range(4):
        carts[world, at] = np.random.uniform(-0.05, 0.05)
        observations[world, at] = carts[world, at]


@numba.njit(nogil=True, error_model="numpy")
def step(carts, clock, actions, out, low, high):
    """Let one step of 0.02 s pass (Barto, Sutton & Anderson 1983; semi-implicit as Gymnasium has it: Euler)."""
    for world in range(low, high):
        out.rewards[world] = 0
        x, speed, angle, turning = carts[world]
        over = abs(x) > 2.4 or abs(angle) > 12 * 2 * np.pi / 360
        if clock[world] < HORIZON and not over:
            force = 10.0 if actions[world, 0] == 1 else -10.0
            cosine, sine = np.cos(angle), np.sin(angle)
            pushed = (force + 0.05 * turning * turning * sine) / 1.1
            spin = (9.8 * sine - cosine * pushed) / (0.5 * (4 / 3 - 0.1 * cosine * cosine / 1.1))
            pull = pushed - 0.05 * spin * cosine / 1.1
            x, speed = x + 0.02 * speed, speed + 0.02 * pull
            angle, turning = angle + 0.02 * turning, turning + 0.02 * spin
            carts[world, 0], carts[world, 1], carts[world, 2], carts[world, 3] = x, speed, angle, turning
            clock[world] += 1
            out.rewards[world] = 1
            over = abs(x) > 2.4 or abs(angle) > 12 * 2 * np.pi / 360
        out.terminated[world] = over
        out.truncated[world] = not over and clock[world] >= HORIZON
        for at in range(4):
            out.observations[world, at] = carts[world, at]


@numba.njit(nogil=True)
def play(game, taken, plans, players, seeds, alone, first, start, stop, rows, room):
    """Play carts as `native.rollout_kernels` plays the games of the package."""
    carts, clock = game
    for now in range(first, len(taken.rewards)):
        decide(taken, now, plans, start, stop, rows, room)
        out = Written(taken.observations[now + 1], taken.rewards[now], taken.terminated[now], taken.truncated[now])
        step(carts, clock, taken.actions[now], out, start, stop)
        taken.masks[now + 1, start:stop] = True
        if finish(taken, now, plans, start, stop, rows, room):
            for world in range(start, stop):
                if taken.lengths[now, world]:
                    seed = next_seed(seeds, world)
                    begin(taken, plans, players, world, seed)
                    reset(carts, clock, seed, world, taken.observations[now + 1])
    return len(taken.rewards)


roll.GAMES[CartPole] = lambda env: (play, lambda low: (env.carts, env.clock), env.sharing)
