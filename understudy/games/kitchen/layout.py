"""Kitchens as text files: a line per row of cells, a symbol per cell.

`X` counter, `O` onions, `D` dishes, `P` pot, `S` serving, `T` tomatoes (nobody can use them), a space for floor, `1`
and `2` floor where the players start. Nothing may lead out of the kitchen.
"""

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import LayoutError, suggestion
from understudy.games.kitchen import kernels
from understudy.games.kitchen.kernels import FAR, FLOOR, POT, Tables

FOLDER = Path(__file__).parent / "layouts"
LAYOUTS = tuple(sorted(path.stem for path in FOLDER.glob("*.layout")))
"""Those of the paper."""
TERRAIN = {
    " ": FLOOR,
    "1": FLOOR,
    "2": FLOOR,
    "X": kernels.COUNTER,
    "O": kernels.ONIONS,
    "D": kernels.DISHES,
    "P": POT,
    "S": kernels.SERVING,
    "T": kernels.TOMATOES,
}
LARGEST = 250
"""Cells; distances are counted in a byte."""


@dataclass(frozen=True)
class Layout:
    """A kitchen: where everything is."""

    name: str
    lines: tuple[str, ...]

    @property
    def width(self) -> int:
        """In cells."""
        return len(self.lines[0])

    @property
    def height(self) -> int:
        """In cells."""
        return len(self.lines)

    @cached_property
    def tables(self) -> Tables:
        """The layout for compiled code."""
        text = "".join(self.lines)
        terrain = np.array([TERRAIN[symbol] for symbol in text], np.uint8)
        offsets = np.array([-self.width, self.width, 1, -1])
        floor = np.flatnonzero(terrain == FLOOR)
        beside = {int(cell) for place in floor for cell in place + offsets}
        solids = np.array([cell for cell in sorted(beside) if terrain[cell] != FLOOR])
        # In the order of the paper's layers
        shown = (POT, kernels.COUNTER, kernels.ONIONS, kernels.DISHES, kernels.SERVING)
        base = np.zeros((kernels.LAYERS, len(text)), np.uint8)
        base[10:15] = [terrain == kind for kind in shown]
        return Tables(
            size=np.array([self.width, self.height]),
            terrain=terrain,
            starts=np.array([text.index("1"), text.index("2")], np.int16),
            offsets=offsets,
            pots=np.flatnonzero(terrain == POT),
            solids=solids,
            distance=_distances(terrain, floor, offsets),
            base=base.ravel(),
        )


def read_layout(name: str) -> Layout:
    """Return the layout of that name, or the one in that file.

    Raises:
        LayoutError: there is none, or the file does not hold a kitchen that two can play in.
    """
    path = FOLDER / f"{name}.layout" if name in LAYOUTS else Path(name)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(
            f"there is no kitchen {name!r}; known are {', '.join(LAYOUTS)}, or name a file{suggestion(name, LAYOUTS)}"
        ) from error
    return parse_layout(text, name)


def parse_layout(text: str, name: str) -> Layout:
    """Return the layout that a text draws; `name` says whose it is in errors.

    >>> parse_layout("XXPXX\\nO1 2O\\nXDXSX\\n", "small").width
    5
    >>> parse_layout("XXPXX\\nO1 2O\\nXDXXX\\n", "small")
    Traceback (most recent call last):
    understudy.errors.LayoutError: kitchen small has no S (serving)
    """
    lines = tuple(line.rstrip("\r") for line in text.strip("\r\n").split("\n"))
    where = f"kitchen {name}"
    for number, line in enumerate(lines, 1):
        if len(line) != len(lines[0]):
            problem = f"has {len(line)} cells, line 1 has {len(lines[0])}; all lines must be equally long"
            raise LayoutError(f"{where}, line {number} {problem}")
        for column, symbol in enumerate(line, 1):
            if symbol not in TERRAIN:
                known = "X O D P S T, space, 1 and 2"
                raise LayoutError(
                    f"{where}, line {number}, column {column}: {symbol!r} is unknown; symbols are {known}"
                )
            inside = 1 < number < len(lines) and 1 < column < len(line)
            if TERRAIN[symbol] == FLOOR and not inside:
                problem = "is floor at the edge; a kitchen must be closed all around"
                raise LayoutError(f"{where}, line {number}, column {column} {problem}")
    drawn = "".join(lines)
    if len(drawn) > LARGEST:
        raise LayoutError(f"{where} has {len(drawn)} cells; {LARGEST} are the most")
    for player in "12":
        if drawn.count(player) != 1:
            raise LayoutError(f"{where} has {drawn.count(player)} start places {player}; expected one")
    for symbol, meaning in {"O": "onions", "D": "dishes", "P": "pot", "S": "serving"}.items():
        if symbol not in drawn:
            raise LayoutError(f"{where} has no {symbol} ({meaning})")
    return Layout(name, lines)


def _distances(terrain: NDArray[np.uint8], floor: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return `Tables.distance`: a walk outwards from every place on the floor."""
    distance = np.full((len(terrain), len(terrain)), FAR, np.uint8)
    for start in floor:
        steps, waiting = {int(start): 0}, deque([int(start)])
        while waiting:
            place = waiting.popleft()
            for cell in place + offsets:
                distance[start, cell] = min(distance[start, cell], steps[place])
                if terrain[cell] == FLOOR and int(cell) not in steps:
                    steps[int(cell)] = steps[place] + 1
                    waiting.append(int(cell))
    return distance
