"""Whether the validation documents were learned from: whole, or in long pieces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from understudy.data.token_store import Hashes, Indices, TokenStore
from understudy.doctor.checks import Finding, check
from understudy.training.text import Text

GRAM = 13
# A document counts as contained in others when they hold this share of its 13-grams.
CONTAINED = 0.8
# Share of the validation documents that may be exact duplicates.
EXACT = 0.01
# How many more of the validation documents may be contained than of the training ones: a share, standard errors.
MORE, ERRORS = 0.05, 4
# Tokens of training documents, and validation documents, that are looked at unless there is time for all.
SAMPLE_TOKENS, SAMPLE_DOCS = 6_000_000, 400
# Tokens in memory together.
CHUNK = 1_000_000
_ODD = np.uint64(0x9E3779B97F4A7C15)
_POWERS = _ODD ** np.arange(GRAM, dtype=np.uint64)
BITS = 22


@check(
    "the split goes by line or window instead of by conversation, or was made before duplicates were removed",
    "the validation files were made from the training files, slightly changed",
)
def train_valid_overlap(text: Text, thorough: bool = False) -> Finding:
    """Check that validation documents were not learned from, so that their loss does not measure memory.

    Exact duplicates are found by a hash of each document's tokens, near ones by hashes of 13-grams: a document is
    contained when most of its 13-grams are in training documents. Data made from templates repeat themselves without a
    leak, so training documents are compared with the other ones in the same way. Source: Brown et al., "Language Models
    are Few-Shot Learners" (2020), appendix C, for the 13-grams.
    """
    data = text.dataset
    train_docs, valid_docs = data.train_docs, data.valid_docs
    if not thorough:
        held = int((data.train.starts[train_docs + 1] - data.train.starts[train_docs]).sum())
        if held > SAMPLE_TOKENS:
            train_docs = _spread(train_docs, max(1, len(train_docs) * SAMPLE_TOKENS // held))
        valid_docs = _spread(valid_docs, SAMPLE_DOCS)

    # Some validation and as many training documents are looked for in all training documents.
    valid = list(_chunks(data.valid, valid_docs))
    train = list(_chunks(data.train, _spread(train_docs, len(valid_docs))))
    keys = np.unique(np.concatenate([chunk.gram_hashes for chunk in (*valid, *train)]))
    train_hashes, counts = _scan(data.train, train_docs, keys)
    exact = float(np.isin(np.concatenate([chunk.document_hashes for chunk in valid]), train_hashes).mean())
    shares = _contained(valid, keys, counts, twice=False), _contained(train, keys, counts, twice=True)

    # Are clearly more validation documents contained than training documents?
    pooled, more = np.concatenate(shares).mean(), shares[0].mean() - shares[1].mean()
    error = (pooled * (1 - pooled) * (1 / len(shares[0]) + 1 / len(shares[1]))) ** 0.5
    measured = (
        f"{exact:.1%} exact duplicates; {shares[0].mean():.1%} contained by 13-grams, "
        f"training documents in one another {shares[1].mean():.1%}"
    )
    good = exact <= EXACT and more <= max(MORE, ERRORS * error)
    return Finding(good, measured, "no duplicates, and no more contained than training documents are")


@dataclass(frozen=True)
class _Chunk:
    """Some documents: the hash of each, and of each 13-gram within one its hash and its document's number."""

    document_hashes: Hashes
    gram_hashes: Hashes
    gram_document: Indices


def _contained(chunks: Sequence[_Chunk], keys: Hashes, counts: Indices, twice: bool) -> npt.NDArray[np.bool_]:
    """Return for each document with a 13-gram whether it is contained in training documents.

    These hold each of the sorted `keys`, among them all 13-grams here, as often as `counts` says. With `twice` the
    documents are themselves among the training documents, so their own 13-grams do not count.
    """
    hashes = np.concatenate([chunk.gram_hashes for chunk in chunks])
    if not len(hashes):
        return np.zeros(1, dtype=bool)
    first = np.cumsum([0, *(len(chunk.document_hashes) for chunk in chunks)])
    document = np.concatenate([chunk.gram_document + n for chunk, n in zip(chunks, first, strict=False)])
    key = np.searchsorted(keys, hashes)
    found = counts[key]
    if twice:
        _, where, own = np.unique(document * len(keys) + key, return_inverse=True, return_counts=True)
        found = found - own[where]
    _, where = np.unique(document, return_inverse=True)
    return np.bincount(where, found > 0) / np.bincount(where) >= CONTAINED


def _scan(store: TokenStore, docs: Indices, keys: Hashes) -> tuple[Hashes, Indices]:
    """Return the documents' hashes, and how often each of the sorted keys is among their 13-grams."""

    def short(hashes: Hashes) -> Indices:
        return (hashes >> np.uint64(64 - BITS)).astype(np.int64)

    counts, hashes = np.zeros(len(keys), dtype=np.int64), []
    wanted = np.zeros(1 << BITS, dtype=bool)  # one look here rules out most 13-grams
    wanted[short(keys)] = True
    for chunk in _chunks(store, docs):
        hashes.append(chunk.document_hashes)
        grams = chunk.gram_hashes[wanted[short(chunk.gram_hashes)]]
        if len(grams):
            at = np.minimum(np.searchsorted(keys, grams), len(keys) - 1)
            counts += np.bincount(at[keys[at] == grams], minlength=len(keys))
    return np.concatenate(hashes), counts


def _chunks(store: TokenStore, docs: Indices) -> Iterator[_Chunk]:
    """Yield the documents, about a million tokens at a time."""
    lengths = store.starts[docs + 1] - store.starts[docs]
    cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // CHUNK)) + 1
    for part in np.split(np.arange(len(docs)), cuts):
        length, first = lengths[part], store.starts[docs[part]]
        begin = np.cumsum(length) - length
        within = np.arange(length.sum()) - np.repeat(begin, length)
        tokens = store.tokens[np.repeat(first, length) + within].astype(np.uint64)
        document = np.repeat(np.arange(len(part)), length)

        # A document's hash: the sum of its tokens, each mixed with its position.
        hashes = np.zeros(len(length), dtype=np.uint64)
        np.add.at(hashes, document, _mixed(tokens + (within.astype(np.uint64) + np.uint64(1)) * _ODD))
        # A 13-gram's hash: the polynomial of its tokens.
        grams = np.lib.stride_tricks.sliding_window_view(np.pad(tokens + np.uint64(1), (0, GRAM - 1)), GRAM) @ _POWERS
        inside = length[document] - within >= GRAM
        yield _Chunk(hashes, _mixed(grams[inside]), document[inside])


def _mixed(x: Hashes) -> Hashes:
    """Spread every bit over the high ones (Fibonacci hashing)."""
    x = x ^ (x >> np.uint64(31))
    return (x * _ODD) ^ ((x * _ODD) >> np.uint64(29))


def _spread(docs: Indices, count: int) -> Indices:
    """Return at most `count` of the documents, evenly spaced."""
    return docs if len(docs) <= count else docs[np.arange(count) * len(docs) // count]
