"""Random play in the compiled kitchen and in the oracle, compared after each step. By hand: a million steps."""

import sys

import numpy as np

from understudy.games.env import Buffers
from understudy.games.kitchen import kernels
from understudy.games.kitchen.env import Kitchen, Options
from understudy.games.kitchen.layout import LAYOUTS

from .oracle import ACTIONS, DIRECTIONS, Oracle, Soup

HORIZON = 200


def play(layout, steps, seed):
    """Play random games of HORIZON steps in 40 kitchens until each layout has had so many steps."""
    worlds = 40
    env = Kitchen(layout, worlds, Options(horizon=HORIZON, shaping=0.5))
    out = Buffers.of(env)
    random = np.random.default_rng(seed)
    env.reset(np.zeros(worlds), out)
    oracles = [Oracle(env.kitchen.lines, HORIZON) for _ in range(worlds)]
    delivered = 0
    for _ in range(steps // worlds):
        # Half of all random actions interact, so that things get cooked
        actions = np.where(random.random(env.rows) < 0.4, kernels.INTERACT, random.integers(5, size=env.rows))
        env.step(actions[:, None], out)
        for world, oracle in enumerate(oracles):
            first = 2 * world
            reward, shaped = oracle.step([ACTIONS[each] for each in actions[first : first + 2]])
            delivered += reward
            assert out.rewards[first : first + 2].tolist() == [reward + 0.5 * each for each in shaped]
            assert np.array_equal(env.kitchens[world], kitchen_of(oracle))
            for player in range(2):
                layers = out.observations[first + player]
                assert dict(zip(zip(*map(list, layers.nonzero()), strict=True), layers[layers > 0], strict=True)) == (
                    oracle.layers(player)
                )
        over = out.over(env)
        assert over.tolist() == [oracle.time == HORIZON for oracle in oracles]
        if over.any():
            assert np.array_equal(out.final_observations, out.observations)
            env.reset(np.zeros(worlds), out, over)
            oracles = [Oracle(env.kitchen.lines, HORIZON) for _ in range(worlds)]
    return delivered


def kitchen_of(oracle):
    width = len(oracle.lines[0])
    kitchen = np.zeros(kernels.CONTENTS + width * len(oracle.lines), np.int16)

    def content(thing):
        if isinstance(thing, Soup):
            return thing.onions if thing.onions < 3 else kernels.SOUP + thing.cooked
        return {None: 0, "onion": kernels.ONION, "dish": kernels.DISH}[thing]

    for base, cook in zip((0, kernels.PLAYER), oracle.cooks, strict=True):
        x, y = cook.position
        facing = list(DIRECTIONS.values()).index(cook.facing)
        kitchen[base : base + kernels.PLAYER] = y * width + x, facing, content(cook.held)
    kitchen[kernels.CLOCK], kitchen[kernels.OVER] = oracle.time, oracle.time >= oracle.horizon
    for (x, y), thing in oracle.things.items():
        kitchen[kernels.CONTENTS + y * width + x] = content(thing)
    return kitchen


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for name in LAYOUTS:
        print(name, total, "steps equal;", play(name, total, seed=7), "earned", flush=True)
