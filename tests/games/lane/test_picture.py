"""The picture of a lane shows what is in it, in shapes, in text and in words."""

import numpy as np
import pytest

from understudy.games.env import Buffers
from understudy.games.lane import unit_kernels as lane
from understudy.games.lane.env import ACTIONS
from understudy.games.names import make
from understudy.games.painting import paint


@pytest.fixture
def env():
    env = make("lane/team", worlds=2, heroes=2)
    env.reset([0, 1], Buffers.of(env))
    return env


def texts(env):
    return [shape.text for shape in env.frame(1).shapes if shape.text]


def test_heroes_are_where_they_are(env):
    assert texts(env) == ["0 : 0   0:00", "A1", "B1", "V1", "W1"]
    env.lanes[1, lane.HEROES, [lane.X, lane.Y, lane.EXPERIENCE]] = 640, 64, 2 * lane.LEVEL
    frame = env.frame(1)
    assert frame.places[0] == (10, 3.5)
    assert "A3" in texts(env)
    assert frame.lines[64 // 32][640 // 32] == "A"
    assert "A  level 3, 576 hit points, 0 last hits" in frame.lines
    assert env.frame(0).places[0] != frame.places[0]


def test_the_dead_wait_and_count_for_the_others(env):
    env.lanes[1, lane.HEROES + 2, [lane.HP, lane.AWAY]] = 0, 55
    env.lanes[1, lane.TOWERS, lane.FELL + 1] = 1
    assert texts(env)[0] == "1 : 0   0:00"
    assert "11" in texts(env)
    assert "V" not in "".join(env.frame(1).lines[:8])
    assert env.frame(1).said[2] == ("You are dead, and will return.",)


def test_what_is_near_is_said(env):
    tower = lane.LENGTH - lane.TOWER_AT
    env.lanes[1, lane.HEROES, [lane.X, lane.Y, lane.HP]] = tower - 150, lane.MIDDLE, 100
    env.lanes[1, lane.HEROES + 3, [lane.X, lane.Y]] = tower - 50, lane.MIDDLE
    rows = [lane.CREEP_X + 1, lane.CREEP_Y + 1, lane.CREEP_HP + 1]
    env.lanes[1, rows, 0] = tower - 100, lane.MIDDLE, lane.HERO_DAMAGE
    reach = "An enemy hero is in reach.", "The enemy's tower can hit you."
    assert env.frame(1).said[0] == (
        "You are of level 1.",
        "You are badly hurt.",
        "A creep in reach would fall.",
        *reach,
    )
    env.lanes[1, lane.CREEP_HP + 1, 0] += 1
    assert "Creeps are in reach." in env.frame(1).said[0]


def test_creeps_and_their_hit_points_are_seen(env):
    def hurt():
        """Lengths of the blue bars that are over creeps."""
        bars = [shape.at for shape in env.frame(1).shapes if shape.kind == "line" and shape.colour == "blue"]
        return [round(at[3] - at[1], 2) for at in bars if at[3] - at[1] < 0.7]

    assert hurt() == [0.6] * 4
    env.lanes[1, lane.CREEP_HP, 0] //= 2
    env.lanes[1, lane.CREEP_HP, 3] = 0
    assert hurt() == [0.3, 0.6, 0.6]
    text = "".join(env.frame(1).lines)
    assert (text.count("«"), text.count("»")) == (1, 0)


@pytest.mark.parametrize("task", ["creep-block", "last-hit", "duel", "team"])
def test_keys_are_the_actions_and_all_is_painted(task):
    env = make(f"lane/{task}")
    env.reset([0], Buffers.of(env))
    scene = env.scene()
    assert sorted(key.value for key in scene.keys) == list(range(1, len(ACTIONS)))
    names = [name for key in scene.keys for name in key.names]
    assert len(set(names)) == len(names)
    assert scene.longest == env.horizon
    image = np.asarray(paint(scene, env.frame(), 10))
    assert image.shape[:2] == (scene.height * 10, scene.width * 10)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 5
