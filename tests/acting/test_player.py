from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from understudy.acting.player import PolicyPlayer
from understudy.errors import ScenarioError
from understudy.evaluation.play import play
from understudy.games.demonstrations import GameBatches
from understudy.games.env import Env
from understudy.games.names import make
from understudy.models.policy import Policy, PolicyConfig, PolicySpec
from understudy.training.play import predict


def make_policy(env: Env, core: Any = "lstm", last_action: bool = False) -> Policy:
    torch.manual_seed(0)
    shape = PolicyConfig(core, width=16, heads=2, context=50, dropout=0.0).resolved(longest=50)
    action = env.action.choices, env.action.low, env.action.high
    policy = Policy(PolicySpec(shape, env.observation.shape, *action, last_action=last_action)).eval()
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


@pytest.mark.parametrize("core", ["lstm", "transformer", "none"])
@pytest.mark.parametrize("view", ["grid", "features"])
def test_what_was_played_has_the_probability_in_training_that_it_had_at_play(core: str, view: str) -> None:
    """With what it did last among what it sees: at play by the policy, in training by the batches."""
    env = make("kitchen/cramped_room", 2, view=view, horizon=12)
    policy = make_policy(env, core, last_action=True)
    with torch.no_grad():  # so that all kinds of things are done
        policy.action.weight.mul_(0.2)
    player = PolicyPlayer(policy, env)
    log_probs: list[np.ndarray] = []

    class Noted:
        def reset(self, rows: np.ndarray, seeds: np.ndarray) -> None:
            player.reset(rows, seeds)

        def act(self, rows: np.ndarray, observations: np.ndarray, masks: np.ndarray) -> np.ndarray:
            actions = player.act(rows, observations, masks)
            assert player.acted is not None
            log_probs.append(player.acted.log_probs)
            return actions

    games = play(env, Noted(), [3, 4])
    found = predict(policy, GameBatches(games, 4, last_action=env.action).eval_batches())
    assert len({tuple(game.actions[:, agent, 0]) for game in games for agent in range(2)}) == 4
    np.testing.assert_allclose(-found.nats.reshape(4, 12), np.stack(log_probs, 1), atol=1e-4)


def test_moves_are_sharpened_only_where_a_game_names_its_idle_action() -> None:
    env = make("kitchen/cramped_room", 2, view="features")
    shown, masks, rows = seen(env, 1)[0], np.ones((4, 6), bool), np.arange(4)

    def likeliest_moves(env: Env) -> float:
        """The share of rows that stand still or do the likeliest move, over many seeds."""
        player = PolicyPlayer(make_policy(env), env, move_temperature=0.01)
        found = []
        for seed in range(50):
            player.reset(rows, np.full(4, seed))
            actions = player.act(rows, shown, masks)[:, 0]
            assert player.acted is not None
            moves = player.acted.probabilities.copy()
            moves[:, 4] = 0
            found.append((actions == 4) | (actions == moves.argmax(1)))
        return float(np.mean(found))

    assert likeliest_moves(env) == 1
    env.action = replace(env.action, idle=())
    assert likeliest_moves(env) < 1
