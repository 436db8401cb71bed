"""The rules of the kitchen and what a cook sees of it, as numba functions over plain arrays.

A kitchen is one row of int16: per player PLACE, FACING and HELD; then CLOCK and OVER; then from CONTENTS on what lies
on each cell. Cells are numbered row by row. What is held, lies on a counter or is in a pot is one number:

- hands and counters: 0 nothing, ONION, DISH, or a soup;
- pots: 0 empty, 1 or 2 onions, or a soup;
- a soup of three onions that has cooked for t steps: SOUP + t. It counts on while it is in a pot.

`step_kitchen`, `reset_kitchen`, `see_grid` and `see_features` treat one kitchen, so that compiled code of others can
call them in loops of its own. The functions below them treat the kitchens from `start` to `stop`, so that threads share
a call.
"""
# mypy: allow-untyped-defs

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from understudy.compiled import compiled

# Terrain
FLOOR, COUNTER, ONIONS, DISHES, POT, SERVING, TOMATOES = range(7)
# Columns of a kitchen
PLACE, FACING, HELD, PLAYER = 0, 1, 2, 3
CLOCK, OVER, CONTENTS = 6, 7, 8
# Contents
ONION, DISH, SOUP = 1, 2, 3
# Actions; the first four are also the directions that a player faces
NORTH, SOUTH, EAST, WEST, STAY, INTERACT = range(6)
COOKING = 20
"""Steps after which a soup is ready."""
DELIVERY = 20
"""Reward for a soup, for each player."""
ONION_IN_POT, DISH_FOR_SOUP, SOUP_TAKEN = 3, 3, 5
"""Shaped rewards, for the player who does it: a dish counts if it is the first out for a soup in a pot."""
LAYERS = 20
# What features measure the way to: the nearest of each kind
KINDS = 10
TO_ONION, TO_DISH, TO_SOUP, TO_SERVING, TO_FREE, TO_EMPTY, TO_ONE, TO_TWO, TO_COOKING, TO_READY = range(KINDS)
PER_KIND, PER_PLAYER = 9, 13
FEATURES = 2 * (PER_PLAYER + KINDS * PER_KIND) + 5
FAR = 255
"""The distance of what cannot be reached."""


class Tables(NamedTuple):
    """A layout as compiled code reads it."""

    size: NDArray[np.int64]
    """Width and height."""
    terrain: NDArray[np.uint8]
    starts: NDArray[np.int16]
    offsets: NDArray[np.int64]
    """Of the neighbouring cell in each direction."""
    pots: NDArray[np.int64]
    solids: NDArray[np.int64]
    """The cells beside floor that are not floor."""
    distance: NDArray[np.uint8]
    """distance[a, b]: moves from floor a to the nearest floor beside b; FAR where there is no way."""
    base: NDArray[np.uint8]
    """The grid layers without players and objects, flattened."""


@compiled
def reset_kitchen(kitchen, tables):
    """Put both players at their starts, facing north with empty hands, and clear everything."""
    kitchen[:] = 0
    for player in range(2):
        kitchen[player * PLAYER + PLACE] = tables.starts[player]
        kitchen[player * PLAYER + FACING] = NORTH


@compiled
def step_kitchen(kitchen, tables, first, second, horizon):
    """Let one step pass: interactions, player 0 first; then both moves at once; then the soups cook.

    Returns the reward of both players, and the shaped reward of each.
    """
    delivered, shaped_first, shaped_second = 0, 0, 0
    if first == INTERACT:
        delivered, shaped_first = interact(kitchen, tables, 0)
    if second == INTERACT:
        more, shaped_second = interact(kitchen, tables, PLAYER)
        delivered += more

    to_first = move(kitchen, tables, 0, first)
    to_second = move(kitchen, tables, PLAYER, second)
    at_first, at_second = kitchen[PLACE], kitchen[PLAYER + PLACE]
    if to_first != to_second and not (to_first == at_second and to_second == at_first):
        kitchen[PLACE], kitchen[PLAYER + PLACE] = to_first, to_second

    for pot in tables.pots:
        if kitchen[CONTENTS + pot] >= SOUP:
            kitchen[CONTENTS + pot] += 1
    kitchen[CLOCK] += 1
    kitchen[OVER] = kitchen[CLOCK] >= horizon
    return delivered, shaped_first, shaped_second


@compiled
def move(kitchen, tables, player, action):
    """Turn a player whose action is a direction, and return the cell that it would like to stand on."""
    place = kitchen[player + PLACE]
    if action < STAY:
        kitchen[player + FACING] = action
        there = place + tables.offsets[action]
        if tables.terrain[there] == FLOOR:
            return np.int16(there)
    return np.int16(place)


@compiled
def interact(kitchen, tables, player):
    """Let a player interact with the cell that it faces; return the reward of both and the player's shaped reward."""
    cell = kitchen[player + PLACE] + tables.offsets[kitchen[player + FACING]]
    kind, held, there = tables.terrain[cell], kitchen[player + HELD], kitchen[CONTENTS + cell]
    if kind == COUNTER:
        if held == 0 or there == 0:
            kitchen[player + HELD], kitchen[CONTENTS + cell] = there, held
    elif kind == ONIONS:
        if held == 0:
            kitchen[player + HELD] = ONION
    elif kind == DISHES:
        if held == 0:
            useful = dish_is_useful(kitchen, tables)
            kitchen[player + HELD] = DISH
            return 0, DISH_FOR_SOUP if useful else 0
    elif kind == POT:
        if held == ONION and there < SOUP:
            kitchen[player + HELD], kitchen[CONTENTS + cell] = 0, there + 1
            return 0, ONION_IN_POT
        if held == DISH and there >= SOUP + COOKING:
            kitchen[player + HELD], kitchen[CONTENTS + cell] = there, 0
            return 0, SOUP_TAKEN
    elif kind == SERVING and held >= SOUP:
        kitchen[player + HELD] = 0
        return DELIVERY, 0
    return 0, 0


@compiled
def dish_is_useful(kitchen, tables):
    """Return whether more soups stand in pots than dishes are in hands and on counters."""
    soups, dishes = 0, 0
    for player in (0, PLAYER):
        dishes += kitchen[player + HELD] == DISH
    for cell in tables.solids:
        there = kitchen[CONTENTS + cell]
        if tables.terrain[cell] == POT:
            soups += there >= SOUP
        else:
            dishes += there == DISH
    return soups > dishes


@compiled
def see_grid(kitchen, tables, player, layers):
    """Write what a player sees as the paper's 20 layers of the grid, its own place first, into `layers` (flat).

    Soups count up to COOKING, at which they are ready.
    """
    cells = len(tables.terrain)
    # A loop, as numba's own assignment of arrays looks for overlaps first
    for at in range(len(tables.base)):
        layers[at] = tables.base[at]
    for turn in range(2):
        who = ((player + turn) % 2) * PLAYER
        place, held = kitchen[who + PLACE], kitchen[who + HELD]
        layers[turn * cells + place] = 1
        layers[(2 + 4 * turn + kitchen[who + FACING]) * cells + place] = 1
        if held:
            layers[layer_of(held) * cells + place] = 1
    for cell in tables.solids:
        there = kitchen[CONTENTS + cell]
        if there == 0:
            continue
        if tables.terrain[cell] == POT:
            layers[15 * cells + cell] = min(there, SOUP)
            layers[16 * cells + cell] = min(max(there - SOUP, 0), COOKING)
        else:
            layers[layer_of(there) * cells + cell] = 1


@compiled
def layer_of(what):
    """Return the layer in which an object outside pots is seen."""
    return 17 if what >= SOUP else 18 if what == DISH else 19


@compiled
def kind_of(terrain, there):
    """Return which of the KINDS a cell is at the moment, or KINDS for none."""
    if terrain == COUNTER:
        return TO_SOUP if there >= SOUP else TO_DISH if there == DISH else TO_ONION if there else TO_FREE
    if terrain == POT:
        if there >= SOUP:
            return TO_READY if there >= SOUP + COOKING else TO_COOKING
        return TO_EMPTY + there
    if terrain == ONIONS:
        return TO_ONION
    if terrain == DISHES:
        return TO_DISH
    return TO_SERVING if terrain == SERVING else KINDS


@compiled
def see_features(kitchen, tables, player, features):
    """Write what a player sees as FEATURES numbers, about itself first, then the same about the other.

    Their names are in `env.feature_names`. Lengths are shares of the kitchen's width, height, or both together.
    """
    width, height = tables.size
    for at in range(FEATURES):
        features[at] = 0
    at = 0
    for turn in range(2):
        own, other = ((player + turn) % 2) * PLAYER, ((player + turn + 1) % 2) * PLAYER
        at = see_one(kitchen, tables, own, kitchen[other + PLACE], features, at)
    own, other = kitchen[player * PLAYER + PLACE], kitchen[(1 - player) * PLAYER + PLACE]
    features[at] = (other % width - own % width) / width
    features[at + 1] = (other // width - own // width) / height
    features[at + 2] = min(tables.distance[own, other] / (width + height), 1)
    features[at + 3] = own % width / width
    features[at + 4] = own // width / height


@compiled
def see_one(kitchen, tables, player, other_place, features, at):
    """Write the features about one player from `at` on; return where they end."""
    width, height = tables.size
    place, facing, held = kitchen[player + PLACE], kitchen[player + FACING], kitchen[player + HELD]
    features[at + facing] = 1
    features[at + 4 + min(held, SOUP)] = 1
    for direction in range(4):
        beside = place + tables.offsets[direction]
        features[at + 8 + direction] = tables.terrain[beside] != FLOOR or beside == other_place

    # The nearest cell of each kind; of equally near ones the one that the player faces. It is kept where 1 for "is
    # there" will be, as cells beside floor have numbers above 0.
    cooking, at = at + 12, at + PER_PLAYER
    faced = place + tables.offsets[facing]
    for cell in tables.solids:
        kind, far = kind_of(tables.terrain[cell], kitchen[CONTENTS + cell]), tables.distance[place, cell]
        if kind == KINDS or far == FAR:
            continue
        nearest = int(features[at + kind * PER_KIND])
        if nearest == 0 or far < tables.distance[place, nearest] or cell == faced:
            features[at + kind * PER_KIND] = cell

    column, row = place % width, place // width
    east, south, away = np.float32(1 / width), np.float32(1 / height), np.float32(1 / (width + height))
    for kind in range(KINDS):
        cell = int(features[at])
        if cell > 0:
            far = tables.distance[place, cell]
            if kind == TO_COOKING:
                features[cooking] = (SOUP + COOKING - kitchen[CONTENTS + cell]) / COOKING
            features[at] = 1
            features[at + 1] = (cell % width - column) * east
            features[at + 2] = (cell // width - row) * south
            features[at + 3] = far * away
            features[at + 4] = cell == faced
            for direction in range(4):
                beside = place + tables.offsets[direction]
                nearer = tables.terrain[beside] == FLOOR and tables.distance[beside, cell] < far
                features[at + 5 + direction] = nearer or beside == cell
        at += PER_KIND
    return at


@compiled
def reset_kitchens(kitchens, tables, chosen, start, stop):
    """Reset the chosen ones of some kitchens."""
    for index in range(start, stop):
        if chosen[index]:
            reset_kitchen(kitchens[index], tables)


@compiled
def step_kitchens(kitchens, tables, actions, horizon, shaping, rewards, truncated, start, stop):
    """Step some kitchens; those that are over stay as they are, with rewards of 0."""
    for index in range(start, stop):
        first, second = 2 * index, 2 * index + 1
        kitchen = kitchens[index]
        if kitchen[OVER]:
            rewards[first], rewards[second] = 0, 0
        else:
            both, own, others = step_kitchen(kitchen, tables, actions[first, 0], actions[second, 0], horizon)
            rewards[first], rewards[second] = both + shaping * own, both + shaping * others
        truncated[first] = truncated[second] = kitchen[OVER]


@compiled
def see_grids(kitchens, tables, chosen, rows, start, stop):
    """Write the grids of both players of the chosen ones of some kitchens."""
    for index in range(start, stop):
        if chosen[index]:
            for player in range(2):
                see_grid(kitchens[index], tables, player, rows[2 * index + player])


@compiled
def see_all_features(kitchens, tables, chosen, rows, start, stop):
    """Write the features of both players of the chosen ones of some kitchens."""
    for index in range(start, stop):
        if chosen[index]:
            for player in range(2):
                see_features(kitchens[index], tables, player, rows[2 * index + player])
