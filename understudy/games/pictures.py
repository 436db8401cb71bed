"""What a game looks like, and how a person plays it: shapes in the game's own units, keys, and words.

A game says both by `Env.scene` and `Env.frame`. The page in the browser, videos and the terminal draw any game from
these, so a new game needs no code of theirs. Shapes lie over one another in their order; x grows to the right, y
downwards; colours are names in PALETTE.

>>> scene = Scene(width=2, height=1, background=(box(0, 0, 2, 1, "ground"),), keys=(), seconds=0.15)
>>> Frame(shapes=(disc(0.5, 0.5, 0.4, "blue"), words(1.5, 0.5, 0.5, "3", "ink"))).shapes[0]
Shape(kind='disc', colour='blue', at=(0.5, 0.5, 0.4), text='')
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

PALETTE: dict[str, tuple[str, str]] = {
    "ground": ("#efe9dd", "#2b2d31"),
    "wall": ("#c9b79c", "#4a443c"),
    "edge": ("#a48e6e", "#6a6154"),
    "ink": ("#1c2024", "#eceef0"),
    "paper": ("#ffffff", "#d9dde2"),
    "shade": ("#8b949e", "#8b949e"),
    "dark": ("#3a4149", "#15181b"),
    "blue": ("#0072b2", "#3fa3e0"),
    "orange": ("#d55e00", "#f08a3c"),
    "green": ("#0b8a5f", "#1f9068"),
    "red": ("#b3261e", "#f0665c"),
    "yellow": ("#e0a92e", "#e8b84a"),
    "brown": ("#8a5a2b", "#b07a45"),
    "purple": ("#8f4fb3", "#bd8ae0"),
}
"""Each colour in the light and in the dark. Blue and orange tell sides apart for colour-blind people too."""


class Shape(NamedTuple):
    """One shape; the functions below make them."""

    kind: Literal["box", "disc", "area", "line", "words", "image"]
    colour: str
    at: tuple[float, ...]
    """box: x, y, width, height, radius of the corners; disc: x, y, radius; area: x, y of each corner; line: its width,
    then x, y of each point; words: x, y of the middle, height; image: x, y, width, height."""
    text: str = ""
    """Words; or of an image the PNG in base64."""


def box(x: float, y: float, width: float, height: float, colour: str, radius: float = 0) -> Shape:
    """Return a filled rectangle, whose corners may be round."""
    return Shape("box", colour, (x, y, width, height, radius))


def disc(x: float, y: float, radius: float, colour: str) -> Shape:
    """Return a filled circle."""
    return Shape("disc", colour, (x, y, radius))


def area(colour: str, *points: float) -> Shape:
    """Return a filled polygon."""
    return Shape("area", colour, points)


def line(width: float, colour: str, *points: float) -> Shape:
    """Return a line through points."""
    return Shape("line", colour, (width, *points))


def words(x: float, y: float, height: float, text: str, colour: str) -> Shape:
    """Return words around a place."""
    return Shape("words", colour, (x, y, height), text)


class Key(NamedTuple):
    """What a person can do with a key."""

    names: tuple[str, ...]
    """Of the keys that do it, as `KeyboardEvent.key` in browsers says: ArrowUp, w, a space for the space bar."""
    meaning: str
    value: float
    """Of the action."""
    choice: int = 0
    """Which of the action's choices or numbers it sets."""
    repeats: bool = True
    """Whether it goes on while the key is held, rather than once per press."""


@dataclass(frozen=True)
class Scene:
    """What stays as it is while a game is played, and how people play it."""

    width: float
    height: float
    background: tuple[Shape, ...]
    keys: tuple[Key, ...]
    seconds: float
    """That a step lasts."""
    longest: int = 0
    """Steps after which it is cut short; 0 where that is not known."""
    advice: str = ""
    """What it is about, in a sentence or two."""


@dataclass(frozen=True)
class Frame:
    """What a world looks like at a moment."""

    shapes: tuple[Shape, ...]
    places: tuple[tuple[float, float], ...] = ()
    """Where each agent is, so that a person's own can be marked."""
    lines: tuple[str, ...] = ()
    """The same in text, for terminals."""
    said: tuple[tuple[str, ...], ...] = ()
    """Per agent what it would want to know, in sentences: read out where one is new."""
