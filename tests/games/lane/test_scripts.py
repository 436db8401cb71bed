"""Scripts of a higher grade earn more, and a scenario seats them on either side."""

import numpy as np
import pytest

from understudy.games.env import Buffers
from understudy.games.names import make
from understudy.games.teams import Scenario, Side, Teams


def play(env, scenario, seeds):
    """Return what each row earned, and who decided for it."""
    out, teams, earned = Buffers.of(env), Teams(scenario, env), np.zeros(env.rows)
    teams.reset(seeds, out)
    while not out.over(env).all():
        teams.step(teams.decide(out), out)
        earned += out.rewards
    return earned, teams.controls.ravel()


@pytest.mark.parametrize("task", ["creep-block", "last-hit"])
def test_a_higher_grade_earns_more(task):
    env = make(f"lane/{task}", worlds=60)
    earned = [
        play(env, Scenario(env.name, (Side("all", env.agents, (control,)),)), np.arange(60))[0].mean()
        for control in ("script:novice", "script:skilled", "script:expert")
    ]
    assert earned[0] + 0.5 < earned[1] < earned[2] - 0.5


def test_a_higher_grade_wins_from_either_side():
    env = make("lane/duel", worlds=40)
    sides = (Side("west", env.agents[:1], ("script:expert",)), Side("east", env.agents[1:], ("script:novice",)))
    earned, controls = play(env, Scenario(env.name, sides, "sides"), np.arange(40))
    experts = earned[controls == "script:expert"]
    assert len(experts) == 40
    assert set(np.flatnonzero(controls == "script:expert") % 2) == {0, 1}
    assert (experts > 0).sum() >= 34
    assert np.array_equal(earned[::2], -earned[1::2])


def test_a_side_shares_its_rewards_by_team_spirit():
    env = make("lane/team", heroes=2, shaping=1.0, horizon=150)
    sides = (
        Side("west", env.agents[:2], ("script:skilled", "script:novice"), team_spirit=1.0),
        Side("east", env.agents[2:], ("idle",)),
    )
    earned, _ = play(env, Scenario(env.name, sides), np.arange(1))
    assert earned[0] == earned[1] > 0
    assert not earned[2:].any()


def test_scripts_do_nothing_that_is_forbidden():
    env = make("lane/team", worlds=3, heroes=3)
    out, rows = Buffers.of(env), np.arange(env.rows)
    env.reset([1, 2, 3], out)
    forbidden = 0
    for step in range(400):
        actions = env.scripts[("novice", "skilled", "expert")[step % 3]](env).act(rows, out.observations, out.masks)
        assert out.masks[rows, actions[:, 0]].all()
        forbidden += (~out.masks).sum()
        env.step(actions, out)
    assert forbidden
