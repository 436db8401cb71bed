"""The rules of the kitchen once more, in plain Python and in other terms: people, things, positions."""

from dataclasses import dataclass, field

DIRECTIONS = {"north": (0, -1), "south": (0, 1), "east": (1, 0), "west": (-1, 0)}
ACTIONS = (*DIRECTIONS, "stay", "interact")


@dataclass
class Soup:
    onions: int = 1
    cooked: int = 0


@dataclass
class Cook:
    position: tuple[int, int]
    facing: tuple[int, int] = DIRECTIONS["north"]
    held: str | Soup | None = None


@dataclass
class Oracle:
    lines: tuple[str, ...]
    horizon: int
    time: int = 0
    things: dict[tuple[int, int], str | Soup] = field(default_factory=dict)

    def __post_init__(self):
        self.places = {symbol: [] for symbol in "XODPST 12"}
        for y, line in enumerate(self.lines):
            for x, symbol in enumerate(line):
                self.places[symbol].append((x, y))
        self.cooks = [Cook(self.places[player][0]) for player in "12"]

    def at(self, position):
        x, y = position
        return self.lines[y][x]

    def is_floor(self, position):
        return self.at(position) in " 12"

    def step(self, names):
        """Return the reward, and the shaped reward of each."""
        reward, shaped = 0, [0, 0]
        for who, name in enumerate(names):
            if name == "interact":
                earned, shaped[who] = self.interact(self.cooks[who])
                reward += earned
        self.move(names)
        for pot in self.places["P"]:
            soup = self.things.get(pot)
            if soup and soup.onions == 3:
                soup.cooked += 1
        self.time += 1
        return reward, shaped

    def move(self, names):
        wishes = []
        for cook, name in zip(self.cooks, names, strict=True):
            wish = cook.position
            if name in DIRECTIONS:
                cook.facing = DIRECTIONS[name]
                there = beside(cook.position, cook.facing)
                wish = there if self.is_floor(there) else wish
            wishes.append(wish)
        first, second = self.cooks
        swapped = wishes == [second.position, first.position]
        if wishes[0] != wishes[1] and not swapped:
            first.position, second.position = wishes

    def interact(self, cook):
        cell = beside(cook.position, cook.facing)
        there = self.things.get(cell)
        match self.at(cell):
            case "X" if cook.held and not there:
                self.things[cell], cook.held = cook.held, None
            case "X" if there and not cook.held:
                cook.held = self.things.pop(cell)
            case "O" if not cook.held:
                cook.held = "onion"
            case "D" if not cook.held:
                pots = [self.things.get(pot) for pot in self.places["P"]]
                soups = sum(1 for soup in pots if soup and soup.onions == 3)
                dishes = [*self.things.values(), *(each.held for each in self.cooks)].count("dish")
                cook.held = "dish"
                return 0, 3 if soups > dishes else 0
            case "P" if cook.held == "onion" and not there:
                self.things[cell], cook.held = Soup(), None
                return 0, 3
            case "P" if cook.held == "onion" and there.onions < 3:
                there.onions, cook.held = there.onions + 1, None
                return 0, 3
            case "P" if cook.held == "dish" and there and there.onions == 3 and there.cooked >= 20:
                cook.held = self.things.pop(cell)
                return 0, 5
            case "S" if isinstance(cook.held, Soup):
                cook.held = None
                return 20, 0
        return 0, 0

    def layers(self, player):
        """What a player sees, as the paper's layers: {layer: {position: value}}."""
        seen = {layer: {} for layer in range(20)}
        for turn, who in enumerate((player, 1 - player)):
            cook = self.cooks[who]
            seen[turn][cook.position] = 1
            seen[2 + 4 * turn + list(DIRECTIONS.values()).index(cook.facing)][cook.position] = 1
        for layer, symbol in enumerate("PXODS", 10):
            seen[layer] = dict.fromkeys(self.places[symbol], 1)
        held = [(cook.position, cook.held) for cook in self.cooks if cook.held]
        for position, thing in [*self.things.items(), *held]:
            if isinstance(thing, Soup) and self.at(position) == "P":
                seen[15][position], seen[16][position] = thing.onions, min(thing.cooked, 20)
            else:
                seen[17 if isinstance(thing, Soup) else 18 if thing == "dish" else 19][position] = 1
        return {(layer, y, x): value for layer, cells in seen.items() for (x, y), value in cells.items() if value}


def beside(position, direction):
    return position[0] + direction[0], position[1] + direction[1]
