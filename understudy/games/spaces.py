"""Gymnasium's spaces for what games see and do, and the other way round."""

from collections.abc import Callable
from typing import Any

import numpy as np

from understudy.errors import GameError, MissingPackageError
from understudy.games.env import Action, Array, Observation

EXTRA = "pip install 'understudy[games]'"


def gymnasium() -> Any:
    """Return the package. Raises MissingPackageError where it is not installed."""
    try:
        import gymnasium
    except ImportError as error:
        raise MissingPackageError(f"games of others need gymnasium: {EXTRA}") from error
    return gymnasium


def observation_space(observation: Observation) -> Any:
    """Return the space of an observation."""
    low, high = (np.full(observation.shape, bound, observation.dtype) for bound in (observation.low, observation.high))
    return gymnasium().spaces.Box(low, high, dtype=np.dtype(observation.dtype).type)


def action_space(action: Action) -> Any:
    """Return the space of an action: Discrete for one choice, MultiDiscrete for several, Box for numbers."""
    spaces = gymnasium().spaces
    if not action.choices:
        return spaces.Box(np.array(action.low, np.float32), np.array(action.high, np.float32))
    return spaces.Discrete(action.choices[0]) if len(action.choices) == 1 else spaces.MultiDiscrete(action.choices)


def observation_of(space: Any, where: str) -> tuple[Observation, Callable[[Any], Array]]:
    """Return what a space is here, and the function that turns its values into arrays of that kind.

    A Box keeps its shape; a Dict, a Tuple, a Discrete and the like are laid flat as Gymnasium does, choices one-hot.
    """
    spaces = gymnasium().spaces
    given, flat = space, not isinstance(space, spaces.Box)
    if flat:
        try:
            space = spaces.flatten_space(space)
        except NotImplementedError as error:
            raise GameError(f"{where}: an observation in {given} cannot be laid flat") from error
    if not isinstance(space, spaces.Box):
        raise GameError(f"{where}: an observation in {given} has no fixed size")
    dtype = "uint8" if space.dtype == np.uint8 and not flat else "float32"
    found = Observation(space.shape, dtype, float(space.low.min()), float(space.high.max()))

    def turn(value: Any) -> Array:
        array = np.asarray(spaces.flatten(given, value) if flat else value)
        if array.shape != found.shape:
            raise GameError(f"it gave an observation of shape {list(array.shape)}; its space has {list(found.shape)}")
        return array.astype(dtype)

    return found, turn


def action_of(space: Any, where: str) -> tuple[Action, Callable[[Array], Any]]:
    """Return what a space of actions is here, and the function that turns actions into values of the space."""
    spaces = gymnasium().spaces
    if isinstance(space, spaces.Discrete):
        start = space.start
        return Action(choices=(int(space.n),)), lambda action: start + action[0]
    if isinstance(space, spaces.MultiDiscrete):
        shape, starts = space.nvec.shape, space.start
        return Action(choices=tuple(map(int, space.nvec.ravel()))), lambda action: starts + action.reshape(shape)
    if isinstance(space, spaces.MultiBinary):
        shape = space.shape
        return Action(choices=(2,) * int(np.prod(shape))), lambda action: action.reshape(shape).astype(space.dtype)
    if isinstance(space, spaces.Box):
        shape, dtype = space.shape, space.dtype
        low, high = (tuple(map(float, bound.ravel())) for bound in (space.low, space.high))
        return Action(low=low, high=high), lambda action: action.reshape(shape).astype(dtype)
    raise GameError(f"{where}: actions in {space} are neither choices nor numbers")
