"""What policies earn, and how good their predictions of a teacher are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from understudy.acting.rollout import Games
from understudy.games.env import Array, Buffers, Env
from understudy.games.recordings import Episode, Recorder
from understudy.games.teams import Controller, Scenario, Teams, everyone
from understudy.statistics import Floats


def play(
    env: Env, control: Mapping[str, Controller] | Controller, seeds: Sequence[int], scenario: Scenario | None = None
) -> list[Episode]:
    """Play one episode per seed, many worlds at a time, and return them in the order of the seeds.

    Args:
        env: the game, with any number of worlds.
        control: who decides, by the control's name in the scenario; or one who decides for all agents.
        seeds: of the episodes.
        scenario: who is who; None means that one decides for all.
    """
    controllers = control if isinstance(control, Mapping) else {"latest": control}
    scenario = scenario or everyone(env.name, dict.fromkeys(env.agents, "latest"), env.options)
    teams, out, recorder = Teams(scenario, env, controllers), Buffers.of(env), Recorder(env)
    found: dict[int, Episode] = {}
    # Worlds that have nothing left to play go on until the others are done, and are not taken down.
    waiting = list(range(len(seeds)))
    playing: list[int | None] = [waiting.pop(0) if waiting else None for _ in range(env.worlds)]

    def begin(chosen: np.ndarray) -> None:
        now = np.array([0 if number is None else seeds[number] for number in playing], np.int64)
        teams.reset(now, out, chosen)
        recorder.reset(now, out, chosen)

    begin(np.ones(env.worlds, bool))
    while len(found) < len(seeds):
        actions = teams.decide(out)
        teams.step(actions, out)
        for world, episode in recorder.step(actions, out):
            number = playing[world]
            if number is not None:
                found[number] = episode
            playing[world] = waiting.pop(0) if waiting else None
        over = out.over(env)
        if over.any() and len(found) < len(seeds):
            begin(over)
    return [found[number] for number in range(len(seeds))]


def tally(teams: Teams, seeds: Sequence[int]) -> Games:
    """Play an episode per seed, many worlds at a time, and return who earned what, without what was seen and done.

    The order is that in which they end.
    """
    env = teams.env
    out, waiting, found = Buffers.of(env), list(seeds), list[Games]()
    playing, count = np.zeros(env.worlds, bool), 0
    earned, lengths = np.zeros((env.worlds, len(env.agents))), np.zeros(env.worlds, np.int64)

    def begin(chosen: Array) -> None:
        now = np.zeros(env.worlds, np.int64)
        for world in np.flatnonzero(chosen):
            playing[world] = bool(waiting)
            now[world] = waiting.pop(0) if waiting else 0
        earned[chosen], lengths[chosen] = 0, 0
        teams.reset(now, out, chosen)

    begin(np.ones(env.worlds, bool))
    while count < len(seeds):
        teams.step(teams.decide(out), out)
        earned += out.rewards.reshape(earned.shape)
        lengths += 1
        over = out.over(env)
        if over.any():
            done = over & playing
            found.append(Games(teams.controls[done], earned[done], lengths[done]))
            count += int(done.sum())
            begin(over)
    return Games.joined(found, len(env.agents))


def between(env: Env, scenario: Scenario, players: Mapping[str, Controller], seeds: Sequence[int]) -> Games:
    """Return games of one player with itself; or of two, each in either's place equally often.

    Args:
        env: the game.
        scenario: its sides. Of two, each player has its own; of one, the first has one place, the other the rest.
        players: one or two, by their controls.
        seeds: of the episodes.
    """
    first, second = [*players, *players][:2]
    sides = scenario.sides
    if len(sides) > 1:
        seats = [first, *[second] * (len(sides) - 1)]
        seated = tuple(replace(side, control=(who,)) for side, who in zip(sides, seats, strict=True))
        shown = replace(scenario, sides=seated, swap="sides")
    else:
        control = (first, *[second] * (len(env.agents) - 1))
        shown = replace(scenario, sides=(replace(sides[0], control=control),), swap="places")
    return tally(Teams(shown, env, players), seeds)


def outcomes(games: Games, control: str) -> Floats:
    """Return how games went for one of two sides, by what each earned: 1 won, 0.5 drawn, 0 lost, [games]."""
    mine = games.controls == control
    own, other = (np.where(who, games.returns, 0).sum(1) / who.sum(1) for who in (mine, ~mine))
    return np.where(own == other, 0.5, own > other)


def returns(episodes: Sequence[Episode]) -> Floats:
    """Return what was earned in each episode, the mean of its agents: float64 [episodes]."""
    return np.array([one.rewards.sum(0, dtype=np.float64).mean() for one in episodes])


def calibration_error(confidence: Floats, right: Floats, bins: int = 15) -> float:
    """Return the expected calibration error: the mean of |accuracy − confidence| over bins of equal width.

    Each bin counts by the number of predictions in it (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    >>> round(calibration_error(np.array([0.9, 0.9, 0.6, 0.6]), np.array([1.0, 1.0, 1.0, 0.0])), 3)
    0.1
    """
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(bin_of, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, len(right)))
