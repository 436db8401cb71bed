import numpy as np
import pytest
import torch

from understudy.acting.player import PolicyPlayer
from understudy.errors import ScenarioError
from understudy.games.env import Env
from understudy.games.names import make
from understudy.models.policy import Policy, PolicySpec
from understudy.models.spec import CoreConfig


def make_policy(env: Env, core: str = "lstm") -> Policy:
    torch.manual_seed(0)
    shape = CoreConfig(core=core, layers=1, width=16, heads=2, context=50).resolved()  # type: ignore[arg-type]
    policy = Policy(
        PolicySpec(shape, env.observation.shape, env.action.choices, env.action.low, env.action.high)
    ).eval()
    with torch.no_grad():
        policy.action.weight.normal_()
    return policy


def seen(env: Env, count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, env.rows, *env.observation.shape)).astype(np.float32)


@pytest.mark.parametrize("core", ["lstm", "transformer"])
def test_a_row_that_begins_again_has_forgotten(core: str) -> None:
    env = make("kitchen/cramped_room", 2, view="features")
    policy, every, shown = make_policy(env, core), np.arange(4), seen(env, 4)
    masks, seeds = np.ones((4, 6), bool), np.array([7, 7, 8, 8])
    played, fresh = PolicyPlayer(policy, env), PolicyPlayer(policy, env)
    played.reset(every, seeds)
    for step in range(3):
        played.act(every, shown[step], masks)
    played.reset(every[:2], seeds[:2])
    now = played.act(every, shown[3], masks)
    fresh.reset(every, seeds)
    first = fresh.act(every, shown[3], masks)
    assert played.acted is not None
    assert fresh.acted is not None
    np.testing.assert_allclose(played.acted.probabilities[:2], fresh.acted.probabilities[:2], atol=1e-6)
    assert np.array_equal(now[:2], first[:2])  # drawn by the seed again
    assert not np.allclose(played.acted.probabilities[2:], fresh.acted.probabilities[2:], atol=1e-4)


def test_what_a_row_draws_does_not_depend_on_the_others() -> None:
    env = make("kitchen/cramped_room", 2, view="features")
    policy, shown = make_policy(env), seen(env, 5)
    together, alone = PolicyPlayer(policy, env), PolicyPlayer(policy, env)
    rows = np.array([0, 2, 3])
    together.reset(rows, np.array([5, 6, 6]))
    alone.reset(rows[:1], np.array([5]))
    for step in range(5):
        all_ = together.act(rows, shown[step, rows], np.ones((3, 6), bool))
        one = alone.act(rows[:1], shown[step, rows[:1]], np.ones((1, 6), bool))
        assert all_[0] == one[0]


def test_a_policy_for_another_view_or_another_game_is_refused() -> None:
    features = make("kitchen/cramped_room", 1, view="features")
    with pytest.raises(ScenarioError, match=r"sees \[211\].*shows \[20, 4, 5\]; play it with the options"):
        PolicyPlayer(make_policy(features), make("kitchen/cramped_room"))
    policy = Policy(PolicySpec(make_policy(features).spec, (211,), (5,)))
    with pytest.raises(ScenarioError, match="chooses from 5 actions, which are not those of kitchen/cramped_room"):
        PolicyPlayer(policy, features)
