"""What a lane looks like: from above, and twice as wide as it is, to be seen well."""

from understudy.games.env import Array
from understudy.games.lane import unit_kernels as lane
from understudy.games.pictures import Frame, Key, Scene, Shape, area, box, disc, line, words

SECONDS = 0.2
"""A step."""
ACROSS, DOWN, SKY = 1 / 64, 1 / 32, 1.5
"""Of the picture per unit of the lane, along it and across; and the room above it, for the score."""
COLOURS = ("blue", "orange")
LETTERS = ("ABCDE", "VWXYZ")
"""Of heroes."""
CREEP_SIGNS = (("›", "»"), ("‹", "«"))
"""Of each team, those of creeps that fight hand to hand and those that shoot."""
COLUMN = 32
"""Units of the lane per letter of the text."""
KEYS = (
    Key(("ArrowRight", "d"), "forward", lane.MOVE),
    Key(("c",), "forward and down", lane.MOVE + 1),
    Key(("ArrowDown", "s"), "down", lane.MOVE + 2),
    Key(("z",), "back and down", lane.MOVE + 3),
    Key(("ArrowLeft", "a"), "back", lane.MOVE + 4),
    Key(("q",), "back and up", lane.MOVE + 5),
    Key(("ArrowUp", "w"), "up", lane.MOVE + 6),
    Key(("e",), "forward and up", lane.MOVE + 7),
    Key((" ", "Enter"), "attack the weakest creep", lane.WEAKEST_CREEP),
    Key(("x",), "attack the nearest creep", lane.NEAREST_CREEP),
    Key(("f",), "attack the nearest hero", lane.NEAREST_HERO),
    Key(("g",), "attack the weakest hero", lane.WEAKEST_HERO),
    Key(("t",), "attack the tower", lane.TOWER),
)
ADVICE = {
    "creep-block": "Walk before your creeps and stand in their way, so that the first one is late at the river.",
    "last-hit": "Fell as many enemy creeps as you can: a creep counts for you if your blow is its last.",
    "duel": "Fell the enemy's tower. Last hits make you stronger; a tower turns on heroes that hit heroes.",
    "team": "Fell the enemy's tower together. Last hits make you stronger; a tower turns on heroes that hit heroes.",
}


def lane_scene(task: str, horizon: int) -> Scene:
    """Return what never moves, and the keys."""
    width, height = lane.LENGTH * ACROSS, lane.WIDTH * DOWN
    middle = SKY + height / 2
    river = lane.RIVER * ACROSS
    shapes = [
        box(0, 0, width, SKY + height, "ground"),
        box(0, middle - 1.4, width, 2.8, "wall"),
        area("shade", river - 0.9, SKY, river + 0.5, SKY, river + 0.9, SKY + height, river - 0.5, SKY + height),
    ]
    for start, colour in ((0, COLOURS[0]), (width - lane.BASE * ACROSS, COLOURS[1])):
        shapes.append(box(start, SKY, lane.BASE * ACROSS, height, "edge"))
        shapes.append(box(start + 0.1, SKY + 0.1, lane.BASE * ACROSS - 0.2, 0.3, colour))
    return Scene(width, SKY + height, tuple(shapes), KEYS, SECONDS, horizon, ADVICE[task])


def lane_frame(here: Array, heroes: int, agents: int) -> Frame:
    """Return what one lane looks like, with so many heroes per team, of which so many play."""
    shapes: list[Shape] = []
    fell = here[lane.TOWERS, lane.FELL : lane.FELL + 2].tolist()
    seconds = int(here[0, lane.CLOCK]) * SECONDS
    clock = f"{seconds // 60:.0f}:{seconds % 60:02.0f}"
    shapes.append(words(lane.LENGTH * ACROSS / 2, SKY / 2, 0.9, f"{fell[1]} : {fell[0]}   {clock}", "ink"))
    for team, colour in enumerate(COLOURS):
        x, y = _place(lane.LENGTH - lane.TOWER_AT if team else lane.TOWER_AT, lane.MIDDLE)
        hp = int(here[lane.TOWERS, lane.TOWER_HP + team])
        shapes += [box(x - 0.5, y - 0.8, 1, 1.6, "dark", 0.15), box(x - 0.35, y - 0.6, 0.7, 0.7, colour, 0.1)]
        shapes += _bar(x, y - 1.1, 1.4, hp / lane.TOWER_FULL, colour)
        for number in range(lane.CREEPS):
            shapes += _creep(here, team, number, colour)
    places = []
    for hero in range(agents):
        own, team = here[lane.HEROES + hero].tolist(), hero // heroes
        places.append(_place(own[lane.X], own[lane.Y]))
        shapes += _hero(own, LETTERS[team][hero % heroes], COLOURS[team])
    said = tuple(_said(here, hero, heroes) for hero in range(agents))
    return Frame(tuple(shapes), tuple(places), _lines(here, heroes, agents, clock), said)


def _place(x: int, y: int) -> tuple[float, float]:
    return x * ACROSS, SKY + y * DOWN


def _bar(x: float, y: float, width: float, share: float, colour: str) -> list[Shape]:
    left, right = x - width / 2, x - width / 2 + width * share
    return [line(0.22, "dark", left, y, left + width, y), line(0.16, colour, left, y, right, y)]


def _creep(here: Array, team: int, number: int, colour: str) -> list[Shape]:
    hp = int(here[lane.CREEP_HP + team, number])
    if hp == 0:
        return []
    x, y = _place(int(here[lane.CREEP_X + team, number]), int(here[lane.CREEP_Y + team, number]))
    shooter = number % lane.WAVE_CREEPS == lane.WAVE_CREEPS - 1
    body = area(colour, x - 0.3, y + 0.3, x + 0.3, y + 0.3, x, y - 0.35) if shooter else disc(x, y, 0.25, colour)
    return [
        disc(x, y, 0.31, "ink"),
        body,
        *_bar(x, y - 0.5, 0.6, hp / (lane.SHOOTER_HP if shooter else lane.MELEE_HP), colour),
    ]


def _hero(own: list[int], letter: str, colour: str) -> list[Shape]:
    x, y = _place(own[lane.X], own[lane.Y])
    if own[lane.AWAY]:
        return [disc(x, y, 0.45, "shade"), words(x, y, 0.5, f"{own[lane.AWAY] * SECONDS:.0f}", "dark")]
    level = _level(own)
    full = lane.HERO_FULL + lane.LEVEL_HP * (level - 1)
    return [
        disc(x, y, 0.52, "ink"),
        disc(x, y, 0.46, colour),
        words(x, y, 0.5, f"{letter}{level}", "paper"),
        *_bar(x, y - 0.78, 1.1, own[lane.HP] / full, colour),
    ]


def _level(own: list[int]) -> int:
    return min(own[lane.EXPERIENCE] // lane.LEVEL, lane.LEVELS - 1) + 1


def _said(here: Array, hero: int, heroes: int) -> tuple[str, ...]:
    own, enemy = here[lane.HEROES + hero].tolist(), 1 - hero // heroes
    if own[lane.AWAY]:
        return ("You are dead, and will return.",)
    level = _level(own)
    sentences = [f"You are of level {level}."]
    if own[lane.HP] < 0.3 * (lane.HERO_FULL + lane.LEVEL_HP * (level - 1)):
        sentences.append("You are badly hurt.")

    def near(x: int, y: int, reach: int) -> bool:
        return (x - own[lane.X]) ** 2 + (y - own[lane.Y]) ** 2 <= reach**2

    rows = here[[lane.CREEP_X + enemy, lane.CREEP_Y + enemy, lane.CREEP_HP + enemy]].T.tolist()
    weakest = min((hp for x, y, hp in rows if hp and near(x, y, lane.SHOT_RANGE)), default=0)
    if weakest:
        falls = weakest <= lane.HERO_DAMAGE + lane.LEVEL_DAMAGE * (level - 1)
        sentences.append("A creep in reach would fall." if falls else "Creeps are in reach.")
    others = here[lane.HEROES + heroes * enemy : lane.HEROES + heroes * (enemy + 1)].tolist()
    if any(one[lane.HP] and near(one[lane.X], one[lane.Y], lane.SHOT_RANGE) for one in others):
        sentences.append("An enemy hero is in reach.")
    if near(lane.LENGTH - lane.TOWER_AT if enemy else lane.TOWER_AT, lane.MIDDLE, lane.TOWER_RANGE):
        sentences.append("The enemy's tower can hit you.")
    return tuple(sentences)


def _lines(here: Array, heroes: int, agents: int, clock: str) -> tuple[str, ...]:
    """Return the lane in text, a letter per COLUMN units, and below it how each hero is."""
    cells = [[" "] * (lane.LENGTH // COLUMN) for _ in range(lane.WIDTH // COLUMN)]

    def write(x: int, y: int, sign: str) -> None:
        cells[min(y // COLUMN, len(cells) - 1)][min(x // COLUMN, len(cells[0]) - 1)] = sign

    for row in cells:
        row[lane.RIVER // COLUMN] = "┊"
    for team in range(2):
        write(lane.LENGTH - lane.TOWER_AT if team else lane.TOWER_AT, lane.MIDDLE, "♜")
        for number in range(lane.CREEPS):
            if here[lane.CREEP_HP + team, number] > 0:
                shooter = number % lane.WAVE_CREEPS == lane.WAVE_CREEPS - 1
                x, y = here[[lane.CREEP_X + team, lane.CREEP_Y + team], number].tolist()
                write(x, y, CREEP_SIGNS[team][shooter])
    towers = here[lane.TOWERS, lane.TOWER_HP : lane.TOWER_HP + 2].tolist()
    below = [f"{clock}   towers {towers[0]} : {towers[1]}"]
    for hero in range(agents):
        own, letter = here[lane.HEROES + hero].tolist(), LETTERS[hero // heroes][hero % heroes]
        how = f"back in {own[lane.AWAY] * SECONDS:.0f} s" if own[lane.AWAY] else f"{own[lane.HP]} hit points"
        below.append(f"{letter}  level {_level(own)}, {how}, {own[lane.LAST_HITS]} last hits")
        if not own[lane.AWAY]:
            write(own[lane.X], own[lane.Y], letter)
    return (*("".join(row) for row in cells), "", *below)
