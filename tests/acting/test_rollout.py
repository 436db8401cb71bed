"""What a rollout takes down is what happened, whatever begins and ends within a segment, and it goes on exactly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from relay import Relay, make_policy

from understudy.acting.opponents import OpponentConfig, Opponents
from understudy.acting.player import PolicyPlayer
from understudy.acting.rollout import Rollout, Trajectories
from understudy.games.env import Buffers, Env
from understudy.games.names import make
from understudy.games.teams import LATEST, Teams, against, known
from understudy.models.policy import Policy

SEGMENT = 8
GAMES: dict[str, Callable[[int], Env]] = {
    "kitchen": lambda worlds: make("kitchen/cramped_room", worlds, view="features", horizon=13, shaping=1.0),
    "grid": lambda worlds: make("kitchen/cramped_room", worlds, horizon=13),
    "duel": lambda worlds: make("lane/duel", worlds, horizon=11),
    "cart": lambda worlds: make("gym:CartPole-v1", worlds, max_episode_steps=15),
    "pendulum": lambda worlds: make("gym:Pendulum-v1", worlds, max_episode_steps=11),
    "relay": Relay,
}
KINDS = [("lstm", False), ("lstm", True), ("none", False), ("none", True)]


def make_game(name: str, worlds: int = 3) -> Env:
    if name in ("cart", "pendulum"):
        pytest.importorskip("gymnasium")
    return GAMES[name](worlds)


def make_rollout(env: Env, core: Any = "lstm", last_action: bool = False, length: int = SEGMENT) -> Rollout:
    return Rollout(make_policy(env, core, last_action), Teams(against(env), env), length, seed=5)


def recomputed(policy: Policy, played: Trajectories) -> tuple[np.ndarray, np.ndarray, Any]:
    """Log-probabilities and values [T, R] as the learner computes them, and the state after the last step."""
    shown, actions, begins = (
        torch.from_numpy(np.ascontiguousarray(x.swapaxes(0, 1)))
        for x in (played.observations, played.actions, played.begins)
    )
    masks = torch.from_numpy(played.masks.swapaxes(0, 1).copy()) if policy.policy.choices else None
    with torch.no_grad():
        hidden, state = policy.seen(shown, actions, played.state, begins)
        log_probs = policy.log_prob(policy.distribution(hidden, masks), actions)
        return log_probs.numpy().T, policy.values(hidden).numpy().T, state


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(("core", "last_action"), KINDS)
def test_what_is_learned_from_has_the_probability_that_it_was_drawn_with(
    name: str, core: str, last_action: bool
) -> None:
    """With games that begin, end and are cut short in mid-segment, and segments that go on where the last one ended."""
    env = make_game(name)
    rollout, ends = make_rollout(env, core, last_action), 0
    after = None
    for _ in range(5):
        played = rollout.play()
        log_probs, values, state = recomputed(rollout.policy, played)
        np.testing.assert_allclose(log_probs[played.decided], played.log_probs[played.decided], rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(values[played.decided], played.values[:-1][played.decided], atol=1e-4)
        if after is not None:  # what was remembered when the segment began
            going_on = ~played.begins[0] & played.decided[0]
            for part, x in rollout.policy.remembered(played.state).items():
                before = rollout.policy.remembered(after)[part]
                axis = 0 if part == "last" else 1
                np.testing.assert_allclose(
                    x.numpy().take(np.flatnonzero(going_on), axis),
                    before.numpy().take(np.flatnonzero(going_on), axis),
                    atol=1e-5,
                )
        after = state
        ends += int((played.terminated | played.truncated)[: SEGMENT - 1].any())
    assert ends
    env.close()


def cut_by_hand(out: Buffers, worlds: np.ndarray) -> np.ndarray:
    """End the games of these worlds, as a rollout does with first ones so that not all end at the same step."""
    rows = np.repeat(worlds, len(out.truncated) // len(worlds)) & ~out.terminated & ~out.truncated
    out.truncated |= rows
    out.final_observations[rows] = out.observations[rows]
    return worlds


@pytest.mark.parametrize("name", GAMES)
def test_what_was_played_replays_step_for_step_in_a_fresh_game(name: str) -> None:
    env, fresh = make_game(name), make_game(name)
    rollout = make_rollout(env)
    agents, out, cuts = len(env.agents), Buffers.of(fresh), rollout.cuts.copy()
    fresh.reset(rollout.seeds, out)
    earned, ages, games = np.zeros(env.rows), np.zeros(env.worlds, int), 0
    for _ in range(6):
        played = rollout.play()
        mine = []
        for step in range(SEGMENT):
            assert np.array_equal(played.observations[step], out.observations)
            assert np.array_equal(played.masks[step], out.masks)
            assert np.array_equal(played.begins[step], np.repeat(ages == 0, agents))
            ended = (out.terminated | out.truncated) & ~played.begins[step]
            assert np.array_equal(played.decided[step], ~ended)
            fresh.step(played.actions[step], out)
            ages += 1
            by_hand = cut_by_hand(out, ages == cuts)
            for told in ("rewards", "terminated", "truncated"):
                assert np.array_equal(getattr(played, told)[step], getattr(out, told)), told
            earned += out.rewards
            over = out.over(fresh)
            # Games of this length begin no more than once in a segment, so the seeds after it are theirs.
            mine += [
                (earned.reshape(-1, agents)[world].tolist(), int(ages[world]))
                for world in np.flatnonzero(over & ~by_hand)
            ]
            fresh.reset(rollout.seeds, out, over)
            earned[np.repeat(over, agents)], ages[over], cuts[over] = 0, 0, 0
        found = list(zip(rollout.games.returns.tolist(), rollout.games.lengths.tolist(), strict=True))
        assert [length for _, length in found] == [length for _, length in mine]
        np.testing.assert_allclose([x for x, _ in found], [x for x, _ in mine], atol=1e-4)
        games += len(mine)
    assert games
    for one in (env, fresh):
        one.close()


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize(("core", "last_action"), [("lstm", True), ("none", False)])
def test_a_game_that_is_cut_short_is_worth_what_its_own_last_observation_is(
    name: str, core: str, last_action: bool
) -> None:
    env, fresh = make_game(name), make_game(name)
    rollout = make_rollout(env, core, last_action)
    policy, out, ages, found, cuts = rollout.policy, Buffers.of(fresh), np.zeros(3, int), 0, rollout.cuts.copy()
    fresh.reset(rollout.seeds, out)
    player = PolicyPlayer(policy, fresh)
    every = np.arange(env.rows)
    for _ in range(4):
        played = rollout.play()
        for step in range(SEGMENT):
            if played.begins[step].any():
                player.reset(np.flatnonzero(played.begins[step]), np.zeros(int(played.begins[step].sum()), np.int64))
            player.act(every, played.observations[step], played.masks[step])
            player.follow(played.actions[step])
            fresh.step(played.actions[step], out)
            ages += 1
            cut_by_hand(out, ages == cuts)
            cut = out.truncated & played.decided[step]
            expected = policy.expect(out.final_observations, policy.rows_of(player.state, every))
            np.testing.assert_allclose(played.final_values[step], np.where(cut, expected, 0), atol=1e-4)
            found += int(cut.sum())
            over = out.over(fresh)
            ages[over] = cuts[over] = 0
            fresh.reset(rollout.seeds, out, over)
        # The value after the last step: of worlds whose games go on.
        last, goes_on = (
            policy.expect(out.observations, policy.rows_of(player.state, every)),
            ~over.repeat(len(env.agents)),
        )
        np.testing.assert_allclose(played.values[-1][goes_on], last[goes_on], atol=1e-4)
    assert found
    for one in (env, fresh):
        one.close()


def test_rows_that_end_before_their_world_teach_nothing() -> None:
    env = Relay(6)
    rollout, idle = make_rollout(env), 0
    for _ in range(4):
        played = rollout.play()
        over = played.terminated | played.truncated
        for step in range(1, SEGMENT):
            ended_before = over[step - 1] & ~played.begins[step]
            assert not (played.decided[step] & ended_before).any()
            assert not played.rewards[step, ended_before].any()
            idle += int(ended_before.sum())
    assert idle


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("guests", [(), ("script:random", "past:0"), ("frozen:other",)])
def test_a_rollout_goes_on_exactly_from_a_snapshot(name: str, guests: tuple[str, ...]) -> None:
    def begin() -> Rollout:
        env = make_game(name, 4)
        if guests and len(env.agents) == 1:
            pytest.skip("one plays alone")
        opponents = Opponents(OpponentConfig(others_share=0.7), against(env), guests, seed=2)
        teams = Teams(against(env), env, seated=opponents.seated if guests else None)
        for number, guest in enumerate(guests):
            teams.add(guest, known(guest, env) or PolicyPlayer(make_policy(env, seed=7), env, seed=number))
        return Rollout(make_policy(env, "lstm", last_action=True), teams, SEGMENT, seed=5)

    undisturbed, resumed = begin(), begin()
    for _ in range(3):
        undisturbed.play()
    kept = {name: array.copy() for name, array in undisturbed.snapshot().items()}
    controls = undisturbed.teams.controls.copy()
    players = {
        control: player.snapshot()
        for control, player in undisturbed.teams.players()
        if isinstance(player, PolicyPlayer)
    }
    players = {control: {name: x.copy() for name, x in kept.items()} for control, kept in players.items()}
    resumed.restore(kept, controls)
    for control, player in resumed.teams.players():
        if isinstance(player, PolicyPlayer):
            player.restore(players[control])
    for _ in range(4):
        expected, found = undisturbed.play(), resumed.play()
        for field in vars(expected):
            one, other = getattr(expected, field), getattr(found, field)
            if field == "state":
                one, other = (resumed.policy.remembered(x) for x in (one, other))
                assert all(torch.equal(one[part], other[part]) for part in one)
            else:
                assert np.array_equal(one, other), field
        assert np.array_equal(undisturbed.games.returns, resumed.games.returns)
        assert np.array_equal(undisturbed.games.controls, resumed.games.controls)
        assert np.array_equal(undisturbed.games.lengths, resumed.games.lengths)
    for one in (undisturbed, resumed):
        one.teams.env.close()


def test_what_was_earned_survives_a_change_of_the_shaped_rewards() -> None:
    """A game that began when they counted more has earned more."""
    env = make("lane/duel", 2, shaping=1.0)
    rollout = make_rollout(env)
    for _ in range(30):
        rollout.play()
    earned = rollout.snapshot()["earned"]
    assert earned.any()
    env.shaping = 0.0
    other = make_rollout(make("lane/duel", 2))
    other.restore(rollout.snapshot(), rollout.teams.controls)
    assert np.array_equal(other.snapshot()["earned"], earned)


def test_worlds_play_games_of_their_own() -> None:
    env = make("kitchen/cramped_room", 8, view="features")
    rollout = make_rollout(env)
    actions = rollout.play().actions
    assert len(set(rollout.seeds.tolist())) == 8
    assert len({actions[:, row].tobytes() for row in range(env.rows)}) == env.rows
    other = Rollout(rollout.policy, Teams(against(env), make("kitchen/cramped_room", 8, view="features")), SEGMENT, 6)
    assert not set(other.seeds.tolist()) & set(rollout.seeds.tolist())


def test_where_no_row_is_the_policys_nothing_is_decided() -> None:
    env = make("kitchen/cramped_room", 2, view="features", horizon=5)
    teams = Teams(against(env), env, seated=lambda seed: ["script:random"] * 2)
    teams.add("script:random", known("script:random", env))
    played = Rollout(make_policy(env), teams, SEGMENT, seed=5).play()
    assert not played.decided.any()
    assert not played.log_probs.any()
    assert LATEST not in teams.controls
