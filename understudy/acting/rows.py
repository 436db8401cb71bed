"""One row of a batch that decodes: the options of its reply, the reply so far, and its text as it can be shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from understudy.acting.repetition import NoRepeatNGram
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
        text: the text that `new_text` has decoded so far.
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
        self.prompt, self.config, self.generator = list(prompt), config, generator
        self.max_new_tokens = max_new_tokens(model, prompt, config)
        self.ids: list[int] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self._tokenizer, self._stream, self._end = tokenizer, tokenizer.stream(), tokenizer.special["<|end|>"]
        self._decoded = self._shown = 0
        self._banned = set() if banned is None else {banned}
        self._ngrams: NoRepeatNGram | None = None
        if config.no_repeat_ngram:
            self._ngrams = NoRepeatNGram(config.no_repeat_ngram, tokenizer.vocab_size - len(SPECIALS))
        self.bans = bool(self._banned or self._ngrams)

    def banned(self) -> set[int]:
        """Return the tokens that must not come next; never any unless `bans`."""
        return self._banned | self._ngrams.banned() if self._ngrams else self._banned

    def add(self, token: int) -> None:
        """Append a sampled token. Once the reply has finished, tokens are ignored."""
        if self.finish_reason:
            return
        if token == self._end:
            self.finish_reason = "end"
            return
        self.ids.append(token)
        if self._ngrams:
            self._ngrams.add(token)
        # Stop texts are looked for in the text as it streams: some tokenizers hold back a word until it is whole.
        if self.config.stop and cut_at(self._streamed(), self.config.stop)[1]:
            self.finish_reason = "stop"
        elif len(self.ids) == self.max_new_tokens:
            self.finish_reason = "length"

    def new_text(self) -> str:
        """Return the text since the last call, but for an end that may yet become a stop text."""
        safe = safe_length(self._streamed(), self.config.stop)
        if self.finish_reason:
            self.text, _ = cut_at(self.text + self._stream.finish(), self.config.stop)
            safe = len(self.text)
        piece = self.text[self._shown : safe]
        self._shown = max(self._shown, safe)
        return piece

    def _streamed(self) -> str:
        """Return the text with that of the newest tokens."""
        for token in self.ids[self._decoded :]:
            self.text += self._stream.feed(token)
            self._decoded += 1
        return self.text

    def completion(self) -> Completion:
        """Return the reply, which must have finished."""
        assert self.finish_reason
        text, _ = cut_at(self._tokenizer.decode(self.ids), self.config.stop)
        return Completion(self.ids, text, self.finish_reason)


def max_new_tokens(model: LanguageModel, prompt: Sequence[int], config: SamplingConfig) -> int:
    """Return how many tokens a reply can have. Raises TooLongError where the prompt leaves no room at all."""
    if len(prompt) >= model.context:
        raise TooLongError(
            f"a prompt of {len(prompt)} tokens leaves no room in the model's context of {model.context}; shorten it"
        )
    return min(config.max_tokens, model.context - len(prompt))


def reserved_for_reply(model: LanguageModel, config: SamplingConfig) -> int:
    """Return how many tokens of the context a conversation leaves to the reply: its limit, at most a quarter."""
    return min(config.max_tokens, max(1, model.context // 4))


def cut_at(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Return the text before the first stop text in it, and whether there was one.

    >>> cut_at("one two three", ["three", "two"])
    ('one ', True)
    """
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


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
