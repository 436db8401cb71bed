"""Bugs of self-play, as in `planted`."""

from dataclasses import replace
from typing import Any

import numpy as np

from bugs.planted import Patch, bug, wrap
from understudy.acting import rollout
from understudy.games import teams
from understudy.models import policy
from understudy.recipes import rehearsal
from understudy.training import ppo

LSTM = {"verb": "selfplay", "core": "lstm"}
DUEL = {"verb": "selfplay", "env": "lane/duel", "option": "horizon=40", "core": "none"}
PENDULUM = {"verb": "selfplay", "env": "gym:Pendulum-v1", "option": "max_episode_steps=20", "core": "none"}

CART = {"verb": "selfplay", "env": "gym:CartPole-v1", "option": "max_episode_steps=20", "core": "none"}


def after_playing(patch: Patch) -> Any:
    """Changes what `Rollout.play` returns by the decorated function of the rollout and the trajectories."""

    def put(changed: Any) -> None:
        @wrap(patch, rollout.Rollout, "play")
        def _(original: Any, self: Any) -> Any:
            return changed(self, original(self))

    return put


@bug("games_replay", also="final_observation", **PENDULUM)
def truncation_as_termination(patch: Patch) -> None:
    @after_playing(patch)
    def _(self: Any, played: Any) -> Any:
        none = np.zeros_like(played.truncated)
        return replace(played, terminated=played.terminated | played.truncated, truncated=none)


@bug("advantage_estimates", **PENDULUM)
def truncation_as_termination_in_the_estimate(patch: Patch) -> None:
    @wrap(patch, rehearsal, "advantages")
    def _(original: Any, played: Any, *numbers: Any) -> Any:
        none = np.zeros_like(played.truncated)
        over = played.terminated | played.truncated
        return original(replace(played, terminated=over, truncated=none), *numbers)


@bug("advantage_estimates", **LSTM)
def advantages_not_normalised_over_the_batch(patch: Patch) -> None:
    """But each row by itself."""

    @wrap(patch, rehearsal, "Segments")
    def _(original: Any, **arrays: Any) -> Any:
        gains = arrays["advantages_BT"]
        each = (gains - gains.mean(1, keepdims=True)) / (gains.std(1, keepdims=True) + 1e-8)
        return original(**{**arrays, "advantages_BT": each})


@bug("state_at_segments", also="first_minibatch policy_loss", **LSTM)
def state_zeroed_at_each_segment(patch: Patch) -> None:
    @after_playing(patch)
    def _(self: Any, played: Any) -> Any:
        return replace(played, state=self.policy.initial_state(self.teams.env.rows))


@bug("state_at_segments", also="first_minibatch", **LSTM)
def state_of_the_segments_end(patch: Patch) -> None:
    @after_playing(patch)
    def _(self: Any, played: Any) -> Any:
        return replace(played, state=self.policy.rows_of(self.player.state, np.arange(self.teams.env.rows)))


@bug("played_step_by_step", also="state_at_segments first_minibatch final_observation", **PENDULUM | {"core": "lstm"})
def state_carried_into_the_next_game(patch: Patch) -> None:
    patch.setattr(policy.Policy, "forget", lambda self, state, rows: state)


@bug("old_log_probabilities", also="policy_loss", **LSTM)
def old_log_probabilities_computed_anew(patch: Patch) -> None:
    @wrap(patch, ppo.PPOLoss, "forward")
    def _(original: Any, self: Any, part: Any) -> Any:
        hidden, _ = self.model.seen(part.inputs_BT, part.actions_BTC, part.state, part.reset_BT)
        now = self.model.log_prob(self.model.distribution(hidden, part.masks_BTA), part.actions_BTC)
        return original(self, replace(part, log_probs_BT=now.detach()))


@bug("policy_loss", also="first_minibatch old_log_probabilities", **DUEL)
def mask_ignored_in_the_ratio(patch: Patch) -> None:
    @wrap(patch, ppo.PPOLoss, "forward")
    def _(original: Any, self: Any, part: Any) -> Any:
        return original(self, replace(part, masks_BTA=None))


@bug("advantage_estimates", **LSTM)
def gae_off_by_one(patch: Patch) -> None:
    @wrap(patch, rehearsal, "advantages")
    def _(original: Any, played: Any, *numbers: Any) -> Any:
        return np.roll(original(played, *numbers), 1, axis=0)


@bug("games_replay", **PENDULUM)
def reward_clipped_silently(patch: Patch) -> None:
    @after_playing(patch)
    def _(self: Any, played: Any) -> Any:
        return replace(played, rewards=played.rewards.clip(-1, 1))


@bug(
    "opponents_stay",
    also="played_step_by_step first_minibatch state_at_segments final_observation",
    **DUEL | {"core": "lstm"},
)
def opponent_swapped_in_mid_game(patch: Patch) -> None:
    """Whoever is to play is drawn anew when a segment begins."""

    @wrap(patch, rollout.Rollout, "play")
    def _(original: Any, self: Any) -> Any:
        seats = self.teams._seated
        if seats is None:
            return original(self)
        for world, who in enumerate(self.teams._who):
            drawn = seats(int(self.seeds[world]) + int(self._age.sum()))
            who[self.teams._places] = [self.teams.number(one) for one in drawn]
        return original(self)


@bug("policy_loss", **LSTM)
def entropy_sign(patch: Patch) -> None:
    @wrap(patch, ppo.PPOLoss, "forward")
    def _(original: Any, self: Any, part: Any) -> Any:
        return original(self, replace(part, entropy=-part.entropy))


@bug("advantage_estimates", **PENDULUM)
def value_target_without_bootstrap(patch: Patch) -> None:
    """What comes after the segment counts as nothing."""

    @wrap(patch, rehearsal, "advantages")
    def _(original: Any, played: Any, *numbers: Any) -> Any:
        values = played.values.copy()
        values[-1] = 0
        return original(replace(played, values=values), *numbers)


@bug("worlds_differ", also="actions_drawn games_replay", **LSTM)
def seeds_equal_across_worlds(patch: Patch) -> None:
    @wrap(patch, rollout.Rollout, "__init__")
    def _(original: Any, self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        self._seeds[:] = self._seeds[0]
        self._begin(self._now, np.ones(self.teams.env.worlds, bool))


@bug("final_observation", **PENDULUM)
def final_observation_of_the_next_game(patch: Patch) -> None:
    """The game has begun again before the value is asked for."""

    @after_playing(patch)
    def _(self: Any, played: Any) -> Any:
        following = np.concatenate([played.observations[1:], self._now.observations[None]])
        found = np.stack([self._expected(seen, np.arange(self.teams.env.rows)) for seen in following])
        return replace(played, final_values=np.where(played.truncated, found, 0).astype(np.float32))


@bug("actions_drawn", also="played_step_by_step first_minibatch", **CART)
def an_action_that_is_never_taken(patch: Patch) -> None:
    @wrap(patch, teams.Teams, "decide")
    def _(original: Any, *arguments: Any) -> Any:
        return original(*arguments) * 0
