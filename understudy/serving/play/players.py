"""Trained players in games for people: as partners, as those who are watched, and what they think."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from understudy.acting.player import PolicyPlayer
from understudy.errors import RunNotFoundError, ScenarioError
from understudy.evaluation.play import play
from understudy.games.env import Buffers, Env
from understudy.games.names import make
from understudy.games.recordings import Episode, Recording
from understudy.games.teams import FROZEN, Controller, Scenario
from understudy.serving.play.replays import Thoughts
from understudy.training.loading import LoadedPolicy, load_policy


def with_players(scenario: Scenario) -> tuple[Scenario, dict[str, LoadedPolicy]]:
    """Return the scenario with its runs named in full and the game as they know it, and the runs' policies by control.

    The options of the game are those with which the first run was trained, where the scenario gives no other.

    Raises:
        RunNotFoundError, CheckpointError: there is no such run, or it holds no policy.
        ScenarioError: it plays another game.
    """
    controls = {control for side in scenario.sides for control in side.controls() if control.startswith(FROZEN)}
    full: dict[str, str] = {}
    loaded: dict[str, LoadedPolicy] = {}
    options = dict(scenario.options)
    for control in sorted(controls):
        try:
            one = load_policy(control.removeprefix(FROZEN))
        except RunNotFoundError as error:
            with closing(make(scenario.game)) as env:
                scripts = ", ".join(("random", *env.scripts))
            raise RunNotFoundError(f"{error}; scripts of {scenario.game} are {scripts}") from error
        if one.recording.game != scenario.game:
            raise ScenarioError(f"{control} plays {one.recording.game}, not {scenario.game}")
        full[control] = f"{FROZEN}{name_of(one)}"
        loaded[full[control]] = one
        options = unusual_options(one.recording) | options
    sides = tuple(
        replace(side, control=tuple(full.get(control, control) for control in side.control)) for side in scenario.sides
    )
    return replace(scenario, sides=sides, options=options), loaded


def controllers_of(loaded: Mapping[str, LoadedPolicy], env: Env) -> dict[str, Controller]:
    """Return who decides for the runs in a game."""
    return {
        control: PolicyPlayer(one.policy, env, move_temperature=one.move_temperature) for control, one in loaded.items()
    }


def name_of(loaded: LoadedPolicy) -> str:
    """Return the id of a policy's run, or the folder of a checkpoint that belongs to none."""
    run = loaded.folder.parent.parent
    return run.name if (run / "run.json").exists() else str(loaded.folder)


def unusual_options(recording: Recording) -> dict[str, Any]:
    """Return the options of a recording that are not the game's usual ones."""
    env = make(recording.game)
    env.close()
    return {name: value for name, value in recording.options.items() if env.options.get(name) != value}


def watched(loaded: LoadedPolicy, games: int, seed: int) -> Recording:
    """Return games that a policy plays with itself, each from a seed of its own."""
    recording, name = loaded.recording, name_of(loaded)
    env = make(recording.game, **recording.options)
    try:
        player = PolicyPlayer(loaded.policy, env, move_temperature=loaded.move_temperature)
        episodes = play(env, player, range(seed, seed + games))
        for episode in episodes:
            players = dict.fromkeys(env.agents, f"run {name}")
            episode.provenance = {"players": players, "ended": "cut short" if not episode.terminated.all() else ""}
        return Recording.of(env, episodes)
    finally:
        env.close()


class PlayersMind:
    """What a policy thinks in games that it played by itself, or would have thought in the place of others.

    At each step it has seen and done what its agent had. In its own games that is what it thought: the same seeds have
    it draw the same again.
    """

    def __init__(self, loaded: LoadedPolicy) -> None:
        self._loaded = loaded

    def think(self, env: Env, episode: Episode) -> Mapping[int, Thoughts]:
        """Return its thoughts for all agents. Raises ScenarioError where the game is not one that it plays."""
        mine = self._loaded.recording
        if mine.game != env.name:
            raise ScenarioError(f"run {name_of(self._loaded)} plays {mine.game}, not {env.name}")
        # It may know the game in another view
        view = {name: mine.options[name] for name in ("view",) if name in mine.options}
        with closing(make(env.name, **{**env.options, **view})) as own:
            player, rows, out = PolicyPlayer(self._loaded.policy, own), np.arange(own.rows), Buffers.of(own)
            own.reset([episode.seed], out)
            player.reset(rows, np.full(own.rows, episode.seed))
            probabilities, values = [], []
            for actions in episode.actions:
                player.act(rows, out.observations, out.masks)
                player.follow(actions)
                assert player.acted
                probabilities.append(player.acted.probabilities)
                values.append(player.acted.values)
                own.step(actions, out)
        shares, worth = np.stack(probabilities, 1), np.stack(values, 1)
        # A clone learns from no rewards: its value head is as it was made, with no bias
        values_learned = bool(self._loaded.policy.value.bias.any())
        name = f"run {name_of(self._loaded)}"
        return {row: Thoughts(name, shares[row], worth[row] if values_learned else None) for row in rows.tolist()}
