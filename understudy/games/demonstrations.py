"""Recorded games as batches to learn from: a row is what one agent saw and did from beginning to end.

Shape suffixes: B rows, T steps of the longest row, A possibilities of all choices side by side.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from understudy.config import child_seed
from understudy.data.packing import Batch
from understudy.errors import RecordingError
from understudy.games.env import IMAGE, Action, Array
from understudy.games.recordings import Episode


class Part(NamedTuple):
    """The steps of one agent in one game, or some of them."""

    episode: Episode
    game: int
    """The episode's number."""
    agent: int
    start: int
    length: int


class GameBatches:
    """Endless batches of recorded games: every epoch holds each agent's part of each game once, in a new order.

    `batch(step)` depends only on the step, so resuming needs no data-loader state. A game longer than a row is cut into
    pieces, each of which starts a new context.

    Args:
        episodes: the games.
        batch_size: rows of a batch, B.
        context: most steps of a row; 0 means as many as the longest game has.
        seed: of the order, which is new in each epoch; with None it is always the same.
        balance: the weight of a step is the frequency of its action (of one choice) to the power of −balance, so that
            0 takes people as they are and 1 has all actions weigh the same; the mean weight is 1.
        agents: which agents to learn from; None means all.
        last_action: the game's kind of action; then what is seen ends with what the agent itself did last.

    Raises:
        RecordingError: there is nothing to learn from.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        batch_size: int,
        context: int = 0,
        seed: int | None = None,
        balance: float = 0.0,
        agents: Sequence[int] | None = None,
        last_action: Action | None = None,
    ) -> None:
        longest = max((len(one.actions) for one in episodes), default=0)
        if not longest:
            raise RecordingError("there is nothing to learn from: no recorded game has a single step")
        self.context = min(context or longest, longest)
        self.batch_size, self.seed, self._last_action = batch_size, seed, last_action
        self.parts = [
            Part(episode, game, agent, start, min(self.context, len(episode.actions) - start))
            for game, episode in enumerate(episodes)
            for agent in (range(episode.actions.shape[1]) if agents is None else agents)
            for start in range(0, len(episode.actions), self.context)
        ]
        self.batches_per_epoch = -(-len(self.parts) // batch_size)
        self.targets_per_epoch = sum(part.length for part in self.parts)
        self._weight = _weights(episodes, balance)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0 over all epochs."""
        epoch, index = divmod(step, self.batches_per_epoch)
        order = np.arange(len(self.parts))
        if self.seed is not None:
            order = np.random.default_rng(child_seed(self.seed, f"games of epoch {epoch}")).permutation(order)
        # An epoch's rows are spread evenly over its batches.
        first, end = (len(order) * i // self.batches_per_epoch for i in (index, index + 1))
        return self._assemble([self.parts[part] for part in order[first:end]])

    def eval_batches(self) -> Iterator[Batch]:
        """Yield each part once, in a fixed order."""
        for first in range(0, len(self.parts), self.batch_size):
            yield self._assemble(self.parts[first : first + self.batch_size])

    def seen(self, part: Part) -> Array:
        """Return what comes in at the steps of a part: [length, …]."""
        episode, _, agent, start, length = part
        seen = episode.observations[start : start + length, agent]
        if self._last_action is None:
            return seen
        # Nothing was done before the first step.
        done = np.concatenate([episode.actions[:1, agent], episode.actions[: start + length - 1, agent]])[start:]
        return with_last_action(seen, done, self._last_action, begins=start == 0)

    def _assemble(self, parts: Sequence[Part]) -> Batch:
        one, shape = parts[0].episode, (len(parts), self.context)
        first = self.seen(parts[0])
        inputs = np.zeros((*shape, *first.shape[1:]), first.dtype)
        targets = np.zeros((*shape, one.actions.shape[2]), one.actions.dtype)
        weights, reset = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
        reset[:, 0] = True
        masks = None if one.masks is None else np.ones((*shape, one.masks.shape[2]), np.bool_)
        for row, part in enumerate(parts):
            episode, _, agent, start, length = part
            steps = slice(start, start + length)
            inputs[row, :length] = self.seen(part)
            targets[row, :length] = episode.actions[steps, agent]
            if masks is not None and episode.masks is not None:
                masks[row, :length] = episode.masks[steps, agent]
            if self._weight is None:
                weights[row, :length] = 1
            else:
                weights[row, :length] = self._weight[targets[row, :length, 0]]
        return Batch(inputs, targets, weights, reset, masks_BTA=masks)


def with_last_action(seen: Array, done: Array, action: Action, begins: bool) -> Array:
    """Return observations [T, …] with what was done before each, [T, width], at their end or as planes of a grid.

    Each choice is shown as a 1 among zeros. Where a game begins with the first observation, nothing was done before.
    """
    if action.choices:
        shown = np.concatenate([np.eye(n)[taken] for n, taken in zip(action.choices, done.T, strict=True)], axis=-1)
    else:
        shown = done.astype(np.float64)
    if begins:
        shown[0] = 0
    if seen.ndim == 2:
        return np.concatenate([seen, shown.astype(seen.dtype)], axis=-1)
    is_image = seen.ndim == 4 and min(seen.shape[1:3]) >= IMAGE
    planes = shown[:, None, None, :] if is_image else shown[:, :, None, None]
    target = (*seen.shape[:3], shown.shape[1]) if is_image else (len(seen), shown.shape[1], *seen.shape[2:])
    return np.concatenate([seen, np.broadcast_to(planes, target).astype(seen.dtype)], axis=-1 if is_image else 1)


def _weights(episodes: Sequence[Episode], balance: float) -> Array | None:
    """Return the weight of each possibility of the first choice; None where all weigh 1."""
    if not balance:
        return None
    counts = np.bincount(np.concatenate([one.actions[:, :, 0].ravel() for one in episodes]))
    weight = np.where(counts > 0, np.maximum(counts, 1.0) ** -balance, 0.0)
    return (weight / np.average(weight, weights=counts)).astype(np.float32)
