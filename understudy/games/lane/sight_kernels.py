"""What a hero sees of the lane and may do, as numba functions.

What is seen are whole numbers times powers of two, so that nothing is rounded. The lane is seen as if one's own team
were the western one.
"""
# mypy: allow-untyped-defs

import numpy as np

from understudy.compiled import compiled, inlined
from understudy.games.lane.unit_kernels import (
    AWAY,
    CLOCK,
    COOL,
    CREEP_COOL,
    CREEP_HP,
    CREEP_X,
    CREEP_Y,
    CREEPS,
    EXPERIENCE,
    HEROES,
    HP,
    LENGTH,
    LEVEL,
    MOVE,
    NEAREST_CREEP,
    NEAREST_HERO,
    PER_CREEP,
    PER_HERO,
    PER_TOWER,
    PROVOKED,
    STAY,
    TOWER,
    TOWER_AT,
    TOWER_COOL,
    TOWER_HP,
    TOWERS,
    WAVE,
    WEAKEST_CREEP,
    WEAKEST_HERO,
    X,
    Y,
    level_of,
)

BY_8, BY_16, BY_128, BY_256 = np.float32(1 / 8), np.float32(1 / 16), np.float32(1 / 128), np.float32(1 / 256)
BY_512, BY_1024, BY_2048, BY_4096 = (np.float32(1 / 2**power) for power in (9, 10, 11, 12))


@inlined
def see_hero(lane, rules, hero, seen):
    """Write what a hero sees: the numbers that `env.feature_names` names."""
    team, own = hero // rules.heroes, lane[HEROES + hero]
    sign, x, y = 1 - 2 * team, own[X], own[Y]
    seen[0] = np.float32(WAVE - lane[0, CLOCK] % WAVE) * BY_128
    seen[1] = np.float32(lane[0, CLOCK]) * BY_4096
    at = 2
    for turn in range(2):
        side = team ^ turn
        tower = LENGTH - TOWER_AT if side else TOWER_AT
        seen[at] = np.float32(lane[TOWERS, TOWER_HP + side]) * BY_2048
        seen[at + 1] = np.float32(sign * (tower - x)) * BY_256
        seen[at + 2] = np.float32(lane[TOWERS, TOWER_COOL + side]) * BY_8
        at += PER_TOWER

    # Oneself: where one is in the lane
    see_other(own, sign, LENGTH * team, 0, seen[at : at + PER_HERO])
    seen[at + PER_HERO] = np.float32(own[EXPERIENCE] & (LEVEL - 1)) * BY_256
    at += PER_HERO + 1
    for turn in range(2):
        side = team ^ turn
        for other in range(rules.heroes * side, rules.heroes * side + rules.heroes):
            if other != hero:
                see_other(lane[HEROES + other], sign, x, y, seen[at : at + PER_HERO])
                at += PER_HERO

    for turn in range(2):
        see_creeps(lane, team ^ turn, np.int32(sign), x, y, seen[at : at + PER_CREEP * CREEPS])
        at += PER_CREEP * CREEPS


@inlined
def see_other(one, sign, x, y, seen):
    """Write PER_HERO numbers about a hero, its place as seen from another."""
    there = one[HP] > 0
    seen[0] = np.float32(one[HP]) * BY_1024
    seen[1] = np.float32(sign * (one[X] - x) if there else 0) * BY_256
    seen[2] = np.float32(one[Y] - y if there else 0) * BY_256
    seen[3] = np.float32(one[COOL]) * BY_8
    seen[4] = np.float32(level_of(one)) * BY_16
    seen[5] = np.float32(one[PROVOKED]) * BY_16
    seen[6] = np.float32(one[AWAY]) * BY_128


@inlined
def see_creeps(lane, team, sign, x, y, seen):
    """Write hit points of a team's creeps, then how far ahead each is, then how far down, then their pauses."""
    for number in range(CREEPS):
        seen[number] = np.float32(lane[CREEP_HP + team, number]) * BY_512
    for number in range(CREEPS):
        ahead = np.int32((lane[CREEP_X + team, number] - x) * sign)
        seen[CREEPS + number] = np.float32(ahead if lane[CREEP_HP + team, number] > 0 else np.int32(0)) * BY_256
    for number in range(CREEPS):
        down = np.int32(lane[CREEP_Y + team, number] - y)
        seen[2 * CREEPS + number] = np.float32(down if lane[CREEP_HP + team, number] > 0 else np.int32(0)) * BY_256
    for number in range(CREEPS):
        seen[3 * CREEPS + number] = np.float32(lane[CREEP_COOL + team, number]) * BY_8


@inlined
def allow(lane, rules, hero, mask):
    """Write which actions a hero may choose."""
    alive = lane[HEROES + hero, HP] > 0
    enemy, creeps, heroes = 1 - hero // rules.heroes, False, False
    for number in range(CREEPS):
        creeps |= lane[CREEP_HP + enemy, number] > 0
    for other in range(rules.heroes * enemy, rules.heroes * enemy + rules.heroes):
        heroes |= lane[HEROES + other, HP] > 0
    mask[STAY] = True
    for action in range(MOVE, NEAREST_CREEP):
        mask[action] = alive
    mask[NEAREST_CREEP] = mask[WEAKEST_CREEP] = alive & creeps
    mask[NEAREST_HERO] = mask[WEAKEST_HERO] = alive & heroes
    mask[TOWER] = alive


@compiled
def show_lane(lane, rules, index, observations, masks):
    """Write what all heroes of a lane see and may do."""
    for hero in range(rules.agents):
        row = rules.agents * index + hero
        see_hero(lane, rules, hero, observations[row])
        allow(lane, rules, hero, masks[row])
