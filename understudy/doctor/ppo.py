"""Whether PPO learns from what was played as its papers say.

It is measured in a small rehearsal: see `rehearsal.py`.

Shape suffixes: T steps of a segment, R rows; B rows of a batch, D width, N chosen steps, C choices or numbers of an
action, A possibilities of all choices.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from understudy.acting.rollout import Trajectories
from understudy.doctor.checks import Finding, check
from understudy.doctor.rehearsal import ROUNDED, SEGMENTS, log_probabilities, small
from understudy.games.env import Array
from understudy.models.policy import STDS, Policy
from understudy.training.experiment import Experiment
from understudy.training.learner import Learner
from understudy.training.ppo import FIGURES, Segments, tensors

# Nats of KL in a first minibatch, and how far terms and estimates computed twice may be apart, as a share.
NATS, CLOSE, EXACT = 1e-5, 0.01, 1e-3


@check("masks, memory or resets are missing where the loss is computed", "the old log-probabilities are of other steps")
def first_minibatch(rehearsal: Experiment) -> Finding:
    """Check that before the first update the learner's policy is the one that played: ratio 1 and KL 0.

    Over segments that go on where the last one ended. Source: Huang et al., "The 37 Implementation Details of Proximal
    Policy Optimization" (2022), on debugging by the ratio of the first minibatch.
    """
    kl = clipped = 0.0
    with small(rehearsal) as one, torch.no_grad():
        for number in range(SEGMENTS):
            found = sums(one.learner, one.batch(number))
            kl, clipped = max(kl, found["kl"]), max(clipped, found["clipped"])
        most = NATS if one.learner.dtype == torch.float32 else ROUNDED
    return Finding(kl <= most and not clipped, f"a KL of {kl:.1e}, {clipped:.0%} clipped", f"at most {most:.0e}, none")


def sums(learner: Learner, batch: Segments) -> dict[str, float]:
    """Return the means of the loss and of FIGURES over a batch, before any update."""
    (term,) = learner.objective.terms(batch, [range(len(batch))], learner.device)
    means = learner.objective(*term.parts[0]) / term.weight
    return dict(zip((term.name, *term.also), means.tolist(), strict=True))


@check("the old log-probabilities are computed anew in each minibatch", "the KL is told of other steps")
def old_log_probabilities(rehearsal: Experiment) -> Finding:
    """Check that the KL which a step tells is that from the policy that played, in each of several updates.

    Where the old log-probabilities are those of now, the ratio is always 1 and nothing is ever clipped. Source:
    Schulman et al., "Proximal Policy Optimization Algorithms" (2017), equation 7.
    """
    expected: list[float] = []
    with small(rehearsal) as one:
        batch, learner = replace(one.batch(0), learns=True), one.learner
        loss = learner.objective
        loss.config, loss.batch_size = replace(loss.config, kl_stop=0.0, epochs=3), len(batch)
        config, rate = learner.config, max(learner.config.lr, 1e-3)
        learner.config = replace(config, micro_batch_size=0, lr=rate, warmup=0, schedule="constant")
        given = tensors(batch, learner.device)

        def note(*_: Any) -> None:
            with torch.no_grad():
                log_ratio = log_probabilities(learner.model, batch, given)[0] - given.log_probs_BT
                kl = log_ratio.exp() - 1 - log_ratio
                expected.append(float((kl * given.weights_BT).sum() / given.weights_BT.sum()))

        with learner.optimizer.register_step_pre_hook(note):
            told = learner.step(batch)["kl"]
    measured, own = f"a KL of {told:.2e}, computed again {np.mean(expected):.2e}", float(np.mean(expected))
    return Finding(abs(told - own) <= max(NATS, 5 * CLOSE * own), measured, "the same")


@check("what follows a step is cut off, or not, at the wrong step", "they are not normalised over the whole batch")
def advantage_estimates(rehearsal: Experiment) -> Finding:
    """Check that advantages and returns equal a slow loop, and that advantages are normalised over the batch.

    Where a game ended nothing follows; where it was cut short its last value does; where the segment ends the next
    value does. Source: Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage Estimation"
    (2016), equation 16.
    """
    returns = normal = 0.0
    with small(rehearsal) as one:
        config = one.learner.objective.config
        for number in range(SEGMENTS):
            batch, played = one.batch(number), one.trajectories
            gains = slow_advantages(played, config.gamma, config.gae_lambda)
            mine = played.decided
            expected = (gains + played.values[:-1])[mine]
            scale = max(float(np.abs(expected).max(initial=0)), 1e-3)
            returns = max(returns, float(np.abs(batch.returns_BT.T[mine] - expected).max(initial=0)) / scale)
            wanted = (gains[mine] - gains[mine].mean()) / (gains[mine].std() + 1e-8)
            if gains[mine].std() > CLOSE * scale:
                normal = max(normal, float(np.abs(batch.advantages_BT.T[mine] - wanted).max(initial=0)))
    measured = f"returns {returns:.1e} of the largest apart, normalised advantages {normal:.1e} deviations"
    return Finding(max(returns, normal) <= EXACT, measured, f"at most {EXACT:.0e}")


def slow_advantages(played: Trajectories, gamma: float, lam: float) -> Array:
    """Return Σ (γλ)ˡ δₜ₊ₗ up to the end of the game or of the segment, float64 [T, R]."""
    gains = np.zeros(played.rewards.shape)
    steps, rows = played.rewards.shape
    for row in range(rows):
        for start in range(steps):
            weight = 1.0
            for step in range(start, steps):
                over, cut = played.terminated[step, row], played.truncated[step, row]
                ahead = played.final_values[step, row] if cut else played.values[step + 1, row]
                ahead = 0.0 if over else float(ahead)
                gains[start, row] += weight * (played.rewards[step, row] + gamma * ahead - played.values[step, row])
                weight *= gamma * lam
                if over or cut:
                    break
    return gains


@check("a term has the wrong sign or weight", "the masks or the clip are left out of the ratio")
def policy_loss(rehearsal: Experiment) -> Finding:
    """Check each term of the loss against its formula in float64: surrogate, value, entropy, KL and anchor.

    The old log-probabilities are shaken, so that some ratios are clipped, and half of what was not done is forbidden.
    Source: Schulman et al., "Proximal Policy Optimization Algorithms" (2017), equations 7 and 9.
    """
    with small(rehearsal) as one, torch.no_grad():
        policy, config = one.learner.model, one.learner.objective.config
        one.batch(0)
        batch = replace(one.batch(1), learns=True, entropy=0.1)
        batch = shaken(batch, policy, config.clip_ratio)
        told = sums(one.learner, batch)

        given = tensors(batch, one.learner.device)
        hidden_BTD, _ = policy.seen(given.inputs_BT, given.actions_BTC, batch.state, given.reset_BT)
        chosen = given.weights_BT > 0
        log_prob_N, entropy_N = by_definition(policy, policy.action(hidden_BTD)[chosen].double(), given, chosen)
        log_ratio_N = log_prob_N - given.log_probs_BT[chosen].double()
        ratio_N, gain_N = log_ratio_N.exp(), given.advantages_BT[chosen].double()
        low, high = 1 - config.clip_ratio, 1 + config.clip_ratio
        value_N = policy.value(hidden_BTD)[chosen][:, 0].double()
        target_N = (given.returns_BT[chosen].double() - policy.value_mean) / policy.value_std
        own = {
            "policy_loss": -torch.minimum(ratio_N * gain_N, ratio_N.clamp(low, high) * gain_N),
            "value_loss": (value_N - target_N) ** 2 / 2,
            "entropy": entropy_N,
            "kl": ratio_N - 1 - log_ratio_N,
            "clipped": ((ratio_N < low) | (ratio_N > high)).double(),
        }
        means = {name: float(x_N.mean()) for name, x_N in own.items()} | {"anchor_kl": told["anchor_kl"]}
        terms = means["policy_loss"], config.value_coef * means["value_loss"], -batch.entropy * means["entropy"]
        means["loss"] = sum(terms) + batch.anchor * means["anchor_kl"]
    close = CLOSE if one.learner.dtype == torch.float32 else ROUNDED
    wrong = [name for name in ("loss", *FIGURES) if abs(told[name] - means[name]) > close * max(1, abs(means[name]))]
    measured = ", ".join(f"{name} {told[name]:.4g} for {means[name]:.4g}" for name in wrong) or "all terms agree"
    return Finding(not wrong, measured, f"within {close:.0%}")


def shaken(batch: Segments, policy: Policy, by: float) -> Segments:
    """Return the batch with other old log-probabilities and masks, which allow what was done."""
    random = np.random.default_rng(0)
    old = batch.log_probs_BT + random.normal(0, by, batch.log_probs_BT.shape).astype(np.float32)
    choices = policy.policy.choices
    if not choices:
        return replace(batch, log_probs_BT=old)
    masks = random.random((*old.shape, sum(choices))) < 0.5
    np.put_along_axis(masks, batch.actions_BTC + np.cumsum((0, *choices[:-1])), True, axis=-1)
    return replace(batch, log_probs_BT=old, masks_BTA=masks)


def by_definition(
    policy: Policy, said_NA: torch.Tensor, given: Segments, chosen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log p of what was done and the entropy, [N] each, from what the action head says at the chosen steps."""
    actions_NC = given.actions_BTC[chosen]
    if policy.log_std is not None:
        mean_NC = said_NA * policy.reach + policy.middle
        std_NC = (policy.log_std.double().exp().clamp(*STDS) * policy.reach).expand_as(mean_NC)
        normal = torch.distributions.Normal(mean_NC, std_NC)
        return normal.log_prob(actions_NC.double()).sum(-1), normal.entropy().sum(-1)
    if given.masks_BTA is not None:
        said_NA = said_NA.masked_fill(~given.masks_BTA[chosen], -1e9)
    heads = [torch.distributions.Categorical(logits=one) for one in said_NA.split(policy.policy.choices, -1)]
    log_probs = [one.log_prob(done) for one, done in zip(heads, actions_NC.unbind(-1), strict=True)]
    return torch.stack(log_probs).sum(0), torch.stack([one.entropy() for one in heads]).sum(0)
