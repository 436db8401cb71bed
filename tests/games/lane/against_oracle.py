"""Games in the compiled lane and in the oracle, compared after each step. By hand: a million steps."""

import sys

import numpy as np

from understudy.games.env import Buffers
from understudy.games.lane import unit_kernels as lane
from understudy.games.lane.env import ACTIONS, Lane, Options

from .oracle import Oracle

TASKS = {"creep-block": 1, "last-hit": 1, "duel": 1, "team": 3}
"""With how many heroes on each side each is played here."""
SCRIPTED = 0.7
"""Share of the choices that are a script's, so that much happens; the others are random."""


def play(task, steps, seed, worlds=8, horizon=1500, weak=False):
    """Play games until there have been so many steps; return how much happened in them.

    With `weak`, towers, heroes and the first eastern wave begin with few hit points, so that they fall soon.
    """
    env = Lane(task, worlds, Options(heroes=TASKS[task], horizon=horizon, shaping=0.5))
    out, agents = Buffers.of(env), len(env.agents)
    random, seeds = np.random.default_rng(seed), np.arange(worlds) * 2**40 + seed
    env.reset(seeds, out)
    if weak:
        env.lanes[:, lane.TOWERS, :2] = 150
        env.lanes[:, lane.HEROES :, lane.HP] = 60
        env.lanes[:, lane.CREEP_HP + 1, : lane.WAVE_CREEPS] = 1
    oracles = [Oracle(task, env.heroes, horizon, int(one)) for one in seeds]
    for oracle in oracles if weak else ():
        for few, units in ((150, oracle.towers), (60, oracle.playing), (1, oracle.living("creep", 1))):
            for unit in units:
                unit.hp = few
    happened = dict.fromkeys(("last hits", "deaths", "towers", "ends"), 0)
    script, rows = env.scripts["novice" if weak else "expert"](env), np.arange(env.rows)
    for _ in range(steps // worlds):
        scripted = random.random((env.rows, 1)) < SCRIPTED
        drawn = random.integers(len(ACTIONS), size=(env.rows, 1))
        actions = np.where(scripted, script.act(rows, out.observations, out.masks), drawn)
        env.step(actions, out)
        for world, oracle in enumerate(oracles):
            done = actions[agents * world : agents * (world + 1), 0]
            compare(env, out, world, oracle, oracle.step([ACTIONS[one] for one in done]))
            happened["last hits"] += sum(hero.hits for hero in oracle.heroes)
        over = out.over(env)
        for world in np.flatnonzero(over):
            happened["deaths"] += sum(oracles[world].fell)
            happened["towers"] += any(not tower.alive for tower in oracles[world].towers)
            happened["ends"] += 1
            oracles[world] = Oracle(task, env.heroes, horizon, int(seeds[world]) + 1)
        if over.any():
            seeds = seeds + over
            env.reset(seeds, out, over)
            for world in np.flatnonzero(over):
                compare(env, out, world, oracles[world])
    return happened


def compare(env, out, world, oracle, earned=None):
    """Check the state of a world and what its heroes see, may do and, after a step, earned."""
    assert np.array_equal(env.lanes[world], lane_of(oracle))
    for place, hero in enumerate(oracle.playing):
        row = len(env.agents) * world + place
        seen = oracle.sees(hero)
        assert out.observations[row].tolist() == [seen[name] for name in env.observation.names]
        may = oracle.may(hero)
        assert out.masks[row].tolist() == [name in may for name in ACTIONS]
        if earned:
            rewards, points = earned
            assert out.rewards[row] == rewards[place] + 0.5 * points[place] / 4096
            assert (out.terminated[row], out.truncated[row]) == (oracle.terminated, oracle.truncated)


def lane_of(oracle):
    """Return the oracle's state as the compiled lane keeps it."""
    state = np.zeros((lane.HEROES + len(oracle.heroes), 8), np.int32)
    over = lane.TERMINATED if oracle.terminated else lane.TRUNCATED if oracle.truncated else 0
    state[0, [lane.CLOCK, lane.OVER, lane.KEY]] = oracle.clock, over, oracle.key
    state[lane.TOWERS, :6] = [*(one.hp for one in oracle.towers), *(one.pause for one in oracle.towers), *oracle.fell]
    for creep in oracle.creeps:
        rows = [row + creep.team for row in (lane.CREEP_X, lane.CREEP_Y, lane.CREEP_HP, lane.CREEP_COOL)]
        state[rows, creep.number] = creep.x, creep.y, creep.hp, creep.pause
    for row, hero in enumerate(oracle.heroes, lane.HEROES):
        state[row] = hero.x, hero.y, hero.hp, hero.pause, hero.experience, hero.away, hero.provoked, hero.last_hits
    return state


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for name in TASKS:
        print(name, total, "steps equal;", play(name, total, seed=7), flush=True)
