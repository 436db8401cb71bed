"""The compiled kitchen plays by the rules of a slow one; its layouts and options are checked."""

import numpy as np
import pytest

from understudy.errors import ConfigError, LayoutError
from understudy.games.env import Buffers
from understudy.games.kitchen import kernels
from understudy.games.kitchen.env import Kitchen, Options, feature_names
from understudy.games.kitchen.layout import LAYOUTS, parse_layout, read_layout
from understudy.games.names import make

from .against_oracle import play

TWO_ROOMS = "XXXPXXX\nO1X X X\nD X2 PX\nX   X S\nXXTXXXX\n"
BROKEN = {
    "XXPXX\nO1 2O\nXDX\n": "line 3 has 3 cells, line 1 has 5",
    "XXPXX\nO1 2O\nXDZSX\n": "line 3, column 3: 'Z' is unknown",
    "XXPXX\nO1 2 \nXDXSX\n": "line 2, column 5 is floor at the edge",
    "XXPXX\nO1 1O\nXDXSX\n": "has 2 start places 1",
    "XXPXX\nO1  O\nXDXSX\n": "has 0 start places 2",
    "XXXXX\nO1 2O\nXDXSX\n": "has no P",
    "XXPXX\nX1 2X\nXDXSX\n": "has no O",
    "": "has 0 start places 1",
    "X" * 251: "has 251 cells",
}


@pytest.mark.parametrize("layout", [*LAYOUTS, parse_layout(TWO_ROOMS, "two rooms")])
def test_random_play_equals_the_oracle(layout):
    """2,000 steps here; `python -m tests.games.kitchen.against_oracle` plays a million on each layout."""
    play(layout, steps=2_000, seed=3)


def test_a_soup_by_hand():
    """Cook 1 brings three onions and a dish; the soup is ready after 20 steps, not before."""
    env = make("kitchen/cramped_room", worlds=1, shaping=1.0, horizon=100)
    out = Buffers.of(env)
    env.reset([0], out)
    north, south, east, west, stay, interact = range(6)

    def run(*names):
        earned = np.zeros(2)
        for name in names:
            env.step(np.array([[name], [stay]]), out)
            earned += out.rewards
        return earned.tolist()

    run(north, north)  # cook 1 faces the counter left of the pot, cook 2 is out of the way in the corner
    onion = (west, interact, east, north, interact)
    assert run(*onion) == [3, 0]
    assert run(*onion, *onion) == [6, 0]
    dish = (west, south, south, interact, north, east, north)
    assert run(*dish) == [3, 0]
    assert env.kitchens[0, kernels.CONTENTS + 2] == kernels.SOUP + 1 + len(dish)
    assert run(*[stay] * 12, interact) == [5, 0]
    assert run(south, east, south, interact) == [20, 20]
    # One step earlier it is not ready
    assert kernels.COOKING == 20


def test_a_soup_is_ready_after_twenty_steps_and_not_before():
    env = make("kitchen/cramped_room", worlds=2)
    out = Buffers.of(env)
    env.reset([0, 0], out)
    for world, cooked in enumerate((19, 20)):
        env.kitchens[world, [kernels.PLACE, kernels.FACING, kernels.HELD]] = (7, kernels.NORTH, kernels.DISH)
        env.kitchens[world, kernels.CONTENTS + 2] = kernels.SOUP + cooked
    env.step(np.array([[kernels.INTERACT], [kernels.STAY]] * 2), out)
    assert (env.kitchens[:, kernels.HELD] >= kernels.SOUP).tolist() == [False, True]


@pytest.mark.parametrize(
    ("soups", "out", "earned"),
    [(0, None, 0), (1, None, 3), (1, kernels.PLAYER + kernels.HELD, 0), (1, kernels.CONTENTS + 3, 0)],
)
def test_a_dish_is_worth_something_if_a_soup_lacks_one(soups, out, earned):
    """Nothing where the other cook holds one, nor where one lies on a counter."""
    env = make("kitchen/cramped_room", shaping=1.0)
    buffers = Buffers.of(env)
    env.reset([0], buffers)
    env.kitchens[0, [kernels.PLACE, kernels.FACING]] = (11, kernels.SOUTH)
    env.kitchens[0, kernels.CONTENTS + 2] = kernels.SOUP * soups
    if out:
        env.kitchens[0, out] = kernels.DISH
    env.step(np.array([[kernels.INTERACT], [kernels.STAY]]), buffers)
    assert env.kitchens[0, kernels.HELD] == kernels.DISH
    assert buffers.rewards.tolist() == [earned, 0]


def test_features_say_what_their_names_say():
    env = make("kitchen/cramped_room", worlds=1, view="features")
    out = Buffers.of(env)
    env.reset([0], out)
    kitchen = env.kitchens[0]
    # Cook 1 at the pot, which is cooking, with a dish; an onion lies on the counter at the top right
    kitchen[[kernels.PLACE, kernels.FACING, kernels.HELD]] = (7, kernels.NORTH, kernels.DISH)
    kitchen[kernels.CONTENTS + 2] = kernels.SOUP + 5
    kitchen[kernels.CONTENTS + 3] = kernels.ONION
    env.see(out.observations)
    names = feature_names()
    assert len(set(names)) == len(names) == kernels.FEATURES
    said = {name: value for name, value in zip(names, out.observations[0], strict=True) if value}
    assert {name for name in said if name.startswith("self") and "self:" not in name} == {
        "self faces north", "self holds a dish", "self cannot go north", "self cannot go east",
    }  # fmt: skip
    assert said["self: share of the cooking still to come"] == 0.75
    assert said["self: cooking pot is there"] == said["self: cooking pot is faced"] == 1
    assert said["self: cooking pot is nearer by north"] == 1
    assert "self: cooking pot moves" not in said
    # The nearest onions are at (0, 1) and (3, 0), one move away each; the first in the order of cells is taken
    assert said["self: onion to the east"] == np.float32(1 / 5)
    assert said["self: onion to the south"] == np.float32(-1 / 4)
    assert said["self: onion is nearer by east"] == 1
    assert said["self: serving moves"] == np.float32(2 / 9)
    assert {name for name in said if "serving is nearer" in name and "self" in name} == {
        "self: serving is nearer by east", "self: serving is nearer by south",
    }  # fmt: skip
    assert "self: ready pot is there" not in said
    assert said["other to the east"] == np.float32(1 / 5)
    # The other sees the same with the roles swapped
    half = (kernels.FEATURES - 5) // 2
    assert np.array_equal(out.observations[0, :half], out.observations[1, half : 2 * half])
    assert np.array_equal(out.observations[1, :half], out.observations[0, half : 2 * half])


def test_of_two_onions_equally_near_the_faced_one_counts():
    env = make("kitchen/cramped_room", view="features")
    out = Buffers.of(env)
    env.reset([0], out)
    # On the right of the room, with onions to the east and an onion on the counter to the north
    env.kitchens[0, kernels.PLACE] = 8
    env.kitchens[0, kernels.PLAYER + kernels.PLACE] = 11
    env.kitchens[0, kernels.CONTENTS + 3] = kernels.ONION
    ways = []
    for facing in (kernels.NORTH, kernels.EAST):
        env.kitchens[0, kernels.FACING] = facing
        env.see(out.observations)
        seen = dict(zip(feature_names(), out.observations[0], strict=True))
        ways.append((seen["self: onion to the east"] > 0, seen["self: onion to the south"] < 0))
        assert seen["self: onion is faced"] == 1
    assert ways == [(False, True), (True, False)]


def test_a_soup_is_seen_to_cook_up_to_ready():
    env = make("kitchen/cramped_room", worlds=3)
    out = Buffers.of(env)
    env.reset([0] * 3, out)
    env.kitchens[:, kernels.CONTENTS + 2] = kernels.SOUP + np.array([0, 20, 300])
    env.see(out.observations)
    assert out.observations[::2, 15, 0, 2].tolist() == [3, 3, 3]
    assert out.observations[::2, 16, 0, 2].tolist() == [0, 20, 20]


def test_what_cannot_be_reached_has_no_features():
    env = make("kitchen/forced_coordination", worlds=1, view="features")
    out = Buffers.of(env)
    env.reset([0], out)
    seen = [dict(zip(feature_names(), row, strict=True)) for row in out.observations]
    # Cook 1 is in the room of the pots, cook 2 in that of the onions and dishes
    assert [row["self: onion is there"] for row in seen] == [0, 1]
    assert [row["self: empty pot is there"] for row in seen] == [1, 0]
    assert [row["moves to the other"] for row in seen] == [1, 1]


def test_threads_change_nothing():
    random = np.random.default_rng(0)
    actions = random.integers(6, size=(60, 600, 1))
    seen = []
    for threads in (1, 3):
        env = make("kitchen/coordination_ring", worlds=300, threads=threads, horizon=50)
        assert len(env.sharing.cuts) == threads
        out = Buffers.of(env)
        env.reset(np.zeros(300), out)
        for now in actions:
            env.step(now, out)
        seen.append([env.kitchens, *vars(out).values()])
        env.close()
    assert all(np.array_equal(one, other) for one, other in zip(*seen, strict=True))


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_layout_says_where(text, tmp_path):
    file = tmp_path / "broken.layout"
    file.write_text(text)
    with pytest.raises(LayoutError, match=f"broken.layout.*{BROKEN[text]}"):
        make(f"kitchen/{file}")


def test_an_unknown_kitchen_is_an_error():
    with pytest.raises(LayoutError, match="did you mean cramped_room"):
        make("kitchen/cramped_rom")


@pytest.mark.parametrize(
    "option", [{"horizon": 0}, {"horizon": 40_000}, {"shaping": -1.0}, {"view": "gird"}, {"speed": 3}, {"threads": -1}]
)
def test_a_wrong_option_is_an_error(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        make("kitchen/cramped_room", **option)


def test_shaping_can_be_annealed():
    env = Kitchen(read_layout("cramped_room"), 1, Options(shaping=1.0))
    out = Buffers.of(env)
    earned = []
    for shaping in (1.0, 0.5, 0.0):
        env.shaping = shaping
        env.reset([0], out)
        env.kitchens[0, [kernels.PLACE, kernels.HELD]] = (7, kernels.ONION)
        env.step(np.array([[kernels.INTERACT], [kernels.STAY]]), out)
        earned.append(out.rewards.tolist())
    assert earned == [[3, 0], [1.5, 0], [0, 0]]
