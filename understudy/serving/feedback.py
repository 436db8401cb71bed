"""What people thought of replies, as data to learn from: conversations for `finetune`, and pairs for DPO.

A reply that was rewritten by hand counts as good with its new text, and so does one flagged good.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from understudy.data.conversations import Conversation, Message
from understudy.serving.conversations import StoredConversation, StoredMessage


def shown_conversation(conversation: StoredConversation) -> Conversation:
    """Return the conversation as it is shown: the path to its leaf, with rewritten replies."""
    return _said(conversation, conversation.path(conversation.leaf))


def good_conversations(conversation: StoredConversation) -> Iterator[Conversation]:
    """Yield each path of the conversation that ends at a good reply and passes through no bad one.

    A path that a longer one continues is left out, and so is one with an empty message, which `finetune` refuses.
    """
    ends = [message.id for message in conversation.messages if _is_good(message)]
    paths = [conversation.path(end) for end in ends]
    usable = [path for path in paths if not any(map(_is_bad, path)) and all(message.said.strip() for message in path)]
    inner = {message.id for path in usable for message in path[:-1]}
    for path in usable:
        if path[-1].id not in inner:
            yield _said(conversation, path)


def preference_pairs(conversation: StoredConversation) -> Iterator[dict[str, Any]]:
    """Yield `{"prompt", "chosen", "rejected"}`, each a list of messages, as TRL's DPO trainer reads them.

    Of the replies to one message each good one is preferred to each bad one, and a rewritten text to its original.
    """
    replies: dict[int | None, list[StoredMessage]] = {}
    for message in conversation.messages:
        if message.role == "assistant":
            replies.setdefault(message.parent, []).append(message)
    for parent, siblings in replies.items():
        pairs = [(one.said, one.content) for one in siblings if one.rewrite is not None]
        good = [one.said for one in siblings if _is_good(one)]
        pairs += product(good, [one.content for one in siblings if one.flag == "bad"])
        prompt = _as_json(_said(conversation, conversation.path(parent)))
        for chosen, rejected in dict.fromkeys(pairs):
            if prompt and chosen != rejected and chosen.strip() and rejected.strip():
                sides = {"chosen": chosen, "rejected": rejected}
                told = {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}
                yield {"prompt": prompt, **told}


def _is_good(message: StoredMessage) -> bool:
    return message.rewrite is not None or message.flag == "good"


def _is_bad(message: StoredMessage) -> bool:
    return message.rewrite is None and message.flag == "bad"


def _said(conversation: StoredConversation, path: list[StoredMessage]) -> Conversation:
    system = [Message("system", conversation.system)] if conversation.system.strip() else []
    return Conversation((*system, *(Message(message.role, message.said) for message in path)))


def _as_json(conversation: Conversation) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in conversation.messages]
