"""The scripted cook serves soups: alone, with another one, and where neither gets about alone."""

import numpy as np
import pytest

from understudy.games.env import Buffers
from understudy.games.names import make
from understudy.games.teams import Teams, everyone

WORLDS = 4


def returns(layout, first, second, steps=400):
    """Return what each world earns, and the actions."""
    env = make(f"kitchen/{layout}", worlds=WORLDS, horizon=steps)
    teams = Teams(everyone(env.name, dict(zip(env.agents, (first, second), strict=True)), {}), env)
    out = Buffers.of(env)
    teams.reset(range(WORLDS), out)
    total, done = np.zeros(env.rows), []
    for _ in range(steps):
        actions = teams.decide(out)
        teams.step(actions, out)
        total += out.rewards
        done.append(actions)
    return total.reshape(WORLDS, 2)[:, 0], np.stack(done)


@pytest.mark.parametrize(
    ("layout", "least"),
    [
        ("cramped_room", 160),
        ("asymmetric_advantages", 220),
        ("coordination_ring", 180),
        ("forced_coordination", 120),
        ("counter_circuit", 140),
    ],
)
def test_two_of_them_serve_more_than_people_do(layout, least):
    assert (returns(layout, "script:cook", "script:cook")[0] >= least).all()


def test_one_serves_soups_beside_somebody_who_stands_still():
    # 3 onions, the cooking and the way to serve take 44 steps in the cramped room
    assert (returns("cramped_room", "script:cook", "idle")[0] == 180).all()


def test_one_gets_past_somebody_who_stands_in_the_way_at_times():
    assert (returns("cramped_room", "script:random", "script:cook")[0] >= 100).all()


def test_it_does_the_same_for_the_same_seeds():
    one, other = (returns("cramped_room", "script:cook", "script:cook", 100)[1] for _ in range(2))
    assert np.array_equal(one, other)
