"""Overcooked by the rules of 2019, many kitchens in one call [1].

Two cooks fill pots with three onions each, let them cook for 20 steps, and carry the soups to the serving place in
dishes. Both get 20 for each soup. `docs/kitchen.md` has the rules in full.

[1] Carroll et al., "On the Utility of Learning about Humans for Human-AI Coordination", arXiv 1910.05789.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from understudy.config import in_range
from understudy.games.env import Action, Array, Buffers, Env, Observation
from understudy.games.kitchen import kernels
from understudy.games.kitchen.layout import Layout, read_layout
from understudy.games.kitchen.picture import kitchen_frame, kitchen_scene
from understudy.games.kitchen.scripts import Cook
from understudy.games.pictures import Frame, Scene
from understudy.games.sharing import Sharing

ACTIONS = ("north", "south", "east", "west", "stay", "interact")
DIRECTIONS = ACTIONS[:4]
WHO = ("self", "other")
GRID_NAMES = (
    *WHO,
    *(f"{who} faces {direction}" for who in WHO for direction in DIRECTIONS),
    *("pot", "counter", "onions", "dishes", "serving"),
    *("onions in the pot", "steps cooked", "soup", "dish", "onion"),
)
KINDS = (
    *("onion", "dish", "soup", "serving", "free counter"),
    *("empty pot", "pot of one", "pot of two", "cooking pot", "ready pot"),
)


@dataclass(frozen=True)
class Options:
    """What can be chosen about a kitchen."""

    view: Literal["grid", "features"] = "grid"
    """the paper's layers of the grid, or numbers with the ways to the nearest things"""
    horizon: int = 400
    """steps after which an episode is cut short"""
    shaping: float = 0.0
    """times the shaped rewards: an onion put into a pot 3, a dish for a soup in a pot 3, a soup taken 5"""
    threads: int = 0
    """that share a call; 0 means one per core"""


class Kitchen(Env):
    """Kitchens of one layout. Nothing is left to chance, so the seeds of `reset` change nothing.

    `kitchens` is the whole state: int16 [worlds, …], as `kernels` says. It can be copied and written back.
    `shaping` can be changed between steps, to anneal the shaped rewards.
    """

    scripts: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"cook": lambda env: Cook(env.kitchens, env.kitchen)}

    def __init__(self, layout: str | Layout, worlds: int, options: Options | None = None) -> None:
        options = options or Options()
        in_range("horizon", options.horizon, 1, 30_000)
        in_range("shaping", options.shaping, 0)
        in_range("threads", options.threads, 0)
        self.kitchen = layout if isinstance(layout, Layout) else read_layout(layout)
        self.shaping, self.horizon = options.shaping, options.horizon
        grid = Observation((kernels.LAYERS, self.kitchen.height, self.kitchen.width), "uint8", 0, 20, GRID_NAMES)
        features = Observation((kernels.FEATURES,), "float32", -1, 1, feature_names())
        super().__init__(
            name=f"kitchen/{self.kitchen.name}",
            version=f"2019, kitchen {hashlib.sha256(chr(10).join(self.kitchen.lines).encode()).hexdigest()[:8]}",
            worlds=worlds,
            agents=("cook 1", "cook 2"),
            observation=grid if options.view == "grid" else features,
            action=Action(choices=(len(ACTIONS),), names=ACTIONS, idle=(kernels.STAY,)),
            options=asdict(options),
        )
        self.kitchens = np.zeros((worlds, kernels.CONTENTS + len(self.kitchen.tables.terrain)), np.int16)
        # Over until it is reset
        self.kitchens[:, kernels.OVER] = 1
        self.kitchens[:, [kernels.PLACE, kernels.PLAYER + kernels.PLACE]] = self.kitchen.tables.starts
        self._see = kernels.see_grids if options.view == "grid" else kernels.see_all_features
        self._all = np.ones(worlds, bool)
        self.sharing = Sharing(worlds, options.threads)

    def _reset(self, seeds: Array, out: Buffers, chosen: Array) -> None:
        out.masks[np.repeat(chosen, 2)] = True
        kernels.reset_kitchens(self.kitchens, self.kitchen.tables, chosen, 0, self.worlds)
        self.see(out.observations, chosen)

    def see(self, observations: Array, chosen: Array | None = None) -> None:
        """Write what the players of all kitchens, or of the chosen ones, see now."""
        rows = observations.reshape(self.rows, -1)
        self._see(self.kitchens, self.kitchen.tables, self._all if chosen is None else chosen, rows, 0, self.worlds)

    def _step(self, actions: Array, out: Buffers) -> None:
        out.masks[:] = True
        out.terminated[:] = False
        rows, tables = out.observations.reshape(self.rows, -1), self.kitchen.tables
        shaping = float(self.shaping)

        def share(start: int, stop: int) -> None:
            kernels.step_kitchens(
                self.kitchens, tables, actions, self.horizon, shaping, out.rewards, out.truncated, start, stop
            )
            self._see(self.kitchens, tables, self._all, rows, start, stop)

        self.sharing.call(share)
        if out.truncated.any():
            out.final_observations[out.truncated] = out.observations[out.truncated]

    @override
    def scene(self) -> Scene:
        return kitchen_scene(self.kitchen, self.horizon)

    @override
    def frame(self, world: int = 0) -> Frame:
        return kitchen_frame(self.kitchens[world], self.kitchen)

    def close(self) -> None:
        """End the threads."""
        self.sharing.close()


def feature_names() -> tuple[str, ...]:
    """Return what each number of the view "features" says."""
    names: list[str] = []
    for who in WHO:
        names += [f"{who} faces {direction}" for direction in DIRECTIONS]
        names += [f"{who} holds {what}" for what in ("nothing", "an onion", "a dish", "a soup")]
        names += [f"{who} cannot go {direction}" for direction in DIRECTIONS]
        names += [f"{who}: share of the cooking still to come"]
        for kind in KINDS:
            said = ("is there", "to the east", "to the south", "moves", "is faced")
            names += [f"{who}: {kind} {what}" for what in said]
            names += [f"{who}: {kind} is nearer by {direction}" for direction in DIRECTIONS]
    names += ["other to the east", "other to the south", "moves to the other", "own column", "own row"]
    return tuple(names)
