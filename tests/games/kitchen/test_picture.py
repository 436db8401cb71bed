"""The picture of a kitchen shows what is in it, in shapes, in text and in words."""

import json

import pytest

from understudy.errors import GameError
from understudy.games.env import Buffers
from understudy.games.kitchen import kernels
from understudy.games.kitchen.layout import LAYOUTS
from understudy.games.names import make
from understudy.games.painting import paint
from understudy.games.pictures import PALETTE

POT = 2


@pytest.fixture
def env():
    """The cramped room: cook 1 at the lower left, cook 2 at the upper right, the pot in the middle of the top row."""
    env = make("kitchen/cramped_room", worlds=2)
    env.reset([0, 0], Buffers.of(env))
    return env


def texts(env):
    return [shape.text for shape in env.frame(1).shapes if shape.text]


def test_a_pot_says_how_far_its_soup_is(env):
    soups = ((0, []), (1, ["1/3"]), (2, ["2/3"]), (kernels.SOUP + 1, ["3 s"]), (kernels.SOUP + 20, ["ready"]))
    for there, said in (*soups, (kernels.SOUP + 99, ["ready"])):
        env.kitchens[1, kernels.CONTENTS + POT] = there
        assert texts(env) == said
    assert "READY" in env.frame(1).lines[1]
    assert env.frame(1).said[0][-1] == "Pot 1 is ready."
    # The other kitchen is another one
    assert not any(shape.text for shape in env.frame(0).shapes)


def test_a_cook_is_where_it_is_and_looks_where_it_looks(env):
    before = env.frame()
    assert before.places == ((1.5, 2.5), (3.5, 1.5))
    assert "1 ▲" in before.lines[4]
    assert before.said[0] == ("You hold nothing.", "Before you is the floor.")
    env.kitchens[0, kernels.FACING], env.kitchens[0, kernels.HELD] = kernels.WEST, kernels.DISH
    now = env.frame()
    assert now.places == before.places
    assert "1 ◀" in now.lines[4]
    assert "dish" in now.lines[5]
    assert now.said[0] == ("You hold a dish.", "Before you is a counter.")
    assert now.said[1] == before.said[1]
    # To the west of the middle are a pointer and the dish
    assert min(shape.at[0] for shape in now.shapes if shape.colour == "paper" and shape.kind == "disc") < 1.5 - 0.3


def test_what_lies_on_a_counter_is_seen(env):
    env.kitchens[0, kernels.CONTENTS + 1] = kernels.ONION
    onion = [shape for shape in env.frame().shapes if shape.colour == "yellow"]
    assert [shape.at[:2] for shape in onion] == [pytest.approx((1.5, 0.53))]
    assert env.frame().lines[1][6:11] == "onion"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_kitchen_can_be_painted(layout):
    env = make(f"kitchen/{layout}")
    env.reset([0], Buffers.of(env))
    scene, frame = env.scene(), env.frame()
    assert {shape.colour for shape in (*scene.background, *frame.shapes)} <= PALETTE.keys()
    # It goes to browsers as JSON
    assert json.loads(json.dumps(frame.shapes))[0][0] == frame.shapes[0].kind
    assert {key.value for key in scene.keys} == set(range(6)) - {kernels.STAY}
    image = paint(scene, frame, 16)
    assert image.size == (16 * scene.width, 16 * scene.height)
    x, y = frame.places[0]
    assert image.getpixel((round(16 * x - 5), round(16 * y))) == (0, 114, 178)


def test_a_game_that_shows_nothing_says_so():
    with pytest.raises(GameError, match="gym:CartPole-v1 says nowhere what it looks like"):
        make("gym:CartPole-v1").scene()
