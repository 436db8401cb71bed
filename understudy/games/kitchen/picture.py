"""What a kitchen looks like: a cell is 1 × 1, things are seen from above, and cooks face where their hands are."""

from understudy.games.env import Array
from understudy.games.kitchen import kernels
from understudy.games.kitchen.kernels import (
    CONTENTS,
    COOKING,
    DISH,
    FACING,
    HELD,
    INTERACT,
    ONION,
    PLACE,
    PLAYER,
    SOUP,
)
from understudy.games.kitchen.layout import TERRAIN, Layout
from understudy.games.pictures import Frame, Key, Scene, Shape, area, box, disc, words

SECONDS = 0.15
"""A step, as it was for the people whose games were recorded."""
COLOURS = ("blue", "orange")
AHEAD = ((0, -1), (0, 1), (1, 0), (-1, 0))
"""The way that each direction points."""
ARROWS = "▲▼▶◀"
KEYS = (
    Key(("ArrowUp", "w"), "north", kernels.NORTH),
    Key(("ArrowDown", "s"), "south", kernels.SOUTH),
    Key(("ArrowLeft", "a"), "west", kernels.WEST),
    Key(("ArrowRight", "d"), "east", kernels.EAST),
    Key((" ", "Enter"), "interact", INTERACT, repeats=False),
)
ADVICE = (
    "Put three onions into a pot, let them cook, take the soup with a dish and carry it to the green hatch. "
    "A direction turns you and moves you; interact with what is before you."
)
NAMES = {
    kernels.FLOOR: "the floor",
    kernels.COUNTER: "a counter",
    kernels.ONIONS: "the onions",
    kernels.DISHES: "the dishes",
    kernels.SERVING: "the serving hatch",
    kernels.TOMATOES: "tomatoes",
}


def kitchen_scene(layout: Layout, horizon: int) -> Scene:
    """Return what never moves, and the keys."""
    shapes: list[Shape] = []
    for y, row in enumerate(layout.lines):
        for x, symbol in enumerate(row):
            shapes += _terrain(TERRAIN[symbol], x, y)
    return Scene(layout.width, layout.height, tuple(shapes), KEYS, SECONDS, horizon, ADVICE)


def kitchen_frame(kitchen: Array, layout: Layout) -> Frame:
    """Return what one kitchen looks like: pots, what lies about, and the cooks with what they hold."""
    state: list[int] = kitchen.tolist()
    shapes: list[Shape] = []
    for cell in layout.tables.solids.tolist():
        x, y = cell % layout.width, cell // layout.width
        if layout.tables.terrain[cell] == kernels.POT:
            shapes += _pot(state[CONTENTS + cell], x, y)
        else:
            shapes += _thing(state[CONTENTS + cell], x + 0.5, y + 0.5)
    places = []
    for base, colour in zip((0, PLAYER), COLOURS, strict=True):
        x, y = state[base + PLACE] % layout.width + 0.5, state[base + PLACE] // layout.width + 0.5
        places.append((x, y))
        shapes += _cook(x, y, AHEAD[state[base + FACING]], state[base + HELD], colour)
    said = tuple(_said(state, layout, base) for base in (0, PLAYER))
    return Frame(tuple(shapes), tuple(places), _lines(state, layout), said)


def _terrain(kind: int, x: int, y: int) -> list[Shape]:
    if kind == kernels.FLOOR:
        return [box(x, y, 1, 1, "ground"), box(x + 0.02, y + 0.02, 0.96, 0.96, "ground", 0.04)]
    shapes = [box(x, y, 1, 1, "edge"), box(x + 0.03, y + 0.03, 0.94, 0.94, "wall", 0.06)]
    middle = (x + 0.5, y + 0.5)
    if kind == kernels.ONIONS:
        shapes.append(box(x + 0.1, y + 0.1, 0.8, 0.8, "brown", 0.1))
        for right, down in ((-0.18, -0.14), (0.18, -0.14), (0, 0.16)):
            shapes += _thing(ONION, middle[0] + right, middle[1] + down)
    elif kind == kernels.DISHES:
        for up in (0.12, 0.02, -0.08):
            shapes += _thing(DISH, middle[0], middle[1] + up)
    elif kind == kernels.SERVING:
        shapes.append(box(x + 0.08, y + 0.08, 0.84, 0.84, "green", 0.1))
        # A bell
        shapes += [
            disc(middle[0], y + 0.56, 0.24, "paper"),
            box(x + 0.2, y + 0.56, 0.6, 0.26, "green"),
            box(x + 0.2, y + 0.6, 0.6, 0.09, "paper", 0.04),
            disc(middle[0], y + 0.28, 0.06, "paper"),
        ]
    elif kind == kernels.TOMATOES:
        shapes += [disc(*middle, 0.3, "red"), disc(middle[0], middle[1] - 0.2, 0.08, "green")]
    return shapes


def _pot(there: int, x: float, y: float) -> list[Shape]:
    shapes = [
        box(x + 0.03, y + 0.42, 0.94, 0.16, "dark", 0.08),
        disc(x + 0.5, y + 0.5, 0.4, "dark"),
        disc(x + 0.5, y + 0.5, 0.31, "shade"),
    ]
    if there < SOUP:
        for right, down in ((-0.13, -0.06), (0.13, -0.06), (0, 0.13))[:there]:
            shapes += _thing(ONION, x + 0.5 + right, y + 0.5 + down)
        if there:
            shapes += _label(f"{there}/3", x + 0.5, y + 0.87, "dark", "paper")
        return shapes
    left = max(COOKING - (there - SOUP), 0)
    shapes += [disc(x + 0.5, y + 0.5, 0.31, "yellow"), disc(x + 0.6, y + 0.42, 0.06, "paper")]
    if not left:
        return shapes + _label("ready", x + 0.5, y + 0.87, "green", "paper")
    return shapes + _label(f"{left * SECONDS:.0f} s", x + 0.5, y + 0.87, "dark", "paper")


def _label(text: str, x: float, y: float, colour: str, ink: str) -> list[Shape]:
    width = 0.16 * len(text) + 0.12
    return [box(x - width / 2, y - 0.15, width, 0.3, colour, 0.1), words(x, y, 0.25, text, ink)]


def _thing(what: int, x: float, y: float) -> list[Shape]:
    if what == 0:
        return []
    if what == ONION:
        bulb = [disc(x, y + 0.03, 0.15, "brown"), disc(x, y + 0.03, 0.125, "yellow")]
        return [area("green", x - 0.04, y - 0.08, x - 0.07, y - 0.22, x + 0.07, y - 0.22, x + 0.04, y - 0.08), *bulb]
    dish = [disc(x, y, 0.26, "shade"), disc(x, y, 0.24, "paper"), disc(x, y, 0.17, "shade"), disc(x, y, 0.155, "paper")]
    if what == DISH:
        return dish
    return [*dish, disc(x, y, 0.19, "yellow"), disc(x + 0.06, y - 0.05, 0.04, "paper")]


def _cook(x: float, y: float, ahead: tuple[int, int], held: int, colour: str) -> list[Shape]:
    right, down = ahead
    # Hands reach ahead, to the left and right of the way they point
    hands = [disc(x + 0.34 * right + s * 0.22 * down, y + 0.34 * down + s * 0.22 * right, 0.1, colour) for s in (-1, 1)]
    body = [disc(x, y, 0.35, "ink"), disc(x, y, 0.325, colour)]
    # The hat lies back, so that the face shows where the cook looks
    hat = [
        disc(x - 0.09 * right, y - 0.09 * down, 0.2, "paper"),
        disc(x - 0.09 * right, y - 0.09 * down, 0.13, "shade"),
    ]
    eyes = [disc(x + 0.21 * right + s * 0.1 * down, y + 0.21 * down + s * 0.1 * right, 0.045, "dark") for s in (-1, 1)]
    pointer = area(
        colour,
        *(x + 0.46 * right, y + 0.46 * down),
        *(x + 0.3 * right + 0.14 * down, y + 0.3 * down + 0.14 * right),
        *(x + 0.3 * right - 0.14 * down, y + 0.3 * down - 0.14 * right),
    )
    return [*hands, pointer, *body, *hat, *eyes, *_thing(held, x + 0.36 * right, y + 0.36 * down)]


def _name(what: int) -> str:
    return ("nothing", "an onion", "a dish", "a soup")[min(what, SOUP)]


def _said(state: list[int], layout: Layout, base: int) -> tuple[str, ...]:
    cell = state[base + PLACE] + layout.tables.offsets[state[base + FACING]]
    kind, there = int(layout.tables.terrain[cell]), state[CONTENTS + cell]
    pots = layout.tables.pots.tolist()
    before = f"pot {pots.index(cell) + 1}" if kind == kernels.POT else NAMES[kind]
    if kind == kernels.COUNTER and there:
        before = f"{_name(there)} on a counter"
    sentences = [f"You hold {_name(state[base + HELD])}.", f"Before you is {before}."]
    for number, pot in enumerate(pots, 1):
        within = state[CONTENTS + pot]
        if within >= SOUP:
            sentences.append(f"Pot {number} {'is ready' if within >= SOUP + COOKING else 'cooks'}.")
        elif within:
            sentences.append(f"Pot {number} has {within} of 3 onions.")
    return tuple(sentences)


def _lines(state: list[int], layout: Layout) -> tuple[str, ...]:
    """Return the kitchen in text, each cell 6 columns wide and two lines high."""
    things = ("", "onion", "dish", "soup")
    signs = {kernels.ONIONS: "ONIONS", kernels.DISHES: "DISHES", kernels.SERVING: "SERVE", kernels.TOMATOES: "tomato"}
    cooks = {state[base + PLACE]: (base, number) for number, base in enumerate((0, PLAYER), 1)}
    lines: list[str] = []
    for y in range(layout.height):
        upper, lower = "", ""
        for cell in range(y * layout.width, (y + 1) * layout.width):
            kind, there = int(layout.tables.terrain[cell]), state[CONTENTS + cell]
            above, below, fill = signs.get(kind, ""), things[min(there, SOUP)], "░"
            if kind == kernels.FLOOR:
                fill = " "
                if cell in cooks:
                    base, number = cooks[cell]
                    above, below = f"{number} {ARROWS[state[base + FACING]]}", things[min(state[base + HELD], SOUP)]
            elif kind == kernels.POT:
                left = max(COOKING - (there - SOUP), 0)
                above, below = "POT", f"{there}/3" if there < SOUP else f"{left * SECONDS:.0f} s" if left else "READY"
            upper, lower = upper + above.center(6, fill), lower + below.center(6, fill)
        lines += [upper, lower]
    return tuple(lines)
