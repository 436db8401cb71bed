"""A policy: acting is what training computes, masks hold, and draws have the policy's probabilities."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from understudy.models.draws import Moves
from understudy.models.policy import Policy, PolicySpec
from understudy.models.spec import CoreConfig

CORES = ("lstm", "transformer", "none")


def make_policy(core: Any = "lstm", context: int = 12, seed: int = 0, **spec: Any) -> Policy:
    torch.manual_seed(seed)
    kind = "lstm" if core == "none" else core
    shape = CoreConfig(core=kind, layers=1, width=16, heads=2, context=context).resolved()
    spec = {"observation": (5,), "choices": (3, 2), **spec}
    policy = Policy(PolicySpec(replace(shape, core=core), **spec)).double().eval()
    with torch.no_grad():  # so that choices differ clearly
        policy.action.weight.normal_()
    return policy


def observations(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape)


@pytest.mark.parametrize("core", CORES)
def test_single_steps_with_games_that_begin_again_give_what_whole_rows_give(core: str) -> None:
    policy, seen = make_policy(core), observations(3, 8, 5)
    reset = np.zeros((3, 8), bool)
    reset[1, 3] = reset[2, 5] = True
    with torch.no_grad():
        hidden, _ = policy.hidden(torch.from_numpy(seen), reset_BT=torch.from_numpy(reset))
        whole = torch.cat([one.softmax(-1) for one in policy.choices(hidden)], -1)
    state = policy.initial_state(3)
    for step in range(8):
        state = policy.forget(state, np.flatnonzero(reset[:, step]))
        acted = policy.act(seen[:, step], state)
        state = acted.state
        np.testing.assert_allclose(acted.probabilities, whole[:, step], atol=1e-9)


@pytest.mark.parametrize("spec", [{}, {"choices": (), "low": (-1.0, -math.inf), "high": (3.0, math.inf)}])
def test_the_log_probability_of_what_was_done_is_the_one_that_training_computes(spec: dict[str, Any]) -> None:
    policy, seen = make_policy(**spec), observations(4, 5)
    mask = np.ones((4, 5), bool)
    mask[:, 0] = False
    acted = policy.act(seen, policy.initial_state(4), mask)
    with torch.no_grad():
        hidden, _ = policy.hidden(torch.from_numpy(seen)[:, None])
        if spec:
            normal = torch.distributions.Normal(*policy.normal(hidden[:, 0]))
            expected = normal.log_prob(torch.from_numpy(acted.actions)).sum(-1)
            assert (acted.actions[:, 0] >= -1).all()
            assert (acted.actions[:, 0] <= 3).all()
        else:
            first, second = (one[:, 0].log_softmax(-1) for one in policy.choices(hidden))
            first = first[:, 1:].log_softmax(-1)  # the first possibility is forbidden
            row = torch.arange(4)
            expected = first[row, acted.actions[:, 0] - 1] + second[row, acted.actions[:, 1]]
    np.testing.assert_allclose(acted.log_probs, expected, rtol=1e-6)


def test_what_a_mask_forbids_is_never_done() -> None:
    policy = make_policy(choices=(4,))
    mask = np.array([[False, True, True, False]]).repeat(2000, 0)
    draws = np.linspace(0, 1, 2000)[:, None]
    acted = policy.act(observations(1, 5).repeat(2000, 0), policy.initial_state(2000), mask, draws)
    assert set(acted.actions[:, 0]) == {1, 2}
    assert (acted.probabilities[:, [0, 3]] == 0).all()


def test_draws_follow_the_probabilities_and_temperature_sharpens_them() -> None:
    policy, count = make_policy(choices=(4,)), 4000
    seen, draws = observations(1, 5).repeat(count, 0), (np.arange(count)[:, None] + 0.5) / count

    def shares(temperature: float) -> tuple[np.ndarray, np.ndarray]:
        acted = policy.act(seen, policy.initial_state(count), None, draws, temperature)
        return np.bincount(acted.actions[:, 0], minlength=4) / count, acted.probabilities[0]

    share, probability = shares(1.0)
    np.testing.assert_allclose(share, probability, atol=2 / count)
    sharper = probability**2 / (probability**2).sum()
    np.testing.assert_allclose(shares(0.5)[0], sharper, atol=2 / count)
    assert shares(0.0)[0].max() == 1
    assert shares(0.0)[0].argmax() == probability.argmax()


def test_moves_are_sharpened_and_the_idle_action_keeps_its_probability() -> None:
    policy, count = make_policy(choices=(4,)), 4000
    seen, draws = observations(1, 5).repeat(count, 0), (np.arange(count)[:, None] + 0.5) / count
    mask = np.array([[True, True, True, False]]).repeat(count, 0)
    acted = policy.act(seen, policy.initial_state(count), mask, draws, moves=Moves(idle=1, temperature=0.5))
    probability, own = acted.probabilities[0], acted.log_probs
    expected = np.where(np.arange(4) == 1, 0, probability**2)
    expected *= (1 - probability[1]) / expected.sum()
    expected[1] = probability[1]
    np.testing.assert_allclose(np.bincount(acted.actions[:, 0], minlength=4) / count, expected, atol=2 / count)
    np.testing.assert_allclose(own, np.log(probability[acted.actions[:, 0]]), rtol=1e-5)


def test_softening_divides_the_logits() -> None:
    policy, seen = make_policy(choices=(4,)), observations(3, 5)
    before = policy.act(seen, policy.initial_state(3)).probabilities
    policy.soften(2.0)
    after = policy.act(seen, policy.initial_state(3)).probabilities
    np.testing.assert_allclose(after, before**0.5 / (before**0.5).sum(-1, keepdims=True), rtol=1e-6)


def test_real_actions_are_drawn_from_the_normal_distribution() -> None:
    policy, count = make_policy(choices=(), low=(-9.0,), high=(9.0,)), 4001
    draws = (np.arange(count)[:, None] + 0.5) / count
    seen = observations(1, 5).repeat(count, 0)
    with torch.no_grad():
        policy.action.weight.mul_(0.05)
        mean, std = policy.normal(policy.hidden(torch.from_numpy(seen[:1])[:, None])[0][:, 0])
        assert policy.log_std is not None
        policy.log_std.fill_(-3.0)
        _, std = policy.normal(policy.hidden(torch.from_numpy(seen[:1])[:, None])[0][:, 0])
    acted = policy.act(seen, policy.initial_state(count), None, draws)
    assert acted.actions.mean() == pytest.approx(float(mean), abs=0.01)
    assert acted.actions.std() == pytest.approx(float(std), rel=0.01)
    still = policy.act(seen[:1], policy.initial_state(1), None, draws[:1], 0.0)
    assert still.actions[0, 0] == pytest.approx(float(mean))


def test_a_transformer_whose_context_is_full_begins_again() -> None:
    policy = make_policy("transformer", context=4)
    seen, state = observations(2, 6, 5), policy.initial_state(2)
    for step in range(6):
        acted = policy.act(seen[:, step], state)
        state = acted.state
    fresh = policy.act(seen[:, 4], policy.initial_state(2))
    fresh = policy.act(seen[:, 5], fresh.state)
    np.testing.assert_allclose(acted.probabilities, fresh.probabilities, atol=1e-9)


@pytest.mark.parametrize("shape", [(20, 4, 5), (84, 84, 3)])
def test_grids_and_images_are_seen(shape: tuple[int, ...]) -> None:
    policy = make_policy("none", observation=shape, choices=(3,))
    seen = np.random.default_rng(0).integers(0, 2, (2, *shape)).astype(np.uint8)
    acted = policy.act(seen, policy.initial_state(2))
    assert not np.allclose(acted.probabilities[0], acted.probabilities[1], atol=1e-6)


def test_noise_is_for_training_alone_and_ends_with_dropout() -> None:
    policy, seen = make_policy("none", noise=0.3), torch.from_numpy(observations(1, 2, 5))
    still = policy.hidden(seen)[0]
    assert torch.equal(policy.hidden(seen)[0], still)
    policy.train()
    assert not torch.equal(policy.hidden(seen)[0], still)
    policy.set_dropout(0.0)
    assert torch.equal(policy.hidden(seen)[0], still)


def test_observations_count_in_standard_deviations_and_one_far_out_for_ten() -> None:
    policy, seen = make_policy("none"), np.array([[1.0, 2, 3, 4, 5]])
    plain = policy.act(seen, None).probabilities
    policy.standardise(np.full(5, 100.0), np.array([10.0, 10, 10, 10, 0]))
    assert np.array_equal(policy.act(seen * [10, 10, 10, 10, 1] + 100, None).probabilities, plain)
    far, farther = (policy.act(np.full((1, 5), x), None).probabilities for x in (1e4, 1e9))
    assert np.array_equal(far, farther)
