"""Games by name: `kitchen/LAYOUT`, `lane/TASK`, `gym:ID` and `pettingzoo:ID`."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from understudy.config import from_dict, in_range
from understudy.errors import ConfigError, GameError, suggestion
from understudy.games.env import Env


def make(name: str, worlds: int = 1, **options: Any) -> Env:
    """Return a game.

    Args:
        name: `kitchen/cramped_room`, or any layout or layout file after `kitchen/`; `lane/duel`, or another task of
            the lane; `gym:CartPole-v1`, or any environment of Gymnasium; `pettingzoo:classic/rps-v2`, or any parallel
            environment of PettingZoo.
        worlds: how many of it are stepped together.
        options: the game's own, such as `horizon=1000` of the kitchen. Games of others have `processes` too.

    Raises:
        GameError: there is no such game.
        ConfigError: it has no such option, or not with that value.
        MissingPackageError: it needs a package that is not installed.

    >>> make("kitchen/cramped_room", worlds=3).observation.shape
    (20, 4, 5)
    """
    in_range("worlds", worlds, 1)
    for prefix, maker in GAMES.items():
        if name.startswith(prefix) and name != prefix:
            return maker(name, worlds, options)
    known = ", ".join(f"{prefix}{which}" for prefix, which in WHICH.items())
    raise GameError(f"there is no game {name!r}; games are {known}{suggestion(name, GAMES)}")


def option(given: str) -> tuple[str, Any]:
    """Return name and value of a game's option as a command line has it.

    Raises ConfigError where it is none.

    >>> option("horizon=200"), option("view=grid")
    (('horizon', 200), ('view', 'grid'))
    """
    name, equals, value = given.partition("=")
    if not equals:
        raise ConfigError(f"--option {given}: expected NAME=VALUE, such as horizon=200")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _kitchen(name: str, worlds: int, options: Mapping[str, Any]) -> Env:
    from understudy.games.kitchen.env import Kitchen, Options

    return Kitchen(name.removeprefix("kitchen/"), worlds, from_dict(Options, options))


def _lane(name: str, worlds: int, options: Mapping[str, Any]) -> Env:
    from understudy.games.lane.env import Lane, Options

    return Lane(name.removeprefix("lane/"), worlds, from_dict(Options, options))


def _adapter(name: str, worlds: int, options: Mapping[str, Any]) -> Env:
    from understudy.games.adapters import Adapter

    return Adapter(name, worlds, options)


GAMES: dict[str, Callable[[str, int, Mapping[str, Any]], Env]] = {
    "kitchen/": _kitchen,
    "lane/": _lane,
    "gym:": _adapter,
    "pettingzoo:": _adapter,
}
WHICH = {"kitchen/": "LAYOUT", "lane/": "TASK", "gym:": "ID", "pettingzoo:": "ID"}
