"""The figures of an evaluation, each with its interval over conversations."""

import math
from collections.abc import Sequence

import numpy as np

from understudy.data.chat_template import TokenizedDocument
from understudy.data.next_reply import replies_in
from understudy.data.token_store import TokenStore
from understudy.data.tokenizers import Tokenizer
from understudy.evaluation.metrics import Distinct, f1, repeats_earlier, repeats_itself, words
from understudy.evaluation.replies import Turn
from understudy.statistics import Estimate, Floats, Indices, half_sample_estimate, ratio_estimate
from understudy.training.evaluation import DocumentLoss

Figures = dict[str, Estimate]


def conversations_of(store: TokenStore, docs: Indices) -> Indices:
    """Number the conversations of the documents from 0 in their order. Windows of one conversation share its number."""
    number: dict[int, int] = {}
    return np.array([number.setdefault(each, len(number)) for each in store.hashes[docs].tolist()], dtype=np.int64)


def loss_figures(losses: DocumentLoss, store: TokenStore, docs: Indices, tokenizer: Tokenizer) -> Figures:
    """Return loss, perplexity per token and per word, and bits per byte, from the loss of each document."""
    of = conversations_of(store, docs)
    sizes = np.array([text_size(store.document(int(doc)), tokenizer) for doc in docs]).reshape(-1, 2)
    nats, end_nats, tokens = losses.nats[docs], losses.end_nats[docs], losses.tokens[docs]
    loss = _ratio(nats, tokens, of)
    return {
        "loss": loss,
        "bpb": _ratio(nats / math.log(2), sizes[:, 0], of),
        "perplexity": loss.map(_exp),
        # The end of a reply is not a word, so its loss is not counted here.
        "word_perplexity": _ratio(nats - end_nats, sizes[:, 1], of).map(_exp),
    }


def text_size(document: TokenizedDocument, tokenizer: Tokenizer) -> tuple[int, int]:
    """Return the bytes and words to be predicted: those of each reply's text, and one byte for its end.

    The end counts as the line break that would end the message in a plain file, but not as a word.
    """
    ids, end = document.ids.tolist(), tokenizer.special["<|end|>"]
    replies = [ids[reply] for reply in replies_in(document)]
    texts = [tokenizer.decode(reply) for reply in replies]
    ends = sum(reply[-1] == end for reply in replies)
    sizes = document.sizes
    size = sum(len(text.encode()) for text in texts) if sizes is None else int(sizes[document.loss_mask].sum())
    return size + ends, sum(len(words(text)) for text in texts)


def variety(turns: Sequence[Turn], texts: Sequence[str], earlier: Sequence[Sequence[str]]) -> Figures:
    """Return how varied texts in the place of each turn's reply are, and how often they repeat.

    `earlier` is for each turn what the same speaker had said before it.
    """
    of = _renumbered(turns)
    texts_of = [[text for text, at in zip(texts, of, strict=True) if at == i] for i in range(max(of) + 1)]
    figures: Figures = {}
    for n in (1, 2):
        found = half_sample_estimate(Distinct(texts_of, n).of, len(texts_of))
        # A share's interval does not reach beyond 0 and 1.
        figures[f"distinct_{n}"] = Estimate(found.value, max(0.0, found.low), min(1.0, found.high))
    figures["repetition"] = mean_over(turns, [repeats_itself(text) for text in texts])
    again = [repeats_earlier(text, before) for text, before in zip(texts, earlier, strict=True)]
    return figures | {"repetition_earlier": mean_over(turns, again)}


def overlap(turns: Sequence[Turn], texts: Sequence[str]) -> Estimate:
    """Return the F1 of the texts against the true replies."""
    return mean_over(turns, [f1(text, turn.text) for text, turn in zip(texts, turns, strict=True)])


def mean_over(turns: Sequence[Turn], values: Sequence[float]) -> Estimate:
    """Return the mean of a figure over all replies, with its interval over their conversations."""
    return _ratio(np.array(values, dtype=np.float64), np.ones(len(turns)), _renumbered(turns))


def _renumbered(turns: Sequence[Turn]) -> Indices:
    """Number the conversations of the turns without gaps."""
    return np.unique([turn.conversation for turn in turns], return_inverse=True)[1]


def _ratio(parts: Floats, sizes: Floats | Indices, of: Indices) -> Estimate:
    return ratio_estimate(np.bincount(of, parts), np.bincount(of, sizes))


def _exp(nats: float) -> float:
    # Beyond that a float has no room for it.
    return math.exp(min(nats, 700))
