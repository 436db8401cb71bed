"""Generation: prefill the prompts at once, then decode a token a row a step, over a cache or an LSTM's state.

Shape suffixes: B rows, T prompt tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import torch
from torch import Tensor

from understudy.acting.graphs import graph_step
from understudy.acting.repetition import Said
from understudy.acting.sampling import SamplingConfig, make_generator, sample
from understudy.data.tokenizers import SPECIALS, Tokenizer
from understudy.errors import TooLongError
from understudy.models.language_model import LanguageModel
from understudy.native.dispatch import native_step

Finish = Literal["end", "stop", "length"]
Step = Callable[[Tensor, Any, Tensor | None], tuple[Tensor, Any]]
"""From ids_B, the state and which rows are full (or None) to logits_BV and the next state."""


@dataclass(frozen=True)
class Reply:
    """What was generated for one prompt."""

    ids: list[int]
    text: str
    finish: Finish
    """Why it ended: the model's end token, a stop text, or the limit of tokens (or of the context)."""


@torch.inference_mode()
def prefill(model: LanguageModel, prompts: Sequence[Sequence[int]], max_len: int | None = None) -> tuple[Tensor, Any]:
    """Scores_BV after each prompt, and the state there.

    Prompts of unequal length are padded on the left and reset at their first token: a reset equals a fresh start, so
    the padding leaves no trace.
    """
    longest = max(len(prompt) for prompt in prompts)
    device = model.embedding.weight.device
    ids_BT = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    reset_BT = None
    if any(len(prompt) < longest for prompt in prompts):
        first_B1 = torch.tensor([[longest - len(prompt)] for prompt in prompts], device=device)
        reset_BT = torch.arange(longest, device=device) == first_B1
    hidden_BTD, state = model.hidden(ids_BT, model.initial_state(len(prompts), max_len), reset_BT)
    return model.logits(hidden_BTD[:, -1], float32=True), state


@torch.inference_mode()
def decode(
    model: LanguageModel,
    logits_BV: Tensor,
    state: Any,
    config: SamplingConfig,
    generator: torch.Generator | None = None,
    seen_BV: Tensor | None = None,
    room: Sequence[int] = (),
    said: Said | None = None,
) -> Iterator[tuple[Tensor, Tensor, Any]]:
    """Without end: the next ids_B, the logits_BV that they were drawn from, and the state before they are fed.

    `seen_BV` marks the tokens that a repetition penalty falls on; new ones are marked here, and `said` is told of them
    too. `room` says how many more tokens each row's state can hold; a full row is emptied, and what comes from it then
    means nothing. The state given stays good; each one yielded does until the next.
    """
    ordinary = model.vocab_size - len(SPECIALS)
    greedy = config.temperature == 0
    step: Step = native_step(model, state, greedy) or graph_step(model, state) or _plain_step(model)
    for fed in count():
        ids_B = sample(logits_BV, config, generator, seen_BV, said.banned(logits_BV) if said else None)
        yield ids_B, logits_BV, state
        if said:
            said.add(ids_B.tolist())
        if seen_BV is not None:
            seen_BV.scatter_(1, ids_B[:, None], ids_B[:, None] < ordinary)
        full_B1 = torch.tensor([[slots == fed] for slots in room], device=ids_B.device) if fed in room else None
        logits_BV, state = step(ids_B, state, full_B1)


def _plain_step(model: LanguageModel) -> Step:
    """One more token a row by the model itself."""

    def step(ids_B: Tensor, state: Any, full_B1: Tensor | None) -> tuple[Tensor, Any]:
        hidden_B1D, state = model.hidden(ids_B[:, None], state, full_B1)
        return model.logits(hidden_B1D[:, 0], float32=True), state

    return step


def seen_tokens(
    prompts: Sequence[Sequence[int]], model: LanguageModel, tokenizer: Tokenizer, config: SamplingConfig
) -> Tensor | None:
    """seen_BV: which tokens stand in each prompt; None where no repetition penalty asks for it.

    Special tokens do not count: the end token stands after every message, and a penalty on it would make replies run
    on.
    """
    if config.repetition_penalty == 1:
        return None
    seen_BV = torch.zeros(len(prompts), model.vocab_size, dtype=torch.bool, device=model.embedding.weight.device)
    for row_V, prompt in zip(seen_BV, prompts, strict=True):
        row_V[list(prompt)] = True
    seen_BV[:, list(tokenizer.special.values())] = False
    return seen_BV


def said_so_far(
    replies: Sequence[Sequence[int]], tokenizer: Tokenizer, config: SamplingConfig, never: int | None = None
) -> Said | None:
    """What must not come again in each reply, and the token that must `never` come; None where anything may."""
    needed = config.no_repeat_ngram or never is not None
    return Said(replies, config.no_repeat_ngram, tokenizer, never) if needed else None


def room_for_reply(model: LanguageModel, prompt: Sequence[int], config: SamplingConfig) -> int:
    """How many tokens a reply can have; TooLongError where the prompt leaves no room at all."""
    if len(prompt) >= model.context:
        raise TooLongError(
            f"a prompt of {len(prompt)} tokens leaves no room in the model's context of {model.context}; shorten it"
        )
    return min(config.max_tokens, model.context - len(prompt))


def reserve_for_reply(model: LanguageModel, config: SamplingConfig) -> int:
    """How many tokens of the context a conversation leaves to the reply: what it may need, but at most a quarter."""
    return min(config.max_tokens, max(1, model.context // 4))


def generate(
    model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], config: SamplingConfig
) -> list[Reply]:
    """A reply for each prompt (ids, such as `render_prompt` gives), all in one batch; the rows do not touch."""
    if not prompts:
        return []
    drafts = [_Draft(tokenizer, config.stop, room_for_reply(model, prompt, config)) for prompt in prompts]
    slots = max(len(prompt) + draft.room for prompt, draft in zip(prompts, drafts, strict=True))
    logits_BV, state = prefill(model, prompts, slots)
    generator, seen_BV = make_generator(config, logits_BV.device), seen_tokens(prompts, model, tokenizer, config)
    room = [slots - len(prompt) for prompt in prompts]
    said = said_so_far([[]] * len(prompts), tokenizer, config)
    for ids_B, _, _ in decode(model, logits_BV, state, config, generator, seen_BV, room, said):
        for draft, token in zip(drafts, ids_B.tolist(), strict=True):
            draft.add(token)
        if all(draft.finish for draft in drafts):
            break
    return [draft.reply() for draft in drafts]


@torch.inference_mode()
def generate_plain(
    model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], config: SamplingConfig
) -> list[Reply]:
    """The same by the plain path: no cache, no batch, the whole sequence again for each token. The tests' oracle."""
    return [_plain_reply(model, tokenizer, list(prompt), config) for prompt in prompts]


def _plain_reply(model: LanguageModel, tokenizer: Tokenizer, ids: list[int], config: SamplingConfig) -> Reply:
    draft = _Draft(tokenizer, config.stop, room_for_reply(model, ids, config))
    device = model.embedding.weight.device
    generator = make_generator(config, device)
    while not draft.finish:
        hidden_BTD, _ = model.hidden(torch.tensor([ids], device=device))
        logits_BV = model.logits(hidden_BTD[:, -1], float32=True)
        seen_BV, said = seen_tokens([ids], model, tokenizer, config), said_so_far([draft.ids], tokenizer, config)
        token = int(sample(logits_BV, config, generator, seen_BV, said.banned(logits_BV) if said else None))
        ids = [*ids, token]
        draft.add(token)
    return draft.reply()


class _Draft:
    """One row's reply while it grows."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], room: int):
        self.tokenizer, self.stops, self.room = tokenizer, stops, room
        self.ids: list[int] = []
        self.finish: Finish | None = None

    def add(self, token: int) -> None:
        """One more token; after the end they are ignored."""
        if self.finish:
            return
        if token == self.tokenizer.special["<|end|>"]:
            self.finish = "end"
            return
        self.ids.append(token)
        if self.stops and cut_at(self.tokenizer.decode(self.ids), self.stops)[1]:
            self.finish = "stop"
        elif len(self.ids) == self.room:
            self.finish = "length"

    def reply(self) -> Reply:
        """What there is, once it is finished."""
        assert self.finish
        return Reply(self.ids, cut_at(self.tokenizer.decode(self.ids), self.stops)[0], self.finish)


def cut_at(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop text in it, and whether there was one.

    >>> cut_at("one two three", ["three", "two"])
    ('one ', True)
    """
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def safe_length(text: str, stops: Sequence[str]) -> int:
    """How much of a growing text can be shown: all but an end that may yet become a stop text.

    >>> safe_length("well, EN", ["END"])
    6
    """
    longest = max(map(len, stops), default=0)
    for length in range(max(0, len(text) - longest + 1), len(text)):
        if any(stop.startswith(text[length:]) for stop in stops):
            return length
    return len(text)
