"""PPO against its definitions, written down once more in plain float64 numpy."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from relay import Relay, make_policy

from understudy.acting.rollout import Rollout
from understudy.errors import ConfigError
from understudy.games.env import Env
from understudy.games.names import make
from understudy.games.teams import Teams, against
from understudy.models.policy import Policy
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.ppo import FIGURES, PPOConfig, PPOLoss, Segments, advantages, tensors

CPU = torch.device("cpu")


class Played(NamedTuple):
    rewards: Any
    values: Any
    terminated: Any
    truncated: Any
    final_values: Any


def played(steps: int, rows: int, seed: int, often: float) -> Played:
    random = np.random.default_rng(seed)
    ends = random.random((2, steps, rows)) < often
    shape = steps, rows
    return Played(
        random.normal(size=shape).astype(np.float32),
        random.normal(size=(steps + 1, rows)).astype(np.float32),
        ends[0],
        ends[1] & ~ends[0],
        random.normal(size=shape).astype(np.float32),
    )


def slow_advantages(one: Played, gamma: float, lam: float) -> np.ndarray:
    """Σ (γλ)ˡ δₜ₊ₗ up to the end of the episode or of the segment, for each step by itself."""
    steps, rows = one.rewards.shape
    found = np.zeros((steps, rows))
    for row in range(rows):
        for start in range(steps):
            for step in range(start, steps):
                ahead = float(one.values[step + 1, row])
                if one.terminated[step, row]:
                    ahead = 0.0
                if one.truncated[step, row]:
                    ahead = float(one.final_values[step, row])
                delta = float(one.rewards[step, row]) + gamma * ahead - float(one.values[step, row])
                found[start, row] += (gamma * lam) ** (step - start) * delta
                if one.terminated[step, row] or one.truncated[step, row]:
                    break
    return found


@given(
    st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 0.5]),
    st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip
def test_advantages_equal_a_slow_loop(steps: int, rows: int, seed: int, often: float, gamma: float, lam: float) -> None:
    one = played(steps, rows, seed, often)
    np.testing.assert_allclose(advantages(one, gamma, lam), slow_advantages(one, gamma, lam), rtol=1e-4, atol=1e-5)


def test_advantages_of_one_step_and_of_all_that_was_earned() -> None:
    one = played(5, 2, seed=1, often=0.0)
    np.testing.assert_allclose(
        advantages(one, 0.9, 0.0), one.rewards + 0.9 * one.values[1:] - one.values[:-1], rtol=1e-5, atol=1e-6
    )
    last = one.rewards.sum(0, dtype=np.float64) + one.values[-1] - one.values[0]
    np.testing.assert_allclose(advantages(one, 1.0, 1.0)[0], last, rtol=1e-5)


def segments_of(env: Env, policy: Policy, seed: int = 0, segments: int = 2, **more: Any) -> Segments:
    """What the policy played in its second segment, with made-up advantages, returns and policy that played."""
    rollout = Rollout(policy, Teams(against(env), env), 8, seed=3)
    for _ in range(segments):
        one = rollout.play()
    random, shape = np.random.default_rng(seed), (env.rows, 8)
    swapped = {name: getattr(one, name).swapaxes(0, 1) for name in ("observations", "actions", "begins", "decided")}
    old = one.log_probs.swapaxes(0, 1) + random.normal(0, 0.3, shape).astype(np.float32)
    anchor = None
    if more.get("anchor"):
        width = sum(env.action.choices) or 2 * len(env.action.low)
        anchor = random.normal(size=(*shape, width)).astype(np.float32)
        cuts = np.cumsum(env.action.choices)[:-1]
        heads = [x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in np.split(anchor, cuts, -1)]
        anchor = np.concatenate(heads, -1) if env.action.choices else np.abs(anchor)
    return Segments(
        inputs_BT=swapped["observations"],
        actions_BTC=swapped["actions"],
        log_probs_BT=old,
        advantages_BT=random.normal(size=shape).astype(np.float32),
        returns_BT=random.normal(2, 3, shape).astype(np.float32),
        weights_BT=swapped["decided"].astype(np.float32),
        reset_BT=swapped["begins"],
        masks_BTA=one.masks.swapaxes(0, 1) if env.action.choices and not more.get("anchor") else None,
        state=one.state,
        anchor_BTA=anchor,
        entropy=0.03,
        **more,
    )


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_hand(policy: Policy, part: Segments, config: PPOConfig, choices: tuple[int, ...]) -> dict[str, float]:
    """The sums of the loss and of FIGURES, from hidden vectors on in float64 and in plain words."""
    with torch.no_grad():
        given = tensors(part, CPU)
        hidden, _ = policy.seen(given.inputs_BT, given.actions_BTC, part.state, given.reset_BT)
        logits, values = (head(hidden).double().numpy() for head in (policy.action, policy.value))
    sums = dict.fromkeys(("loss", *FIGURES), 0.0)
    for row, step in np.argwhere(part.weights_BT > 0):
        cuts, done = np.cumsum(choices)[:-1], part.actions_BTC[row, step]
        log_prob = entropy = anchor = 0.0
        allowed = None if part.masks_BTA is None else np.split(part.masks_BTA[row, step], cuts)
        others = None if part.anchor_BTA is None else np.split(part.anchor_BTA[row, step].astype(float), cuts)
        for number, head in enumerate(np.split(logits[row, step], cuts)):
            possible = np.arange(len(head)) if allowed is None else np.flatnonzero(allowed[number])
            p = softmax(head[possible])
            log_prob += np.log(p[possible.tolist().index(done[number])])
            entropy -= (p * np.log(p)).sum()
            if others is not None:
                anchor += (p * (np.log(p) - others[number])).sum()
        old, advantage = float(part.log_probs_BT[row, step]), float(part.advantages_BT[row, step])
        ratio, clip = np.exp(log_prob - old), config.clip_ratio
        surrogate = min(ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage)
        value = values[row, step, 0]
        target = (float(part.returns_BT[row, step]) - float(policy.value_mean)) / float(policy.value_std)
        terms = {
            "policy_loss": -surrogate,
            "value_loss": (value - target) ** 2 / 2,
            "entropy": entropy,
            "kl": ratio - 1 - np.log(ratio),
            "clipped": float(abs(ratio - 1) > clip),
            "anchor_kl": anchor,
        }
        loss = config.value_coef * terms["value_loss"]
        if part.learns:
            loss += terms["policy_loss"] - part.entropy * entropy + part.anchor * anchor
        for name, x in {"loss": loss, **terms}.items():
            sums[name] += x
    return sums


@pytest.mark.parametrize("kind", ["masks", "anchor", "value alone"])
@pytest.mark.parametrize("core", ["lstm", "none"])
def test_the_loss_is_its_formula_term_by_term(kind: str, core: str) -> None:
    env = Relay(5)
    policy = make_policy(env, core, last_action=True)
    more: dict[str, Any] = {"masks": {}, "anchor": {"anchor": 0.4}, "value alone": {"learns": False}}[kind]
    part, config = segments_of(env, policy, **more), PPOConfig(value_coef=0.7, clip_ratio=0.15)
    with torch.no_grad():
        found = PPOLoss(policy, config, 4, 0)(tensors(part, CPU)).tolist()
    expected = by_hand(policy, part, config, env.action.choices)
    assert 0 < expected["clipped"] < part.weights_BT.sum()
    for name, one in zip(("loss", *FIGURES), found, strict=True):
        assert one == pytest.approx(expected[name], rel=1e-4, abs=1e-4), name


def test_the_value_alone_learns_while_it_warms_up() -> None:
    env = Relay(5)
    policy = make_policy(env)
    loss = PPOLoss(policy, PPOConfig(), 4, 0)(tensors(segments_of(env, policy, learns=False), CPU))[0]
    loss.backward()
    moved = {name for name, one in policy.named_parameters() if one.grad is not None and one.grad.any()}
    assert moved == {"value.weight", "value.bias"}


def test_real_numbers_have_densities_and_divergences_of_normal_distributions() -> None:
    pytest.importorskip("gymnasium")
    env = make("gym:Pendulum-v1", 3)
    policy = make_policy(env)
    part = segments_of(env, policy, anchor=0.4)
    weights = torch.from_numpy(part.weights_BT)
    with torch.no_grad():
        found = dict(zip(("loss", *FIGURES), PPOLoss(policy, PPOConfig(), 4, 0)(tensors(part, CPU)), strict=True))
        given = tensors(part, CPU)
        hidden, _ = policy.seen(given.inputs_BT, given.actions_BTC, part.state, given.reset_BT)
        mean, std = policy.normal(hidden)
        std = std.expand_as(mean)
    own = torch.distributions.Normal(mean.double(), std.double())
    other = torch.distributions.Normal(*given.anchor_BTA.double().chunk(2, -1))
    entropy, divergence = own.entropy().sum(-1), torch.distributions.kl_divergence(own, other).sum(-1)
    log_ratio = own.log_prob(given.actions_BTC.double()).sum(-1) - given.log_probs_BT.double()
    assert float(found["entropy"]) == pytest.approx(float((entropy * weights).sum()), rel=1e-5)
    assert float(found["anchor_kl"]) == pytest.approx(float((divergence * weights).sum()), rel=1e-4)
    kl = (log_ratio.exp() - 1 - log_ratio) * weights
    assert float(found["kl"]) == pytest.approx(float(kl.sum()), rel=1e-3)
    env.close()


def passes(loss: PPOLoss, batch: Segments, kl: Iterator[float] | None = None) -> list[Segments]:
    last = {"kl": 0.0}
    found = []
    for part in loss.passes(batch, last):
        found.append(part)
        last["kl"] = next(kl) if kl else 0.0
    return found


def test_minibatches_cover_each_row_once_an_epoch() -> None:
    env = Relay(9)
    policy = make_policy(env)
    batch = segments_of(env, policy)
    batch.weights_BT[4] = 0  # a row that taught nothing
    batch.advantages_BT[:, 0] = np.arange(18)  # so that rows can be told apart
    loss = PPOLoss(policy, PPOConfig(epochs=3), 4, 7)
    found = [part.advantages_BT[:, 0].astype(int).tolist() for part in passes(loss, batch)]
    assert [len(one) for one in found] == [5, 4, 4, 4] * 3
    for epoch in range(3):
        assert sorted(chain(*found[4 * epoch : 4 * epoch + 4])) == [row for row in range(18) if row != 4]
    assert found[:4] != found[4:8]
    assert [part.advantages_BT[:, 0].astype(int).tolist() for part in passes(loss, batch)] == found
    loss.iteration = 1
    assert [part.advantages_BT[:, 0].astype(int).tolist() for part in passes(loss, batch)] != found


def test_the_state_of_a_minibatch_is_that_of_its_rows() -> None:
    env = Relay(6)
    policy = make_policy(env, last_action=True)
    batch = segments_of(env, policy)
    batch.advantages_BT[:, 0] = np.arange(12)
    for part in passes(PPOLoss(policy, PPOConfig(), 4, 7), batch):
        rows = part.advantages_BT[:, 0].astype(int)
        assert np.array_equal(part.inputs_BT, batch.inputs_BT[rows])
        assert torch.equal(part.state.core.h_LBD, batch.state.core.h_LBD[:, rows])
        assert torch.equal(part.state.last_NA, batch.state.last_NA[rows])


def test_an_iteration_ends_where_the_policy_has_gone_too_far() -> None:
    env = Relay(6)
    policy = make_policy(env)
    batch = segments_of(env, policy)
    far = [0.0, 0.01, 0.05, 0.0, 0.0, 0.0]
    assert len(passes(PPOLoss(policy, PPOConfig(kl_stop=0.03), 4, 7), batch, iter(far))) == 3
    assert len(passes(PPOLoss(policy, PPOConfig(kl_stop=0.0), 4, 7), batch, iter(far))) == 6


def test_what_the_learner_tells_is_the_mean_over_what_was_decided_however_it_is_cut() -> None:
    env = Relay(6)
    policy = make_policy(env)
    batch = segments_of(env, policy)
    told = []
    for micro in (0, 1, 5):
        copy = make_policy(env)
        copy.load_state_dict(policy.state_dict())
        config = LearnerConfig(steps=5, batch_size=12, micro_batch_size=micro, lr=1e-3, warmup=0, dtype="float32")
        learner = Learner(PPOLoss(copy, PPOConfig(epochs=2, kl_stop=0), 12, 7), config, CPU)
        told.append((learner.step(batch), copy))
    expected = by_hand(policy, batch, PPOConfig(), env.action.choices)
    config = LearnerConfig(steps=5, batch_size=12, lr=1e-3, warmup=0, dtype="float32")
    once = Learner(PPOLoss(policy, PPOConfig(epochs=1), 12, 7), config, CPU).step(batch)
    for name, x in expected.items():
        assert once[name] == pytest.approx(x / batch.weights_BT.sum(), rel=1e-4, abs=1e-5)
    for metrics, copy in told[1:]:
        assert metrics == pytest.approx(told[0][0], rel=1e-3, abs=1e-5)
        for one, other in zip(copy.parameters(), told[0][1].parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5)


def test_values_stay_as_they_are_when_they_count_in_other_units() -> None:
    policy = make_policy(Relay(1))
    hidden = torch.randn(50, 32)
    for mean, std in ((5.0, 0.1), (-3.0, 20.0), (0.0, 1.0)):
        before = policy.values(hidden)
        policy.count_values_in(mean, std)
        assert (float(policy.value_mean), float(policy.value_std)) == pytest.approx((mean, std))
        torch.testing.assert_close(policy.values(hidden), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gamma", 1.1), ("gae_lambda", -0.1), ("clip_ratio", 0.0), ("clip_ratio", 1.5), ("epochs", 0),
        ("value_coef", -1.0), ("entropy", -0.1), ("final_entropy", -0.1), ("kl_stop", -1.0), ("anchor", -1.0),
        ("final_anchor", -1.0), ("value_warmup", -1),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field.replace("_", ".")):
        replace(PPOConfig(), **{field: value}).validate()
