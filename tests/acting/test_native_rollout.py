"""Rollouts as compiled code, against the same steps one after another by torch."""

from typing import Any

import numpy as np
import pytest
import torch

from understudy.acting.opponents import OpponentConfig, Opponents
from understudy.acting.player import PolicyPlayer
from understudy.acting.rollout import Rollout
from understudy.games.names import make
from understudy.games.teams import Teams, against
from understudy.models.policy import Policy, PolicyConfig, PolicySpec

GAMES: dict[str, dict[str, Any]] = {
    "kitchen/cramped_room": {"view": "features", "horizon": 13, "shaping": 1.0},
    "lane/duel": {"horizon": 17},
    "lane/team": {"horizon": 17, "heroes": 2},
    "lane/creep-block": {"horizon": 7},
}
GUEST = "frozen:guest"


def make_rollout(
    game: str, core: Any, last_action: bool, guests: bool, worlds: int = 5, spirit: float = 0.0, **options: Any
) -> Rollout:
    env = make(game, worlds, **(GAMES[game] | options))

    def make_policy(seed: int) -> Policy:
        torch.manual_seed(seed)
        shape = PolicyConfig(core, width=32, layers=2, dropout=0.0).resolved(64)
        spec = PolicySpec(shape, env.observation.shape, env.action.choices, layers=2, last_action=last_action)
        policy = Policy(spec).eval()
        with torch.no_grad():
            policy.action.weight.normal_(0, 0.3)
            policy.value.weight.normal_()
            policy.observe.mean.normal_(0, 0.1)
            policy.observe.std.uniform_(0.5, 2)
        policy.count_values_in(3.0, 2.0)
        return policy

    scenario = against(env, spirit)
    opponents = Opponents(OpponentConfig(past=0.5, others_share=0.5), scenario, () if env.sides else (GUEST,), 3)
    if env.sides:
        opponents.past[GUEST] = 0.0
    teams = Teams(scenario, env, seated=opponents.seated if guests else None)
    if guests:
        teams.add(GUEST, PolicyPlayer(make_policy(1), env, seed=5, move_temperature=0.3))
    return Rollout(make_policy(0), teams, length=20, seed=7)


@pytest.mark.parametrize("guests", [False, True])
@pytest.mark.parametrize(("core", "last_action"), [("none", False), ("lstm", True)])
@pytest.mark.parametrize("game", GAMES)
def test_compiled_rollouts_are_those_of_torch(game: str, core: str, last_action: bool, guests: bool) -> None:
    if guests and game == "lane/creep-block":
        pytest.skip("one agent plays it")
    # More worlds than one thread takes
    compiled, plain = (make_rollout(game, core, last_action, guests, worlds=130) for _ in range(2))
    assert compiled._game is not None
    plain._game = None
    for _ in range(3):
        found, expected = compiled.play(), plain.play()
        for name in ("observations", "masks", "actions", "rewards", "terminated", "truncated", "begins", "decided"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name
        for name in ("log_probs", "values", "final_values"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=3e-5)
        games, others = compiled.games, plain.games
        assert len(games.lengths) == len(others.lengths) > 0
        assert np.array_equal(games.controls, others.controls)
        np.testing.assert_allclose(games.returns, others.returns, atol=1e-5)
        assert (games.controls == GUEST).any() == guests


def test_team_spirit_mixes_the_rewards_of_a_side() -> None:
    """In kitchens that go on for long enough that somebody puts an onion into a pot."""
    made = {
        (spirit, native): make_rollout("kitchen/cramped_room", "none", False, False, 64, spirit, horizon=400)
        for spirit in (0.0, 0.3)
        for native in (True, False)
    }
    own, mixed, plain = made[0.0, True], made[0.3, True], made[0.3, False]
    plain._game = None
    earned = 0.0
    for _ in range(5):
        rewards = own.play().rewards.reshape(-1, 2)
        found, expected = mixed.play().rewards.reshape(-1, 2), plain.play().rewards.reshape(-1, 2)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(found, 0.7 * rewards + 0.3 * rewards.mean(1, keepdims=True), atol=1e-6)
        earned += float(np.abs(rewards[:, 0] - rewards[:, 1]).sum())
    assert earned > 0


def test_games_that_are_not_native_are_played_by_torch() -> None:
    assert make_rollout("kitchen/cramped_room", "lstm", False, False)._game is not None
    grid = make("kitchen/cramped_room", 2)
    policy = Policy(PolicySpec(PolicyConfig("none", width=16).resolved(8), grid.observation.shape, (6,))).eval()
    assert Rollout(policy, Teams(against(grid), grid), 4, 0).play().actions.shape == (4, 4, 1)
