"""What a model has said, so that it need not say it again."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from understudy.data.tokenizers import SPECIALS, Tokenizer


class Said:
    """For each row the runs of n tokens that it has said: no token may complete one a second time (Paulus 2018).

    Runs within a turn count, and those of earlier turns (Roller 2021, "Recipes for building an open-domain chatbot").
    Special tokens belong to no run, so a reply can always end.

    >>> from understudy.data.tokenizers import ByteTokenizer
    >>> said = Said([[b"one two", b"to"]], 3, ByteTokenizer())  # the reply begins with "to"
    >>> said.banned(torch.zeros(1, 262)).nonzero().tolist()
    []
    >>> said.add([ord("n")])
    >>> said.add([ord("e")])
    >>> said.banned(torch.zeros(1, 262)).nonzero().tolist() == [[0, ord(" ")]]
    True
    """

    def __init__(self, turns_of_each: Sequence[Sequence[Sequence[int]]], n: int, tokenizer: Tokenizer) -> None:
        self._n, self._ordinary = n, tokenizer.vocab_size - len(SPECIALS)
        self._next: list[dict[tuple[int, ...], set[int]]] = [defaultdict(set) for _ in turns_of_each]
        self._tail: list[tuple[int, ...]] = [() for _ in turns_of_each]
        for row, turns in enumerate(turns_of_each):
            for turn in turns:
                self._tail[row] = ()
                for token in turn:
                    self._add(row, token)

    def add(self, ids: Sequence[int]) -> None:
        """Each row has said one more token."""
        for row, token in enumerate(ids):
            self._add(row, token)

    def banned(self, scores_BV: Tensor) -> Tensor:
        """The tokens that would complete a run said already, as a mask over these scores."""
        found = [
            (row, token)
            for row, (follows, tail) in enumerate(zip(self._next, self._tail, strict=True))
            for token in follows.get(tail, ())
        ]
        banned_BV = torch.zeros_like(scores_BV, dtype=torch.bool)
        if found:
            rows, tokens = torch.tensor(found, device=scores_BV.device).unbind(1)
            banned_BV[rows, tokens] = True
        return banned_BV

    def _add(self, row: int, token: int) -> None:
        if token >= self._ordinary:
            self._tail[row] = ()
            return
        if len(self._tail[row]) == self._n - 1:
            self._next[row][self._tail[row]].add(token)
        self._tail[row] = (*self._tail[row], token)[max(0, len(self._tail[row]) + 2 - self._n) :]


def own_turns(ids: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]:
    """What the assistant said in a prompt, turn by turn; the last turn is the one that goes on, or begins, at its end.

    >>> from understudy.data.tokenizers import ByteTokenizer
    >>> from understudy.data.chats import Message
    >>> from understudy.data.rendering import render_prompt
    >>> prompt = render_prompt([Message("user", "Hi!"), Message("assistant", "Yo")], ByteTokenizer())
    >>> own_turns(prompt, ByteTokenizer())
    [[89, 111], []]
    """
    begin, end = tokenizer.special["<|assistant|>"], tokenizer.special["<|end|>"]
    turns: list[list[int]] = []
    speaks = False
    for token in ids:
        if token == begin:
            turns.append([])
            speaks = True
        elif token == end:
            speaks = False
        elif speaks:
            turns[-1].append(token)
    return turns
