"""One environment of Gymnasium or PettingZoo, with a row per agent."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from understudy.errors import GameError, MissingPackageError, suggestion
from understudy.games.env import Action, Array, Observation
from understudy.games.spaces import EXTRA, action_of, gymnasium, observation_of

MASK = "action_mask"


class Seen(NamedTuple):
    """What a world says after a reset or a step: a row per agent."""

    observations: Array
    masks: Array
    rewards: Array
    terminated: Array
    truncated: Array


class World(Protocol):
    """One environment of another package."""

    agents: tuple[str, ...]
    observation: Observation
    action: Action

    def reset(self, seed: int) -> Seen:
        """Begin an episode."""

    def step(self, actions: Array) -> Seen:
        """Let one step pass."""

    def close(self) -> None:
        """End it."""


class GymnasiumWorld:
    """An environment of Gymnasium: a world with one agent."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        gym, where = gymnasium(), f"gym:{name}"
        if name.startswith("ALE/"):
            _import("ale_py", where, "pip install ale-py")
        try:
            self._env = gym.make(name, disable_env_checker=True, **options)
        except gym.error.DependencyNotInstalled as error:
            raise MissingPackageError(f"{where} needs a package: {error}") from error
        except (gym.error.Error, ModuleNotFoundError) as error:
            raise GameError(f"there is no {where}; Gymnasium says: {error}{suggestion(name, gym.registry)}") from error
        self.agents: tuple[str, ...] = ("agent",)
        self.observation, self._see = observation_of(self._env.observation_space, where)
        self.action, self._act = action_of(self._env.action_space, where)
        self._free = np.ones(sum(self.action.choices), bool)

    def reset(self, seed: int) -> Seen:
        """Begin an episode."""
        observation, info = self._env.reset(seed=seed)
        return self._seen(observation, info, 0.0, False, False)

    def step(self, actions: Array) -> Seen:
        """Let one step pass."""
        observation, reward, terminated, truncated, info = self._env.step(self._act(actions[0]))
        return self._seen(observation, info, reward, terminated, truncated)

    def _seen(self, observation: Any, info: Mapping[str, Any], reward: Any, terminated: bool, truncated: bool) -> Seen:
        return Seen(
            observations=self._see(observation)[None],
            masks=np.asarray(info.get(MASK, self._free), bool).reshape(1, -1),
            rewards=np.array([reward], np.float32),
            terminated=np.array([terminated], bool),
            truncated=np.array([truncated and not terminated], bool),
        )

    def close(self) -> None:
        """End it."""
        self._env.close()


class PettingZooWorld:
    """A parallel environment of PettingZoo.

    Agents whose spaces are smaller than others' are padded: what they see with zeros, what they choose from with
    choices that the masks forbid.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        where = f"pettingzoo:{name}"
        self._env = _parallel(name, where, options)
        self.agents: tuple[str, ...] = tuple(self._env.possible_agents)
        spaces = {agent: self._env.observation_space(agent) for agent in self.agents}
        # Some put what is allowed beside what is seen
        self._beside = [agent for agent, space in spaces.items() if MASK in getattr(space, "spaces", ())]
        seen = {
            agent: observation_of(space["observation"] if agent in self._beside else space, where)
            for agent, space in spaces.items()
        }
        done = {agent: action_of(self._env.action_space(agent), where) for agent in self.agents}
        self._see = {agent: see for agent, (_, see) in seen.items()}
        self._act = {agent: act for agent, (_, act) in done.items()}
        self.observation = _largest_observation([kind for kind, _ in seen.values()])
        self.action = _largest_action([kind for kind, _ in done.values()], where)
        self._free = {agent: _padded_mask(kind, self.action) for agent, (kind, _) in done.items()}

    def reset(self, seed: int) -> Seen:
        """Begin an episode."""
        observations, infos = self._env.reset(seed=seed)
        # An agent that ends keeps what it saw last
        self._observations = np.zeros((len(self.agents), *self.observation.shape), self.observation.dtype)
        return self._seen(observations, infos, {}, {}, {})

    def step(self, actions: Array) -> Seen:
        """Let one step pass."""
        playing = {
            agent: action for agent, action in zip(self.agents, actions, strict=True) if agent in self._env.agents
        }
        found = self._env.step({agent: self._act[agent](action) for agent, action in playing.items()})
        observations, rewards, terminated, truncated, infos = found
        gone = {agent: True for agent in self.agents if agent not in observations}
        return self._seen(observations, infos, rewards, {**terminated, **gone}, truncated)

    def _seen(self, observations: Any, infos: Any, rewards: Any, terminated: Any, truncated: Any) -> Seen:
        masks = np.stack([self._free[agent] for agent in self.agents])
        for row, agent in enumerate(self.agents):
            if agent not in observations:
                continue
            given = observations[agent]
            mask = given[MASK] if agent in self._beside else infos.get(agent, {}).get(MASK)
            found = self._see[agent](given["observation"] if agent in self._beside else given)
            if found.shape == self.observation.shape:
                self._observations[row] = found
            else:
                self._observations[row, : found.size] = found.ravel()
            if mask is not None:
                masks[row, np.flatnonzero(self._free[agent])] = np.asarray(mask, bool)
        ended = np.array([bool(terminated.get(agent, False)) for agent in self.agents])
        return Seen(
            observations=self._observations.copy(),
            masks=masks,
            rewards=np.array([rewards.get(agent, 0) for agent in self.agents], np.float32),
            terminated=ended,
            truncated=np.array([bool(truncated.get(agent, False)) for agent in self.agents]) & ~ended,
        )

    def close(self) -> None:
        """End it."""
        self._env.close()


def _largest_observation(kinds: list[Observation]) -> Observation:
    first = kinds[0]
    if all(kind.shape == first.shape and kind.dtype == first.dtype for kind in kinds):
        return first
    low, high = min(0, *(kind.low for kind in kinds)), max(0, *(kind.high for kind in kinds))
    return Observation((max(int(np.prod(kind.shape)) for kind in kinds),), "float32", low, high)


def _largest_action(kinds: list[Action], where: str) -> Action:
    if len({len(kind.choices) for kind in kinds}) > 1 or (not kinds[0].choices and len(set(kinds)) > 1):
        raise GameError(f"{where}: its agents have actions of different kinds, which cannot be rows of one array")
    choices = tuple(max(sizes) for sizes in zip(*(kind.choices for kind in kinds), strict=True))
    return Action(choices, kinds[0].low, kinds[0].high)


def _padded_mask(own: Action, largest: Action) -> Array:
    """Return which of the largest action's choices an agent has."""
    pieces = [np.arange(all_) < many for many, all_ in zip(own.choices, largest.choices, strict=True)]
    return np.concatenate(pieces) if pieces else np.zeros(0, bool)


def _parallel(name: str, where: str, options: Mapping[str, Any]) -> Any:
    """Return a parallel environment: a registered one, or that of a module with `parallel_env` (mpe2/simple_v3)."""
    zoo = _import("pettingzoo", where, EXTRA)
    from pettingzoo.env_registry import exceptions  # type: ignore[import-untyped]

    try:
        return zoo.make("parallel", name, **options)
    except exceptions.FailedToImport as error:
        raise MissingPackageError(f"{where} needs a package: {error}") from error
    except exceptions.PettingZooRegistryError as error:
        if name.replace("_v", "-v") in zoo.aec_registry:
            raise GameError(f"{where}: its agents move in turn; only parallel environments are known here") from error
        try:
            found = importlib.import_module(name.replace("/", "."))
        except ModuleNotFoundError:
            hint = suggestion(name, zoo.parallel_registry)
            raise GameError(f"there is no {where}{hint}; expected such as pettingzoo:classic/rps-v2") from error
    if not hasattr(found, "parallel_env"):
        raise GameError(f"{where}: the module {found.__name__} has no parallel_env")
    return found.parallel_env(**options)


def _import(package: str, where: str, advice: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"{where} needs {package}: {advice}") from error
