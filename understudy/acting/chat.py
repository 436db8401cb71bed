"""A conversation with a model: the cache stays across turns, so that a turn costs only its new tokens."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from understudy.acting.engine import (
    Finish,
    cut_at,
    decode,
    reserve_for_reply,
    room_for_reply,
    safe_length,
    said_so_far,
    seen_tokens,
)
from understudy.acting.sampling import SamplingConfig, make_generator
from understudy.data.chat_template import fit_prompt, render_message, render_prompt
from understudy.data.conversations import Message
from understudy.data.tokenizers import Tokenizer
from understudy.models.language_model import LanguageModel


@dataclass
class ReplyRecord:
    """What is known of the last reply."""

    prefilled: int
    """Prompt tokens that had to be computed: those of this turn alone, unless messages were dropped just now (then
    all) or a stop text cut the reply before (then that reply's too)."""
    dropped: int
    """Oldest messages that the prompt leaves out since they no longer fit the context."""
    ids: list[int] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    """logits_V that each token was drawn from."""
    finish: Finish = "length"


@dataclass(frozen=True)
class Choice:
    """A token of a reply, and what else it might have been."""

    text: str
    probability: float
    others: list[tuple[str, float]]


class Chat:
    """Turn by turn with one model; replies stream as they are drawn.

    The model's own probabilities are those at temperature 1, before any filter: `why` tells them.
    """

    def __init__(self, model: LanguageModel, tokenizer: Tokenizer, config: SamplingConfig, system: str | None = None):
        self.model, self.tokenizer, self.config = model, tokenizer, config.checked()
        self._generator = make_generator(config, model.embedding.weight.device)
        self._system = [Message("system", system)] if system else []
        self.reset()

    def reset(self) -> None:
        """Forget the conversation."""
        self.messages: list[Message] = list(self._system)
        self.last: ReplyRecord | None = None
        self._history = render_prompt(self.messages, self.tokenizer)[:-1]  # what was said, as ids
        self._fed, self._state = 0, None  # how much of it the state holds
        self._at_prompt: tuple[list[int], Tensor, Any] | None = None

    def say(self, text: str) -> Generator[str]:
        """The reply to `text`, piece by piece. TooLongError, with nothing changed, where it cannot fit."""
        message = Message("user", text)
        prompt, dropped = self._prompt(message)
        if self._state is None or prompt[: self._fed] != self._history[: self._fed]:
            self._fed, self._state = 0, self.model.initial_state(1)
        new = prompt[self._fed :]
        with torch.inference_mode():
            device = self.model.embedding.weight.device
            hidden_BTD, state = self.model.hidden(torch.tensor([new], device=device), self._state)
            self._at_prompt = (prompt, self.model.logits(hidden_BTD[:, -1], float32=True), state)
        self.messages.append(message)  # not before: stopped while it computes, the turn never was
        self.last = ReplyRecord(prefilled=len(new), dropped=dropped)
        yield from self._respond()

    def regenerate(self) -> Generator[str]:
        """Another reply to the same message; what was said before it is not computed again."""
        if self._at_prompt is None or self.last is None:
            return
        if self.messages[-1].role == "assistant":
            self.messages.pop()
        self.last = ReplyRecord(prefilled=0, dropped=self.last.dropped)
        yield from self._respond()

    def why(self, runners_up: int = 3) -> list[Choice]:
        """The last reply's tokens with their probabilities, and the likeliest others."""
        if self.last is None:
            return []
        return [
            self._choice(token, logits_V, runners_up)
            for token, logits_V in zip(self.last.ids, self.last.scores, strict=True)
        ]

    def _prompt(self, message: Message) -> tuple[list[int], int]:
        """The ids to reply to, and how many of the oldest messages they leave out."""
        said = [*self._history, *render_message(message, self.tokenizer), self.tokenizer.special["<|assistant|>"]]
        reserve = reserve_for_reply(self.model, self.config)
        if len(said) + reserve <= self.model.context:
            return said, self.last.dropped if self.last else 0
        kept, dropped = fit_prompt([*self.messages, message], self.tokenizer, self.model.context, reserve)
        return render_prompt(kept, self.tokenizer), dropped

    def _respond(self) -> Generator[str]:
        assert self._at_prompt
        assert self.last
        prompt, logits_BV, at_prompt = self._at_prompt
        state, last, text, shown, stream = at_prompt, self.last, "", 0, self.tokenizer.stream()
        room = room_for_reply(self.model, prompt, self.config)
        seen_BV = seen_tokens([prompt], self.model, self.tokenizer, self.config)
        fed = 0
        try:
            spoken = said_so_far([[]], self.tokenizer, self.config, never=self.tokenizer.unknown)
            for ids_B, sampled_from_BV, before in decode(
                self.model, logits_BV, at_prompt, self.config, self._generator, seen_BV, said=spoken
            ):
                state, fed, token = before, len(last.ids), int(ids_B)
                if token == self.tokenizer.special["<|end|>"]:
                    last.finish = "end"
                    break
                last.ids.append(token)
                last.scores.append(sampled_from_BV[0])
                text += stream.feed(token)
                if cut_at(text, self.config.stop)[1]:
                    last.finish = "stop"
                    break
                until = safe_length(text, self.config.stop)
                yield text[shown:until]
                shown = max(shown, until)
                if len(last.ids) >= room:
                    break
            text = cut_at(text + stream.finish(), self.config.stop)[0]
            yield text[shown:]
        finally:  # also where the reader stopped listening: what was said so far was said
            said = last.ids
            if last.finish == "stop":  # what was cut off never was: the state must not hold it
                said, fed, state = self.tokenizer.encode(text), 0, at_prompt
            self._fed, self._state = len(prompt) + fed, state
            self._history = [*prompt, *said, self.tokenizer.special["<|end|>"]]
            self.messages.append(Message("assistant", text))

    def _choice(self, token: int, logits_V: Tensor, runners_up: int) -> Choice:
        probability_V = logits_V.float().softmax(dim=-1)
        best = probability_V.topk(min(runners_up + 1, len(probability_V)))
        others = [
            (self._show(other), float(p))
            for other, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            if other != token
        ]
        return Choice(self._show(token), float(probability_V[token]), others[:runners_up])

    def _show(self, token: int) -> str:
        names = {number: name for name, number in self.tokenizer.special.items()}
        return names.get(token) or self.tokenizer.bytes_of(token).decode(errors="replace")
