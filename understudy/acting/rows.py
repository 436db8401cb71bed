"""One row of a batch that decodes: the options of its reply, the reply so far, and its text as it can be shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import SPECIALS, Tokenizer
from understudy.errors import TooLongError
from understudy.models.language_model import LanguageModel

FinishReason = Literal["end", "stop", "length"]
"""Why a reply ended: the model's end token, a stop text, or the limit of tokens (or of the context)."""


@dataclass(frozen=True)
class Completion:
    """What was generated for one prompt."""

    ids: list[int]
    text: str
    finish_reason: FinishReason


class RowState:
    """A reply while it grows.

    Attributes:
        prompt: ids that the reply follows.
        config: how its tokens are sampled, and where it stops.
        generator: source of its random numbers; None for torch's own. Rows that share one draw from it in turn.
        max_new_tokens: longest reply in tokens; less than `config.max_tokens` where the context has no room for more.
        ids: tokens of the reply so far, without the end token.
        text: their text; while the reply grows, as far as its characters are whole.
        finish_reason: None while the reply grows.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        config: SamplingConfig,
        generator: torch.Generator | None = None,
        banned: int | None = None,
    ) -> None:
        """Begin a reply; the token `banned` is never sampled. Raises TooLongError where the context has no room."""
        if len(prompt) >= model.context:
            raise TooLongError(
                f"a prompt of {len(prompt)} tokens leaves no room in the model's context of {model.context}; shorten it"
            )
        self.prompt, self.config, self.generator = list(prompt), config, generator
        self.max_new_tokens = min(config.max_tokens, model.context - len(prompt))
        self.ids: list[int] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self._stream, self._end = tokenizer.stream(), tokenizer.special["<|end|>"]
        self._ordinary = tokenizer.vocab_size - len(SPECIALS)
        self._banned = set() if banned is None else {banned}
        self._shown = 0

    def banned(self) -> set[int]:
        """Return the tokens that must not come next."""
        n = self.config.no_repeat_ngram
        return self._banned | repeating(self.ids, n, self._ordinary) if n else self._banned

    def add(self, token: int) -> None:
        """Append a sampled token. Once the reply has finished, tokens are ignored."""
        if self.finish_reason:
            return
        if token == self._end:
            self.finish_reason = "end"
        else:
            self.ids.append(token)
            self.text += self._stream.feed(token)
            # Stop texts are looked for in the text, as they may begin or end inside a token.
            if any(stop in self.text for stop in self.config.stop):
                self.finish_reason = "stop"
            elif len(self.ids) == self.max_new_tokens:
                self.finish_reason = "length"
        if self.finish_reason:
            self.text = cut_at(self.text + self._stream.finish(), self.config.stop)

    def new_text(self) -> str:
        """Return the text since the last call, but for an end that may yet become a stop text."""
        safe = len(self.text) if self.finish_reason else safe_length(self.text, self.config.stop)
        piece = self.text[self._shown : safe]
        self._shown = max(self._shown, safe)
        return piece

    def completion(self) -> Completion:
        """Return the reply, which must have finished."""
        assert self.finish_reason
        return Completion(self.ids, self.text, self.finish_reason)


def repeating(ids: Sequence[int], n: int, ordinary: int) -> set[int]:
    """Return the tokens that would complete n ordinary tokens in a row a second time (Paulus 2018).

    Special tokens are those from `ordinary` on. They belong to no run, so a reply can always end. Earlier replies do
    not count: people repeat theirs, and a model that must not cannot answer the same question twice (docs/journal.md).

    >>> repeating(b"one two on", 3, ordinary=256) == {ord("e")}
    True
    """
    tail = tuple(ids[len(ids) - n + 1 :])
    runs = zip(*(ids[start:] for start in range(n)), strict=False)
    return {run[-1] for run in runs if run[:-1] == tail and max(run) < ordinary}


def reserved_for_reply(model: LanguageModel, config: SamplingConfig) -> int:
    """Return how many tokens of the context a conversation leaves to the reply: its limit, at most a quarter."""
    return min(config.max_tokens, max(1, model.context // 4))


def cut_at(text: str, stops: Sequence[str]) -> str:
    """Return the text before the first stop text in it.

    >>> cut_at("one two three", ["three", "two"])
    'one '
    """
    return min((text.partition(stop)[0] for stop in stops), key=len, default=text)


def safe_length(text: str, stops: Sequence[str]) -> int:
    """Return how much of a growing text can be shown: all but an end that may yet become a stop text.

    >>> safe_length("well, EN", ["END"])
    6
    """
    longest = max(map(len, stops), default=0)
    for length in range(max(0, len(text) - longest + 1), len(text)):
        if any(stop.startswith(text[length:]) for stop in stops):
            return length
    return len(text)
