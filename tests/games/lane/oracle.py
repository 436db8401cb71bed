"""The rules of the lane once more, in plain Python and in other terms: creeps, heroes and towers as objects."""

from dataclasses import dataclass, field

COMPASS = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
MOVES = ("forward", "forward down", "down", "back down", "back", "back up", "up", "forward up")
MASK = 2**32 - 1


def scramble(value):
    value = (value ^ value >> 16) * 0x85EBCA6B % 2**32
    value = (value ^ value >> 13) * 0xC2B2AE35 % 2**32
    return value ^ value >> 16


@dataclass(eq=False)
class Unit:
    team: int
    number: int
    x: int = 0
    y: int = 0
    hp: int = 0
    pause: int = 0

    @property
    def alive(self):
        return self.hp > 0

    def square(self, other):
        return (self.x - other.x) ** 2 + (self.y - other.y) ** 2


@dataclass(eq=False)
class Creep(Unit):
    """Numbers 0 to 3 are of one wave, 4 to 7 of the next."""

    @property
    def shoots(self):
        return self.number in (3, 7)

    @property
    def wave(self):
        return self.number < 4


@dataclass(eq=False)
class Hero(Unit):
    experience: int = 0
    away: int = 0
    provoked: int = 0
    last_hits: int = 0
    points: int = 0
    hits: int = 0

    @property
    def level(self):
        return min(1 + self.experience // 256, 10)

    @property
    def full(self):
        return 512 + 64 * self.level

    def learn(self, amount):
        before = self.level
        self.experience += amount
        if self.alive:
            self.hp += 64 * (self.level - before)

    def go_home(self, ahead=32):
        self.x = 2048 - ahead if self.team else ahead
        self.y = 128 + [0, -36, 36, -72, 72][self.number]


@dataclass(eq=False)
class Tower(Unit):
    pass


@dataclass
class Oracle:
    task: str
    heroes_per_team: int
    horizon: int
    seed: int
    clock: int = 0
    terminated: bool = False
    truncated: bool = False
    fell: list = field(default_factory=lambda: [0, 0])

    def __post_init__(self):
        self.key = scramble((self.seed & MASK) ^ scramble(self.seed >> 32)) >> 1
        self.towers = [Tower(0, 0, 512, 128, 2048), Tower(1, 0, 1536, 128, 2048)]
        self.creeps = [Creep(team, number) for team in (0, 1) for number in range(8)]
        self.heroes = [Hero(team, number) for team in (0, 1) for number in range(self.heroes_per_team)]
        self.playing = self.heroes[:1] if self.task in ("creep-block", "last-hit") else self.heroes
        for hero in self.playing:
            hero.hp = 576
            hero.go_home()
        if self.task == "creep-block":
            self.heroes[0].x, self.heroes[0].y = 160, 112 + scramble(self.key ^ MASK) % 32
        self.send_wave()

    def send_wave(self):
        count = self.clock // 128
        for team in [0] if self.task == "creep-block" else [0, 1]:
            dice = scramble((self.key + 2 * count + team) % 2**32)
            for place in range(4):
                die, dice = dice % 256, dice // 256
                creep = self.creeps[8 * team + 4 * (count % 2) + place]
                if not creep.alive:
                    ahead = 96 - 24 * place + die // 16 % 4
                    creep.x, creep.y = (2048 - ahead if team else ahead), 120 + die % 16
                    creep.hp, creep.pause = (320 if place == 3 else 512), 0

    def living(self, kind, team):
        units = {"creep": self.creeps, "hero": self.heroes}[kind]
        return [unit for unit in units if unit.team == team and unit.alive]

    def nearest(self, unit, others, reach=None):
        others = [other for other in others if reach is None or unit.square(other) <= reach**2]
        return min(others, key=unit.square, default=None)

    def prey(self, unit, reach):
        """Whom a creep or a tower attacks."""
        enemy = 1 - unit.team
        angering = [hero for hero in self.living("hero", enemy) if hero.provoked]
        for kind in (angering, self.living("creep", enemy), self.living("hero", enemy)):
            if found := self.nearest(unit, kind, reach):
                return found
        return None

    def wish(self, hero, name):
        """Whom a hero's action attacks."""
        enemy = 1 - hero.team
        if name == "attack the tower":
            return self.towers[enemy]
        *_, how, kind = name.split()
        there = self.living(kind, enemy)
        in_range = [other for other in there if hero.square(other) <= 125**2]
        if how == "weakest" and in_range:
            return min(in_range, key=lambda other: other.hp)
        return self.nearest(hero, there)

    def bodies(self, unit):
        """Who can be in the way of a unit, and how near they let it come."""
        heroes = [(hero, 28) for hero in self.heroes if hero.alive and hero is not unit]
        if isinstance(unit, Hero):
            return heroes + [(creep, 28) for creep in self.creeps if creep.alive]
        mates = [one for one in self.living("creep", unit.team) if one.wave == unit.wave and one is not unit]
        return heroes + [(creep, 18) for creep in mates]

    def walk(self, unit, way):
        straight, aslant = (20, 14) if isinstance(unit, Hero) else (16, 11)
        blocked, where = self.step_towards(unit, way, straight, aslant)
        if not blocked:
            return where
        east, south = COMPASS[way]
        side = east * (blocked.y - unit.y) - south * (blocked.x - unit.x)
        odd = unit.number + (0 if isinstance(unit, Creep) else unit.team * self.heroes_per_team)
        first = -1 if side > 0 or (side == 0 and odd % 2) else 1
        for turn in (first, -first, 2 * first, -2 * first):
            blocked, where = self.step_towards(unit, (way + turn) % 8, straight // 4, aslant)
            if not blocked:
                return where
        return unit.x, unit.y

    def step_towards(self, unit, way, straight, aslant):
        east, south = COMPASS[way]
        length = aslant if east and south else straight
        x = min(max(unit.x + east * length, 1), 2047)
        y = min(max(unit.y + south * length, 0), 256)
        for body, size in self.bodies(unit):
            inside = abs(x - body.x) < size and abs(y - body.y) < size
            if inside and (x - body.x) ** 2 + (y - body.y) ** 2 < unit.square(body):
                return body, None
        return None, (x, y)

    def step(self, names):
        """Let one step pass with the actions of those who play; return the reward of each, and shaped points."""
        for hero in self.heroes:
            hero.points = hero.hits = 0
        dice = scramble((self.key + self.clock * 0x9E3779B9) % 2**32)
        hurts, blows, places = [], [], []
        front = max([creep.x for creep in self.living("creep", 0)], default=0)

        for index, creep in enumerate(self.creeps):
            if creep.alive:
                target = self.prey(creep, 125) or self.towers[1 - creep.team]
                if creep.square(target) > (125 if creep.shoots else 48) ** 2:
                    places.append((creep, self.walk(creep, direction(creep, target))))
                elif creep.pause == 0:
                    hurts.append((target, (22 if creep.shoots else 19) + 4 * (dice >> index & 1)))
                    creep.pause = 5
        for tower in self.towers:
            if tower.pause == 0 and (target := self.prey(tower, 175)):
                hurts.append((target, 110))
                tower.pause = 5
        for index, (hero, name) in enumerate(zip(self.playing, names, strict=True)):
            if not hero.alive or name == "stay":
                continue
            if name in MOVES:
                way = MOVES.index(name)
                places.append((hero, self.walk(hero, (4 - way) % 8 if hero.team else way)))
            elif target := self.wish(hero, name):
                if hero.square(target) > 125**2:
                    places.append((hero, self.walk(hero, direction(hero, target))))
                elif hero.pause == 0:
                    blows.append((hero, target, 44 + 4 * hero.level + 6 * (dice >> 16 + index & 1)))
                    hero.pause = 7

        for unit, (x, y) in places:
            unit.x, unit.y = x, y
        gained = max([creep.x for creep in self.living("creep", 0)], default=0) - front
        self.fall(hurts, blows)
        self.bury()
        self.pass_time()
        return [self.reward(hero, gained) for hero in self.playing], [hero.points for hero in self.playing]

    def fall(self, hurts, blows):
        """Let all attacks count."""
        for target, damage in hurts:
            target.hp -= damage
        for hero, target, damage in blows:
            last = 0 < target.hp <= damage
            target.hp -= damage
            if isinstance(target, Tower):
                hero.points += damage
            elif isinstance(target, Hero):
                hero.provoked = 10
                hero.points += 800 * last
            elif last:
                hero.hits += 1
                hero.last_hits += 1
                hero.points += 80
                hero.learn(40)

    def bury(self):
        for creep in self.creeps:
            if creep.x and not creep.alive:
                self.teach(creep, 60)
                creep.x = creep.y = creep.hp = creep.pause = 0
        for hero in self.playing:
            if not hero.alive and not hero.away:
                self.teach(hero, 240)
                hero.away = 60 + 30 * hero.level
                hero.hp = hero.pause = hero.provoked = 0
                hero.points -= 800
                self.fell[hero.team] += 1
                hero.go_home()

    def teach(self, dead, amount):
        near = [hero for hero in self.living("hero", 1 - dead.team) if abs(hero.x - dead.x) <= 325]
        for hero in near:
            hero.learn(amount // len(near))

    def pass_time(self):
        for unit in [*self.creeps, *self.towers]:
            unit.pause = max(unit.pause - 1, 0)
        for tower in self.towers:
            tower.hp = max(tower.hp, 0)
        for hero in self.playing:
            if hero.away:
                hero.away -= 1
                if not hero.away:
                    hero.hp = hero.full
                continue
            hero.pause, hero.provoked = max(hero.pause - 1, 0), max(hero.provoked - 1, 0)
            at_home = (2048 - hero.x if hero.team else hero.x) <= 96
            hero.hp = min(hero.hp + (32 if at_home else self.clock % 4 == 0), hero.full)
        self.clock += 1
        if self.task == "creep-block":
            self.terminated = any(creep.x >= 1024 for creep in self.living("creep", 0))
        elif self.clock % 128 == 0:
            self.send_wave()
        self.terminated = self.terminated or not all(tower.alive for tower in self.towers)
        self.truncated = not self.terminated and self.clock >= self.horizon

    def reward(self, hero, gained):
        if self.task == "creep-block":
            return (16 - gained) / 16
        if self.task == "last-hit":
            return hero.hits
        own, other = self.towers[hero.team], self.towers[1 - hero.team]
        return (not other.alive) - (not own.alive)

    def sees(self, hero):
        """What a hero sees, by name."""
        sign = -1 if hero.team else 1
        seen = {"time to the next wave": (128 - self.clock % 128) / 128, "time": self.clock / 4096}
        for who, tower in (("own", self.towers[hero.team]), ("enemy", self.towers[1 - hero.team])):
            numbers = tower.hp / 2048, sign * (tower.x - hero.x) / 256, tower.pause / 8
            seen |= zip((f"{who} tower: {what}" for what in ("hit points", "ahead", "pause")), numbers, strict=True)
        allies = [one for one in self.heroes if one.team == hero.team and one is not hero]
        enemies = [one for one in self.heroes if one.team != hero.team]
        named = [(f"ally {n}", one) for n, one in enumerate(allies, 1)]
        named += [(f"enemy {n}", one) for n, one in enumerate(enemies, 1)]
        for who, one in [("self", hero), *named]:
            ahead, down = sign * (one.x - hero.x), one.y - hero.y
            if one is hero:
                ahead, down = (2048 - hero.x if hero.team else hero.x), hero.y
            seen |= {
                f"{who}: hit points": one.hp / 1024,
                f"{who}: ahead": ahead / 256 if one.alive else 0,
                f"{who}: down": down / 256 if one.alive else 0,
                f"{who}: pause": one.pause / 8,
                f"{who}: level": one.level / 16,
                f"{who}: provoked": one.provoked / 16,
                f"{who}: time to its return": one.away / 128,
            }
        seen["self: experience"] = hero.experience % 256 / 256
        for creep in self.creeps:
            who = f"{'own' if creep.team == hero.team else 'enemy'} creep {creep.number + 1}"
            seen |= {
                f"{who}: hit points": creep.hp / 512,
                f"{who}: ahead": sign * (creep.x - hero.x) / 256 if creep.alive else 0,
                f"{who}: down": (creep.y - hero.y) / 256 if creep.alive else 0,
                f"{who}: pause": creep.pause / 8,
            }
        return seen

    def may(self, hero):
        """The actions that a hero may choose."""
        names = {"stay"}
        if hero.alive:
            names |= {*MOVES, "attack the tower"}
            for kind in ("creep", "hero"):
                if self.living(kind, 1 - hero.team):
                    names |= {f"attack the nearest {kind}", f"attack the weakest {kind}"}
        return names


def direction(unit, target):
    east, south = target.x - unit.x, target.y - unit.y
    if 2 * abs(south) < abs(east):
        south = 0
    elif 2 * abs(east) < abs(south):
        east = 0
    sign = [(number > 0) - (number < 0) for number in (east, south)]
    # On the spot counts as north-west, as nothing is east or south of it
    return COMPASS.index(tuple(sign)) if any(sign) else 5
