"""The rules of the lane, step by step, as numba functions over plain arrays: see `unit_kernels` for what these hold.

`reset_lane` and `step_lane` treat one lane, so that compiled code of others can call them in loops of its own.
"""
# mypy: allow-untyped-defs

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from understudy.compiled import compiled, inlined
from understudy.games.lane.sight_kernels import show_lane
from understudy.games.lane.unit_kernels import (
    AWAY,
    BASE,
    BITS,
    BLOCKER_AT,
    CLOCK,
    COOL,
    CREEP_ASLANT,
    CREEP_BLOCK,
    CREEP_COOL,
    CREEP_EXPERIENCE,
    CREEP_EXTRA,
    CREEP_HP,
    CREEP_PAUSE,
    CREEP_STEP,
    CREEP_X,
    CREEP_Y,
    CREEPS,
    CREEPS_AT,
    EXPERIENCE,
    FELL,
    FILE,
    FIRST_HERO,
    GONE,
    HEALING,
    HERO_ASLANT,
    HERO_DAMAGE,
    HERO_EXPERIENCE,
    HERO_EXTRA,
    HERO_FULL,
    HERO_PAUSE,
    HERO_STEP,
    HEROES,
    HEROES_AT,
    HP,
    KEY,
    LAST_HIT,
    LAST_HIT_EXPERIENCE,
    LAST_HITS,
    LENGTH,
    LEVEL_DAMAGE,
    LEVEL_GONE,
    MELEE_DAMAGE,
    MELEE_HP,
    MELEE_RANGE,
    MIDDLE,
    MOVE,
    NEAR,
    NEAREST_CREEP,
    NEVER,
    NOBODY,
    OVER,
    POINT_KILL,
    POINT_LAST_HIT,
    POINTS,
    PROVOCATION,
    PROVOKED,
    REST,
    RIVER,
    SHOOTER_DAMAGE,
    SHOOTER_HP,
    SHOT_RANGE,
    SIGHT,
    STAY,
    TERMINATED,
    TOWER_AT,
    TOWER_COOL,
    TOWER_DAMAGE,
    TOWER_FULL,
    TOWER_HP,
    TOWER_PAUSE,
    TOWER_RANGE,
    TOWERS,
    TRUNCATED,
    WAVE,
    WAVE_CREEPS,
    X,
    Y,
    aim,
    find_nearest,
    front_of,
    full_hp,
    level_of,
    mix,
    move_all,
    nearest_creep,
    place_of,
    shoots_to,
    target_of,
    walk,
    way_to,
)


class Written(NamedTuple):
    """What a step writes into, as `Buffers` says."""

    observations: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    masks: NDArray[np.bool_]


@compiled
def reset_lane(lane, rules, seed):
    """Begin an episode: towers whole, heroes at their places, the first wave on its way."""
    lane[:] = 0
    lane[0, KEY] = mix((seed & BITS) ^ mix(seed >> 32)) >> 1
    for team in range(2):
        lane[TOWERS, TOWER_HP + team] = TOWER_FULL
    for hero in range(rules.agents):
        lane[HEROES + hero, HP] = HERO_FULL
        put_hero(lane, rules, hero)
    if rules.task == CREEP_BLOCK:
        lane[HEROES, X], lane[HEROES, Y] = BLOCKER_AT, MIDDLE - 16 + (mix(lane[0, KEY] ^ BITS) & 31)
    send_wave(lane, rules)


@compiled
def put_hero(lane, rules, hero):
    """Place a hero at its base: the first of a team in the middle, the others beside it in turn."""
    team, number = hero // rules.heroes, hero % rules.heroes
    lane[HEROES + hero, X] = LENGTH - HEROES_AT if team else HEROES_AT
    lane[HEROES + hero, Y] = MIDDLE + 36 * ((number + 1) // 2) * (1 - 2 * (number % 2))


@compiled
def send_wave(lane, rules):
    """Let a wave begin, in the first four numbers and the other four by turns; where one is still alive, none comes."""
    wave = lane[0, CLOCK] // WAVE
    for team in range(1 if rules.task == CREEP_BLOCK else 2):
        chance = mix((lane[0, KEY] + 2 * wave + team) & BITS)
        for place in range(WAVE_CREEPS):
            number, bits = WAVE_CREEPS * (wave % 2) + place, chance >> (8 * place)
            if lane[CREEP_HP + team, number] == 0:
                ahead = CREEPS_AT - FILE * place + ((bits >> 4) & 3)
                lane[CREEP_X + team, number] = LENGTH - ahead if team else ahead
                lane[CREEP_Y + team, number] = MIDDLE - 8 + (bits & 15)
                lane[CREEP_HP + team, number] = SHOOTER_HP if place == WAVE_CREEPS - 1 else MELEE_HP


@compiled
def step_lane(lane, rules, notes, actions):
    """Let one step pass; return how much of its way the western front lost. `notes` has what each hero did."""
    notes.hurt[:] = 0
    notes.points[:] = 0
    notes.hits[:] = 0
    chance = mix((lane[0, KEY] + lane[0, CLOCK] * 0x9E3779B9) & BITS)
    west, east = front_of(lane, 0), front_of(lane, 1)
    act_creeps(lane, rules, notes, chance, west + east >= LENGTH - SIGHT)
    act_towers(lane, rules, notes, west, east)
    act_heroes(lane, rules, notes, actions, chance)
    move_all(lane, rules, notes)
    lost = CREEP_STEP - (front_of(lane, 0) - west) if rules.task == CREEP_BLOCK else 0
    if strike(lane, rules, notes):
        bury(lane, rules, notes)
    pass_time(lane, rules)
    return lost


@inlined
def act_creeps(lane, rules, notes, chance, meet):
    """Note what all creeps do: hit whom they can reach, or walk to whom they see (if they `meet`), or to the tower."""
    notes.near[:] = NEVER
    if meet:
        find_nearest(lane, notes.near)
    for team in range(2):
        for number in range(CREEPS):
            creep, x, y = CREEPS * team + number, lane[CREEP_X + team, number], lane[CREEP_Y + team, number]
            notes.place[0, creep], notes.place[1, creep] = x, y
            if lane[CREEP_HP + team, number] == 0:
                continue
            shoots = number % WAVE_CREEPS == WAVE_CREEPS - 1
            key, target = notes.near[team, number], NOBODY
            if key < (SIGHT * SIGHT + 1) * CREEPS:
                target = CREEPS * (1 - team) + key % CREEPS
            target = target_of(lane, rules, team, x, y, SIGHT, target)
            if target == NOBODY:
                target = FIRST_HERO + 2 * rules.heroes + 1 - team
            to_x, to_y = place_of(lane, rules, target)
            east, south = to_x - x, to_y - y
            reach = SHOT_RANGE if shoots else MELEE_RANGE
            if east * east + south * south > reach * reach:
                x, y = walk(lane, rules, creep, x, y, way_to(east, south), CREEP_STEP, CREEP_ASLANT)
                notes.place[0, creep], notes.place[1, creep] = x, y
            elif lane[CREEP_COOL + team, number] == 0:
                damage = SHOOTER_DAMAGE if shoots else MELEE_DAMAGE
                notes.hurt[target] += damage + CREEP_EXTRA * ((chance >> creep) & 1)
                lane[CREEP_COOL + team, number] = CREEP_PAUSE


@inlined
def act_towers(lane, rules, notes, west, east):
    """Note whom the towers hit, with the fronts of both teams."""
    for team in range(2):
        if lane[TOWERS, TOWER_COOL + team] == 0:
            x, y = place_of(lane, rules, FIRST_HERO + 2 * rules.heroes + team)
            creeps = (west if team else east) >= LENGTH - TOWER_AT - TOWER_RANGE
            target = nearest_creep(lane, 1 - team, x, y, TOWER_RANGE) if creeps else NOBODY
            target = target_of(lane, rules, team, x, y, TOWER_RANGE, target)
            if target != NOBODY:
                notes.hurt[target] += TOWER_DAMAGE
                lane[TOWERS, TOWER_COOL + team] = TOWER_PAUSE


@inlined
def act_heroes(lane, rules, notes, actions, chance):
    """Note what all heroes do: move, hit whom they can reach, or walk to whom they would like to hit."""
    for hero in range(rules.agents):
        own, unit, action, team = lane[HEROES + hero], FIRST_HERO + hero, actions[hero, 0], hero // rules.heroes
        notes.blow[hero, 0] = NOBODY
        notes.place[0, unit], notes.place[1, unit] = own[X], own[Y]
        if own[HP] == 0 or action == STAY:
            continue
        if action < NEAREST_CREEP:
            # What is ahead for the western team is behind for the eastern one
            way = (4 - (action - MOVE)) & 7 if team else action - MOVE
        else:
            target = aim(lane, rules, hero, action)
            if target == NOBODY:
                continue
            to_x, to_y = place_of(lane, rules, target)
            east, south = to_x - own[X], to_y - own[Y]
            if shoots_to(east, south):
                if own[COOL] == 0:
                    extra = HERO_EXTRA * ((chance >> unit) & 1)
                    notes.blow[hero, 0] = target
                    notes.blow[hero, 1] = HERO_DAMAGE + LEVEL_DAMAGE * (level_of(own) - 1) + extra
                    own[COOL] = HERO_PAUSE
                continue
            way = way_to(east, south)
        notes.place[0, unit], notes.place[1, unit] = walk(
            lane, rules, unit, own[X], own[Y], way, HERO_STEP, HERO_ASLANT
        )


@inlined
def strike(lane, rules, notes):
    """Let all blows fall: those of creeps and towers first, then of heroes, in their order. Return whether any died."""
    towers = FIRST_HERO + 2 * rules.heroes
    for team in range(2):
        lane[TOWERS, TOWER_HP + team] -= notes.hurt[towers + team]
        for number in range(CREEPS):
            lane[CREEP_HP + team, number] -= notes.hurt[CREEPS * team + number]
    for hero in range(rules.agents):
        lane[HEROES + hero, HP] -= notes.hurt[FIRST_HERO + hero]
    for hero in range(rules.agents):
        target, damage = notes.blow[hero, 0], notes.blow[hero, 1]
        if target == NOBODY:
            continue
        if target >= towers:
            lane[TOWERS, TOWER_HP + target - towers] -= damage
            notes.points[hero] += damage
        elif target >= FIRST_HERO:
            lane[HEROES + hero, PROVOKED] = PROVOCATION
            before = lane[HEROES + target - FIRST_HERO, HP]
            lane[HEROES + target - FIRST_HERO, HP] = before - damage
            if 0 < before <= damage:
                notes.points[hero] += POINT_KILL
        else:
            before = lane[CREEP_HP + target // CREEPS, target % CREEPS]
            lane[CREEP_HP + target // CREEPS, target % CREEPS] = before - damage
            if 0 < before <= damage:
                lane[HEROES + hero, LAST_HITS] += 1
                notes.hits[hero] += 1
                notes.points[hero] += POINT_LAST_HIT
                learn(lane[HEROES + hero], LAST_HIT_EXPERIENCE)

    died = False
    for team in range(2):
        for number in range(CREEPS):
            # A creep that is not there is at 0, where none can walk
            died |= (lane[CREEP_HP + team, number] <= 0) & (lane[CREEP_X + team, number] > 0)
    for hero in range(rules.agents):
        died |= (lane[HEROES + hero, HP] <= 0) & (lane[HEROES + hero, AWAY] == 0)
    return died


@compiled
def learn(hero, amount):
    """Give a hero experience; with each level come hit points, if it lives."""
    before = full_hp(hero)
    hero[EXPERIENCE] += amount
    if hero[HP] > 0:
        hero[HP] += full_hp(hero) - before


@compiled
def teach(lane, rules, team, x, amount):
    """Share experience among the living heroes of a team who are near enough along the lane."""
    near = 0
    for sharing in range(2):
        for hero in range(rules.heroes * team, rules.heroes * team + rules.heroes):
            if lane[HEROES + hero, HP] > 0 and abs(lane[HEROES + hero, X] - x) <= NEAR:
                if sharing:
                    learn(lane[HEROES + hero], amount // near)
                else:
                    near += 1


@compiled
def bury(lane, rules, notes):
    """Take away the dead, and let their enemies learn from it: creeps first, then heroes."""
    for team in range(2):
        for number in range(CREEPS):
            if lane[CREEP_HP + team, number] <= 0 and lane[CREEP_X + team, number] > 0:
                teach(lane, rules, 1 - team, lane[CREEP_X + team, number], CREEP_EXPERIENCE)
                for row in (CREEP_X, CREEP_Y, CREEP_HP, CREEP_COOL):
                    lane[row + team, number] = 0
    for hero in range(rules.agents):
        own, team = lane[HEROES + hero], hero // rules.heroes
        if own[HP] <= 0 and own[AWAY] == 0:
            teach(lane, rules, 1 - team, own[X], HERO_EXPERIENCE)
            own[AWAY] = GONE + LEVEL_GONE * level_of(own)
            own[HP] = own[COOL] = own[PROVOKED] = 0
            lane[TOWERS, FELL + team] += 1
            put_hero(lane, rules, hero)
            notes.points[hero] -= POINT_KILL


@inlined
def pass_time(lane, rules):
    """Let pauses pass, heroes heal and return, a wave begin, and the episode end."""
    for team in range(2):
        lane[TOWERS, TOWER_HP + team] = max(lane[TOWERS, TOWER_HP + team], 0)
        lane[TOWERS, TOWER_COOL + team] = max(lane[TOWERS, TOWER_COOL + team] - 1, 0)
        for number in range(CREEPS):
            lane[CREEP_COOL + team, number] = max(lane[CREEP_COOL + team, number] - 1, 0)
    for hero in range(rules.agents):
        own, full = lane[HEROES + hero], full_hp(lane[HEROES + hero])
        if own[AWAY] > 0:
            own[AWAY] -= 1
            if own[AWAY] == 0:
                own[HP] = full
            continue
        own[COOL], own[PROVOKED] = max(own[COOL] - 1, 0), max(own[PROVOKED] - 1, 0)
        home = own[X] if hero < rules.heroes else LENGTH - own[X]
        healed = HEALING if home <= BASE else 1 if lane[0, CLOCK] % REST == 0 else 0
        own[HP] = min(own[HP] + healed, full)
    lane[0, CLOCK] += 1

    ended = lane[TOWERS, TOWER_HP] == 0 or lane[TOWERS, TOWER_HP + 1] == 0
    if rules.task == CREEP_BLOCK:
        ended |= front_of(lane, 0) >= RIVER
    elif lane[0, CLOCK] % WAVE == 0:
        send_wave(lane, rules)
    lane[0, OVER] = TERMINATED if ended else TRUNCATED if lane[0, CLOCK] >= rules.horizon else 0


@inlined
def reward_of(lane, rules, notes, hero, lost):
    """Return what a hero earns in its task, without shaped rewards."""
    if rules.task == CREEP_BLOCK:
        return lost / CREEP_STEP
    if rules.task == LAST_HIT:
        return float(notes.hits[hero])
    team = hero // rules.heroes
    return float((lane[TOWERS, TOWER_HP + 1 - team] == 0) - (lane[TOWERS, TOWER_HP + team] == 0))


@compiled
def reset_lanes(lanes, rules, seeds, chosen, observations, masks):
    """Begin an episode in the chosen lanes, and write what their heroes see."""
    for index in range(len(lanes)):
        if chosen[index]:
            reset_lane(lanes[index], rules, seeds[index])
            show_lane(lanes[index], rules, index, observations, masks)


@compiled
def step_lanes(lanes, rules, notes, actions, shaping, out, start, stop):
    """Step some lanes and write what their heroes see; those that are over stay as they are, with rewards of 0."""
    for index in range(start, stop):
        lane, first = lanes[index], rules.agents * index
        playing, lost = lane[0, OVER] == 0, 0
        if playing:
            lost = step_lane(lane, rules, notes, actions[first : first + rules.agents])
        for hero in range(rules.agents):
            row = first + hero
            out.rewards[row] = 0
            if playing:
                shaped = shaping * (notes.points[hero] / POINTS)
                out.rewards[row] = reward_of(lane, rules, notes, hero, lost) + shaped
            out.terminated[row] = lane[0, OVER] == TERMINATED
            out.truncated[row] = lane[0, OVER] == TRUNCATED
        show_lane(lane, rules, index, out.observations, out.masks)
