"""DiscordChatExporter's JSON: one channel a file, the oldest or the newest message first.

{"guild": {...}, "channel": {...}, "dateRange": {...}, "messages": [{"id": "...", "type": "Default",
 "timestamp": "2023-01-17T19:33:19.087+00:00", "content": "Hi", "author": {"id": "...", "nickname": "Ada",
 "isBot": false, ...}, "attachments": [], "mentions": [], ...}], "messageCount": 1}
"""

import re
from collections.abc import Iterator
from typing import Any

from understudy.data.importers.clean import Cleaner, clean_name
from understudy.data.importers.messages import (
    BOTS,
    EMPTY,
    FORWARDED,
    IMPOSSIBLE_DATE,
    LONGEST_MESSAGE,
    MALFORMED,
    MEDIA,
    ONLY_REDACTED,
    SERVICE,
    TOO_LONG,
    LeftOut,
    Said,
    parse_time,
    plausible,
)
from understudy.data.json_stream import JsonReader

SAID = ("Default", "Reply", "19")  # exporters older than Discord's replies wrote their number
ATTACHMENTS = ("attachments", "stickers", "embeds")
MENTION = re.compile(r"<(?:@!?(\d+)|@&\d+|#\d+|a?(:\w+:)\d+|t:-?\d+(?::\w)?)>")  # where markdown was left as it is


def read(reader: JsonReader, cleaner: Cleaner) -> Iterator[Said | LeftOut]:
    """The messages of the channel."""
    for key in reader.members():
        if key != "messages":
            reader.skip()
            continue
        for _ in reader.elements():
            message = reader.value()
            yield _message(message, cleaner) if isinstance(message, dict) else LeftOut(MALFORMED)


def _message(message: dict[str, Any], cleaner: Cleaner) -> Said | LeftOut:
    author, content = message.get("author"), message.get("content")
    if not isinstance(author, dict) or not author.get("id") or not isinstance(content, str):
        return LeftOut(MALFORMED)
    if author.get("isBot"):
        return LeftOut(BOTS)
    if message.get("type") not in SAID:
        return LeftOut(SERVICE)
    if message.get("forwardedMessage"):
        return LeftOut(FORWARDED)
    moment = parse_time(message.get("timestamp"))
    if moment is None or not plausible(moment):
        return LeftOut(IMPOSSIBLE_DATE)
    if len(content) > LONGEST_MESSAGE:
        return LeftOut(TOO_LONG)
    if not (words := cleaner.words(_plain(content, message.get("mentions")))):
        has_media = any(message.get(key) for key in ATTACHMENTS)
        return LeftOut(ONLY_REDACTED if content.strip() else MEDIA if has_media else EMPTY)
    return Said("", moment, str(author["id"]), _name_of(author), words)


def _name_of(author: dict[str, Any]) -> str:
    return clean_name(str(author.get("nickname") or author.get("name") or author.get("id")))


def _plain(content: str, mentions: Any) -> str:
    """The content with names in place of mentions' numbers, and emoji by their names."""
    if "<" not in content:
        return content
    people = [one for one in mentions if isinstance(one, dict)] if isinstance(mentions, list) else []
    names = {str(one.get("id")): _name_of(one) for one in people}

    def shown(found: "re.Match[str]") -> str:
        if found[1]:
            return f"@{names.get(found[1], 'someone')}"
        return found[2] or ""

    return MENTION.sub(shown, content)
