"""Next-reply classification: which of several replies was the one that was given (Wolf 2019, "TransferTransfo").

Shape suffixes: Q questions, C candidates, R rows, T positions.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from understudy.config import child_seed
from understudy.data.chat_template import TokenizedDocument
from understudy.data.packing import NextReplyQuestion, pack
from understudy.data.token_store import Indices, TokenStore
from understudy.errors import DataError

TRIES = 100
"""Draws of a distractor before its question is left out."""


class NextReply:
    """Asks about one reply of each conversation in a batch; `PackedBatches` takes its `questions`.

    The distractors are replies from other conversations of `docs`. What is drawn depends only on the seed and the step.

    Args:
        store: the documents.
        docs: int64 [documents], which of them to take.
        context: tokens of the longest candidate.
        seed: of what is drawn.
        candidates: replies to choose from, C, the true one included.

    Raises:
        DataError: all replies are from one conversation.
    """

    def __init__(self, store: TokenStore, docs: Indices, context: int, seed: int, candidates: int) -> None:
        self.store, self.docs, self.context, self.seed, self.candidates = store, docs, context, seed, candidates
        if len(np.unique(store.hashes[docs])) < 2:
            raise DataError("replies to choose from come from other conversations, and there is only one; add data")

    def questions(self, step: int, documents: Iterable[tuple[int, int]]) -> Iterator[NextReplyQuestion]:
        """Yield the questions of a step about its documents, given as (row of the batch, index in the store)."""
        random = np.random.default_rng(child_seed(self.seed, f"candidates of step {step}"))
        for row, doc in documents:
            document = self.store.document(doc)
            replies = replies_in(document)
            if not replies:
                continue
            reply = replies[random.integers(len(replies))]
            others = list(islice(self._distractors(random, doc, document.ids[reply]), self.candidates - 1))
            if len(others) < self.candidates - 1:
                continue
            # Each candidate follows what was said before. The middle of one that is too long is left out.
            before = document.ids[: reply.start]
            room = self.context - len(before)
            candidates = (document.ids[reply], *others)
            fitting = (ids if len(ids) <= room else np.append(ids[: room - 1], ids[-1:]) for ids in candidates)
            yield NextReplyQuestion(row, tuple(np.concatenate([before, ids]) for ids in fitting))

    def _distractors(
        self, random: np.random.Generator, doc: int, right: npt.NDArray[np.int32]
    ) -> Iterator[npt.NDArray[np.int32]]:
        """Yield replies of other conversations that all differ, also from the right one."""
        taken = {right.tobytes()}
        for _ in range(TRIES):
            other = int(self.docs[random.integers(len(self.docs))])
            document = self.store.document(other)
            replies = replies_in(document)
            if not replies or self.store.hashes[other] == self.store.hashes[doc]:
                continue
            ids = document.ids[replies[random.integers(len(replies))]]
            if ids.tobytes() not in taken:
                taken.add(ids.tobytes())
                yield ids


def replies_in(document: TokenizedDocument) -> list[slice]:
    """Return where the replies are, each with the token that ends it.

    >>> loss_mask = np.array([0, 0, 1, 1, 0, 1], dtype=np.bool_)
    >>> replies_in(TokenizedDocument(np.arange(6, dtype=np.int32), loss_mask))
    [slice(2, 4, None), slice(5, 6, None)]
    """
    edges = np.flatnonzero(np.diff(document.loss_mask, prepend=False, append=False)).tolist()
    return [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]


class PackedCandidates(NamedTuple):
    """Candidates packed into rows.

    Attributes:
        ids_RT: int64, the tokens.
        reset_RT: bool, True where a candidate starts.
        last_QC: int64, index of each candidate's last token, counted row after row; the right one comes first.
    """

    ids_RT: npt.NDArray[np.int64]
    reset_RT: npt.NDArray[np.bool_]
    last_QC: npt.NDArray[np.int64]


def pack_candidates(questions: Sequence[NextReplyQuestion], context: int) -> PackedCandidates:
    """Pack the candidates of some questions, of C each, into few rows.

    >>> questions = (NextReplyQuestion(0, (np.array([1, 2, 3]), np.array([1, 4]))),)
    >>> pack_candidates(questions, context=5).ids_RT, pack_candidates(questions, context=5).last_QC
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
    return PackedCandidates(ids_RT, reset_RT, last.reshape(len(questions), -1))
