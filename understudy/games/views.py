"""A game as Gymnasium and as PettingZoo know games: views of one world."""

from typing import Any

import gymnasium
import numpy as np
import pettingzoo  # type: ignore[import-untyped]

from understudy.errors import GameError
from understudy.games.env import Array, Buffers, Env
from understudy.games.names import make
from understudy.games.spaces import action_space, observation_space
from understudy.games.teams import LATEST, Scenario, Teams, everyone

MASK = "action_mask"


class GymnasiumView(gymnasium.Env[Array, Any]):
    """One agent's view of a game, in which a scenario decides for the others.

    >>> env = GymnasiumView("kitchen/cramped_room")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape, int(env.action_space.n)
    ((20, 4, 5), 6)
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, game: str | Scenario, **options: Any) -> None:
        """Make the view of a game, or of a scenario in which `latest` decides for one agent.

        Of a game that is given by name, the first agent is viewed and the others idle.
        """
        if isinstance(game, str):
            self.game = make(game, **options)
            first, *others = self.game.agents
            game = everyone(game, {first: LATEST, **dict.fromkeys(others, "idle")}, options)
        else:
            self.game = make(game.game, **game.options)
        self.teams = Teams(game, self.game)
        learners = [control for side in game.sides for control in side.controls() if control == LATEST]
        if len(learners) != 1:
            raise GameError(f"{game.game}: Gymnasium knows one agent, but {len(learners)} have the control {LATEST}")
        self.observation_space = observation_space(self.teams.observation)
        self.action_space = action_space(self.game.action)
        self._out = Buffers.of(self.game)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.teams.reset([int(self.np_random.integers(2**63))], self._out)
        return self._seen()

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Let one step pass."""
        (row,) = self.teams.rows(LATEST)
        actions = self.teams.decide(self._out)
        actions[row] = action
        self.teams.step(actions, self._out)
        out = self._out
        observation, info = self._seen()
        return observation, float(out.rewards[row]), bool(out.terminated[row]), bool(out.truncated[row]), info

    def _seen(self) -> tuple[Array, dict[str, Any]]:
        (row,) = self.teams.rows(LATEST)
        return self.teams.seen(self._out.observations)[row].copy(), {MASK: self._out.masks[row].copy()}

    def close(self) -> None:
        """End what the game started."""
        self.game.close()


class ParallelView(pettingzoo.ParallelEnv[str, Array, Any]):
    """All agents of one world, by name.

    >>> env = ParallelView("kitchen/cramped_room")
    >>> observations, infos = env.reset(seed=0)
    >>> sorted(observations)
    ['cook 1', 'cook 2']
    """

    def __init__(self, game: str, **options: Any) -> None:
        self.game: Env = make(game, **options)
        self.metadata = {"name": game, "render_modes": [], "is_parallelizable": True}
        self.possible_agents: list[str] = list(self.game.agents)
        self.agents: list[str] = []
        self.observation_spaces = {agent: observation_space(self.game.observation) for agent in self.game.agents}
        self.action_spaces = {agent: action_space(self.game.action) for agent in self.game.agents}
        self.render_mode = None
        self._out = Buffers.of(self.game)
        self._random = np.random.default_rng()

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Array], Any]:
        """Begin an episode."""
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self.agents = self.possible_agents.copy()
        self.game.reset([int(self._random.integers(2**63))], self._out)
        return self._each(self._out.observations), self._infos()

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Array], dict[str, float], dict[str, bool], Any, Any]:
        """Let one step pass, in which each agent that still plays does something."""
        now = self.game.action.idling(self.game.rows)
        for row, agent in enumerate(self.game.agents):
            if agent in self.agents:
                now[row] = actions[agent]
        self.game.step(now, self._out)
        out = self._out
        found = (
            self._each(out.observations),
            {agent: float(reward) for agent, reward in self._each(out.rewards).items()},
            {agent: bool(ended) for agent, ended in self._each(out.terminated).items()},
            {agent: bool(ended) for agent, ended in self._each(out.truncated).items()},
            self._infos(),
        )
        ended = self._each(out.terminated | out.truncated)
        self.agents = [agent for agent in self.agents if not ended[agent]]
        return found

    def _each(self, array: Array) -> dict[str, Array]:
        """Return the rows of the agents that still play."""
        return {agent: array[row].copy() for row, agent in enumerate(self.game.agents) if agent in self.agents}

    def _infos(self) -> dict[str, dict[str, Array]]:
        return {agent: {MASK: mask} for agent, mask in self._each(self._out.masks).items()}

    def observation_space(self, agent: str) -> gymnasium.Space[Array]:
        """Return what an agent sees."""
        space: gymnasium.Space[Array] = self.observation_spaces[agent]
        return space

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        """Return what an agent does."""
        space: gymnasium.Space[Any] = self.action_spaces[agent]
        return space

    def close(self) -> None:
        """End what the game started."""
        self.game.close()
