"""Replies without a sequence of n tokens that occurs twice."""

from collections import defaultdict


class NoRepeatNGram:
    """The n-grams of one reply: no token may complete one of them a second time (Paulus 2018).

    Special tokens belong to no n-gram, so a reply can always end. Earlier replies do not count: people repeat
    theirs, and a model that must not cannot answer the same question twice (docs/journal.md).

    Args:
        n: tokens in a row that must not come twice, 1 or more.
        ordinary: number of ordinary tokens; the ids from there on are special.

    >>> ngrams = NoRepeatNGram(3, ordinary=256)
    >>> for token in b"one two on":
    ...     ngrams.add(token)
    >>> ngrams.banned() == {ord("e")}
    True
    """

    def __init__(self, n: int, ordinary: int) -> None:
        self._n, self._ordinary = n, ordinary
        self._next: dict[tuple[int, ...], set[int]] = defaultdict(set)
        self._tail: tuple[int, ...] = ()

    def add(self, token: int) -> None:
        """Append a token to the reply."""
        if token >= self._ordinary:
            self._tail = ()
            return
        if len(self._tail) == self._n - 1:
            self._next[self._tail].add(token)
        self._tail = (*self._tail, token)[max(0, len(self._tail) + 2 - self._n) :]

    def banned(self) -> set[int]:
        """Return the tokens that would repeat an n-gram if they came next."""
        return self._next.get(self._tail, set())
