"""Every press counts once, a held key goes on, and keys of different choices count together."""

import pytest

from understudy.games.env import Action
from understudy.games.pictures import Key
from understudy.serving.play.keyboard import Keyboard

UP, LEFT, FIRE = (
    Key(("ArrowUp", "w"), "up", 1),
    Key(("ArrowLeft",), "left", 2),
    Key((" ",), "fire", 1, choice=1, repeats=False),
)


@pytest.fixture
def keyboard():
    return Keyboard((UP, LEFT, FIRE), Action(choices=(3, 2)))


def taken(keyboard, steps=1):
    return [keyboard.take().tolist() for _ in range(steps)]


def test_a_press_counts_in_one_step_however_short_it_was(keyboard):
    assert keyboard.press("ArrowUp", 7)
    keyboard.release("ArrowUp")
    assert keyboard.acted == 0
    assert taken(keyboard, 2) == [[1, 0], [0, 0]]
    assert keyboard.acted == 7


def test_a_held_key_goes_on_until_it_is_let_go(keyboard):
    keyboard.press("W")
    assert taken(keyboard, 3) == [[1, 0]] * 3
    keyboard.release("w")
    assert taken(keyboard) == [[0, 0]]


def test_of_held_keys_the_latest_counts(keyboard):
    keyboard.press("ArrowUp")
    keyboard.press("ArrowLeft")
    # Both presses have their steps
    assert taken(keyboard, 3) == [[1, 0], [2, 0], [2, 0]]
    keyboard.release("ArrowLeft")
    assert taken(keyboard) == [[1, 0]]


def test_keys_of_different_choices_count_together(keyboard):
    keyboard.press("ArrowUp", 1)
    keyboard.press(" ", 2)
    assert taken(keyboard, 2) == [[1, 1], [1, 0]]
    assert keyboard.acted == 2


def test_a_key_that_does_not_repeat_counts_once_while_it_is_held(keyboard):
    keyboard.press(" ")
    assert taken(keyboard, 2) == [[0, 1], [0, 0]]


def test_few_presses_wait(keyboard):
    for number, name in enumerate(("ArrowUp", "ArrowUp", "ArrowUp", "ArrowLeft"), 1):
        keyboard.press(name, number)
        keyboard.release(name)
    assert taken(keyboard, 3) == [[1, 0], [2, 0], [0, 0]]
    assert keyboard.acted == 4


def test_other_keys_mean_nothing(keyboard):
    assert not keyboard.press("x")
    keyboard.release("x")
    keyboard.press("ArrowUp")
    keyboard.release_all()
    assert taken(keyboard) == [[0, 0]]
