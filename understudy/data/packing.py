"""Training batches: whole documents packed into rows; each batch is a pure function of its number.

Shapes: B rows, T positions (the context). A document of n tokens takes n - 1 positions: each token but the last is an
input, each but the first a target. So no position joins two documents, and no target is lost.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from understudy.config import child_seed
from understudy.data.token_store import Indices, TokenStore
from understudy.errors import DataError


@dataclass(frozen=True)
class NextReplyQuestion:
    """A question of next-reply classification: which of the candidates came next?

    Attributes:
        row: the row of the batch that holds the conversation.
        candidates: ids of the conversation so far followed by each reply, the true one first; none longer than a row.
    """

    row: int
    candidates: tuple[npt.NDArray[np.int32], ...]


@dataclass(frozen=True)
class Batch:
    """The data of one training step.

    Attributes:
        inputs_BT: int64, token ids; the padding token where a row is not full.
        targets_BT: int64, the token that follows each input in its document.
        weights_BT: float32, 1 where the target is a reply's token, `other_weight` at a document's other tokens and
            0 at padding.
        reset_BT: bool, True where a document starts: nothing before it may be attended to.
        questions: of next-reply classification, if that is learned.
        sizes_BT: int64, bytes of text that each target stands for; None if the tokenizer's `token_bytes` give them.
        masks_BTA: bool, what could have been chosen instead; None: everything. Where recorded games are learned from,
            inputs are observations [B, T, …] and targets actions [B, T, choices] or real numbers.
    """

    inputs_BT: npt.NDArray[Any]
    targets_BT: npt.NDArray[Any]
    weights_BT: npt.NDArray[np.float32]
    reset_BT: npt.NDArray[np.bool_]
    questions: tuple[NextReplyQuestion, ...] = ()
    sizes_BT: npt.NDArray[np.int64] | None = None
    masks_BTA: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.inputs_BT)


class _Plan(NamedTuple):
    """Where each piece of the store goes, sorted by row; all int64 [pieces] but the last."""

    source: Indices  # index of its first token in the store
    length: Indices
    column: Indices  # its first position in its row
    row_starts: Indices  # [rows + 1], index of each row's first piece; the last one is the end


class Batches(Protocol):
    """Endless batches to learn from, and the same rows once to measure on. Each is a function of its number alone."""

    batch_size: int
    context: int
    """Positions of the longest row."""
    batches_per_epoch: int
    targets_per_epoch: int

    def batch(self, step: int) -> Any:
        """Return the batch of a step, counted from 0 over all epochs: a `Batch`, or what a policy has played."""

    def eval_batches(self) -> Iterator[Any]:
        """Yield each row once, in a fixed order."""


class PackedBatches:
    """Endless batches of the documents of a store: every epoch holds each document once, in a new order.

    `batch(step)` depends only on the step, so resuming needs no data-loader state. A document longer than a row is cut
    into pieces, each of which starts a new context.

    Args:
        store: the documents.
        docs: int64 [documents], which of them to take.
        batch_size: rows of a batch, B.
        context: positions of a row, T.
        seed: of the order, which is new in each epoch; with None it is always the same.
        other_weight: weight of targets that are not part of a reply.
        ask: makes the questions of a step about its documents, as `NextReply.questions` does.

    Raises:
        DataError: the documents hold nothing to predict.
    """

    def __init__(
        self,
        store: TokenStore,
        docs: Indices,
        batch_size: int,
        context: int,
        seed: int | None,
        other_weight: float = 0.0,
        ask: Callable[[int, Iterable[tuple[int, int]]], Iterable[NextReplyQuestion]] | None = None,
    ) -> None:
        self.store, self.batch_size, self.context = store, batch_size, context
        self.seed, self.other_weight, self.ask = seed, other_weight, ask
        self._source, self._length = _pieces(store, docs, context)
        if not len(self._source):
            raise DataError(f"nothing to predict in {len(docs)} documents of {store.folder}; expected longer ones")
        # Packing depends on the lengths alone, so it is done once. An epoch only draws which document goes where.
        self._row, self._column = pack(np.sort(self._length)[::-1], context)
        self.rows = int(self._row.max()) + 1
        self.batches_per_epoch = -(-self.rows // batch_size)
        self.targets_per_epoch = int(self._length.sum())
        self._plan_of = lru_cache(1)(self._plan)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0 over all epochs."""
        # An epoch's rows are spread evenly over its batches.
        epoch, index = divmod(step, self.batches_per_epoch)
        first, end = (self.rows * i // self.batches_per_epoch for i in (index, index + 1))
        plan = self._plan_of(None if self.seed is None else epoch)
        batch = self._assemble(plan, first, end)
        if self.ask is None:
            return batch
        starts = plan.row_starts[first : end + 1]
        docs = self._document_of(plan.source[starts[0] : starts[-1]])
        rows = np.repeat(np.arange(end - first), np.diff(starts))
        return replace(batch, questions=tuple(self.ask(step, zip(rows.tolist(), docs.tolist(), strict=True))))

    def eval_batches(self) -> Iterator[Batch]:
        """Yield each document once, in a fixed order. Rows that the last batch lacks are padding."""
        plan = self._plan(None)
        for first in range(0, self.rows, self.batch_size):
            yield self._assemble(plan, first, first + self.batch_size)

    def eval_documents(self) -> Iterator[Indices]:
        """Yield, for each of `eval_batches`, int64 [B, T]: the index of each target's document, -1 at padding."""
        plan = self._plan(None)
        for first in range(0, self.rows, self.batch_size):
            _, token, position = self._places(plan, first, first + self.batch_size)
            document_BT = np.full((self.batch_size, self.context), -1, dtype=np.int64)
            document_BT.reshape(-1)[position] = self._document_of(token)
            yield document_BT

    def _plan(self, epoch: int | None) -> _Plan:
        # Deal the pieces to the places for their length. Shuffle pieces of one length, and the rows.
        pieces, rows = np.arange(len(self._source)), np.arange(self.rows)
        if self.seed is not None and epoch is not None:
            random = np.random.default_rng(child_seed(self.seed, f"batches of epoch {epoch}"))
            pieces, rows = random.permutation(pieces), random.permutation(rows)
        pieces = pieces[np.argsort(-self._length[pieces], kind="stable")]
        row = rows[self._row]
        order = np.lexsort((self._column, row))
        pieces, row = pieces[order], row[order]
        row_starts = np.searchsorted(row, np.arange(self.rows + 1))
        return _Plan(self._source[pieces], self._length[pieces], self._column[order], row_starts)

    def _document_of(self, token: Indices) -> Indices:
        return np.searchsorted(self.store.starts, token, side="right") - 1

    def _places(self, plan: _Plan, first_row: int, end_row: int) -> tuple[Indices, Indices, Indices]:
        """Return the first position of each piece in some rows, and each token with its position, row after row."""
        starts = plan.row_starts[first_row : end_row + 1]
        pieces = slice(starts[0], starts[-1])
        length = plan.length[pieces]
        place = np.repeat(np.arange(len(starts) - 1), np.diff(starts)) * self.context + plan.column[pieces]
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        return place, np.repeat(plan.source[pieces], length) + within, np.repeat(place, length) + within

    def _assemble(self, plan: _Plan, first_row: int, end_row: int) -> Batch:
        B, T = self.batch_size, self.context
        place, token, position = self._places(plan, first_row, end_row)
        inputs, targets = np.full((2, B * T), self.store.meta.pad, dtype=np.int64)
        weights, reset = np.zeros(B * T, dtype=np.float32), np.zeros(B * T, dtype=np.bool_)
        inputs[position] = self.store.tokens[token]
        targets[position] = self.store.tokens[token + 1]
        weights[position] = np.where(self.store.loss_mask[token + 1], 1.0, self.other_weight)
        reset[place] = True
        sizes_BT = None
        if self.store.sizes is not None:
            sizes_BT = np.zeros((B, T), dtype=np.int64)
            sizes_BT.reshape(-1)[position] = self.store.sizes[token + 1]
        inputs_BT, targets_BT = inputs.reshape(B, T), targets.reshape(B, T)
        return Batch(inputs_BT, targets_BT, weights.reshape(B, T), reset.reshape(B, T), sizes_BT=sizes_BT)


def pack(lengths: Indices, context: int) -> tuple[Indices, Indices]:
    """Pack by best-fit decreasing: put each piece in the fullest row that still has room, or in a new one.

    Args:
        lengths: int64 [pieces], decreasing, each from 1 to context.
        context: positions of a row.

    Returns:
        The row and the first column of each piece, both int64 [pieces].

    >>> pack(np.array([6, 5, 3, 3, 1]), context=9)
    (array([0, 1, 0, 1, 1]), array([0, 0, 6, 5, 8]))
    """
    row, column = np.empty_like(lengths), np.empty_like(lengths)
    rows_with: list[list[int]] = [[] for _ in range(context + 1)]  # rows by the room left in them
    # Bit r is set if rows_with[r] is not empty, so that a search is a shift.
    rooms = count = 0
    for piece, length in enumerate(lengths.tolist()):
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            taken = rows_with[room].pop()
            if not rows_with[room]:
                rooms ^= 1 << room
        else:
            room, taken, count = context, count, count + 1
        row[piece], column[piece] = taken, context - room
        left = room - length
        if left:
            rows_with[left].append(taken)
            rooms |= 1 << left
    return row, column


def _pieces(store: TokenStore, docs: Indices, context: int) -> tuple[Indices, Indices]:
    """Return the first token and the number of targets of each document, or of its pieces if it exceeds a row."""
    first = store.starts[docs]
    targets = np.maximum(store.starts[docs + 1] - first - 1, 0)
    count = -(-targets // context)
    offset = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)) * context
    return np.repeat(first, count) + offset, np.minimum(np.repeat(targets, count) - offset, context)
