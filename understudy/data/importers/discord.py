"""DiscordChatExporter's JSON: one channel per file, the oldest or the newest message first.

{"guild": {...}, "channel": {...}, "dateRange": {...}, "messages": [{"id": "...", "type": "Default",
 "timestamp": "2023-01-17T19:33:19.087+00:00", "content": "Hi", "author": {"id": "...", "nickname": "Ada",
 "isBot": false, ...}, "attachments": [], "mentions": [], ...}], "messageCount": 1}
"""

import re
from collections.abc import Iterator
from typing import Any

from understudy.data.importers.clean import Cleaner, clean_name
from understudy.data.importers.messages import ChatMessage, Reason, parse_time, unusable, why_empty
from understudy.data.json_stream import JsonReader

WORDS = ("Default", "Reply", "19")  # exporters older than Discord's replies wrote their number
ATTACHMENTS = ("attachments", "stickers", "embeds")
MENTION = re.compile(r"<(?:@!?(\d+)|@&\d+|#\d+|a?(:\w+:)\d+|t:-?\d+(?::\w)?)>")  # where markdown was left as it is


def read(reader: JsonReader, cleaner: Cleaner) -> Iterator[ChatMessage | Reason]:
    """Yield the messages of the channel."""
    for key in reader.members():
        if key != "messages":
            reader.skip()
            continue
        for message in reader.values():
            yield _message(message, cleaner) if isinstance(message, dict) else Reason.MALFORMED


def _message(message: dict[str, Any], cleaner: Cleaner) -> ChatMessage | Reason:
    author, content = message.get("author"), message.get("content")
    if not isinstance(author, dict) or not author.get("id") or not isinstance(content, str):
        return Reason.MALFORMED
    if author.get("isBot"):
        return Reason.BOTS
    if message.get("type") not in WORDS:
        return Reason.SERVICE
    if message.get("forwardedMessage"):
        return Reason.FORWARDED
    moment = parse_time(message.get("timestamp"))
    if reason := unusable(moment, len(content)):
        return reason
    assert moment is not None
    if not (words := cleaner.words(_plain(content, message.get("mentions")))):
        return why_empty(bool(content.strip()), any(message.get(key) for key in ATTACHMENTS))
    return ChatMessage("", moment, str(author["id"]), _name_of(author), words)


def _name_of(author: dict[str, Any]) -> str:
    return clean_name(str(author.get("nickname") or author.get("name") or author.get("id")))


def _plain(content: str, mentions: Any) -> str:
    """Return the content with names in place of mentions' numbers, and emoji by their names."""
    if "<" not in content:
        return content
    people = [one for one in mentions if isinstance(one, dict)] if isinstance(mentions, list) else []
    names = {str(one.get("id")): _name_of(one) for one in people}

    def shown(found: "re.Match[str]") -> str:
        return f"@{names.get(found[1], 'someone')}" if found[1] else found[2] or ""

    return MENTION.sub(shown, content)
