"""The decode engine: prompts are prefilled, then all rows of a batch decode together, one token per row and step.

Each row has its own sampling options, random numbers, stop texts and limit:

    engine = Engine(model, rows, *prefill(model, [row.prompt for row in rows]))
    while not all(row.finish_reason for row in rows):
        engine.step()
        for row in rows: ...                        # row.new_text(), row.finish_reason

Where rows join and leave between steps, `scheduler` does it.

Shape suffixes: B rows, T prompt tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from typing_extensions import override

from understudy.acting.graphs import graph_session
from understudy.acting.rows import Completion, RowState
from understudy.acting.sampling import SamplingConfig, make_generator, sample
from understudy.data.tokenizers import SPECIALS, Tokenizer
from understudy.models.language_model import LanguageModel
from understudy.native.dispatch import native_session


@torch.inference_mode()
def prefill(
    model: LanguageModel, prompts: Sequence[Sequence[int]], max_len: int | None = None, state: Any = None
) -> tuple[Tensor, Any]:
    """Compute the prompts; return logits_BV after each, in float32 or better, and the state there.

    Prompts of unequal length are padded on the left and reset at their first token. A reset equals a fresh start, so
    the padding leaves no trace.

    Args:
        model: in evaluation mode.
        prompts: ids of each row, at least one.
        max_len: tokens per row that the state has room for; by default the context.
        state: what the prompts follow, for prompts of equal length; None for a fresh start.
    """
    longest = max(len(prompt) for prompt in prompts)
    device = model.embedding.weight.device
    ids_BT = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    reset_BT = None
    if any(len(prompt) < longest for prompt in prompts):
        first_B1 = torch.tensor([[longest - len(prompt)] for prompt in prompts], device=device)
        reset_BT = torch.arange(longest, device=device) == first_B1
    if state is None:
        state = model.initial_state(len(prompts), max_len)
    hidden_BTD, state = model.hidden(ids_BT, state, reset_BT)
    return model.logits(hidden_BTD[:, -1], float32=True), state


class DecodeSession(Protocol):
    """What takes the steps of one batch: native code on a CPU, a recorded graph on a GPU, or the model itself."""

    def step(self, ids_B: Tensor, state: Any, emptied_B1: Tensor | None) -> tuple[Tensor, Any]:
        """Feed one token per row, to `emptied` rows as their first; return logits_BV and the state after it."""


class PlainSession(DecodeSession):
    """Steps by the model itself."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    @override
    def step(self, ids_B: Tensor, state: Any, emptied_B1: Tensor | None) -> tuple[Tensor, Any]:
        hidden_B1D, state = self._model.hidden(ids_B[:, None], state, emptied_B1)
        return self._model.logits(hidden_B1D[:, 0], float32=True), state

    def load_row(self, row: int, one: Any, state: Any) -> Any:
        """Return the state with a row replaced by that of the batch of `one`, which is not modified."""
        return state.load_row(row, one)


class Engine:
    """A batch of rows that decode together.

    Attributes:
        rows: the replies that grow.
        logits_BV: what the newest tokens were sampled from.
        ids_B: the newest tokens, which the state does not hold yet; None before the first step.
        state: the model's state before `ids_B`.
        num_fed: tokens fed per row since the engine was made.

    The state given stays good: another engine can go on from it. The engine's own is overwritten by its next step.
    """

    def __init__(self, model: LanguageModel, rows: Sequence[RowState], logits_BV: Tensor, state: Any) -> None:
        """Take over rows that were prefilled together (see `prefill`)."""
        self.rows = list(rows)
        self.logits_BV, self.state = logits_BV, state
        self.ids_B: Tensor | None = None
        self.num_fed = 0
        self._model = model
        self._ordinary = model.vocab_size - len(SPECIALS)
        self._session: DecodeSession | None = None
        # A repetition penalty falls on the tokens of the prompt too.
        self._seen_BV: Tensor | None = None
        if any(row.config.repetition_penalty != 1 for row in self.rows):
            self._seen_BV = torch.stack([seen_tokens(row.prompt, model) for row in self.rows])
        # For each row the number of fed tokens at which its part of the state is full, and is emptied.
        self._full_at = [(state.max_len or -1) - len(row.prompt) for row in self.rows]
        self._groups = self._grouped()

    @torch.inference_mode()
    def step(self) -> None:
        """Sample the next token of each row.

        Finished rows step along; their tokens are ignored.
        """
        # 1) Feed the tokens sampled last. It waits until others are wanted, so a reply's last token costs no step.
        self._feed()

        # 2) Sample, in one call for all rows that share their options and their generator.
        ids_B = torch.zeros(len(self.rows), dtype=torch.long, device=self.logits_BV.device)
        for places, rows in self._groups:
            logits_BV = self.logits_BV[places]
            seen_BV = None if self._seen_BV is None else self._seen_BV[places]
            banned_BV = banned_tokens(rows, logits_BV)
            ids_B[places] = sample(logits_BV, rows[0].config, rows[0].generator, seen_BV, banned_BV)
        self.ids_B = ids_B

        # 3) Tell each row its token.
        for row, token in zip(self.rows, ids_B.tolist(), strict=True):
            row.add(token)
        if self._seen_BV is not None:
            self._seen_BV.scatter_(1, ids_B[:, None], ids_B[:, None] < self._ordinary)

    def _feed(self) -> None:
        """Feed the newest tokens, if any: logits_BV and the state are then those after them."""
        if self.ids_B is None:
            return
        if self._session is None:
            greedy = all(row.config.temperature == 0 for row in self.rows)
            self._session = (
                native_session(self._model, self.state, greedy)
                or graph_session(self._model, self.state)
                or PlainSession(self._model)
            )
        # Rows that are full start again; they have finished, so their output is ignored.
        emptied_B1 = None
        if self.num_fed in self._full_at:
            full = [at == self.num_fed for at in self._full_at]
            emptied_B1 = torch.tensor(full, device=self.ids_B.device)[:, None]
            self._full_at = [at + self.state.max_len * is_full for at, is_full in zip(self._full_at, full, strict=True)]
        self.logits_BV, self.state = self._session.step(self.ids_B, self.state, emptied_B1)
        self.num_fed += 1
        self.ids_B = None

    def _grouped(self) -> list[tuple[slice | Tensor, list[RowState]]]:
        """Sort the rows into those that are sampled together; return the places and rows of each group."""
        members: dict[Any, list[int]] = {}
        for place, row in enumerate(self.rows):
            # What ends a reply does not matter for that, nor does the generator of one that draws nothing.
            config = replace(row.config, max_tokens=1, stop=(), no_repeat_ngram=0, sampling_seed=None)
            members.setdefault((config, row.generator if config.temperature else None), []).append(place)
        return [
            (
                slice(None) if len(places) == len(self.rows) else torch.tensor(places, device=self.logits_BV.device),
                [self.rows[place] for place in places],
            )
            for places in members.values()
        ]


def banned_tokens(rows: Sequence[RowState], logits_BV: Tensor) -> Tensor | None:
    """Return banned_BV, the tokens that must not come next in each row; None where there are none."""
    found = [(number, token) for number, row in enumerate(rows) for token in row.banned()]
    if not found:
        return None
    banned_BV = torch.zeros_like(logits_BV, dtype=torch.bool)
    banned_BV[torch.tensor(found, device=logits_BV.device).unbind(1)] = True
    return banned_BV


def seen_tokens(prompt: Sequence[int], model: LanguageModel) -> Tensor:
    """Return seen_V: which tokens stand in a prompt.

    Special tokens do not count: the end token stands after every message, and a penalty on it would make replies run
    on.
    """
    seen_V = torch.zeros(model.vocab_size, dtype=torch.bool, device=model.embedding.weight.device)
    seen_V[list(prompt)] = True
    seen_V[model.vocab_size - len(SPECIALS) :] = False
    return seen_V


def generate(
    model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], config: SamplingConfig
) -> list[Completion]:
    """Return a reply to each prompt (ids, such as `render_prompt` gives), all in one batch."""
    if not prompts:
        return []
    # One generator for the batch: each step takes one number per row from it, also for rows that have finished.
    generator = make_generator(config, model.embedding.weight.device)
    rows = [RowState(model, tokenizer, prompt, config, generator) for prompt in prompts]
    engine = Engine(model, rows, *prefill(model, prompts, max(len(row.prompt) + row.max_new_tokens for row in rows)))
    while not all(row.finish_reason for row in rows):
        engine.step()
    return [row.completion() for row in rows]


@torch.inference_mode()
def generate_plain(
    model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], config: SamplingConfig
) -> list[Completion]:
    """Do what `generate` does for each prompt alone, the whole sequence again for each token: an oracle."""
    completions = []
    device = model.embedding.weight.device
    for prompt in prompts:
        generator = make_generator(config, device)
        row, ids = RowState(model, tokenizer, prompt, config), list(prompt)
        while not row.finish_reason:
            hidden_BTD, _ = model.hidden(torch.tensor([ids], device=device))
            logits_BV = model.logits(hidden_BTD[:, -1], float32=True)
            banned_BV = banned_tokens([row], logits_BV)
            ids.append(int(sample(logits_BV, config, generator, seen_tokens(ids, model)[None], banned_BV)))
            row.add(ids[-1])
        completions.append(row.completion())
    return completions
