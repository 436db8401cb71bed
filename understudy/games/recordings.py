"""Recorded games: episodes as arrays, taken while a game is played, and played again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from understudy.config import from_dict
from understudy.errors import ConfigError, RecordingError
from understudy.games.env import Action, Array, Buffers, Env, Observation


@dataclass
class Episode:
    """One episode of one world, of T steps."""

    observations: Array
    """[T + 1, agents, …]: before each step, and at the end."""
    actions: Array
    """[T, agents, width], as `Action` says."""
    rewards: Array
    """float32 [T, agents]."""
    terminated: Array
    """bool [agents]: whether the game itself ended for each, rather than that it was cut short."""
    seed: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Who played when, and whatever else tells where this comes from."""
    masks: Array | None = None
    """bool [T, agents, sum(Action.choices)]: what was allowed before each step; None: everything, always."""


@dataclass
class Recording:
    """Episodes of one game."""

    game: str
    version: str
    agents: tuple[str, ...]
    observation: Observation
    action: Action
    options: Mapping[str, Any] = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)

    @classmethod
    def of(cls, env: Env, episodes: Sequence[Episode] = ()) -> "Recording":
        """Return a recording of a game."""
        return cls(env.name, env.version, env.agents, env.observation, env.action, env.options, list(episodes))

    def description(self) -> dict[str, Any]:
        """Return all but the episodes, as JSON keeps it."""
        names = ("game", "version", "options", "agents", "observation", "action")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def described(cls, said: Mapping[str, Any], where: str) -> "Recording":
        """Return the recording that `description` gave, without episodes. Raises RecordingError where it is damaged."""
        try:
            return cls(
                game=said["game"],
                version=said["version"],
                agents=tuple(said["agents"]),
                observation=from_dict(Observation, said["observation"]),
                action=from_dict(Action, said["action"]),
                options=said["options"],
            )
        except (KeyError, TypeError, ConfigError) as error:
            raise RecordingError(f"{where} has damaged metadata: {error!r}") from error


class Recorder:
    """Takes down what happens in the worlds of a game, and gives each episode when it is over.

    Call `reset` and `step` after those of the game, with the same arguments.
    """

    def __init__(self, env: Env) -> None:
        self._env = env
        self._seeds = np.zeros(env.worlds, np.int64)
        self._taken: list[list[tuple[Array, ...]]] = [[] for _ in range(env.worlds)]

    def reset(self, seeds: Sequence[int] | Array, out: Buffers, chosen: Array | None = None) -> None:
        """Take down how episodes begin; what was taken of unfinished ones in these worlds is dropped."""
        seen, masks = self._by_world(out.observations), self._by_world(out.masks)
        for world, seed in enumerate(seeds):
            if chosen is None or chosen[world]:
                self._seeds[world], self._taken[world] = seed, [(seen[world].copy(), masks[world].copy())]

    def step(self, actions: Array, out: Buffers) -> list[tuple[int, Episode]]:
        """Take down a step; return the worlds whose episodes it ended, with these."""
        taken_down = (out.observations, out.masks, actions, out.rewards, out.terminated)
        arrays = [self._by_world(array) for array in taken_down]
        over, finished = out.over(self._env), []
        for world, taken in enumerate(self._taken):
            if not taken:
                continue
            taken.append(tuple(array[world].copy() for array in arrays))
            if over[world]:
                finished.append((world, self._episode(world, taken)))
                self._taken[world] = []
        return finished

    def cut(self, world: int) -> Episode | None:
        """Return what was taken down of an unfinished episode, cut short here; None where nothing was played yet."""
        taken, self._taken[world] = self._taken[world], []
        return self._episode(world, taken) if len(taken) > 1 else None

    def _episode(self, world: int, taken: list[tuple[Array, ...]]) -> Episode:
        first, *steps = taken
        seen, allowed, actions, rewards, terminated = zip(*steps, strict=True)
        observations, masks = np.stack([first[0], *seen]), np.stack([first[1], *allowed[:-1]])
        arrays = observations, np.stack(actions), np.stack(rewards), terminated[-1]
        return Episode(*arrays, int(self._seeds[world]), masks=None if masks.all() else masks)

    def _by_world(self, array: Array) -> Array:
        return array.reshape(self._env.worlds, len(self._env.agents), *array.shape[1:])


def check(recording: Recording, env: Env, name: str, first: int = 0) -> None:
    """Play a recording again, and raise RecordingError unless all is seen and earned that was seen and earned then.

    Args:
        recording: of a game that depends on seeds and actions alone.
        env: the game, with a world per episode.
        name: the recording's, for errors.
        first: the number of its first episode, for errors.
    """
    fits(Recording.of(env), recording, name)
    played = replay(env, [one.actions for one in recording.episodes], [one.seed for one in recording.episodes], first)
    for number, (then, now) in enumerate(zip(recording.episodes, played, strict=True), first):
        other = (then.observations[1:] != now.observations[1:]).any(tuple(range(1, then.observations.ndim)))
        wrong = np.flatnonzero(other | (then.rewards != now.rewards).any(1))
        if not np.array_equal(then.observations[0], now.observations[0]):
            raise RecordingError(f"{name}, episode {number}, begins as no episode of {env.name} with its seed does")
        if len(wrong):
            problem = f"step {wrong[0]} does not follow from the one before by the rules of {env.name}"
            raise RecordingError(f"{name}, episode {number}: {problem}: steps are missing, or it is of another kitchen")


def fits(mine: Recording, other: Recording, name: str) -> None:
    """Raise RecordingError unless two recordings are of one game, version, and kind of arrays."""
    for what in ("game", "version", "agents", "observation", "action"):
        if getattr(mine, what) != getattr(other, what):
            given, expected = getattr(other, what), getattr(mine, what)
            if what == "observation":
                given, expected = (f"{list(one.shape)} {one.dtype}" for one in (given, expected))
            raise RecordingError(f"{name}: the recording's {what} is {given}, not {expected}")


def replay(env: Env, actions: Sequence[Array], seeds: Sequence[int], first: int = 0) -> list[Episode]:
    """Play recorded actions again, one episode per world of `env`, and return what is seen and earned.

    Args:
        env: a game with as many worlds as there are episodes.
        actions: [T, agents, width] of each.
        seeds: of each.
        first: the number of the first, for errors.

    Raises:
        RecordingError: a game ends before its actions do.
    """
    longest, agents = max(len(one) for one in actions), len(env.agents)
    out = Buffers.of(env)
    env.reset(seeds, out)
    seen = np.zeros((longest + 1, env.worlds, agents, *env.observation.shape), env.observation.dtype)
    rewards = np.zeros((longest, env.worlds, agents), np.float32)
    terminated = np.zeros((env.worlds, agents), bool)
    masks = np.zeros((longest, env.worlds, agents, out.masks.shape[1]), bool)
    seen[0] = out.observations.reshape(seen[0].shape)
    for step in range(longest):
        now = env.action.idling(env.rows).reshape(env.worlds, agents, -1)
        for world, played in enumerate(actions):
            if step < len(played):
                now[world] = played[step]
        masks[step] = out.masks.reshape(masks[0].shape)
        env.step(now.reshape(env.rows, -1), out)
        seen[step + 1], rewards[step] = out.observations.reshape(seen[0].shape), out.rewards.reshape(rewards[0].shape)
        over = out.over(env)
        for world, played in enumerate(actions):
            if over[world] and step + 1 < len(played):
                longer = f"{len(played)} steps, but its game ends after {step + 1}"
                raise RecordingError(f"{env.name}: recorded episode {first + world} has {longer}")
            if step + 1 == len(played):
                terminated[world] = out.terminated.reshape(env.worlds, agents)[world]
    episodes = []
    for world, one in enumerate(actions):
        steps = len(one)
        allowed = None if masks[:steps, world].all() else masks[:steps, world]
        arrays = seen[: steps + 1, world], one, rewards[:steps, world], terminated[world]
        episodes.append(Episode(*arrays, seeds[world], masks=allowed))
    return episodes
