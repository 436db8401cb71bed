"""Telegram Desktop's export as JSON (result.json): one chat, or all of an account.

    {"name": "Bob", "type": "personal_chat", "id": 7, "messages": [...]}
    {"about": "...", "personal_information": {...}, "chats": {"list": [{"name": "Bob", ..., "messages": [...]}, ...]}}

A message's text is a string, or a list of strings and marked pieces: {"type": "link", "text": "https://..."}.
"""

from collections.abc import Iterator
from typing import Any

from understudy.data.importers.clean import Cleaner, Kind, clean_name
from understudy.data.importers.messages import ChatMessage, Reason, parse_seconds, parse_time, unusable, why_empty
from understudy.data.json_stream import JsonReader

CHAT_LISTS = ("chats", "left_chats")
REDACTED: dict[str, Kind] = {"link": "link", "email": "email", "phone": "phone", "bank_card": "phone"}
MEDIA_KEYS = ("photo", "file", "media_type", "poll", "contact_information", "location_information", "game_title")


def read(reader: JsonReader, cleaner: Cleaner) -> Iterator[ChatMessage | Reason]:
    """Yield the messages of every chat in the export."""
    for key in reader.members():
        if key in CHAT_LISTS and reader.peek() == "{":
            yield from _chats(reader, key, cleaner)
        elif key == "messages":
            yield from _chat(reader, "", "", cleaner)
        else:
            reader.skip()


def _chats(reader: JsonReader, group: str, cleaner: Cleaner) -> Iterator[ChatMessage | Reason]:
    for key in reader.members():
        if key != "list" or reader.peek() != "[":
            reader.skip()
            continue
        for number, _ in enumerate(reader.elements()):
            kind = ""
            for inner in reader.members():
                if inner == "messages":
                    yield from _chat(reader, f"{group} {number}", kind, cleaner)
                elif inner == "type":
                    kind = str(reader.value())
                else:
                    reader.skip()


def _chat(reader: JsonReader, chat: str, kind: str, cleaner: Cleaner) -> Iterator[ChatMessage | Reason]:
    for message in reader.values():
        if kind == "bot_chat":
            yield Reason.BOTS
        else:
            yield _message(message, chat, cleaner) if isinstance(message, dict) else Reason.MALFORMED


def _message(message: dict[str, Any], chat: str, cleaner: Cleaner) -> ChatMessage | Reason:
    if message.get("type") in ("service", "unsupported"):
        return Reason.SERVICE
    if "forwarded_from" in message:
        return Reason.FORWARDED
    if "via_bot" in message:
        return Reason.BOTS
    moment = parse_seconds(message.get("date_unixtime"))
    moment = parse_time(message.get("date")) if moment is None else moment
    if reason := unusable(moment, 0):
        return reason
    assert moment is not None
    speaker = str(message.get("from_id") or message.get("from") or "")
    shown = message.get("text", "")
    if not speaker or not isinstance(shown, str | list):
        return Reason.MALFORMED
    text = _text(shown, cleaner)
    if reason := unusable(moment, len(text)):
        return reason
    if not (words := cleaner.words(text)):
        return why_empty(bool(shown), any(key in message for key in MEDIA_KEYS))
    # A deleted account has no name.
    name = message.get("from")
    return ChatMessage(chat, moment, speaker, clean_name(name) if isinstance(name, str) else speaker, words)


def _text(shown: str | list[Any], cleaner: Cleaner) -> str:
    if isinstance(shown, str):
        return shown
    pieces = []
    for piece in shown:
        text, kind = (piece.get("text", ""), piece.get("type")) if isinstance(piece, dict) else (piece, "")
        if isinstance(text, str):
            redacted = REDACTED.get(str(kind))
            pieces.append(cleaner.known(redacted, text) if redacted else text)
    return "".join(pieces)
