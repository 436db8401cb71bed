"""Samples of what a model says, for people to read while it trains."""

from collections.abc import Sequence

from understudy.acting.engine import generate
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import TokenizedDocument
from understudy.data.tokenizers import Tokenizer
from understudy.models.language_model import LanguageModel, evaluating

CONFIG = SamplingConfig(temperature=0.7, max_tokens=40, sampling_seed=0)
TEXT_START = 16
"""Tokens of a text that the model continues."""


def sample_talk(
    model: LanguageModel, tokenizer: Tokenizer, documents: Sequence[TokenizedDocument], kind: str
) -> list[dict[str, str]]:
    """Return the model's reply in the middle of each conversation, or its continuation of each text.

    Args:
        model: its training mode and the random numbers are as before afterwards.
        tokenizer: the model's.
        documents: conversations or texts; a window of a long conversation that holds no reply is passed over.
        kind: "chats" for conversations, else texts.

    Returns:
        per document what came before, "user" or "given", and what the model says, "model".
    """
    end, user, assistant = (tokenizer.special[f"<|{name}|>"] for name in ("end", "user", "assistant"))
    prompts: list[list[int]] = []
    for document in documents:
        ids = document.ids.tolist()
        if kind != "chats":
            prompts.append(ids[: min(TEXT_START, model.context // 2)])
        elif document.loss_mask.any():
            starts = [place for place, token in enumerate(ids) if token == assistant]
            prompts.append(ids[: starts[len(starts) // 2] + 1])
    with evaluating(model):
        replies = generate(model, tokenizer, prompts, CONFIG)
    samples = []
    for ids, reply in zip(prompts, replies, strict=True):
        if kind == "chats":
            # What is shown of a conversation is the user's last message.
            start = len(ids) - ids[::-1].index(user) if user in ids else 1
            given = ids[start : ids.index(end, start) if end in ids[start:] else None]
            samples.append({"user": tokenizer.decode(given), "model": reply.text})
        else:
            samples.append({"given": tokenizer.decode(ids), "model": reply.text})
    return samples
