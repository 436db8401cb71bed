"""A small MOBA lane, many of them in one call.

Two teams of heroes, with creeps that walk in waves and a tower each. `docs/lane.md` has the rules in full.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from understudy.config import in_range
from understudy.errors import ConfigError, GameError, suggestion
from understudy.games.env import Action, Array, Buffers, Env, Observation
from understudy.games.lane import kernels
from understudy.games.lane.picture import lane_frame, lane_scene
from understudy.games.lane.scripts import GRADES, Script
from understudy.games.lane.unit_kernels import (
    CREEPS,
    HEROES,
    MOST_SEEN,
    OVER,
    PER_CREEP,
    PER_HERO,
    PER_TOWER,
    STAY,
    TRUNCATED,
    Notes,
    Rules,
)
from understudy.games.pictures import Frame, Scene
from understudy.games.sharing import Sharing

WAYS = ("forward", "forward down", "down", "back down", "back", "back up", "up", "forward up")
TARGETS = ("nearest creep", "weakest creep", "nearest hero", "weakest hero", "tower")
ACTIONS = ("stay", *WAYS, *(f"attack the {target}" for target in TARGETS))
HORIZONS = {"creep-block": 256, "last-hit": 1024, "duel": 4096, "team": 4096}
"""The tasks, in the order of their numbers, and the steps after which an episode of each is cut short."""
ALONE = ("creep-block", "last-hit")
"""Tasks in which one hero plays."""
TEAM_HEROES = 5


@dataclass(frozen=True)
class Options:
    """What can be chosen about a lane."""

    heroes: int | None = None
    """on each side, in the task team: 1 to 5; 5 unless told otherwise"""
    horizon: int | None = None
    """steps after which an episode is cut short; by itself 256 in creep-block, 1024 in last-hit, else 4096"""
    shaping: float = 0.0
    """times the shaped rewards: a last hit 0.02, a kill 0.2, a death -0.2, the whole of a tower 0.5"""
    threads: int = 0
    """that share a call; 0 means one per core"""


class Lane(Env):
    """Lanes of one task.

    `lanes` is the whole state: int32 [worlds, …], as `unit_kernels` says. It can be copied and written back.
    `shaping` can be changed between steps, to anneal the shaped rewards.
    """

    scripts: ClassVar[Mapping[str, Callable[[Env], Any]]] = {grade: partial(Script, grade=grade) for grade in GRADES}

    def __init__(self, task: str, worlds: int, options: Options | None = None) -> None:
        options = options or Options()
        if task not in HORIZONS:
            known = ", ".join(f"lane/{one}" for one in HORIZONS)
            raise GameError(f"there is no task {task!r} in the lane; tasks are {known}{suggestion(task, HORIZONS)}")
        heroes = options.heroes if options.heroes is not None else TEAM_HEROES if task == "team" else 1
        in_range("heroes", heroes, 1, 5)
        if task != "team" and heroes != 1:
            raise ConfigError(f"--heroes {heroes} does not fit lane/{task}, where a side has one; try lane/team")
        self.horizon = HORIZONS[task] if options.horizon is None else options.horizon
        in_range("horizon", self.horizon, 1, 30_000)
        in_range("shaping", options.shaping, 0)
        in_range("threads", options.threads, 0)
        self.task, self.heroes, self.shaping = task, heroes, options.shaping
        agents = tuple(f"{side} {number}" for side in ("west", "east") for number in range(1, heroes + 1))
        names = feature_names(heroes)
        super().__init__(
            name=f"lane/{task}",
            version="lane 1",
            worlds=worlds,
            agents=agents[:1] if task in ALONE else agents,
            observation=Observation((len(names),), "float32", -MOST_SEEN, MOST_SEEN, names),
            action=Action(choices=(len(ACTIONS),), names=ACTIONS, idle=(STAY,)),
            options=asdict(options),
            sides=() if task in ALONE else (agents[:heroes], agents[heroes:]),
        )
        self.rules = Rules(list(HORIZONS).index(task), heroes, len(self.agents), self.horizon)
        self.lanes = np.zeros((worlds, HEROES + 2 * heroes, CREEPS), np.int32)
        # Over until it is reset
        self.lanes[:, 0, OVER] = TRUNCATED
        self.sharing = Sharing(worlds, options.threads)
        self.notes = {start: _notes(2 * heroes) for start, _ in self.sharing.cuts}

    def _reset(self, seeds: Array, out: Buffers, chosen: Array) -> None:
        kernels.reset_lanes(self.lanes, self.rules, seeds, chosen, out.observations, out.masks)

    def _step(self, actions: Array, out: Buffers) -> None:
        written = kernels.Written(*(getattr(out, name) for name in kernels.Written._fields))
        shaping = float(self.shaping)

        def share(start: int, stop: int) -> None:
            kernels.step_lanes(self.lanes, self.rules, self.notes[start], actions, shaping, written, start, stop)

        self.sharing.call(share)
        ended = out.terminated | out.truncated
        if ended.any():
            out.final_observations[ended] = out.observations[ended]

    @override
    def scene(self) -> Scene:
        return lane_scene(self.task, self.horizon)

    @override
    def frame(self, world: int = 0) -> Frame:
        return lane_frame(self.lanes[world], self.heroes, len(self.agents))

    def close(self) -> None:
        """End the threads."""
        self.sharing.close()


def feature_names(heroes: int) -> tuple[str, ...]:
    """Return what each number says that a hero sees, with so many heroes on each side."""
    names = ["time to the next wave", "time"]
    for tower in ("own tower", "enemy tower"):
        names += [f"{tower}: {what}" for what in ("hit points", "ahead", "pause")]
    about = ("hit points", "ahead", "down", "pause", "level", "provoked", "time to its return")
    others = [f"ally {number}" for number in range(1, heroes)] + [f"enemy {number}" for number in range(1, heroes + 1)]
    names += [f"self: {what}" for what in (*about, "experience")]
    names += [f"{who}: {what}" for who in others for what in about]
    for side in ("own creep", "enemy creep"):
        for what in ("hit points", "ahead", "down", "pause"):
            names += [f"{side} {number}: {what}" for number in range(1, CREEPS + 1)]
    # As many as `sight_kernels` writes
    assert len(names) == 2 + 2 * PER_TOWER + 2 * heroes * PER_HERO + 1 + 2 * CREEPS * PER_CREEP
    return tuple(names)


def _notes(heroes: int) -> Notes:
    """Return room for what a step notes down, with so many heroes in all."""
    units = 2 * CREEPS + heroes
    shapes = {"place": (2, units), "hurt": (units + 2,), "blow": (heroes, 2), "points": (heroes,), "hits": (heroes,)}
    return Notes(**{name: np.zeros(shape, np.int32) for name, shape in {**shapes, "near": (2, CREEPS)}.items()})
