"""The interface of games: many worlds of one game, stepped together, as arrays.

A game has `worlds` worlds with the same `agents` in each. An agent in a world is a row: agent a of world w is row
w · agents + a of every array. The caller owns the arrays (`Buffers`); the game writes into them and keeps no reference,
so a rollout can hand in slices of what it stores and nothing is copied.

A round of use:

    env = make("kitchen/cramped_room", worlds=1024)
    out = Buffers.of(env)
    env.reset(seeds, out)                               # writes observations, masks
    env.step(actions, out)                              # writes everything
    over = out.over(env)                                # which worlds are over
    env.reset(new_seeds, out, over)                     # writes observations and masks of these

The promises, which `tests/contracts/test_games.py` holds every game to:

- Equal seeds and equal actions give equal floats, whatever the number of worlds and whichever other worlds are there.
- `step` writes every row. `terminated` says that the game itself has ended for this agent; `truncated` that it was cut
  short, such as by a limit of steps, so that a value of what would have come is still due. Never both.
- Where a row has either, `final_observations` has its last observation. So has `observations`, until `reset` writes the
  first one of the next episode there; `final_observations`, `rewards`, `terminated` and `truncated` it leaves.
- Nothing resets by itself. A row that has ended stays as it is until its world is reset: its reward is 0, its flags
  and observations are those of its end, its action is ignored. A world is over when all its rows have ended.
- `masks` has True for each choice that is allowed to a row now. A choice that is not allowed counts as `Action.idle`.
- Actions are checked before anything moves: one out of range raises GameError and leaves all worlds as they were.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from understudy.errors import GameError
from understudy.games.pictures import Frame, Scene

Array = NDArray[Any]
IMAGE = 32
"""Height and width from which a grid is an image, with its channels last."""


@dataclass(frozen=True)
class Observation:
    """What a row sees: an array of `shape` and `dtype` ("uint8" or "float32") with values from `low` to `high`."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float = -np.inf
    high: float = np.inf
    names: tuple[str, ...] = ()
    """Of the entries along the first axis, where they have names."""


@dataclass(frozen=True)
class Action:
    """What a row decides: a choice, several choices at once, or real numbers.

    Actions are int64 [rows, len(choices)] or, for real numbers, float32 [rows, len(low)]. Each choice counts from 0.

    >>> Action(choices=(6,)).width, Action(choices=(3, 3, 2)).width, Action(low=(-1.0,), high=(1.0,)).width
    (1, 3, 1)
    """

    choices: tuple[int, ...] = ()
    """How many there are to choose from, per choice; empty for real numbers."""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    """Of the possibilities of the first choice."""
    idle: tuple[float, ...] = ()
    """The action that does least; empty means zeros."""

    @property
    def width(self) -> int:
        """How many numbers an action has."""
        return len(self.choices) or len(self.low)

    @property
    def dtype(self) -> str:
        """Of the numbers."""
        return "int64" if self.choices else "float32"

    def idling(self, rows: int) -> Array:
        """Return the idle action for so many rows."""
        return np.tile(np.array(self.idle or (0,) * self.width, self.dtype), (rows, 1))

    def check(self, actions: Array, rows: int, name: str) -> None:
        """Raise GameError unless `actions` are whole and within range for `rows` rows."""
        if actions.shape != (rows, self.width) or actions.dtype != self.dtype:
            raise GameError(
                f"{name}: actions are {actions.dtype} {list(actions.shape)}; "
                f"expected {self.dtype} [{rows}, {self.width}]: a row for each agent of each world"
            )
        low = np.zeros(self.width) if self.choices else np.array(self.low)
        high = np.array(self.choices) - 1 if self.choices else np.array(self.high)
        wrong = ~((actions >= low) & (actions <= high))
        if wrong.any():
            row, which = np.argwhere(wrong)[0]
            raise GameError(
                f"{name}: action {actions[row, which]} of row {row} is out of range; "
                f"expected {low[which]:g} to {high[which]:g}"
            )


@dataclass
class Buffers:
    """The caller's arrays that a game writes into, in C order, with a row per agent of each world.

    `Buffers.of(env, 128)` has 128 steps of them along a first axis, of which `at(step)` gives one, as views.
    """

    observations: Array
    """[rows, *Observation.shape], of its dtype."""
    rewards: Array
    """float32 [rows]."""
    terminated: Array
    """bool [rows]."""
    truncated: Array
    """bool [rows]."""
    final_observations: Array
    """As `observations`; only rows with `terminated` or `truncated` are written."""
    masks: Array
    """bool [rows, sum(Action.choices)]: the possibilities of each choice side by side."""

    @classmethod
    def of(cls, env: "Env", *steps: int) -> Self:
        """Make arrays for a game, all zeros."""
        return cls(**{name: np.zeros((*steps, *shape), dtype) for name, (shape, dtype) in env.layout.items()})

    def at(self, step: int) -> Self:
        """Return one step of the first axis, as views."""
        return type(self)(*(getattr(self, one.name)[step] for one in fields(self)))

    def over(self, env: "Env") -> Array:
        """Return which worlds are over: bool [worlds]."""
        ended: Array = np.logical_or(self.terminated, self.truncated).reshape(env.worlds, -1)
        return np.all(ended, axis=1)


@dataclass(eq=False)
class Env(ABC):
    """Many worlds of one game. What every game promises is said at the head of this file."""

    name: str
    """As `names.make` takes it."""
    version: str
    """Of the rules: games recorded under another one need not replay."""
    worlds: int
    agents: tuple[str, ...]
    """Their names, in the order of their rows."""
    observation: Observation
    action: Action
    options: Mapping[str, Any] = field(default_factory=dict)
    """What `names.make` got beside the name and the number of worlds."""
    sides: tuple[tuple[str, ...], ...] = ()
    """Agents that win and lose together; empty: all do."""

    scripts: ClassVar[Mapping[str, Callable[["Env"], Any]]] = {}
    """The game's own scripted players, by name: each a maker of a `teams.Controller`."""

    @property
    def rows(self) -> int:
        """Agents of all worlds."""
        return self.worlds * len(self.agents)

    @cached_property
    def layout(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of each array of `Buffers`."""
        seen = (self.rows, *self.observation.shape), self.observation.dtype
        flags = (self.rows,), "bool"
        return {
            "observations": seen,
            "rewards": ((self.rows,), "float32"),
            "terminated": flags,
            "truncated": flags,
            "final_observations": seen,
            "masks": ((self.rows, sum(self.action.choices)), "bool"),
        }

    def reset(self, seeds: Sequence[int] | Array, out: Buffers, chosen: Array | None = None) -> None:
        """Begin a new episode in some worlds, and write `observations` and `masks` of their rows.

        Args:
            seeds: one per world, each from 0 to 2⁶³ − 1. An episode depends on its world's seed and the actions alone.
            out: the arrays to write into.
            chosen: bool [worlds], which worlds to reset; None means all. The seeds of the others are ignored.
        """
        self._check(out)
        seeds = np.asarray(seeds, np.int64)
        chosen = np.ones(self.worlds, bool) if chosen is None else chosen
        if seeds.shape != (self.worlds,) or chosen.shape != (self.worlds,) or chosen.dtype != bool:
            raise GameError(f"{self.name}: expected a seed, and where given True or False, per world ({self.worlds})")
        self._reset(seeds, out, chosen)

    def step(self, actions: Array, out: Buffers) -> None:
        """Let every world pass one step, and write all arrays of `out`.

        Args:
            actions: what each row does, as `Action` says.
            out: the arrays to write into.

        Raises:
            GameError: an action is out of range, or the game itself failed.
        """
        self.action.check(actions, self.rows, self.name)
        self._check(out)
        self._step(actions, out)

    def close(self) -> None:  # noqa: B027 - most games start nothing
        """End what the game started."""

    def scene(self) -> Scene:
        """Return what people see of the game all the time, and the keys with which they play it.

        Raises:
            GameError: the game cannot be shown.
        """
        raise GameError(f"{self.name} says nowhere what it looks like, so that people cannot play or watch it")

    def frame(self, world: int = 0) -> Frame:
        """Return what one world looks like now, or raise as `scene` does."""
        raise GameError(f"{self.name} says nowhere what it looks like, so that people cannot play or watch it")

    @abstractmethod
    def _reset(self, seeds: Array, out: Buffers, chosen: Array) -> None: ...

    @abstractmethod
    def _step(self, actions: Array, out: Buffers) -> None: ...

    def _check(self, out: Buffers) -> None:
        for name, (shape, dtype) in self.layout.items():
            given = getattr(out, name)
            if given.shape != shape or given.dtype != dtype or not given.flags.c_contiguous:
                raise GameError(
                    f"{self.name}: the array for {name} is {given.dtype} {list(given.shape)}; "
                    f"expected {dtype} {list(shape)} in C order, as Buffers.of(env) makes them"
                )
