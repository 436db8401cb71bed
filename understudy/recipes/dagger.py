"""DAgger: the clone plays, an expert says what it would have done, and the next round learns from both [1].

[1] Ross, Gordon & Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning",
AISTATS 2011.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from understudy.acting.player import PolicyPlayer
from understudy.data.packing import Batch
from understudy.evaluation.play import play
from understudy.games.demonstrations import GameBatches
from understudy.games.env import Array, Env
from understudy.games.minari_files import read, write
from understudy.games.recordings import Episode, Recording
from understudy.games.teams import Controller
from understudy.models.language_model import evaluating
from understudy.models.policy import Policy


class Corrected:
    """Lets one play and takes down what another would have done: a `teams.Controller`."""

    def __init__(self, player: Controller, expert: Controller) -> None:
        self.player, self.expert = player, expert
        self._taken: dict[int, list[Array]] = {}
        self._by_seed: dict[tuple[int, int], list[Array]] = {}

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes."""
        self.player.reset(rows, seeds)
        self.expert.reset(rows, seeds)
        for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True):
            self._taken[row] = self._by_seed[seed, row] = []

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return what the player does."""
        for row, action in zip(rows.tolist(), self.expert.act(rows, observations, masks), strict=True):
            self._taken[row].append(action)
        return self.player.act(rows, observations, masks)

    def corrected(self, episode: Episode) -> Episode:
        """Return an episode that was played, with what the expert would have done in it."""
        steps, agents = episode.actions.shape[:2]
        # Of the rows that began with this seed, those that lasted that long; each world has its own seed
        rows = sorted(row for seed, row in self._by_seed if seed == episode.seed)[:agents]
        actions = np.stack([np.stack(self._by_seed[episode.seed, row][:steps]) for row in rows], 1)
        return replace(episode, actions=actions)


class DaggerBatches:
    """Batches of rounds of equal length; before each but the first the clone plays and is corrected.

    What was played is written into the run's folder when its round begins, and read where it is there already. So a
    resumed run learns from what it had, and `batch(step)` depends on the step and on the weights at each round's start.

    Args:
        first: batches of the expert's own games.
        grow: makes batches of these and further games.
        correct: lets the clone play, and returns its games as the expert would have played them.
        rounds: how many times it does.
        steps: of the whole training.
        folder: where games are kept.
    """

    def __init__(
        self,
        first: GameBatches,
        grow: Callable[[Sequence[Episode]], GameBatches],
        correct: Callable[[int], Recording],
        rounds: int,
        steps: int,
        folder: Path,
    ) -> None:
        self._batches, self._grow, self._correct = [first], grow, correct
        self._length, self._rounds, self._folder = -(-steps // (rounds + 1)), rounds, folder
        self._games: list[Episode] = []
        self.batch_size, self.context = first.batch_size, first.context
        self.batches_per_epoch, self.targets_per_epoch = first.batches_per_epoch, first.targets_per_epoch
        self.parts = first.parts

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        round_, within = divmod(step, self._length)
        while len(self._batches) <= min(round_, self._rounds):
            number = len(self._batches)
            place = self._folder / f"dagger-{number}-v0"
            recording = read(place) if (place / "data" / "metadata.json").exists() else self._correct(number)
            if not place.exists():
                write(place, recording)
            self._games += recording.episodes
            self._batches.append(self._grow(self._games))
        return self._batches[min(round_, self._rounds)].batch(within)

    def eval_batches(self) -> Iterator[Batch]:
        """Yield the expert's own games."""
        return self._batches[0].eval_batches()


def corrected_games(policy: Policy, env: Env, expert: Controller, seeds: Sequence[int]) -> Recording:
    """Let the policy play a game per seed, and return these as the expert would have played them."""
    with evaluating(policy):
        both = Corrected(PolicyPlayer(policy, env), expert)
        episodes = play(env, both, seeds)
    return Recording.of(env, [both.corrected(episode) for episode in episodes])
