"""Games of others by name: `gym:CartPole-v1`, `pettingzoo:classic/rps-v2`, any environment of these two packages.

Each world is one environment. They run in this process or, where stepping is slow, are shared out among several.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from understudy.errors import ConfigError, GameError
from understudy.games.env import Array, Buffers, Env
from understudy.games.experts import expert
from understudy.games.workers import Here, Processes
from understudy.games.worlds import GymnasiumWorld, PettingZooWorld, Seen, World

WORLDS: dict[str, tuple[str, Callable[[str, Mapping[str, Any]], World]]] = {
    "gym": ("gymnasium", GymnasiumWorld),
    "pettingzoo": ("pettingzoo", PettingZooWorld),
}


class Adapter(Env):
    """Worlds that are environments of another package.

    `name` begins with `gym:` or `pettingzoo:`. The option `processes` says how many processes share the worlds, 0 means
    this one; all others go to the environment.
    """

    scripts: ClassVar[Mapping[str, Callable[[Env], Any]]] = {"expert": expert}

    def __init__(self, name: str, worlds: int, options: Mapping[str, Any]) -> None:
        others = dict(options)
        processes = others.pop("processes", 0)
        if not 0 <= processes <= worlds:
            raise ConfigError(f"--processes {processes} is out of range; expected 0 to {worlds}, the number of worlds")
        kind, _, which = name.partition(":")
        package, world = WORLDS[kind]
        maker = partial(world, which, others)
        self._worlds: Here | Processes
        if processes:
            first = maker()
            first.close()
            self._worlds = Processes(maker, name, worlds, processes)
        else:
            self._worlds = Here(maker, name, 0, worlds)
            first = self._worlds.worlds[0]
        super().__init__(
            name=name,
            version=f"{package} {version(package)}",
            worlds=worlds,
            agents=first.agents,
            observation=first.observation,
            action=first.action,
            options=options,
        )
        self._last: list[Seen | None] = [None] * worlds

    def _reset(self, seeds: Array, out: Buffers, chosen: Array) -> None:
        worlds: list[int] = np.flatnonzero(chosen).tolist()
        # The generators of others take 32 bits
        for world, seen in zip(worlds, self._worlds.reset(worlds, seeds[worlds] % 2**32), strict=True):
            self._check_numbers(seen, world)
            self._last[world] = seen
            rows = self._rows(world)
            out.observations[rows], out.masks[rows] = seen.observations, seen.masks

    def _step(self, actions: Array, out: Buffers) -> None:
        last = [seen for seen in self._last if seen is not None]
        if len(last) < self.worlds:
            raise GameError(f"{self.name} is stepped before all of its worlds were reset")
        ended = np.stack([seen.terminated | seen.truncated for seen in last])
        going: list[int] = np.flatnonzero(~ended.all(1)).tolist()
        allowed = self._allowed(actions, last).reshape(self.worlds, len(self.agents), -1)
        played = dict(zip(going, self._worlds.step(going, allowed[going]), strict=True))
        for world, before in enumerate(last):
            seen = played.get(world, before._replace(rewards=np.zeros(len(self.agents), np.float32)))
            self._check_numbers(seen, world)
            # What an agent was when it ended it stays
            stays = ended[world]
            seen.rewards[stays] = 0
            for now, then in zip((seen.observations, *seen[3:]), (before.observations, *before[3:]), strict=True):
                now[stays] = then[stays]
            self._last[world], rows = seen, self._rows(world)
            out.observations[rows], out.masks[rows], out.rewards[rows] = seen.observations, seen.masks, seen.rewards
            out.terminated[rows], out.truncated[rows] = seen.terminated, seen.truncated
        over = out.terminated | out.truncated
        out.final_observations[over] = out.observations[over]

    def close(self) -> None:
        """End the environments and their processes."""
        self._worlds.close()

    def _rows(self, world: int) -> slice:
        return slice(world * len(self.agents), (world + 1) * len(self.agents))

    def _allowed(self, actions: Array, last: list[Seen]) -> Array:
        """Return the actions, with those that a mask forbids replaced by the idle one."""
        if not self.action.choices:
            return actions
        starts = np.cumsum((0, *self.action.choices[:-1]))
        allowed = np.take_along_axis(np.concatenate([seen.masks for seen in last]), actions + starts, 1)
        return np.where(allowed, actions, self.action.idling(self.rows))

    def _check_numbers(self, seen: Seen, world: int) -> None:
        for what, array in (("an observation", seen.observations), ("a reward", seen.rewards)):
            if array.dtype.kind == "f" and np.isnan(array).any():
                raise GameError(f"{self.name}: world {world} gave {what} that is not a number (nan)")
