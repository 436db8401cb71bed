"""Units of the lane: where they are, how they walk, whom they attack; as numba functions over plain arrays.

A lane is int32 [rows, 8]. Row 0 has CLOCK, OVER and KEY, from which all chance comes. Row 1 has both towers' TOWER_HP
and TOWER_COOL, and how many heroes of each team FELL, the western team first. Then come the creeps: a row each for the
CREEP_X of the western team's eight and of the eastern team's, then so for CREEP_Y, CREEP_HP and CREEP_COOL. Then a row
per hero, the western team's first. What is dead has 0 hit points. x grows from the western base to the eastern one, y
southwards.

Units have numbers: creeps 0 to 15, heroes from 16 on, then the two towers. All arithmetic is of whole numbers.
"""
# mypy: allow-untyped-defs

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from understudy.compiled import compiled, inlined

# Tasks
CREEP_BLOCK, LAST_HIT, DUEL, TEAM = range(4)
# A lane
CREEPS, WAVE_CREEPS = 8, 4
"""Per team, and per wave, of which the last shoots."""
CLOCK, OVER, KEY = 0, 1, 2
TOWERS, TOWER_HP, TOWER_COOL, FELL = 1, 0, 2, 4
CREEP_X, CREEP_Y, CREEP_HP, CREEP_COOL, HEROES = 2, 4, 6, 8, 10
X, Y, HP, COOL, EXPERIENCE, AWAY, PROVOKED, LAST_HITS = range(8)
TRUNCATED, TERMINATED = 1, 2
FIRST_HERO = 2 * CREEPS
NOBODY = -1
# Actions; moves are the eight directions, clockwise from ahead
STAY, MOVE, NEAREST_CREEP, WEAKEST_CREEP, NEAREST_HERO, WEAKEST_HERO, TOWER, ACTIONS = 0, 1, 9, 10, 11, 12, 13, 14
EAST, SOUTH = np.array([1, 1, 0, -1, -1, -1, 0, 1]), np.array([0, 1, 1, 1, 0, -1, -1, -1])
# The place; towers, and where creeps and heroes begin, from their end of it
LENGTH, WIDTH, MIDDLE, RIVER = 2048, 256, 128, 1024
TOWER_AT, CREEPS_AT, HEROES_AT, BLOCKER_AT = 512, 96, 32, 160
WAVE, FILE = 128, 24
"""Steps from wave to wave; how far creeps begin behind one another."""
# Lengths of steps, straight and aslant; ranges; steps from attack to attack; hit points
HERO_STEP, HERO_ASLANT, CREEP_STEP, CREEP_ASLANT = 20, 14, 16, 11
SIGHT, SHOT_RANGE, MELEE_RANGE, TOWER_RANGE = 125, 125, 48, 175
HERO_PAUSE, CREEP_PAUSE, TOWER_PAUSE = 7, 5, 5
MELEE_HP, SHOOTER_HP, TOWER_FULL, HERO_FULL, LEVEL_HP = 512, 320, 2048, 576, 64
MELEE_DAMAGE, SHOOTER_DAMAGE, CREEP_EXTRA, TOWER_DAMAGE = 19, 22, 4, 110
HERO_DAMAGE, HERO_EXTRA, LEVEL_DAMAGE = 48, 6, 4
"""Extra is added to half of all attacks, by chance; level, for each level above the first."""
HERO_BODY, CREEP_BODY = 28, 18
"""How near a creep may come to a hero, and to another creep of its team, along each axis."""
LEVELS, LEVEL = 10, 256
"""The highest level, and the experience per level."""
CREEP_EXPERIENCE, LAST_HIT_EXPERIENCE, HERO_EXPERIENCE, NEAR = 60, 40, 240, 325
"""Shared by the enemies that are NEAR along the lane; for the last hit alone; shared; how far that is."""
PROVOCATION = 10
"""Steps for which creeps and towers attack a hero first, after it has hit a hero."""
HEALING, BASE, REST = 32, 96, 4
"""Hit points per step within BASE of one's end of the lane; elsewhere 1 every REST steps."""
GONE, LEVEL_GONE = 60, 30
"""Steps until a dead hero returns, and more per level."""
POINT_LAST_HIT, POINT_KILL, POINTS = 80, 800, 4096
"""Shaped rewards in POINTS: per last hit, per kill and against the one killed; each hit point of the tower is one."""
# Seen
PER_TOWER, PER_HERO, PER_CREEP = 3, 7, 4
"""Numbers; oneself has one more, and two say the time."""
MOST_SEEN = 8
BITS = 0xFFFFFFFF
NEVER = np.int32(0x3FFFFFFF)


class Rules(NamedTuple):
    """What is played."""

    task: int
    heroes: int
    """Per team."""
    agents: int
    """Heroes that play, from the first: all of them, or only that one."""
    horizon: int


class Notes(NamedTuple):
    """What a step notes down before it counts; each thread has its own."""

    place: NDArray[np.int32]
    """[2, units], where each unit goes: x, then y."""
    hurt: NDArray[np.int32]
    """[units and towers], by creeps and towers."""
    blow: NDArray[np.int32]
    """[heroes, 2]: whom each hero hits, or NOBODY, and how hard."""
    points: NDArray[np.int32]
    """Shaped reward of each hero."""
    hits: NDArray[np.int32]
    """Last hits of each hero."""
    near: NDArray[np.int32]
    """[2, 8], which creep of the other team is nearest to each, as `key_of` says."""


@inlined
def mix(value):
    """Return 32 bits that depend on all of the 32 given ones: the last step of MurmurHash3."""
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & BITS
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & BITS
    return value ^ (value >> 16)


@inlined
def level_of(hero):
    """Return the level of a hero, from 1."""
    return min(hero[EXPERIENCE] // LEVEL, LEVELS - 1) + 1


@inlined
def full_hp(hero):
    """Return the most hit points that a hero can have now."""
    return HERO_FULL + LEVEL_HP * (level_of(hero) - 1)


@inlined
def place_of(lane, rules, unit):
    """Return where a unit or a tower is."""
    if unit < FIRST_HERO:
        return lane[CREEP_X + unit // CREEPS, unit % CREEPS], lane[CREEP_Y + unit // CREEPS, unit % CREEPS]
    hero = unit - FIRST_HERO
    if hero < 2 * rules.heroes:
        return lane[HEROES + hero, X], lane[HEROES + hero, Y]
    return LENGTH - TOWER_AT if hero > 2 * rules.heroes else TOWER_AT, MIDDLE


@inlined
def way_to(east, south):
    """Return the direction, 0 to 7, that is nearest to the way there."""
    if 2 * abs(south) < abs(east):
        return 0 if east > 0 else 4
    if 2 * abs(east) < abs(south):
        return 2 if south > 0 else 6
    if east > 0:
        return 1 if south > 0 else 7
    return 3 if south > 0 else 5


@inlined
def walk(lane, rules, unit, x, y, way, straight, aslant):
    """Return where a step in a direction leads to.

    Where somebody is in the way, it leads past them, first on the side where they are not: aslant, or else a short step
    aside. Where nothing is free, the unit stays.
    """
    turn = 0
    for attempt in range(5):
        turned = (way + turn * ((attempt + 1) // 2) * (1 if attempt % 2 else -1)) & 7
        step = aslant if turned & 1 else straight if attempt == 0 else straight // 4
        to_x = min(max(x + EAST[turned] * step, 1), LENGTH - 1)
        to_y = min(max(y + SOUTH[turned] * step, 0), WIDTH)
        body = in_the_way(lane, rules, unit, x, y, to_x, to_y)
        if body == NOBODY:
            return to_x, to_y
        if attempt == 0:
            body_x, body_y = place_of(lane, rules, body)
            side = EAST[way] * (body_y - y) - SOUTH[way] * (body_x - x)
            turn = -1 if side > 0 or (side == 0 and unit & 1) else 1
    return x, y


@inlined
def in_the_way(lane, rules, unit, x, y, to_x, to_y):
    """Return the unit that a step would run into, or NOBODY: for a creep heroes and those of its own wave."""
    for hero in range(2 * rules.heroes):
        one = lane[HEROES + hero]
        other = FIRST_HERO + hero != unit and one[HP] > 0
        if other and overlaps(x, y, to_x, to_y, one[X], one[Y], HERO_BODY):
            return FIRST_HERO + hero
    if unit < FIRST_HERO:
        # One of them is the creep itself
        if creeps_near(lane, unit // WAVE_CREEPS, to_x, to_y, CREEP_BODY) == 1:
            return NOBODY
        return creep_in_the_way(lane, unit // WAVE_CREEPS, unit, x, y, to_x, to_y, CREEP_BODY)
    for wave in range(4):
        if creeps_near(lane, wave, to_x, to_y, HERO_BODY) > 0:
            creep = creep_in_the_way(lane, wave, unit, x, y, to_x, to_y, HERO_BODY)
            if creep != NOBODY:
                return creep
    return NOBODY


@inlined
def creeps_near(lane, wave, x, y, size):
    """Return how many creeps of a wave have bodies at a place, of which the dead lie at 0, 0; without branches."""
    near, x, y, wide = np.int32(0), np.uint32(x - size + 1), np.uint32(y - size + 1), np.uint32(2 * size - 1)
    xs = lane[CREEP_X + wave // 2, wave % 2 * WAVE_CREEPS : wave % 2 * WAVE_CREEPS + WAVE_CREEPS]
    ys = lane[CREEP_Y + wave // 2, wave % 2 * WAVE_CREEPS : wave % 2 * WAVE_CREEPS + WAVE_CREEPS]
    for number in range(WAVE_CREEPS):
        # Below zero is far above, so that one comparison does for both sides
        near = np.int32(near + np.int32((np.uint32(xs[number] - x) < wide) & (np.uint32(ys[number] - y) < wide)))
    return near


@compiled
def creep_in_the_way(lane, wave, unit, x, y, to_x, to_y, size):
    """Return the creep of a wave, other than the unit itself, that a step would run into, or NOBODY."""
    for creep in range(WAVE_CREEPS * wave, WAVE_CREEPS * wave + WAVE_CREEPS):
        team, number = creep // CREEPS, creep % CREEPS
        body_x, body_y = lane[CREEP_X + team, number], lane[CREEP_Y + team, number]
        other = creep != unit and lane[CREEP_HP + team, number] > 0
        if other and overlaps(x, y, to_x, to_y, body_x, body_y, size):
            return creep
    return NOBODY


@inlined
def overlaps(x, y, to_x, to_y, body_x, body_y, size):
    """Return whether a step ends on a body, and nearer to it than it began."""
    if abs(to_x - body_x) >= size or abs(to_y - body_y) >= size:
        return False
    before = (x - body_x) * (x - body_x) + (y - body_y) * (y - body_y)
    return (to_x - body_x) * (to_x - body_x) + (to_y - body_y) * (to_y - body_y) < before


@inlined
def key_of(east, south, number):
    """Return squared distance and number of a creep as one number, so that the least is found without branches."""
    return np.int32(np.int32(np.int32(east * east) + np.int32(south * south)) * CREEPS + number)


@inlined
def nearest_creep(lane, team, x, y, reach):
    """Return the nearest creep of a team within reach, or NOBODY."""
    x, y = np.int32(x), np.int32(y)
    best = NEVER
    for number in range(CREEPS):
        east, south = np.int32(lane[CREEP_X + team, number] - x), np.int32(lane[CREEP_Y + team, number] - y)
        best = min(best, key_of(east, south, number) if lane[CREEP_HP + team, number] > 0 else NEVER)
    return CREEPS * team + best % CREEPS if best < (reach * reach + 1) * CREEPS else NOBODY


@inlined
def find_nearest(lane, near):
    """Write into `near`, where NEVER is, which creep of the other team is nearest to each creep: all pairs at once."""
    for first in range(CREEPS):
        if lane[CREEP_HP, first] == 0:
            continue
        x, y, best = lane[CREEP_X, first], lane[CREEP_Y, first], NEVER
        for second in range(CREEPS):
            east, south = np.int32(lane[CREEP_X + 1, second] - x), np.int32(lane[CREEP_Y + 1, second] - y)
            key = key_of(east, south, 0) if lane[CREEP_HP + 1, second] > 0 else np.int32(NEVER - CREEPS)
            best = min(best, np.int32(key + second))
            near[1, second] = min(near[1, second], np.int32(key + first))
        near[0, first] = best


@inlined
def nearest_hero(lane, rules, team, x, y, reach, provoked):
    """Return the nearest hero of a team within reach, or NOBODY; with `provoked`, of those that hit a hero lately."""
    found, best = NOBODY, reach * reach + 1
    for hero in range(rules.heroes * team, rules.heroes * team + rules.heroes):
        one = lane[HEROES + hero]
        if one[HP] > 0 and (not provoked or one[PROVOKED] > 0):
            far = (one[X] - x) * (one[X] - x) + (one[Y] - y) * (one[Y] - y)
            if far < best:
                found, best = FIRST_HERO + hero, far
    return found


@inlined
def has_provoked(lane, rules, team):
    """Return whether a hero of the team has hit a hero lately."""
    for hero in range(rules.heroes * team, rules.heroes * team + rules.heroes):
        if lane[HEROES + hero, PROVOKED] > 0:
            return True
    return False


@inlined
def target_of(lane, rules, team, x, y, reach, creep):
    """Return whom a creep or tower attacks: a hero that hit a hero, the nearest `creep`, a hero; or NOBODY."""
    found = NOBODY
    if has_provoked(lane, rules, 1 - team):
        found = nearest_hero(lane, rules, 1 - team, x, y, reach, True)
    if found == NOBODY:
        found = creep
    if found == NOBODY:
        found = nearest_hero(lane, rules, 1 - team, x, y, reach, False)
    return found


@inlined
def aim(lane, rules, hero, action):
    """Return whom a hero's action attacks, or NOBODY. The weakest is that of those in range, where there is one."""
    enemy, x, y = 1 - hero // rules.heroes, lane[HEROES + hero, X], lane[HEROES + hero, Y]
    found, weakest = NOBODY, BITS
    if action == TOWER:
        found = FIRST_HERO + 2 * rules.heroes + enemy
    elif action == WEAKEST_CREEP:
        for number in range(CREEPS):
            hp = lane[CREEP_HP + enemy, number]
            if 0 < hp < weakest and shoots_to(lane[CREEP_X + enemy, number] - x, lane[CREEP_Y + enemy, number] - y):
                found, weakest = CREEPS * enemy + number, hp
    elif action == WEAKEST_HERO:
        for other in range(rules.heroes * enemy, rules.heroes * enemy + rules.heroes):
            one = lane[HEROES + other]
            if 0 < one[HP] < weakest and shoots_to(one[X] - x, one[Y] - y):
                found, weakest = FIRST_HERO + other, one[HP]
    if found == NOBODY and action <= WEAKEST_CREEP:
        found = nearest_creep(lane, enemy, x, y, 2 * LENGTH)
    elif found == NOBODY:
        found = nearest_hero(lane, rules, enemy, x, y, 2 * LENGTH, False)
    return found


@inlined
def shoots_to(east, south):
    """Return whether a hero or a creep that shoots can hit what is so far away."""
    return east * east + south * south <= SHOT_RANGE * SHOT_RANGE


@inlined
def move_all(lane, rules, notes):
    """Put all units where they go."""
    for team in range(2):
        for number in range(CREEPS):
            lane[CREEP_X + team, number] = notes.place[0, CREEPS * team + number]
            lane[CREEP_Y + team, number] = notes.place[1, CREEPS * team + number]
    for hero in range(rules.agents):
        lane[HEROES + hero, X] = notes.place[0, FIRST_HERO + hero]
        lane[HEROES + hero, Y] = notes.place[1, FIRST_HERO + hero]


@inlined
def front_of(lane, team):
    """Return how far the foremost creep of a team has come from its own end, or 0."""
    front = np.int32(0)
    for number in range(CREEPS):
        x = lane[CREEP_X + team, number]
        front = max(front, np.int32(LENGTH - x if team and x > 0 else x))
    return front
