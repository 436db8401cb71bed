"""A conversation with a model: the cache stays across turns, so that a turn costs only its new tokens."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from understudy.acting.engine import Engine, prefill
from understudy.acting.rows import FinishReason, RowState, reserved_for_reply
from understudy.acting.sampling import SamplingConfig, make_generator
from understudy.data.chat_template import render_message, render_prompt, truncate_prompt
from understudy.data.conversations import Message
from understudy.data.tokenizers import Tokenizer
from understudy.models.language_model import LanguageModel


@dataclass
class ReplyRecord:
    """What is known of the last reply."""

    num_prefilled: int
    """Prompt tokens that had to be computed: those of this turn alone, unless messages were dropped just now (then
    all) or a stop text or Ctrl-C cut the reply before (then that reply's too)."""
    dropped: int
    """Number of oldest messages that the prompt leaves out since they no longer fit the context."""
    ids: list[int] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    """logits_V that each token was sampled from."""
    finish_reason: FinishReason = "length"


@dataclass(frozen=True)
class TokenAlternatives:
    """A token of a reply, and the likeliest others in its place with their probabilities."""

    text: str
    probability: float
    others: list[tuple[str, float]]


@dataclass(frozen=True)
class Prefix:
    """A conversation so far as ids, and a model's state that holds the first `num_cached` of them."""

    ids: list[int]
    state: Any = None
    num_cached: int = 0


class Chat:
    """A conversation with one model, turn by turn; replies stream as they are sampled.

    `why` shows the model's own probabilities: those at temperature 1, before any filter.
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
        self._history = Prefix(render_prompt(self.messages, self.tokenizer)[:-1])
        self._prefilled: tuple[Prefix, Tensor] | None = None  # the last prompt, with logits_BV after it

    def say(self, text: str) -> Generator[str]:
        """Yield the reply to `text`, piece by piece. Raises TooLongError, with nothing changed, where it cannot fit."""
        message, cached = Message("user", text), self._history
        prompt = [*cached.ids, *render_message(message, self.tokenizer), self.tokenizer.special["<|assistant|>"]]
        dropped = self.last.dropped if self.last else 0
        reserve = reserved_for_reply(self.model, self.config)
        # Drop the oldest messages where the reply would have no room. What is cached still serves if it comes first.
        if len(prompt) + reserve > self.model.context:
            kept, dropped = truncate_prompt([*self.messages, message], self.tokenizer, self.model.context, reserve)
            prompt = render_prompt(kept, self.tokenizer)
            if prompt[: cached.num_cached] != cached.ids[: cached.num_cached]:
                cached = Prefix([])

        # Compute what the state does not hold yet.
        new = prompt[cached.num_cached :]
        logits_BV, state = prefill(self.model, [new], state=cached.state)
        self._prefilled = Prefix(prompt, state, len(prompt)), logits_BV
        self.messages.append(message)  # not before: stopped while it computes, the turn never was
        self.last = ReplyRecord(num_prefilled=len(new), dropped=dropped)
        yield from self._reply(*self._prefilled, self.last)

    def regenerate(self) -> Generator[str]:
        """Yield another reply to the same message; what was said before it is not computed again."""
        if self._prefilled is None or self.last is None:
            return
        if self.messages[-1].role == "assistant":
            self.messages.pop()
        self.last = ReplyRecord(num_prefilled=0, dropped=self.last.dropped)
        yield from self._reply(*self._prefilled, self.last)

    def why(self, runners_up: int = 3) -> list[TokenAlternatives]:
        """Return the last reply's tokens with their probabilities, and the likeliest others."""
        found = []
        for token, logits_V in zip(self.last.ids, self.last.logits, strict=True) if self.last else ():
            probability_V = logits_V.float().softmax(dim=-1)
            best = probability_V.topk(min(runners_up + 1, len(probability_V)))
            others = [
                (self._shown(other), float(p))
                for other, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
                if other != token
            ]
            found.append(TokenAlternatives(self._shown(token), float(probability_V[token]), others[:runners_up]))
        return found

    def _reply(self, prompt: Prefix, logits_BV: Tensor, last: ReplyRecord) -> Generator[str]:
        row = RowState(self.model, self.tokenizer, prompt.ids, self.config, self._generator, self.tokenizer.unknown)
        engine = Engine(self.model, [row], logits_BV, prompt.state)
        text, length, is_whole = "", 0, True
        try:
            while not row.finish_reason:
                is_whole = False
                engine.step()
                last.logits.append(engine.logits_BV[0])
                last.finish_reason = row.finish_reason or "length"
                text, length, piece, is_whole = row.text, len(row.ids), row.new_text(), True
                yield piece
        finally:  # also where the reader stopped listening: what was said so far was said
            # A token in whose step Ctrl-C came does not count, and what the state holds of it is not known.
            last.ids, end = row.ids[:length], self.tokenizer.special["<|end|>"]
            del last.logits[length:]  # of the end token, too
            if row.finish_reason == "stop" or not is_whole:
                # What was cut off was never said, so the state must not hold it.
                said = last.ids if not is_whole else self.tokenizer.encode(text)
                self._history = Prefix([*prompt.ids, *said, end], prompt.state, prompt.num_cached)
            else:
                num_cached = prompt.num_cached + engine.num_fed
                self._history = Prefix([*prompt.ids, *last.ids, end], engine.state, num_cached)
            self.messages.append(Message("assistant", text))

    def _shown(self, token: int) -> str:
        names = {number: name for name, number in self.tokenizer.special.items()}
        return names.get(token) or self.tokenizer.bytes_of(token).decode(errors="replace")
