"""Agent-steps a second of games, observations included: kitchen and lane against other Overcookeds and fast games.

    python benchmarks/env_speed.py [--quick]      needs the extra `games`; peers: pip install overcooked jaxmarl

Each contender steps its worlds with random actions that were drawn before, in a process of its own, in turn with the
others; those that can use two cores do so in a second race. An agent-step is one agent's observation, reward and end
after one step of its world. The package `overcooked` steps and encodes through its rules, as its own environment's step
fails; JaxMARL runs compiled for the CPU, many worlds in one call; Gymnasium's CartPole is its vectorised one.

Wanted: 3,000,000 agent-steps a second on one core in cramped_room and in the lane's duel, and 300 times what
`overcooked` makes.
"""

import argparse
import os
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
from report import contend, finish, race, racers, table

WANTED, TIMES = 3e6, 300
DRAWN = 64
"""Rounds of actions that are drawn beforehand."""


def rate(step: Callable[[int], object], agents: int) -> Callable[..., float]:
    """Return what steps for so many seconds and gives the agent-steps per second; `step(n)` is the n-th step of all."""

    def run(seconds: float) -> float:
        began, steps = perf_counter(), 0
        while perf_counter() - began < seconds:
            for _ in range(4):
                step(steps)
                steps += 1
        return steps * agents / (perf_counter() - began)

    run(0.2)
    return run


def ours(name: str, worlds: int, cores: int, **options: object) -> Callable[..., float]:
    """A game of ours; worlds that are over are reset."""
    from understudy.games.env import Buffers
    from understudy.games.names import make

    env = make(name, worlds, threads=cores, **options)
    out, seeds = Buffers.of(env), np.arange(worlds)
    env.reset(seeds, out)
    random = np.random.default_rng(0)
    actions = np.stack([random.integers(many, size=(DRAWN, env.rows)) for many in env.action.choices], -1)

    def step(number: int) -> None:
        env.step(actions[number % DRAWN], out)
        over = out.over(env)
        if over.any():
            env.reset(seeds, out, over)

    return rate(step, env.rows)


def overcooked(grid: bool) -> Callable[..., float]:
    """The package `overcooked` with the rules of 2019: one kitchen, with its grid observation or without any."""
    from overcooked.mdp import Action, OvercookedGridworld  # type: ignore[import-not-found]

    rules = OvercookedGridworld.from_layout_name("cramped_room", old_dynamics=True)
    random = np.random.default_rng(0)
    actions = [[Action.ALL_ACTIONS[one] for one in pair] for pair in random.integers(6, size=(DRAWN, 2))]
    state = rules.get_standard_start_state()

    def step(number: int) -> None:
        nonlocal state
        state, _ = rules.get_state_transition(state, actions[number % DRAWN])
        if grid:
            rules.lossless_state_encoding(state)

    return rate(step, 2)


def jaxmarl(worlds: int, cores: int) -> Callable[..., float]:
    """JaxMARL's Overcooked, compiled for the CPU: a scan of DRAWN steps of many worlds per call."""
    # XLA takes all the cores that it is let have
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax  # type: ignore[import-not-found]
    from jaxmarl import make  # type: ignore[import-not-found]

    env = make("overcooked")
    keys = jax.random.split(jax.random.key(0), worlds)
    actions = jax.random.randint(jax.random.key(1), (DRAWN, 2, worlds), 0, 6)
    _, state = jax.vmap(env.reset)(keys)

    @jax.jit
    def play(state, total):  # type: ignore[no-untyped-def]
        def one(carried, now):  # type: ignore[no-untyped-def]
            state, total = carried
            acted = dict(zip(env.agents, now, strict=True))
            seen, state, earned, *_ = jax.vmap(env.step)(keys, state, acted)
            # What is seen is added up, or it would not be computed
            total += sum(value.sum() for value in seen.values()) + sum(value.sum() for value in earned.values())
            return (state, total), None

        return jax.lax.scan(one, (state, total), actions)[0]

    carried = state, jax.numpy.float32(0)

    def step(_: int) -> None:
        nonlocal carried
        carried = jax.block_until_ready(play(*carried))

    return rate(step, 2 * worlds * DRAWN)


def gymnasium_cartpole(worlds: int) -> Callable[..., float]:
    """Gymnasium's CartPole, vectorised by numpy."""
    import gymnasium

    env = gymnasium.make_vec("CartPole-v1", num_envs=worlds, vectorization_mode="vector_entry_point")
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(2, size=(DRAWN, worlds))
    return rate(lambda number: env.step(actions[number % DRAWN]), worlds)


def puffer(name: str, worlds: int) -> Callable[..., float]:
    """A C environment of PufferLib, many worlds in one call."""
    import importlib

    module = importlib.import_module(f"pufferlib.ocean.{name}.{name}")
    env = getattr(module, name.capitalize())(num_envs=worlds)
    env.reset()
    many = env.single_action_space.n
    actions = np.random.default_rng(0).integers(many, size=(DRAWN, env.num_agents))
    return rate(lambda number: env.step(actions[number % DRAWN]), env.num_agents)


MAKERS = {
    "ours": ours,
    "overcooked": overcooked,
    "jaxmarl": jaxmarl,
    "gymnasium": gymnasium_cartpole,
    "puffer": puffer,
}
THREADED = {"ours", "jaxmarl"}
"""Those that can use more than one core; the others are measured once."""
ROOM = "kitchen/cramped_room"
HEADLINE, DUEL, SLOW = "ours, cramped_room, grid", "ours, lane, duel", "overcooked, cramped_room, grid"
CONTENDERS: dict[str, tuple[str, dict[str, object]]] = {
    HEADLINE: ("ours", {"name": ROOM, "worlds": 1024}),
    "ours, cramped_room, features": ("ours", {"name": ROOM, "worlds": 1024, "view": "features"}),
    "ours, counter_circuit, grid": ("ours", {"name": "kitchen/counter_circuit", "worlds": 1024}),
    DUEL: ("ours", {"name": "lane/duel", "worlds": 1024}),
    "ours, lane, team of five": ("ours", {"name": "lane/team", "worlds": 256}),
    SLOW: ("overcooked", {"grid": True}),
    "overcooked, cramped_room, nothing seen": ("overcooked", {"grid": False}),
    "JaxMARL, cramped_room, grid": ("jaxmarl", {"worlds": 1024}),
    "PufferLib, C breakout": ("puffer", {"name": "breakout", "worlds": 1024}),
    "Gymnasium, vector CartPole": ("gymnasium", {"worlds": 1024}),
}


def main() -> None:
    """Race on one core, then on two; print both and whether ours are as fast as wanted."""
    contend(MAKERS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under a minute, without JaxMARL, which compiles longer")
    quick = parser.parse_args().quick
    found: dict[int, dict[str, float]] = {}
    missing: dict[str, str] = {}
    for cores in (1, 2):
        entries = {
            name: (maker, {**options, "cores": cores} if maker in THREADED else options)
            for name, (maker, options) in CONTENDERS.items()
            if (cores == 1 or maker in THREADED) and not (quick and maker == "jaxmarl")
        }
        with racers(entries) as entrants:
            results = race(entrants, rounds=1 if quick else 5, seconds=0.5 if quick else 2.0)
            missing |= {name: racer.missing for name, racer in entrants.items() if racer.missing}
        found[cores] = {name: median(rates) for name, rates in results.items()}
    rows = [
        [name, *(f"{found[cores][name]:,.0f}" if name in found[cores] else missing.get(name, "–") for cores in (1, 2))]
        for name in CONTENDERS
    ]
    table("Agent-steps per second, random actions, observations included", ["game", "one core", "two cores"], rows)

    one = found[1]
    ratios = [one[HEADLINE] / WANTED, one[DUEL] / WANTED]
    if SLOW in one:
        ratios.append(one[HEADLINE] / one[SLOW] / TIMES)
        print(f"{one[HEADLINE] / one[SLOW]:,.0f} times the package overcooked on one core")
    peers = {name: round(value) for name, value in one.items() if not name.startswith("ours")}
    finish("env_speed", "agent-steps/s, one core", round(one[HEADLINE]), peers, None, round(min(ratios), 3), 1.0)


if __name__ == "__main__":
    main()
