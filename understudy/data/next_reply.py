"""Next-reply classification: which of several replies was the one that was given (Wolf 2019, "TransferTransfo").

Shape suffixes: Q questions, C candidates, R rows, T positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from understudy.config import child_seed
from understudy.data.chat_template import Rendered
from understudy.data.packing import Batch, PackedBatches, Question, pack
from understudy.data.token_store import Indices, TokenStore
from understudy.errors import DataError

TRIES = 100
"""How often a distractor is drawn anew before its question is left out."""


class ChoiceBatches(PackedBatches):
    """Batches with a question about one reply of each conversation in them.

    The others to choose from are replies from other conversations of `docs`. What is drawn hangs on nothing but the
    seed and the step.

    Args:
        candidates: replies to choose from, C, the true one included.

    Raises:
        DataError: all replies are of one conversation.
    """

    def __init__(
        self,
        store: TokenStore,
        docs: Indices,
        batch_size: int,
        context: int,
        seed: int,
        other_weight: float = 0.0,
        candidates: int = 2,
    ) -> None:
        super().__init__(store, docs, batch_size, context, seed, other_weight)
        self.docs, self.candidates = docs, candidates
        if len(np.unique(store.hashes[docs])) < 2:
            raise DataError("replies to choose from come from other conversations, and there is only one; add data")

    def batch(self, step: int) -> Batch:
        """See `PackedBatches.batch`."""
        return replace(super().batch(step), questions=tuple(self._questions(step)))

    def _questions(self, step: int) -> Iterator[Question]:
        random = np.random.default_rng(child_seed(self.seed, f"candidates of step {step}"))
        for row, doc in self._documents(step):
            document = self.store.document(doc)
            replies = replies_in(document)
            if not replies:
                continue
            reply = replies[random.integers(len(replies))]
            others = self._others(random, doc, document.ids[reply])
            if others is not None:
                yield Question(
                    row, tuple(self._candidates(document.ids[: reply.start], [document.ids[reply], *others]))
                )

    def _documents(self, step: int) -> Iterator[tuple[int, int]]:
        """The row and the document of each piece in the batch."""
        plan, first, end = self._rows_of(step)
        starts = plan.row_starts[first : end + 1]
        docs = np.searchsorted(self.store.starts, plan.source[starts[0] : starts[-1]], side="right") - 1
        yield from zip(np.repeat(np.arange(end - first), np.diff(starts)).tolist(), docs.tolist(), strict=True)

    def _others(
        self, random: np.random.Generator, doc: int, right: npt.NDArray[np.int32]
    ) -> list[npt.NDArray[np.int32]] | None:
        """Distractors: none like another or like the right reply; None where there are too few."""
        conversation = self.store.hashes[doc]
        taken, others = {right.tobytes()}, []
        for _ in range(TRIES):
            other = int(self.docs[random.integers(len(self.docs))])
            document = self.store.document(other)
            replies = replies_in(document)
            if not replies or self.store.hashes[other] == conversation:
                continue
            ids = document.ids[replies[random.integers(len(replies))]]
            if ids.tobytes() not in taken:
                taken.add(ids.tobytes())
                others.append(ids)
            if len(others) == self.candidates - 1:
                return others
        return None

    def _candidates(
        self, before: npt.NDArray[np.int32], replies: list[npt.NDArray[np.int32]]
    ) -> Iterator[npt.NDArray[np.int32]]:
        """Each reply after what was said before it; the middle of one that is too long for the context is left out."""
        room = self.context - len(before)
        for ids in replies:
            yield np.concatenate([before, ids if len(ids) <= room else np.append(ids[: room - 1], ids[-1:])])


def replies_in(document: Rendered) -> list[slice]:
    """Where the replies are, each with the token that ends it.

    >>> is_reply = np.array([0, 0, 1, 1, 0, 1], dtype=np.bool_)
    >>> replies_in(Rendered(np.arange(6, dtype=np.int32), is_reply))
    [slice(2, 4, None), slice(5, 6, None)]
    """
    edges = np.flatnonzero(np.diff(document.is_reply, prepend=False, append=False)).tolist()
    return [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]


class Layout(NamedTuple):
    """Candidates packed into rows.

    Attributes:
        ids_RT: int64, the tokens.
        reset_RT: bool, True where a candidate starts.
        last_QC: int64, where each candidate's last token stands, counted row after row; the right one comes first.
    """

    ids_RT: npt.NDArray[np.int64]
    reset_RT: npt.NDArray[np.bool_]
    last_QC: npt.NDArray[np.int64]


def lay_out(questions: Sequence[Question], context: int) -> Layout:
    """Pack the candidates of some questions, of C each, into as few rows as there need be.

    >>> questions = (Question(0, (np.array([1, 2, 3]), np.array([1, 4]))),)
    >>> lay_out(questions, context=5).ids_RT, lay_out(questions, context=5).last_QC
    (array([[1, 2, 3, 1, 4]]), array([[2, 4]]))
    """
    sequences = [ids for question in questions for ids in question.candidates]
    lengths = np.array([len(ids) for ids in sequences], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    row, column = np.empty_like(lengths), np.empty_like(lengths)
    row[order], column[order] = pack(lengths[order], context)
    width = int((column + lengths).max())
    ids_RT = np.zeros((int(row.max()) + 1, width), dtype=np.int64)
    reset_RT = np.zeros(ids_RT.shape, dtype=np.bool_)
    for ids, at, start in zip(sequences, row, column, strict=True):
        ids_RT[at, start : start + len(ids)] = ids
        reset_RT[at, start] = True
    last = row * width + column + lengths - 1
    return Layout(ids_RT, reset_RT, last.reshape(len(questions), -1))
