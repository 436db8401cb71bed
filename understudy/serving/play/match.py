"""Games that people play, one after another, each recorded: what browser and terminal have in common."""

import os
import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import understudy
from understudy.errors import RecordingError, ScenarioError
from understudy.games.demos import make_recordings_folder
from understudy.games.env import Array, Buffers
from understudy.games.minari_files import describe, exists, write
from understudy.games.names import make
from understudy.games.recordings import Episode, Recorder, Recording, fits
from understudy.games.teams import LATEST, Scenario, Teams
from understudy.runs.code.git import code_of
from understudy.serving.play.players import controllers_of, with_players

HUMAN = "human"


class Recorded(NamedTuple):
    """Where a game was recorded, and what came of it."""

    folder: Path
    episode: int
    steps: int
    returns: dict[str, float]
    """The sum of rewards of each agent."""
    cut: bool
    """Whether it was broken off."""


class Match:
    """A game of one world, in which people have the control `human`.

    `begin`, then for each step `decide` (the others make up their minds) and `step`; at its end, or where it breaks
    off, `finish` records it. Rewards are recorded as the game gives them, before any team spirit.
    """

    def __init__(self, scenario: Scenario, folder: Path | None = None) -> None:
        """Make the game, with its players.

        Raises:
            ScenarioError: nobody in it is human, or somebody cannot play it.
            RecordingError: the folder has a recording to which its games cannot be added.
        """
        self.scenario, players = with_players(scenario)
        scenario = self.scenario
        self.env = make(scenario.game, **scenario.options)
        self.scene = self.env.scene()
        self.teams = Teams(scenario, self.env, controllers_of(players, self.env))
        controls = [control for side in scenario.sides for control in side.controls()]
        self.seats = controls.count(HUMAN)
        """How many people play."""
        if not self.seats:
            raise ScenarioError(f"nobody in the scenario of {scenario.game} is {HUMAN}; watch it instead")
        if LATEST in controls:
            raise ScenarioError(f"the scenario of {scenario.game} has {LATEST}; name a run instead, as frozen:RUN")
        self.folder = folder or make_recordings_folder() / default_name(scenario)
        self._check_folder()
        self._code = {"version": understudy.__version__, **code_of(Path(understudy.__file__).parent)}
        self._out, self._recorder = Buffers.of(self.env), Recorder(self.env)
        self._unsaved: list[Episode] = []
        self._decided = self.env.action.idling(self.env.rows)
        self.steps, self.over = 0, True
        # The first step of a game may have to be compiled
        self.begin(0)
        self.decide()
        self.step({})
        self.begin(0)
        self.over = True

    @property
    def people(self) -> list[int]:
        """The places of people in this game, in the order of the game's agents."""
        places: list[int] = self.teams.rows(HUMAN).tolist()
        return places

    def begin(self, seed: int) -> None:
        """Begin a game."""
        self.teams.reset([seed], self._out)
        self._recorder.reset([seed], self._out)
        self._began = datetime.now().astimezone()
        self._totals = np.zeros(self.env.rows)
        self._episode: Episode | None = None
        self.steps, self.over = 0, False

    def decide(self) -> None:
        """Let all but people choose what they do in the next step."""
        self._decided = self.teams.decide(self._out)

    def step(self, chosen: Mapping[int, Array]) -> None:
        """Let one step pass, in which people do what is `chosen`, by their places."""
        actions = self._decided.copy()
        for place, action in chosen.items():
            actions[place] = action
        self.env.step(actions, self._out)
        self.steps += 1
        self._totals += self._out.rewards
        for _, episode in self._recorder.step(actions, self._out):
            self._episode, self.over = episode, True

    @property
    def returns(self) -> dict[str, float]:
        """The sum of rewards so far, per agent."""
        return dict(zip(self.env.agents, self._totals.tolist(), strict=True))

    def finish(self, names: Mapping[int, str], reason: str = "") -> Recorded | None:
        """Record the game, and return where; None where no step of it was played.

        Args:
            names: of the people, by their places.
            reason: why it is broken off, where it is.

        Raises:
            RecordingError, OSError: it cannot be written; the next `finish` or `save` tries again.
        """
        cut, self.over = self._episode is None, True
        episode = self._episode or self._recorder.cut(0)
        if episode is None:
            return None
        controls = self.teams.controls[0]
        episode.provenance = {
            "players": {
                agent: f"person {names[place]}".strip() if place in names else controls[place]
                for place, agent in enumerate(self.env.agents)
            },
            "time": self._began.isoformat(timespec="seconds"),
            "seconds": self.scene.seconds,
            "ended": reason or ("broken off" if cut else "by the game"),
            "code": self._code,
            "scenario": self.scenario,
        }
        self._episode = None
        self._unsaved.append(episode)
        self.save()
        count = describe(self.folder)[1]
        returns = {agent: float(total) for agent, total in self.returns.items()}
        return Recorded(self.folder, count - 1, len(episode.actions), returns, cut)

    def save(self) -> None:
        """Write what is not written yet."""
        if self._unsaved:
            self.folder = write(self.folder, Recording.of(self.env, self._unsaved))
            self._unsaved = []

    def _check_folder(self) -> None:
        """Raise RecordingError where the games could not be added to what is in the folder, or not be written."""
        above = next(one for one in (self.folder.absolute(), *self.folder.absolute().parents) if one.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise RecordingError(f"nothing can be written to {above}; name another folder with --to")
        if not exists(self.folder):
            return
        there, _ = describe(self.folder)
        fits(Recording.of(self.env), there, str(self.folder))
        if _rules(there.options) != _rules(self.env.options):
            given, expected = dict(_rules(there.options)), dict(_rules(self.env.options))
            raise RecordingError(
                f"{self.folder} has games with the options {given}, not {expected}; name another folder with --to"
            )


def default_name(scenario: Scenario) -> str:
    """Return the name of the recording of a scenario's game.

    >>> default_name(Scenario("kitchen/cramped_room", (), options={"horizon": 100}))
    'kitchen-cramped_room-horizon-100'
    """
    parts = [scenario.game, *(f"{name}-{value}" for name, value in sorted(scenario.options.items()))]
    return re.sub(r"[^\w.]+", "-", "-".join(parts)).strip("-.")


def new_seed() -> int:
    """Return a seed that no game has had."""
    return time.time_ns() // 1_000_000


def _rules(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted((name, value) for name, value in options.items() if name not in ("threads", "processes"))
