"""Where a clone's games come from: people's games of the kitchen, recordings, or a scripted expert that plays some."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from understudy.config import Files, child_seed, in_range
from understudy.console import counted
from understudy.errors import ConfigError, RecordingError
from understudy.evaluation.play import play
from understudy.games import recordings
from understudy.games.env import Env
from understudy.games.kitchen.layout import LAYOUTS
from understudy.games.minari_files import read
from understudy.games.names import make
from understudy.games.recordings import Episode, Recording
from understudy.games.teams import script
from understudy.training.play import Play

KITCHEN = "kitchen/"
NATIVE = (KITCHEN, "lane/")
"""Games that depend on seeds and actions alone, so that their recordings can be played again."""
FEWEST = 3
"""Games that recordings must have: one to learn from, one to validate on, one to test."""
WORLDS = 100
"""Worlds in which an expert plays at a time."""


@dataclass(frozen=True)
class DemonstrationConfig:
    """What to learn from."""

    data: Files = ()
    """Recorded games: kitchen/LAYOUT for people's games of 2019, or folders that `understudy play` recorded."""
    env: str = ""
    """Instead of --data: a game, such as gym:CartPole-v1, of which a scripted expert plays some."""
    expert: str = "expert"
    """The script that plays --env, or that corrects the clone with --dagger."""
    games: int = 20
    """How many games it plays."""
    people: Literal["train", "test"] = "train"
    """Which of the people's games to learn from; the others are kept for the end."""
    view: str = ""
    """What the clone sees, where there are several views: grid or features of the kitchen (default: features)."""
    agents: tuple[str, ...] = ()
    """Learn from these agents of the game only (default: all)."""
    valid_share: float = 0.1
    """Share of the games, at least one, to validate on."""
    test_share: float = 0.1
    """Share of the games, at least one, that are kept for the end; people's games have their own."""

    def validate(self) -> None:
        """Raise UserError for what cannot work."""
        if bool(self.data) == bool(self.env):
            given = "both were given" if self.data else "none was given"
            raise ConfigError(
                f"a clone learns from --data or from an expert in --env: {given}; try --data kitchen/cramped_room"
            )
        in_range("games", self.games, FEWEST)
        in_range("valid_share", self.valid_share, 0, 1, above=True, below=True)
        in_range("test_share", self.test_share, 0, 1, above=True, below=True)
        people = [name for name in self.data if _layout_of(name)]
        if people and len(self.data) > 1:
            raise ConfigError(f"--data {people[0]} stands alone; leave the others out, or clone them one by one")

    @property
    def is_people(self) -> bool:
        """Whether these are the people's games of the kitchen."""
        return any(map(_layout_of, self.data))


@dataclass
class Demonstrations:
    """Games to learn from, and files that were read for them."""

    play: Play
    files: list[Path] = field(default_factory=list)


def gather(config: DemonstrationConfig, seed: int) -> Demonstrations:
    """Return the games of a configuration, split by whole games into those to learn from, to validate on and to test.

    Raises:
        RecordingError: a recording is damaged, does not follow the rules of its game, or has too few games.
        GameError: there is no such game.
        ScenarioError: the game has no such script.
    """
    if config.env:
        recording, files = _from_expert(config, seed), list[Path]()
        origin = f"{config.expert} of {config.env}"
    elif config.is_people:
        return _from_people(config, seed)
    else:
        recording, files = _from_files(config)
        origin = " ".join(config.data)
    if len(recording.episodes) < FEWEST:
        few = counted(len(recording.episodes), "game")
        raise RecordingError(
            f"{origin} has {few}; it takes {FEWEST}: one to learn from, one to validate on, one to test"
        )
    order = np.random.default_rng(child_seed(seed, "split")).permutation(len(recording.episodes)).tolist()
    test, valid = (max(1, round(share * len(order))) for share in (config.test_share, config.valid_share))
    games = [recording.episodes[number] for number in order]
    parts = games[test + valid :], games[test : test + valid], games[:test]
    if not parts[0]:
        raise RecordingError(f"{origin}: --valid-share and --test-share leave none of {counted(len(order), 'game')}")
    return Demonstrations(_play_of(recording, parts, origin), files)


def agents_of(config: DemonstrationConfig, recording: Recording) -> list[int] | None:
    """Return the numbers of the agents to learn from; None means all. Raises ConfigError for an unknown one."""
    for agent in config.agents:
        if agent not in recording.agents:
            known = ", ".join(recording.agents)
            raise ConfigError(f"--agents {agent!r} is no agent of {recording.game}; agents are {known}")
    return [recording.agents.index(agent) for agent in config.agents] or None


def _from_people(config: DemonstrationConfig, seed: int) -> Demonstrations:
    from understudy.games.kitchen import people

    layout, view = _layout_of(config.data[0]), config.view or "features"
    if view not in ("grid", "features"):
        raise ConfigError(f"--view {view} is unknown; the kitchen has grid and features")
    splits = ("train", "test") if config.people == "train" else ("test", "train")
    train, test = (people.read_episodes(layout, split, view) for split in splits)  # type: ignore[arg-type]
    order = np.random.default_rng(child_seed(seed, "split")).permutation(len(train)).tolist()
    held_out = max(1, round(config.valid_share * len(order)))
    parts = [train[number] for number in order[held_out:]], [train[number] for number in order[:held_out]], test
    recording = Recording.of(make(f"{KITCHEN}{layout}", view=view))
    files = [people.path_of("train"), people.path_of("test")]
    return Demonstrations(_play_of(recording, parts, f"people's games of 2019 on {layout}"), files)


def _from_files(config: DemonstrationConfig) -> tuple[Recording, list[Path]]:
    """Return all recordings of --data as one, played again where the rules are here, and the files read."""
    joined: Recording | None = None
    files = []
    for name in config.data:
        recording = read(name)
        if not recording.episodes:
            raise RecordingError(f"{name} holds no game")
        env = make(recording.game, len(recording.episodes), **recording.options)
        try:
            if recording.game.startswith(NATIVE):
                recordings.check(recording, env, name)
                if view := config.view or ("features" if recording.game.startswith(KITCHEN) else ""):
                    recording = _seen_as(view, recording)
            else:
                recordings.fits(Recording.of(env), recording, name)
        finally:
            env.close()
        if joined is None:
            joined = recording
        else:
            recordings.fits(joined, recording, name)
            joined.episodes += recording.episodes
        files += [Path(name) / "data" / file for file in ("metadata.json", "main_data.hdf5")]
    assert joined is not None
    return joined, files


def _seen_as(view: str, recording: Recording) -> Recording:
    """Return the recording as it is seen in another view."""
    env = make(recording.game, len(recording.episodes), **{**recording.options, "view": view})
    played = recordings.replay(
        env, [one.actions for one in recording.episodes], [one.seed for one in recording.episodes]
    )
    episodes = [replace(now, provenance=then.provenance) for now, then in zip(played, recording.episodes, strict=True)]
    return Recording.of(env, episodes)


def _from_expert(config: DemonstrationConfig, seed: int) -> Recording:
    """Return games that the expert plays, each from a seed of its own."""
    env = made(config, min(WORLDS, config.games))
    try:
        return Recording.of(env, play(env, script(env, config.expert), expert_seeds(seed, config.games)))
    finally:
        env.close()


def made(config: DemonstrationConfig, worlds: int) -> Env:
    """Return the game of --env."""
    options = {"view": config.view} if config.view else {}
    return make(config.env, worlds, **options)


def expert_seeds(seed: int, games: int) -> list[int]:
    """Return the seeds of the games that an expert plays."""
    return np.random.default_rng(child_seed(seed, "expert's games")).integers(1, 2**31, size=games).tolist()


def _layout_of(name: str) -> str:
    """Return the layout whose people's games a name of --data means, or an empty string."""
    layout = name.removeprefix(KITCHEN)
    return layout if name.startswith(KITCHEN) and layout in LAYOUTS and not Path(name).exists() else ""


def _play_of(recording: Recording, parts: Sequence[Sequence[Episode]], origin: str) -> Play:
    """Return the subject of a training, with a summary that says how often each action was taken."""
    header = replace(recording, episodes=[])
    sizes = [f"{len(part)} ({sum(len(one.actions) for one in part):,} steps)" for part in parts]
    lines = [f"{origin}: {sizes[0]} games to learn from, {sizes[1]} to validate on, {sizes[2]} to test"]
    if len(header.action.choices) == 1:
        taken = np.concatenate([one.actions[..., 0].ravel() for one in parts[0]])
        shares = np.bincount(taken, minlength=header.action.choices[0]) / len(taken)
        names: Sequence[Any] = header.action.names or range(len(shares))
        lines.append("actions: " + ", ".join(f"{name} {share:.1%}" for name, share in zip(names, shares, strict=True)))
    train, valid, test = parts
    return Play(header, train, valid, test, "\n".join(lines))
