"""What was said, so that it need not be said again, and what can never be said."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from understudy.data.tokenizers import SPECIALS, Tokenizer


class Said:
    """For each row's reply the runs of n tokens in it: no token may complete one a second time (Paulus 2018).

    Nor may the token `never` come; with n = 0 that is all.

    Special tokens belong to no run, so a reply can always end. Earlier replies do not count: people repeat theirs, and
    a model that must not cannot answer the same question twice (docs/journal.md).

    >>> from understudy.data.tokenizers import ByteTokenizer
    >>> said = Said([b"one two"], 3, ByteTokenizer())
    >>> for token in b" on":
    ...     said.add([token])
    >>> said.banned(torch.zeros(1, 262)).nonzero().tolist() == [[0, ord("e")]]
    True
    """

    def __init__(
        self, replies: Sequence[Sequence[int]], n: int, tokenizer: Tokenizer, never: int | None = None
    ) -> None:
        self._n, self._ordinary, self._never = n, tokenizer.vocab_size - len(SPECIALS), never
        self._next: list[dict[tuple[int, ...], set[int]]] = [defaultdict(set) for _ in replies]
        self._tail: list[tuple[int, ...]] = [() for _ in replies]
        for row, reply in enumerate(replies):
            for token in reply:
                self._add(row, token)

    def add(self, ids: Sequence[int]) -> None:
        """Each row has said one more token."""
        for row, token in enumerate(ids):
            self._add(row, token)

    def banned(self, logits_BV: Tensor) -> Tensor:
        """The tokens that would complete a run said already, and the one that never comes, as a mask over these."""
        found = [
            (row, token)
            for row, (follows, tail) in enumerate(zip(self._next, self._tail, strict=True))
            for token in follows.get(tail, ())
        ]
        banned_BV = torch.zeros_like(logits_BV, dtype=torch.bool)
        if found:
            rows, tokens = torch.tensor(found, device=logits_BV.device).unbind(1)
            banned_BV[rows, tokens] = True
        if self._never is not None:
            banned_BV[:, self._never] = True
        return banned_BV

    def _add(self, row: int, token: int) -> None:
        if token >= self._ordinary:
            self._tail[row] = ()
            return
        if len(self._tail[row]) == self._n - 1:
            self._next[row][self._tail[row]].add(token)
        self._tail[row] = (*self._tail[row], token)[max(0, len(self._tail[row]) + 2 - self._n) :]
