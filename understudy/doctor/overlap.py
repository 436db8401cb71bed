"""Whether the validation documents were learned from: whole, or in long pieces."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from understudy.data.token_store import Hashes, Indices, TokenStore
from understudy.doctor.checks import Check, Examination, Verdict

GRAM = 13
CONTAINED = 0.8
"""A document counts as contained in others when this share of its 13-grams stands in them."""
SAMPLE_TOKENS, SAMPLE_DOCS = 6_000_000, 400
CHUNK = 1_000_000
_ODD = np.uint64(0x9E3779B97F4A7C15)
BITS = 22


class TrainValidOverlap(Check):
    """Validation documents that were learned from: the validation loss then measures memory.

    How: exact duplicates by a hash of each document's tokens; near ones by hashes of 13-grams: a document is
    contained when 80% of its 13-grams stand in training documents. Data made from templates repeat themselves without
    a leak, so training documents are held against the other ones in the same way. Thresholds: 1% exact duplicates;
    contained validation documents 5 points above the training ones, and four standard errors. Source: Brown et al.,
    "Language Models are Few-Shot Learners" (2020), appendix C, for the 13-grams.
    """

    name: ClassVar[str] = "train_valid_overlap"
    causes: ClassVar[tuple[str, str]] = (
        "the split goes by line or window instead of by conversation, or was made before duplicates were removed",
        "the validation files were made from the training files, slightly changed",
    )

    def run(self, experiment: Examination) -> Verdict:
        """See the class."""
        corpus = experiment.dataset
        train_docs = (
            corpus.train_docs if experiment.thorough else _sample(corpus.train, corpus.train_docs, SAMPLE_TOKENS)
        )
        count = len(corpus.valid_docs) if experiment.thorough else SAMPLE_DOCS
        valid_docs = _spread(corpus.valid_docs, count)
        valid = list(_chunks(corpus.valid, valid_docs))
        held_out = _Grams(valid)
        learned = _Grams(list(_chunks(corpus.train, _spread(train_docs, len(valid_docs)))))
        keys = np.union1d(held_out.hashes, learned.hashes)
        train_hashes, counts = _scan(corpus.train, train_docs, keys)
        exact = float(np.isin(np.concatenate([chunk.document_hashes for chunk in valid]), train_hashes).mean())
        shares = held_out.contained(keys, counts, twice=False), learned.contained(keys, counts, twice=True)
        measured = (
            f"{exact:.1%} exact duplicates; {shares[0].mean():.1%} contained by 13-grams, "
            f"training documents in one another {shares[1].mean():.1%}"
        )
        good = exact <= 0.01 and not _clearly_more(*shares)
        return self.judge(good, measured, "no duplicates, and no more contained than training documents are")


@dataclass(frozen=True)
class _Chunk:
    """Some documents: their numbers and hashes, and of each 13-gram within one its hash and its document."""

    document_hashes: Hashes
    gram_hashes: Hashes
    gram_document: Indices


class _Grams:
    """The 13-grams of some documents."""

    def __init__(self, chunks: list[_Chunk]):
        self.hashes = np.concatenate([chunk.gram_hashes for chunk in chunks])
        sizes = np.cumsum([0, *(len(chunk.document_hashes) for chunk in chunks)])
        numbers = [chunk.gram_document + first for chunk, first in zip(chunks, sizes, strict=False)]
        self.document: Indices = np.concatenate(numbers)

    def contained(self, keys: Hashes, counts: Indices, twice: bool) -> npt.NDArray[np.bool_]:
        """For each document with a 13-gram: whether it is contained. `twice`: its own 13-grams were counted too."""
        if not len(self.hashes):
            return np.zeros(1, dtype=bool)
        key = np.searchsorted(keys, self.hashes)
        found = counts[key]
        if twice:
            pair = self.document * len(keys) + key
            _, where, own = np.unique(pair, return_inverse=True, return_counts=True)
            found = found - own[where]
        documents, where = np.unique(self.document, return_inverse=True)
        seen, size = np.bincount(where, found > 0), np.bincount(where)
        return seen / size >= CONTAINED if len(documents) else np.zeros(1, dtype=bool)


def _scan(store: TokenStore, docs: Indices, keys: Hashes) -> tuple[Hashes, Indices]:
    """The documents' hashes, and how often each of the sorted keys stands among their 13-grams."""
    counts, hashes = np.zeros(len(keys), dtype=np.int64), []
    wanted = np.zeros(1 << BITS, dtype=bool)  # most 13-grams are ruled out by one look here
    wanted[_short(keys)] = True
    for chunk in _chunks(store, docs):
        hashes.append(chunk.document_hashes)
        grams = chunk.gram_hashes[wanted[_short(chunk.gram_hashes)]]
        if len(grams):
            at = np.minimum(np.searchsorted(keys, grams), len(keys) - 1)
            counts += np.bincount(at[keys[at] == grams], minlength=len(keys))
    return np.concatenate(hashes), counts


def _short(hashes: Hashes) -> Indices:
    return (hashes >> np.uint64(64 - BITS)).astype(np.int64)


def _chunks(store: TokenStore, docs: Indices) -> Iterator[_Chunk]:
    """The documents, about a million tokens at a time."""
    lengths = store.starts[docs + 1] - store.starts[docs]
    cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // CHUNK)) + 1
    for part in np.split(np.arange(len(docs)), cuts):
        length, first = lengths[part], store.starts[docs[part]]
        begin = np.cumsum(length) - length
        within = np.arange(length.sum()) - np.repeat(begin, length)
        tokens = store.tokens[np.repeat(first, length) + within].astype(np.uint64)
        yield _chunk(tokens, within, np.repeat(np.arange(len(part)), length), length)


def _chunk(tokens: Hashes, within: Indices, document: Indices, length: Indices) -> _Chunk:
    place = _mixed(tokens + (within.astype(np.uint64) + np.uint64(1)) * _ODD)
    hashes = np.zeros(len(length), dtype=np.uint64)
    np.add.at(hashes, document, place)
    one = tokens + np.uint64(1)
    two = _joined(one, one, 1)
    four = _joined(two, two, 2)
    eight = _joined(four, four, 4)
    grams = _mixed(_joined(_joined(eight, four, 8), one, 12))
    inside = (length[document] - within)[: len(grams)] >= GRAM
    return _Chunk(hashes, grams[inside], document[: len(grams)][inside])


def _joined(first: Hashes, second: Hashes, apart: int) -> Hashes:
    """The polynomial hash of a run of tokens, from those of its two parts."""
    power = np.uint64(pow(int(_ODD), apart, 2**64))
    end = min(len(first), len(second) - apart)
    return first[: max(0, end)] + second[apart : apart + max(0, end)] * power


def _mixed(x: Hashes) -> Hashes:
    """Spreads every bit over the high ones (Fibonacci hashing)."""
    x = x ^ (x >> np.uint64(31))
    return (x * _ODD) ^ ((x * _ODD) >> np.uint64(29))


def _sample(store: TokenStore, docs: Indices, tokens: int) -> Indices:
    held = int((store.starts[docs + 1] - store.starts[docs]).sum())
    return docs if held <= tokens else _spread(docs, max(1, len(docs) * tokens // held))


def _spread(docs: Indices, count: int) -> Indices:
    """At most `count` of the documents, evenly."""
    return docs if len(docs) <= count else docs[np.arange(count) * len(docs) // count]


def _clearly_more(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> bool:
    """Whether the first share lies above the second by 5 points and four standard errors."""
    pooled = np.concatenate([first, second]).mean()
    error = (pooled * (1 - pooled) * (1 / len(first) + 1 / len(second))) ** 0.5
    return bool(first.mean() - second.mean() > max(0.05, 4 * error))
