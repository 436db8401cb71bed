"""Who is who in a game: a scenario says which agents belong together, who decides for each, and what they share.

    game: kitchen/cramped_room
    sides:
      - name: cooks
        agents: [cook 1, cook 2]
        control: [latest, "script:random"]
    swap: places

Controls are `latest` (the policy that learns), `frozen:RUN`, `script:NAME`, `recording:FOLDER`, `human` and `idle`.
This file decides for scripts, recordings and idle agents itself. Whoever plays a scenario gives it a `Controller` for
each of the others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from understudy.config import from_dict, in_range
from understudy.errors import MissingPackageError, ScenarioError, suggestion
from understudy.games.env import Array, Buffers, Env, Observation
from understudy.games.minari_files import read
from understudy.games.recordings import Recording

LATEST, FROZEN = "latest", "frozen:"
KINDS = (LATEST, "human", "idle", FROZEN, "script:", "recording:")
"""Controls; after a colon comes which one."""


@dataclass(frozen=True)
class Side:
    """Agents that win and lose together."""

    name: str
    agents: tuple[str, ...]
    """their names in the game"""
    control: tuple[str, ...] = (LATEST,)
    """who decides, for each agent or one for all"""
    share_observation: bool = False
    """each sees what all of the side see, its own first"""
    team_spirit: float = 0.0
    """share of an agent's reward that is the side's mean, the rest being its own"""

    def controls(self) -> tuple[str, ...]:
        """Return the control of each agent."""
        return self.control * len(self.agents) if len(self.control) == 1 else self.control


@dataclass(frozen=True)
class Scenario:
    """Who is who in a game."""

    game: str
    """its name, as `names.make` takes it"""
    sides: tuple[Side, ...]
    swap: Literal["none", "places", "sides"] = "none"
    """what goes round from seed to seed: the places within each side, or whole sides"""
    options: dict[str, Any] = field(default_factory=dict)
    """of the game"""


class Controller(Protocol):
    """Decides for some rows."""

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes at these rows, whose worlds have these seeds."""

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return the actions of these rows, which see and may do this."""


def everyone(game: str, control: Mapping[str, str], options: Mapping[str, Any]) -> Scenario:
    """Return the scenario in which all agents are on one side."""
    return Scenario(game, (Side("all", tuple(control), tuple(control.values())),), options=dict(options))


def against(env: Env, team_spirit: float = 0.0) -> Scenario:
    """Return the scenario of a game's own sides, in which the latest policy decides for all."""
    sides = env.sides or (env.agents,)
    return Scenario(
        env.name,
        tuple(Side(f"side {n}", side, team_spirit=team_spirit) for n, side in enumerate(sides, 1)),
        options=dict(env.options),
    )


def read_scenario(path: str | Path) -> Scenario:
    """Return the scenario of a YAML file. Raises ScenarioError or ConfigError where it is none."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingPackageError("scenarios in YAML need PyYAML: pip install 'understudy[games]'") from error
    try:
        values = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScenarioError(f"{path} cannot be read as a scenario: {error}") from error
    if not isinstance(values, dict):
        raise ScenarioError(f"{path} holds no scenario; expected game: and sides:")
    return from_dict(Scenario, values)


class Teams:
    """A scenario at play in the worlds of a game: it steps them, and says who decides where.

    Who sits where changes when a world is reset. By itself that goes by the seed: seeds one after another give each
    control each place equally often. `seated` says otherwise: the controls of a world that begins an episode with a
    seed, in the order of the scenario's agents.
    """

    def __init__(
        self,
        scenario: Scenario,
        env: Env,
        controllers: Mapping[str, Controller] | None = None,
        seated: Callable[[int], Sequence[str]] | None = None,
    ) -> None:
        check(scenario, env)
        self.scenario, self.env = scenario, env
        self._sides = [[env.agents.index(agent) for agent in side.agents] for side in scenario.sides]
        self._who = np.full((env.worlds, len(env.agents)), -1, np.int64)
        self._names: list[str] = []
        self._controllers: list[Controller | None] = []
        self._seats = [control for side in scenario.sides for control in side.controls()]
        self._places = [agent for side in self._sides for agent in side]
        self._seated = seated
        for control, controller in (controllers or {}).items():
            self.add(control, controller)
        for control in dict.fromkeys(self._seats):
            if control not in self._names:
                self.add(control, known(control, env))

    def add(self, control: str, controller: Controller | None) -> None:
        """Let a controller decide for whoever is of this control from now on."""
        if control in self._names:
            self._controllers[self._names.index(control)] = controller
        else:
            self._names.append(control)
            self._controllers.append(controller)

    @property
    def uniform(self) -> bool:
        """Whether the same one decides for everybody, always."""
        return self._seated is None and len(set(self._seats)) == 1

    @property
    def shares_sight(self) -> bool:
        """Whether each sees what all of its side see."""
        return any(side.share_observation for side in self.scenario.sides)

    def memberships(self) -> tuple[Array, Array]:
        """Return the number of each agent's side, int64, and its team spirit, float32: [agents] each."""
        numbers, spirits = np.zeros(len(self.env.agents), np.int64), np.zeros(len(self.env.agents), np.float32)
        for number, (side, agents) in enumerate(zip(self.scenario.sides, self._sides, strict=True)):
            numbers[agents], spirits[agents] = number, side.team_spirit
        return numbers, spirits

    def number(self, control: str) -> int:
        """Return the number of a control among `players`."""
        return self._names.index(control)

    def deciders(self) -> Array:
        """Return the number of who decides for each row now: int64 [rows]."""
        return self._who.ravel().copy()

    def names_of(self, numbers: Array) -> Array:
        """Return the controls of these numbers."""
        return np.array([*self._names, ""], object)[numbers]

    def players(self) -> list[tuple[str, Controller | None]]:
        """Return who decides for each control."""
        return list(zip(self._names, self._controllers, strict=True))

    @property
    def controls(self) -> Array:
        """Who decides now: the controls' names, [worlds, agents]."""
        return self.names_of(self._who)

    @property
    def observation(self) -> Observation:
        """What a row sees, after sharing."""
        if not self.scenario.sides[0].share_observation:
            return self.env.observation
        own = self.env.observation
        return Observation((len(self._sides[0]), *own.shape), own.dtype, own.low, own.high)

    def rows(self, control: str) -> Array:
        """Return the rows for which this one decides now."""
        return np.flatnonzero(self._who == self._names.index(control))

    def reset(
        self, seeds: Sequence[int] | Array, out: Buffers, chosen: Array | None = None, controls: Array | None = None
    ) -> None:
        """Begin new episodes as `Env.reset` does; `controls`, as above, says who sits where, if that is decided."""
        self.env.reset(seeds, out, chosen)
        seeds = np.asarray(seeds, np.int64)
        began = np.ones(self.env.worlds, bool) if chosen is None else chosen
        if controls is not None:
            self._who[began] = [[self._names.index(one) for one in world] for world in controls[began]]
        elif self.uniform:
            self._who[began] = self._names.index(self._seats[0])
        else:
            seated = self._seated or self._by_seed
            for world in np.flatnonzero(began):
                self._who[world, self._places] = [self._names.index(one) for one in seated(int(seeds[world]))]
        for number, controller in enumerate(self._controllers):
            worlds, agents = np.nonzero((self._who == number) & began[:, None])
            if controller is not None and len(worlds):
                controller.reset(worlds * len(self.env.agents) + agents, seeds[worlds])

    def decide(self, out: Buffers) -> Array:
        """Return actions with the choices of all controllers that are known here filled in; the others idle."""
        actions, seen = self.env.action.idling(self.env.rows), self.seen(out.observations)
        for number, controller in enumerate(self._controllers):
            rows = np.flatnonzero(self._who == number)
            if controller is not None and len(rows):
                actions[rows] = controller.act(rows, seen[rows], out.masks[rows])
        return actions

    def step(self, actions: Array, out: Buffers) -> None:
        """Let one step pass as `Env.step` does, and mix the rewards by team spirit."""
        self.env.step(actions, out)
        rewards = out.rewards.reshape(self.env.worlds, -1)
        for side, agents in zip(self.scenario.sides, self._sides, strict=True):
            if side.team_spirit:
                own, mean = rewards[:, agents], rewards[:, agents].mean(1, keepdims=True)
                rewards[:, agents] = (1 - side.team_spirit) * own + side.team_spirit * mean

    def seen(self, observations: Array) -> Array:
        """Return what each row sees: the observations, or those of its whole side where they are shared."""
        if not self.scenario.sides[0].share_observation:
            return observations
        worlds = observations.reshape(self.env.worlds, len(self.env.agents), *observations.shape[1:])
        shared = np.zeros((*worlds.shape[:2], *self.observation.shape), observations.dtype)
        for agents in self._sides:
            for place, agent in enumerate(agents):
                shared[:, agent] = worlds[:, agents[place:] + agents[:place]]
        return shared.reshape(self.env.rows, *self.observation.shape)

    def _by_seed(self, seed: int) -> Sequence[str]:
        """Return who sits at each place, in the order of `_places`."""
        cuts = np.cumsum([len(side) for side in self._sides])[:-1]
        sides = np.split(np.array(self._seats, object), cuts)
        if self.scenario.swap == "sides":
            turn = seed % len(sides)
            sides = sides[turn:] + sides[:turn]
        elif self.scenario.swap == "places":
            sides = [np.roll(side, seed % len(side)) for side in sides]
        return list(np.concatenate(sides))


def known(control: str, env: Env) -> Controller | None:
    """Return who decides for a control that needs nothing from outside; None where it does."""
    if control == "idle":
        return Idle(env)
    if control.startswith("script:"):
        return script(env, control.removeprefix("script:"))
    if control.startswith("recording:"):
        return Recorded(env, read(control.removeprefix("recording:")))
    return None


class Idle:
    """Decides for agents that do nothing."""

    def __init__(self, env: Env) -> None:
        self._action = env.action.idling(1)

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes."""

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return the idle action for each."""
        return np.repeat(self._action, len(rows), 0)


class Recorded:
    """Decides as the same agents did in a recording: its episodes by the seed in turn. After their end it idles."""

    def __init__(self, env: Env, recording: Recording) -> None:
        if (recording.game, recording.agents, recording.action) != (env.name, env.agents, env.action):
            raise ScenarioError(f"a recording of {recording.game} cannot decide in {env.name}")
        if not recording.episodes:
            raise ScenarioError(f"the recording of {recording.game} has no episodes")
        self._episodes, self._agents, self._idle = recording.episodes, len(env.agents), env.action.idling(1)[0]
        self._at: dict[int, tuple[Array, int]] = {}

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes."""
        for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True):
            self._at[row] = self._episodes[seed % len(self._episodes)].actions[:, row % self._agents], 0

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return what was done then, for each."""
        now = []
        for row in rows.tolist():
            actions, step = self._at[row]
            self._at[row] = actions, step + 1
            now.append(actions[step] if step < len(actions) else self._idle)
        return np.stack(now)


class Random:
    """Decides by chance among what is allowed."""

    def __init__(self, env: Env) -> None:
        self._action, self._random = env.action, dict[int, np.random.Generator]()

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes."""
        for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True):
            self._random[row] = np.random.default_rng([seed, row])

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return an action drawn for each."""
        kind = self._action
        low, high = np.maximum(kind.low, -1e3), np.minimum(kind.high, 1e3)  # as some bounds are infinite
        cuts = np.cumsum(kind.choices)[:-1]
        actions = np.zeros((len(rows), kind.width), kind.dtype)
        for action, row, mask in zip(actions, rows.tolist(), masks, strict=True):
            random = self._random[row]
            if kind.choices:
                action[:] = [random.choice(np.flatnonzero(allowed)) for allowed in np.split(mask, cuts)]
            else:
                action[:] = random.uniform(low, high)
        return actions


def control_of(env: Env, partner: str) -> str:
    """Return the control that a partner's name means: of teams.py, a script's own name, else a run."""
    if partner == "random" or partner in env.scripts:
        return f"script:{partner}"
    if partner in KINDS or any(kind.endswith(":") and partner.startswith(kind) for kind in KINDS):
        return partner
    return f"{FROZEN}{partner}"


def script(env: Env, name: str) -> Controller:
    """Return the script of that name: `random`, or one of the game's own. Raises ScenarioError where it has none."""
    scripts: dict[str, Callable[[Env], Controller]] = {"random": Random, **env.scripts}
    if name not in scripts:
        known = ", ".join(scripts)
        raise ScenarioError(f"{env.name} has no script {name!r}; scripts are {known}{suggestion(name, scripts)}")
    return scripts[name](env)


def check(scenario: Scenario, env: Env) -> None:
    """Raise ScenarioError unless the scenario fits the game."""
    where = f"the scenario of {scenario.game}"
    seated = [agent for side in scenario.sides for agent in side.agents]
    for agent in seated:
        if agent not in env.agents:
            known = ", ".join(env.agents)
            raise ScenarioError(f"{where} names the agent {agent!r}; agents are {known}{suggestion(agent, env.agents)}")
        if seated.count(agent) > 1:
            raise ScenarioError(f"{where} has the agent {agent!r} twice")
    if missing := [agent for agent in env.agents if agent not in seated]:
        raise ScenarioError(f"{where} leaves out {', '.join(missing)}: each agent of the game belongs to a side")
    for side in scenario.sides:
        in_range("team_spirit", side.team_spirit, 0, 1)
        if len(side.control) not in (1, len(side.agents)):
            count = f"{len(side.control)} controls for {len(side.agents)} agents"
            raise ScenarioError(f"{where}: side {side.name} has {count}; expected one for each, or one for all")
        for control in side.control:
            if not any(control == kind or (kind.endswith(":") and control.startswith(kind)) for kind in KINDS):
                known = "latest, human, idle, frozen:RUN, script:NAME and recording:FILE"
                raise ScenarioError(
                    f"{where}: {control!r} is unknown; who can decide is {known}{suggestion(control, KINDS)}"
                )
    sizes = {len(side.agents) for side in scenario.sides}
    if len(sizes) > 1 and scenario.swap == "sides":
        raise ScenarioError(f"{where} swaps sides of unequal size")
    if len({side.share_observation for side in scenario.sides}) > 1:
        raise ScenarioError(f"{where}: either all sides share what they see or none, as all rows have one shape")
    if len(sizes) > 1 and scenario.sides[0].share_observation:
        raise ScenarioError(f"{where}: sides of unequal size cannot share what they see, as all rows have one shape")
