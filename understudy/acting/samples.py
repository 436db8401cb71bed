"""Some of a model's talk, for people to read while it learns."""

from collections.abc import Sequence

from understudy.acting.engine import generate
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import TokenizedDocument
from understudy.data.tokenizers import Tokenizer
from understudy.models.language_model import LanguageModel, evaluating

CONFIG = SamplingConfig(temperature=0.7, max_tokens=40, sampling_seed=0)
TEXT_START = 16  # tokens of a text that are given


def sample_talk(
    model: LanguageModel, tokenizer: Tokenizer, documents: Sequence[TokenizedDocument], kind: str
) -> list[dict[str, str]]:
    """The model's reply in the middle of each conversation, or its continuation of each text."""
    if kind == "chats":  # a window of a long conversation may hold no reply
        starts = [_middle(document, tokenizer) for document in documents if document.loss_mask.any()]
    else:
        starts = [document.ids[: min(TEXT_START, model.context // 2)] for document in documents]
    with evaluating(model):
        replies = generate(model, tokenizer, [start.tolist() for start in starts], CONFIG)
    end, user = tokenizer.special["<|end|>"], tokenizer.special["<|user|>"]
    lines = []
    for start, reply in zip(starts, replies, strict=True):
        ids = start.tolist()
        if kind == "chats":
            last_user = len(ids) - ids[::-1].index(user) if user in ids else 1
            given = ids[last_user : ids.index(end, last_user) if end in ids[last_user:] else None]
            lines.append({"user": tokenizer.decode(given), "model": reply.text})
        else:
            lines.append({"given": tokenizer.decode(ids), "model": reply.text})
    return lines


def _middle(document: TokenizedDocument, tokenizer: Tokenizer):  # type: ignore[no-untyped-def]
    """The document up to a reply in its middle."""
    begins = (document.ids == tokenizer.special["<|assistant|>"]).nonzero()[0]
    return document.ids[: begins[len(begins) // 2] + 1]
