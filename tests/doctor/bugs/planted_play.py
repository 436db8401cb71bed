"""Bugs of recorded games and policies, as in `planted`."""

from dataclasses import replace
from typing import Any

import numpy as np

from bugs.planted import Patch, bug, wrap
from understudy.games import demonstrations, recordings
from understudy.games.kitchen import kernels
from understudy.models import policy, sequence_model
from understudy.recipes import clone


@bug("actions_taken", verb="clone")
def button_not_recorded(patch: Patch) -> None:
    @wrap(patch, recordings.Recorder, "step")
    def _(original: Any, self: Any, actions: Any, out: Any) -> Any:
        return original(self, np.where(actions == kernels.INTERACT, kernels.STAY, actions), out)


@bug("observations_change", also="action_alignment dead_units inputs_matter overfit_one_batch", verb="clone")
def first_observation_repeated(patch: Patch) -> None:
    @wrap(patch, demonstrations.GameBatches, "seen")
    def _(original: Any, *arguments: Any) -> Any:
        seen = original(*arguments)
        return np.repeat(seen[:1], len(seen), 0)


@bug("action_alignment", verb="clone")
def actions_one_step_late(patch: Patch) -> None:
    @wrap(patch, demonstrations.GameBatches, "_assemble")
    def _(original: Any, *arguments: Any) -> Any:
        batch = original(*arguments)
        return replace(batch, targets_BT=np.roll(batch.targets_BT, 1, axis=1))


@bug("action_alignment", verb="clone")
def observations_taken_after_the_step(patch: Patch) -> None:
    @wrap(patch, recordings.Recorder, "_episode")
    def _(original: Any, *arguments: Any) -> Any:
        episode = original(*arguments)
        return replace(episode, observations=np.concatenate([episode.observations[1:], episode.observations[-1:]]))


@bug("state_forgotten", verb="clone")
def state_carried_into_the_next_game(patch: Patch) -> None:
    patch.setattr(policy.Policy, "forget", lambda self, state, rows: state)


@bug("state_forgotten", verb="clone", core="none", last_action="yes")
def last_action_carried_into_the_next_game(patch: Patch) -> None:
    patch.setattr(policy.Policy, "forget", lambda self, state, rows: state)


@bug("leak_over_documents", verb="clone")
def core_deaf_to_resets(patch: Patch) -> None:
    @wrap(patch, sequence_model.LSTM, "forward")
    def _(original: Any, self: Any, x: Any, state: Any = None, reset: Any = None) -> Any:
        return original(self, x, state, None)


@bug("masked_actions", verb="clone")
def masks_ignored(patch: Patch) -> None:
    @wrap(patch, policy.Policy, "choices")
    def _(original: Any, self: Any, hidden: Any, masks: Any = None) -> Any:
        return original(self, hidden, None)


@bug("games_shared", verb="clone")
def validation_games_learned_from(patch: Patch) -> None:
    @wrap(patch, clone, "gather")
    def _(original: Any, *arguments: Any) -> Any:
        found = original(*arguments)
        found.play.train = [*found.play.train, *found.play.valid]
        return found


@bug("games_shared", verb="clone")
def test_game_learned_from_but_for_its_beginning(patch: Patch) -> None:
    @wrap(patch, clone, "gather")
    def _(original: Any, *arguments: Any) -> Any:
        found = original(*arguments)
        game = found.play.test[0]
        arrays = {name: getattr(game, name)[7:] for name in ("observations", "actions", "rewards")}
        found.play.train = [*found.play.train, replace(game, **arrays)]
        return found
