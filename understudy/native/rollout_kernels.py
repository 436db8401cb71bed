"""A segment of a rollout as one call: policies decide, worlds step, and what happened is written down.

Each function plays some worlds, those of the rows from `start` to `stop`, from step `first` on; so threads share a
rollout without waiting for one another. It returns the step at which worlds must begin anew by the caller's hand, or
the number of steps. With `alone`, worlds begin anew here, by seeds of their own.
"""
# mypy: allow-untyped-defs

import numpy as np

from understudy.compiled import compiled, inlined
from understudy.games.kitchen import kernels as kitchen
from understudy.games.lane import kernels as lane
from understudy.native import vectors as vec
from understudy.native.policy_kernels import CORE, KEYS, LAST, LASTS, ROWS, STEPS, WIDTH, C, F, H, decide, finish, mixed


@compiled
def begin(taken, plans, players, world, seed):
    """Forget what was in a world, and begin an episode by a seed there, with whoever decided for it before."""
    taken.ages[world] = 0
    for agent in range(taken.agents):
        row = world * taken.agents + agent
        taken.fresh[row], taken.ended[row], taken.so_far[row] = True, False, 0
        plan = plans[taken.who[row]]
        key = mixed(mixed(np.uint64(players[taken.who[row]]) + np.uint64(seed)) + np.uint64(agent))
        vec.put_integer(plan[KEYS] + 8 * row, np.int64(key))
        vec.put_integer(plan[STEPS] + 8 * row, 0)
        zero = np.float32(0)
        for layer in range(plan[CORE]):
            for d in range(plan[WIDTH]):
                at = F * (plan[WIDTH] * (layer * plan[ROWS] + row) + d)
                vec.put(plan[H] + at, zero)
                vec.put(plan[C] + at, zero)
        for a in range(plan[LAST]):
            vec.put(plan[LASTS] + F * (row * plan[LAST] + a), zero)


@inlined
def next_seed(seeds, world):
    """Return the seed of a world's next episode: its number, mixed with the world's key."""
    seeds[world, 1] += np.uint64(1)
    return np.int64(mixed(seeds[world, 0] + seeds[world, 1]) >> np.uint64(33))


@compiled
def play_kitchens(game, taken, plans, players, seeds, alone, first, start, stop, rows, room):
    """Play kitchens; see the head of this file."""
    kitchens, tables, horizon, shaping, every = game
    low, high = start // 2, stop // 2
    steps = len(taken.rewards)
    for step in range(first, steps):
        decide(taken, step, plans, start, stop, rows, room)
        kitchen.step_kitchens(
            kitchens,
            tables,
            taken.actions[step],
            horizon,
            shaping,
            taken.rewards[step],
            taken.truncated[step],
            low,
            high,
        )
        kitchen.see_all_features(kitchens, tables, every, taken.observations[step + 1], low, high)
        taken.masks[step + 1, start:stop] = True
        if finish(taken, step, plans, start, stop, rows, room):
            if not alone:
                return step + 1
            for world in range(low, high):
                if taken.lengths[step, world]:
                    begin(taken, plans, players, world, next_seed(seeds, world))
                    kitchen.reset_kitchen(kitchens[world], tables)
                    for player in range(2):
                        kitchen.see_features(
                            kitchens[world], tables, player, taken.observations[step + 1, 2 * world + player]
                        )
    return steps


@compiled
def play_lanes(game, taken, plans, players, seeds, alone, first, start, stop, rows, room):
    """Play lanes; see the head of this file."""
    lanes, rules, notes, shaping = game
    low, high = start // taken.agents, stop // taken.agents
    steps = len(taken.rewards)
    for step in range(first, steps):
        decide(taken, step, plans, start, stop, rows, room)
        out = lane.Written(
            taken.observations[step + 1],
            taken.rewards[step],
            taken.terminated[step],
            taken.truncated[step],
            taken.masks[step + 1],
        )
        lane.step_lanes(lanes, rules, notes, taken.actions[step], shaping, out, low, high)
        if finish(taken, step, plans, start, stop, rows, room):
            if not alone:
                return step + 1
            for world in range(low, high):
                if taken.lengths[step, world]:
                    seed = next_seed(seeds, world)
                    begin(taken, plans, players, world, seed)
                    lane.reset_lane(lanes[world], rules, seed)
                    lane.show_lane(lanes[world], rules, world, taken.observations[step + 1], taken.masks[step + 1])
    return steps
