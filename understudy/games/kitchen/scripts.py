"""A scripted cook: it does what the soup that is nearest to done needs next.

What cannot be carried to where it is needed is laid on a counter that the other cook reaches, so that two of them also
serve soups where neither gets about alone.
"""

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from understudy.games.env import Array
from understudy.games.kitchen import kernels
from understudy.games.kitchen.kernels import CONTENTS, COOKING, DISH, FACING, HELD, INTERACT, ONION, PLACE, PLAYER, SOUP
from understudy.games.kitchen.layout import Layout

IMPATIENCE = 0.5
"""How often a cook whose way is blocked gives way, so that two do not stand before each other for ever."""


class Cook:
    """Decides for rows of a kitchen by its state alone, and by chance only where the way is blocked."""

    def __init__(self, kitchens: Array, layout: Layout) -> None:
        """Begin a script.

        Args:
            kitchens: the state of the kitchens, as `Kitchen.kitchens` keeps it up to date.
            layout: theirs.
        """
        self._kitchens, self._layout = kitchens, layout
        self._random = dict[int, np.random.Generator]()
        self._last = dict[int, tuple[int, int | None]]()

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes."""
        for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True):
            self._random[row], self._last[row] = np.random.default_rng([seed, row]), (-1, None)

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return what each row does next."""
        return np.array([[self._choose(row)] for row in rows.tolist()])

    def _choose(self, row: int) -> int:
        state: list[int] = self._kitchens[row // 2].tolist()
        base = row % 2 * PLAYER
        there = state[PLAYER - base + PLACE]
        way = self._way(state, base, self._targets(state, base), there)
        before, self._last[row] = self._last[row], (state[base + PLACE], way)
        if way is not None and (way >= kernels.STAY or before != self._last[row]):
            return way
        # There is no way but through the other cook, or nothing to do; or both wanted the same place
        if self._random[row].random() < IMPATIENCE:
            return kernels.STAY if way is not None else int(self._random[row].integers(4))
        return kernels.STAY if way is None else way

    def _targets(self, state: list[int], base: int) -> list[int]:
        """Return the cells of which the nearest is to be interacted with, the best kind that can be reached."""
        held = state[base + HELD]
        reach = self._reach(state[base + PLACE])
        pots = {pot: state[CONTENTS + pot] for pot in self._layout.tables.pots.tolist()}
        soups = [pot for pot, within in pots.items() if within >= SOUP]
        if held == ONION:
            fullest = max((within for within in pots.values() if within < SOUP), default=0)
            wishes = [[pot for pot, within in pots.items() if within == fullest]]
        elif held == DISH:
            wishes = [[pot for pot in soups if pots[pot] >= SOUP + COOKING], soups]
        elif held:
            wishes = [self._cells(kernels.SERVING)]
        else:
            dishes = [cell for cell in self._counters() if state[CONTENTS + cell] == DISH]
            onions = [cell for cell in self._counters() if state[CONTENTS + cell] == ONION]
            out = len(dishes) + (state[PLAYER - base + HELD] == DISH)
            done = [cell for cell in self._counters() if state[CONTENTS + cell] >= SOUP]
            fetch_dish = [[*dishes, *self._cells(kernels.DISHES)]] if len(soups) > out or (soups and dishes) else []
            fetch_onion = [[*onions, *self._cells(kernels.ONIONS)]] if len(soups) < len(pots) else []
            return next((near for wish in (done, *fetch_dish, *fetch_onion) if (near := self._within(wish, reach))), [])
        for wish in wishes:
            if near := self._within(wish, reach):
                return near
        # It is laid down: for the other cook where that one goes elsewhere, or because it is of no use now
        across = self._reach(state[PLAYER - base + PLACE])
        free = [cell for cell in self._counters() if not state[CONTENTS + cell] and cell in reach]
        return free if across == reach else [cell for cell in free if cell in across]

    def _way(self, state: list[int], base: int, targets: Sequence[int], other: int) -> int | None:
        """Return the first action on the shortest way to interact with one of the targets; None where there is none."""
        if not targets:
            return None
        start, offsets = state[base + PLACE], self._layout.tables.offsets.tolist()
        if start + offsets[state[base + FACING]] in targets:
            pot = state[CONTENTS + start + offsets[state[base + FACING]]]
            waits = state[base + HELD] == DISH and SOUP <= pot < SOUP + COOKING
            return kernels.STAY if waits else INTERACT
        seen, waiting = {start}, deque([(start, -1)])
        while waiting:
            place, first = waiting.popleft()
            for action, offset in enumerate(offsets):
                cell = place + offset
                begun = action if first < 0 else first
                if cell in targets:
                    return begun
                if self._layout.tables.terrain[cell] == kernels.FLOOR and cell not in seen and cell != other:
                    seen.add(cell)
                    waiting.append((cell, begun))
        return None

    def _reach(self, place: int) -> set[int]:
        """Return the cells beside the floor that a cook gets to from a place."""
        nearest = self._layout.tables.distance[place]
        return set(np.flatnonzero(nearest < kernels.FAR).tolist())

    def _within(self, cells: Iterable[int], reach: set[int]) -> list[int]:
        return [cell for cell in cells if cell in reach]

    def _counters(self) -> list[int]:
        return self._cells(kernels.COUNTER)

    def _cells(self, kind: int) -> list[int]:
        solids = self._layout.tables.solids
        found: list[int] = solids[self._layout.tables.terrain[solids] == kind].tolist()
        return found
