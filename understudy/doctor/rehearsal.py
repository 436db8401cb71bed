"""Whether what a policy plays to learn from is what it should be.

All of it is measured in a small rehearsal (`PlayedBatches.small`): the same policy and opponents, a few worlds, short
segments and short games, so that much begins and ends.

Shape suffixes: B and R rows, T steps of a segment, N chosen steps, C choices of an action, A their possibilities.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from understudy.acting.player import PolicyPlayer
from understudy.acting.rollout import Trajectories
from understudy.doctor.checks import Finding, check
from understudy.games.env import Array, Buffers
from understudy.games.names import make
from understudy.games.teams import LATEST, Teams
from understudy.models.policy import Policy
from understudy.training.experiment import Experiment
from understudy.training.learner import Learner
from understudy.training.ppo import Segments, tensors

# Of a small rehearsal: worlds, steps of a segment, and how many segments are played.
WORLDS, LENGTH, SEGMENTS = 6, 16, 3
# How far log-probabilities and states may be apart in float32, and in bfloat16.
APART, ROUNDED = 1e-3, 0.1
# How many times larger the head is made where a fresh policy is looked at, whose probabilities are all alike.
SHARPER = 50.0
FLAGS = ("rewards", "terminated", "truncated")
# Least expected number of a choice, and by how many standard errors its number may be off.
EXPECTED, ERRORS = 10.0, 6.0


@contextmanager
def small(rehearsal: Experiment, length: int = LENGTH) -> Iterator[Any]:
    """Yield a small rehearsal; a policy that is fresh is given likings and expectations."""
    batches: Any = rehearsal.batches
    with batches.small(WORLDS, length) as one:
        policy: Policy = one.learner.model
        policy.set_dropout(0.0)
        with torch.no_grad():
            if rehearsal.fresh:
                policy.value.weight.mul_(SHARPER)
                policy.value.bias.add_(1)
            if rehearsal.fresh and policy.policy.choices:
                policy.action.weight.mul_(SHARPER)
        yield one


def limit(learner: Learner) -> float:
    """Return how far numbers of the learner's format may be apart."""
    return APART if learner.dtype == torch.float32 else ROUNDED


def replayed(batches: Any) -> Iterator[tuple[Trajectories, int, Buffers, Buffers, Array]]:
    """Yield each step of some segments with what a fresh game shows before and after it, and which rows are known.

    A row is known up to a segment in which its world begins twice: seeds are told after each segment. The first game of
    each world is cut short where the rollout says so.
    """
    rollout = batches.rollout
    env, scenario = rollout.teams.env, rollout.teams.scenario
    fresh = Teams(scenario, make(env.name, env.worlds, **env.options))
    before, out, agents = Buffers.of(env), Buffers.of(env), len(env.agents)
    alive, ages, cuts = np.ones(env.worlds, bool), np.zeros(env.worlds, np.int64), rollout.cuts.copy()
    fresh.reset(rollout.seeds, out)
    for number in range(SEGMENTS):
        batches.batch(number)
        if hasattr(env, "shaping"):
            fresh.env.shaping = env.shaping  # type: ignore[attr-defined]
        played: Trajectories = batches.trajectories
        ended = (played.terminated | played.truncated).reshape(rollout.length, env.worlds, agents).all(2)
        alive &= ended.sum(0) <= 1
        for step in range(rollout.length):
            for name, array in vars(out).items():
                getattr(before, name)[...] = array
            fresh.step(played.actions[step], out)
            ages += 1
            cut = np.repeat(ages == cuts, agents) & ~out.terminated & ~out.truncated
            out.truncated |= cut
            out.final_observations[cut] = out.observations[cut]
            yield played, step, before, out, np.repeat(alive, agents)
            over = out.over(env)
            ages[over] = cuts[over] = 0
            fresh.reset(rollout.seeds, out, over)
    fresh.env.close()


@check("the rewards or flags are changed on their way", "observations and actions of different steps stand together")
def games_replay(rehearsal: Experiment) -> Finding:
    """Check that what was played comes about again in a fresh game with the same seeds and actions.

    Observations, masks, rewards, and whether a game ended or was cut short must be the same, step for step. Source: the
    promise of games (understudy/games/env.py); Engstrom et al., "Implementation Matters in Deep Policy Gradients"
    (2020), on rewards that are clipped or scaled in silence.
    """
    wrong: dict[str, int] = {}
    steps = 0
    with small(rehearsal) as one:
        for played, step, before, after, rows in replayed(one):
            pairs = {name: (getattr(played, name)[step], getattr(before, name)) for name in ("observations", "masks")}
            pairs |= {name: (getattr(played, name)[step], getattr(after, name)) for name in FLAGS}
            for name, (found, expected) in pairs.items():
                apart = ~np.isclose(found, expected, rtol=1e-5, atol=1e-6).reshape(len(rows), -1)
                wrong[name] = wrong.get(name, 0) + int(apart.any(1)[rows].sum())
            steps += int(rows.sum())
    told = ", ".join(f"{name} at {count}" for name, count in wrong.items() if count)
    if not steps:
        return Finding("skipped", f"games are over within {LENGTH // 2} steps")
    return Finding(not told, f"{told or 'none'} of {steps} steps differ", "none")


class Alone:
    """The policy, one step at a time, doing what was done: what the rollout should have remembered and said."""

    def __init__(self, batches: Any) -> None:
        self.policy: Policy = batches.learner.model
        self.player = PolicyPlayer(self.policy, batches.rollout.teams.env)
        self.every = np.arange(batches.rollout.teams.env.rows)

    def see(self, played: Trajectories, step: int) -> tuple[Array, Array]:
        """Return log-probabilities of what was done at a step, and values before it: [R] each."""
        if played.begins[step].any():
            rows = np.flatnonzero(played.begins[step])
            fresh = self.policy.initial_state(len(rows))
            self.player.state = self.policy.with_rows(self.player.state, rows, fresh)
        self.player.act(self.every, played.observations[step], played.masks[step])
        self.player.follow(played.actions[step])
        acted = self.player.acted
        assert acted is not None
        said = torch.from_numpy(acted.probabilities)
        said = said.log() if self.policy.policy.choices else said
        return self.policy.log_prob(said, torch.from_numpy(played.actions[step])).numpy(), acted.values


@check("the rollout draws from other probabilities than it takes down", "what a row remembers is another row's")
def played_step_by_step(rehearsal: Experiment) -> Finding:
    """Check that log-probabilities and values in a rollout are those of the policy, computed one step after another.

    With games that begin in mid-segment, and memory that is forgotten there. Source: Huang et al., "The 37
    Implementation Details of Proximal Policy Optimization" (2022).
    """
    worst = off = 0.0
    with small(rehearsal) as one, torch.inference_mode():
        alone, scale = Alone(one), 1.0
        for number in range(SEGMENTS):
            one.batch(number)
            played, scale = one.trajectories, float(one.learner.model.value_std)
            for step in range(one.rollout.length):
                log_probs, values = alone.see(played, step)
                mine = played.decided[step]
                apart = np.abs(log_probs - played.log_probs[step]) / np.maximum(1, np.abs(log_probs))
                worst = max(worst, float(apart[mine].max(initial=0)))
                off = max(off, float(np.abs(values - played.values[step])[mine].max(initial=0)) / max(scale, 1e-3))
        most = limit(one.learner)
    measured = f"log-probabilities {worst:.1e} apart, values {off:.1e} of the returns' deviation"
    return Finding(max(worst, off) <= most, measured, f"at most {most:.0e}")


@check(
    "the value is asked of the first observation of the next game", "what is remembered is that of a game begun anew"
)
def final_observation(rehearsal: Experiment) -> Finding:
    """Check that a game that was cut short is worth what the policy expects of that game's own last observation.

    Source: Pardo et al., "Time Limits in Reinforcement Learning" (2018), partial-episode bootstrapping.
    """
    worst, cuts = 0.0, 0
    with small(rehearsal) as one, torch.inference_mode():
        alone = Alone(one)
        for played, step, _, after, known in replayed(one):
            alone.see(played, step)
            cut = after.truncated & played.decided[step] & known
            if cut.any():
                expected = alone.policy.expect(
                    after.final_observations[cut], alone.policy.rows_of(alone.player.state, np.flatnonzero(cut))
                )
                apart = np.abs(expected - played.final_values[step, cut]) / max(float(alone.policy.value_std), 1e-3)
                worst, cuts = max(worst, float(apart.max())), cuts + int(cut.sum())
        most = limit(one.learner)
    if not cuts:
        return Finding("skipped", "no game was cut short")
    return Finding(worst <= most, f"values of {cuts} last observations {worst:.1e} deviations apart", f"{most:.0e}")


@check("what was remembered is not handed on from segment to segment", "it is kept at another row's place, or too late")
def state_at_segments(rehearsal: Experiment) -> Finding:
    """Check that a segment begins with what the policy remembers of the games that go on: not zeros, nothing stale.

    Source: Kapturowski et al., "Recurrent Experience Replay in Distributed Reinforcement Learning" (2019), on stored
    states; PufferLib 3 zeroes them at each segment.
    """
    worst = 0.0
    with small(rehearsal) as one, torch.inference_mode():
        alone, policy = Alone(one), one.learner.model
        if not policy.remembered(alone.player.state):
            return Finding("skipped", "a policy without memory")
        for number in range(SEGMENTS):
            batch, played = one.batch(number), one.trajectories
            own, kept = (policy.remembered(state) for state in (alone.player.state, batch.state))
            going = torch.from_numpy(np.flatnonzero(played.decided[0] & ~played.begins[0]))
            for name, expected in own.items():
                axis = 0 if name == "last" else 1
                apart = (expected - kept[name]).index_select(axis, going).abs()
                worst = max(worst, float(apart.max()) if apart.numel() else 0.0)
            for step in range(one.rollout.length):
                alone.see(played, step)
        most = limit(one.learner)
    return Finding(worst <= most, f"{worst:.1e} apart at the beginnings of segments", f"at most {most:.0e}")


@check("opponents are drawn again while a game is played", "a past self is replaced where it sits")
def opponents_stay(rehearsal: Experiment) -> Finding:
    """Check that whoever sits in a game stays until it is over.

    Else a game is credited to one who did not play it, and a memory is another's. Source: OpenAI et al., "Dota 2 with
    Large Scale Deep Reinforcement Learning" (2019), appendix N.
    """
    changes, guests = 0, set[str]()
    with small(rehearsal, length=1) as one:
        opponents, rollout = one.opponents, one.rollout
        if not opponents.competes and not opponents.others:
            return Finding("skipped", "nobody else takes part")
        opponents.config = replace(opponents.config, past=0.5, others_share=0.5, others_from=0.0, others_by=0.0)
        one.batch(0)
        seated, worlds = rollout.teams.controls, rollout.teams.env.worlds
        for _ in range(SEGMENTS * LENGTH):
            played = rollout.play()
            ended = (played.terminated | played.truncated).reshape(worlds, -1).all(1)
            now = rollout.teams.controls
            changes += int(((now != seated).any(1) & ~ended).sum())
            guests |= set(now.ravel()) - {LATEST}
            seated = now
    measured = f"{changes} changes in mid-game; {len(guests)} took part beside the latest"
    return Finding("noted" if not guests and not changes else not changes, measured, "no change")


@check("each world is seeded alike", "the numbers drawn do not depend on world and agent")
def worlds_differ(rehearsal: Experiment) -> Finding:
    """Check that worlds play different games: no two have the same seed, and no two rows draw the same numbers.

    Source: Henderson et al., "Deep Reinforcement Learning that Matters" (2018), on seeds; workers with equal seeds are
    one worker.
    """
    with small(rehearsal) as one:
        one.batch(0)
        seeds, (keys, _) = one.rollout.seeds, one.rollout.player.drawn
        mine = one.rollout.teams.rows(LATEST)
        alike, same = len(seeds) - len(set(seeds.tolist())), len(mine) - len(set(keys[mine].tolist()))
    measured = f"{alike} of {len(seeds)} worlds have another's seed, {same} of {len(mine)} rows another's draws"
    return Finding(not alike and not same, measured, "none")


def log_probabilities(policy: Policy, batch: Segments, given: Segments) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log p of what was done [B, T] and the `distribution`, by a pass over whole segments."""
    hidden_BTD, _ = policy.seen(given.inputs_BT, given.actions_BTC, batch.state, given.reset_BT)
    said = policy.distribution(hidden_BTD, given.masks_BTA)
    return policy.log_prob(said, given.actions_BTC), said


@check("what is drawn is mapped to another action", "the draws are not evenly spread, or shared between rows")
def actions_drawn(rehearsal: Experiment) -> Finding:
    """Check that each choice is made as often as its probability says; none is likely and never made.

    Source: by definition; the normal approximation of a sum of independent draws.
    """
    worst, which = 0.0, 0
    with small(rehearsal) as one, torch.no_grad():
        policy = one.learner.model
        if not policy.policy.choices:
            return Finding("skipped", "real numbers, not choices")
        taken = wanted = spread = np.zeros(sum(policy.policy.choices))
        for number in range(SEGMENTS):
            batch = one.batch(number)
            p_BTA = log_probabilities(policy, batch, tensors(batch, one.learner.device))[1].double().exp().cpu().numpy()
            mine = batch.weights_BT > 0
            p_NA, done_NC = p_BTA[mine], batch.actions_BTC[mine]
            heads = zip(done_NC.T, policy.policy.choices, strict=True)
            taken = taken + np.concatenate([np.bincount(done, minlength=count) for done, count in heads])
            wanted, spread = wanted + p_NA.sum(0), spread + (p_NA * (1 - p_NA)).sum(0)
    asked = (wanted >= EXPECTED) & (spread >= 1)
    if asked.any():
        errors = np.where(asked, np.abs(taken - wanted) / np.sqrt(np.maximum(spread, 1)), 0)
        worst, which = float(errors.max()), int(errors.argmax())
    measured = f"choice {which} was made {taken[which]:.0f} times for {wanted[which]:.1f}: {worst:.1f} standard errors"
    return Finding(worst <= ERRORS, measured, f"at most {ERRORS:g}")


@check("the game's arrays are not copied, or never written", "what is rewarded cannot be reached")
def play_changes(rehearsal: Experiment) -> Finding:
    """Note a reward that is always the same, and observations that never change: nothing can be learned from these.

    Rewards of many games are rare, so that few steps have none. Source: Karpathy, "A Recipe for Training Neural
    Networks" (2019), "visualize just before the net".
    """
    with small(rehearsal) as one:
        seen, rewards = [], []
        for number in range(SEGMENTS):
            one.batch(number)
            seen.append(one.trajectories.observations)
            rewards.append(one.trajectories.rewards)
    shown = np.concatenate(seen)
    steps, low, high = len(shown), np.min(rewards), np.max(rewards)
    constant = int((shown == shown[:1, :1]).all((0, 1)).sum())
    measured = f"rewards from {low:.3g} to {high:.3g}; {constant} of {shown[0, 0].size} numbers never change"
    told = f"{measured} in {steps} steps of {shown.shape[1]} rows"
    good = low < high and constant < shown[0, 0].size
    return Finding(True if good else "noted", told, "rewards that differ, and observations that change")
