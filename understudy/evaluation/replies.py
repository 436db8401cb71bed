"""A model in the place of the speaker who replied: which of twenty replies it prefers, and what it says itself."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from understudy.acting.engine import generate
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import TokenizedDocument
from understudy.data.next_reply import replies_in
from understudy.data.tokenizers import Tokenizer
from understudy.evaluation.metrics import hit, plain_words
from understudy.evaluation.ranking import candidate_scores
from understudy.models.language_model import LanguageModel, evaluating

CANDIDATES = 20
"""The true reply and 19 others, as in ConvAI2 (Zhang 2018, "Personalizing Dialogue Agents")."""
GENERATED_AT_ONCE = 64


@dataclass(frozen=True)
class Turn:
    """A reply that was given, and all that was said before it."""

    conversation: int
    prompt: list[int]
    """Ids up to and with the token after which the reply begins."""
    reply: list[int]
    """Ids of the reply and of its end."""
    text: str

    def earlier(self, tokenizer: Tokenizer) -> list[str]:
        """Return what the same speaker had said before."""
        return [tokenizer.decode(ids) for ids in own_turns(self.prompt, tokenizer)[:-1]]


def own_turns(ids: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]:
    """Return what the assistant said in a prompt, turn by turn. The last turn goes on, or begins, at the prompt's end.

    >>> from understudy.data.tokenizers import ByteTokenizer
    >>> special = ByteTokenizer().special
    >>> own_turns([special["<|assistant|>"], 89, 111, special["<|end|>"], special["<|assistant|>"]], ByteTokenizer())
    [[89, 111], []]
    """
    begin, end = tokenizer.special["<|assistant|>"], tokenizer.special["<|end|>"]
    starts = [place for place, token in enumerate(ids, 1) if token == begin]
    return [list(takewhile(lambda token: token not in (begin, end), ids[start:])) for start in starts]


def turns_of(documents: Iterable[tuple[int, TokenizedDocument]], tokenizer: Tokenizer) -> list[Turn]:
    """Return every reply of some documents, each of which comes with the number of its conversation."""
    turns = []
    for conversation, document in documents:
        ids = document.ids.tolist()
        for reply in replies_in(document):
            turns.append(Turn(conversation, ids[: reply.start], ids[reply], tokenizer.decode(ids[reply])))
    return turns


def distractors(turn: Turn, pool: Sequence[Turn], random: np.random.Generator) -> list[list[int]] | None:
    """Draw 19 replies from other conversations, no two alike and none like the true one; None where there are too few.

    Replies are alike where ConvAI2's F1 counts them as the same.
    """
    taken, found = {_said(turn)}, []
    for other in (pool[index] for index in random.permutation(len(pool)).tolist()):
        if other.conversation != turn.conversation and _said(other) not in taken:
            taken.add(_said(other))
            found.append(other.reply)
            if len(found) == CANDIDATES - 1:
                return found
    return None


def hits(
    model: LanguageModel, turns: Sequence[Turn], pool: Sequence[Turn], seed: int, step: Callable[[], None]
) -> list[float] | None:
    """Return for each turn whether the model prefers the true reply of 20; None where there are too few replies.

    The others are drawn from `pool`, the same for every model with one tokenizer. A reply too long for what the prompt
    leaves of the context counts by its beginning. `step` is called after each turn.
    """
    random = np.random.default_rng(seed)
    found = []
    with evaluating(model):
        for turn in turns:
            others = distractors(turn, pool, random)
            if others is None:
                return None
            room = model.context - len(turn.prompt)
            scores_K = candidate_scores(model, turn.prompt, [reply[:room] for reply in (turn.reply, *others)])
            found.append(hit(scores_K.tolist()))
            step()
    return found


def own_replies(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    config: SamplingConfig,
    step: Callable[[], None] = lambda: None,
) -> list[str]:
    """Return what the model says after each prompt. `step` is called once per reply."""
    # Prompts of like lengths share a batch, so that there is little padding.
    texts = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    with evaluating(model):
        for start in range(0, len(order), GENERATED_AT_ONCE):
            some = order[start : start + GENERATED_AT_ONCE]
            replies = generate(model, tokenizer, [prompts[index] for index in some], config)
            for index, reply in zip(some, replies, strict=True):
                texts[index] = reply.text
                step()
    return texts


def _said(turn: Turn) -> str:
    return " ".join(plain_words(turn.text)) or turn.text
