"""Scripted players of the lane, of three grades: they decide by what they see alone, many heroes at once.

- novice: walks ahead of its creeps to block them; goes with them and attacks whatever is near; never goes home.
- skilled: stands close before the foremost creep; prefers creeps that its next blow will fell, and keeps behind its
  creeps; leaves the enemy's tower where none of them covers it; goes home when badly hurt.
- expert: keeps the distance at which a creep that turns aside can still be met; waits for the last blow; fights the
  enemy where it stands better, leaves where it stands worse, and attacks the tower with its creeps.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from understudy.games.env import Array, Env
from understudy.games.lane import unit_kernels as lane

Grade = Literal["novice", "skilled", "expert"]
GRADES: tuple[Grade, ...] = get_args(Grade)
FORWARD, FORWARD_DOWN, DOWN, BACK_DOWN, BACK, BACK_UP, UP, FORWARD_UP = range(lane.MOVE, lane.NEAREST_CREEP)
NOWHERE = 9999.0


@dataclass
class Creeps:
    """Of one team: [heroes that look, 8]. Places are relative to the hero, in units of the lane."""

    hp: Array
    ahead: Array
    down: Array

    @property
    def there(self) -> Array:
        """Which ones live."""
        alive: Array = self.hp > 0
        return alive

    @property
    def front(self) -> Array:
        """How far ahead the foremost is; far behind where there is none."""
        found: Array = np.where(self.there, self.ahead, -NOWHERE).max(1)
        return found

    def within(self, reach: float) -> Array:
        """Return how many are so near."""
        count: Array = (self.there & (np.hypot(self.ahead, self.down) <= reach)).sum(1)
        return count


class Seen:
    """What heroes see, in units of the lane: the observation taken apart."""

    def __init__(self, observations: Array, heroes: int) -> None:
        self.heroes = heroes
        tower, hero, creep = lane.PER_TOWER, lane.PER_HERO, lane.PER_CREEP
        self.own_tower, self.enemy_tower = observations[:, 3] * 256, observations[:, 3 + tower] * 256
        at = 2 + 2 * tower
        self.hp, self.ahead, self.down = (observations[:, at + i] * by for i, by in enumerate((1024, 256, 256)))
        self.ready = observations[:, at + 3] == 0
        level = observations[:, at + 4] * 16
        self.full = lane.HERO_FULL + lane.LEVEL_HP * (level - 1)
        self.damage = lane.HERO_DAMAGE + lane.LEVEL_DAMAGE * (level - 1)
        at += hero + 1 + (heroes - 1) * hero
        enemies = observations[:, at : at + heroes * hero].reshape(-1, heroes, hero)
        there = enemies[..., 0] > 0
        far = np.where(there, np.hypot(enemies[..., 1], enemies[..., 2]) * 256, NOWHERE)
        self.enemy_far = far.min(1)
        self.enemy_hp = enemies[np.arange(len(far)), far.argmin(1), 0] * 1024
        at += heroes * hero
        creeps = observations[:, at:].reshape(len(observations), 2, creep, lane.CREEPS)
        self.own, self.enemy = (
            Creeps(team[:, 0] * 512, team[:, 1] * 256, team[:, 2] * 256) for team in (creeps[:, 0], creeps[:, 1])
        )


class Script:
    """A scripted player of a grade."""

    def __init__(self, env: Env, grade: Grade) -> None:
        self._heroes = (len(env.agents) + 1) // 2
        self._decide = block if env.name == "lane/creep-block" else fight
        self._grade = grade

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes; nothing is remembered."""

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return the action of each row."""
        wanted = self._decide(Seen(observations, self._heroes), self._grade)
        allowed = masks[np.arange(len(wanted)), wanted]
        return np.where(allowed, wanted, lane.STAY)[:, None].astype(np.int64)


def towards(ahead: Array, down: Array, near: float) -> Array:
    """Return the moves that lead to places, STAY where they are as near as that."""
    ways = np.rint(np.arctan2(down, ahead) / (np.pi / 4)).astype(int) % 8
    return np.where(np.hypot(ahead, down) <= near, lane.STAY, lane.MOVE + ways)


def block(seen: Seen, grade: Grade) -> Array:
    """Return moves that slow one's creeps."""
    first = np.where(seen.own.there, seen.own.ahead, -NOWHERE).argmax(1)
    rows = np.arange(len(first))
    ahead, down = seen.own.ahead[rows, first], seen.own.down[rows, first]
    distance, slack = {"novice": (0, 20), "skilled": (30, 10), "expert": (56, 10)}[grade]
    passing, aside = -ahead < distance - 14, abs(down) > slack
    lower = down > 0
    sideways = np.where(passing, np.where(lower, FORWARD_DOWN, FORWARD_UP), np.where(lower, DOWN, UP))
    return np.where(aside, sideways, np.where(passing, FORWARD, lane.STAY))


def fight(seen: Seen, grade: Grade) -> Array:
    """Return actions for all tasks but creep-block."""
    distance = np.hypot(seen.enemy.ahead, seen.enemy.down)
    weakest = np.where(seen.enemy.there & (distance <= lane.SHOT_RANGE), seen.enemy.hp, NOWHERE).min(1)
    creep_in_range = weakest < NOWHERE
    enemy_in_range = seen.enemy_far <= lane.SHOT_RANGE

    # Where to stand: behind the front of one's creeps, or at one's tower
    front = seen.own.front
    front = np.where(front > -NOWHERE, front, seen.own_tower - 40)
    near_tower = seen.enemy_tower <= lane.TOWER_RANGE + 25
    covers = (seen.own.there & (abs(seen.own.ahead - seen.enemy_tower[:, None]) < lane.TOWER_RANGE)).sum(1)
    danger = near_tower & (covers == 0)
    tower_in_range = seen.enemy_tower <= lane.SHOT_RANGE
    if grade == "novice":
        return np.select(
            [creep_in_range, enemy_in_range, tower_in_range],
            [lane.NEAREST_CREEP, lane.NEAREST_HERO, lane.TOWER],
            np.where(front > 20, FORWARD, lane.STAY),
        )
    stand = front - (20 if grade == "expert" else 60)
    stand = np.minimum(stand, np.where(covers > 0, NOWHERE, seen.enemy_tower - lane.TOWER_RANGE - 40))
    go = towards(stand, 128 - seen.down, 24)
    hurt = seen.hp < 0.3 * seen.full
    # Once at home, one stays until one is well
    home = (seen.ahead <= lane.BASE) & (seen.hp < 0.9 * seen.full)
    retreat = np.where(seen.ahead > lane.BASE, BACK, lane.STAY)
    if grade == "skilled":
        return np.select(
            [hurt | home, danger, weakest <= seen.damage, enemy_in_range, creep_in_range, tower_in_range],
            [retreat, BACK, lane.WEAKEST_CREEP, lane.WEAKEST_HERO, lane.NEAREST_CREEP, lane.TOWER],
            go,
        )
    last = (weakest <= seen.damage) & seen.ready
    ours, theirs = seen.own.within(150), seen.enemy.within(150)
    # An enemy is fought where one stands better, and left where one stands worse
    strong = seen.hp + 60 * ours >= seen.enemy_hp + 60 * theirs
    kill = enemy_in_range & (seen.enemy_hp <= 2 * seen.damage)
    # Where several fight, whoever waits or leaves lets the others down
    several = seen.heroes > 1
    lost = (not several) & (seen.enemy_far < 160) & (seen.hp < 0.7 * seen.enemy_hp) & ~kill
    harass = enemy_in_range & strong
    push = tower_in_range & (covers >= 2)
    # Nothing is lost by hitting a creep that needs many more blows, or when nobody contests the lane
    spare = creep_in_range & seen.ready & (several | (weakest > 1.5 * seen.damage))
    return np.select(
        [hurt | home, danger, kill, lost, last, harass, push, spare],
        [retreat, BACK, lane.WEAKEST_HERO, BACK, lane.WEAKEST_CREEP, lane.WEAKEST_HERO, lane.TOWER, lane.WEAKEST_CREEP],
        go,
    )
