"""Slack's export: a folder or zip archive with users.json, and for each channel a folder with one file per day.

    users.json   general/2024-03-12.json   general/2024-03-13.json   ...

A message: {"type": "message", "user": "U123", "text": "Hi <@U456>", "ts": "1355517523.000005", "thread_ts": ...}.
A thread, with the message that it answers, is a chat of its own.
"""

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from understudy.data.importers.clean import Cleaner, clean_name
from understudy.data.importers.export_files import ExportFile
from understudy.data.importers.messages import ChatMessage, Reason, parse_seconds, unusable, why_empty
from understudy.data.json_stream import JsonReader

DAY_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.json")
USER_LISTS = ("users.json", "org_users.json")
WORDS = (None, "thread_broadcast", "reply_broadcast", "me_message", "file_share", "file_comment")
GONE = ("tombstone", "message_deleted")
MARKUP = re.compile(r"<([^<>\n]+)>")


def is_day(file: ExportFile) -> bool:
    """Return whether a file holds a day of a channel, by its name and place."""
    return len(file.path.parts) > 1 and DAY_FILE.fullmatch(file.path.name) is not None


def read_users(files: Sequence[ExportFile]) -> tuple[dict[str, str], set[str]]:
    """Return the users' names by id, and the ids of the bots. Raises BrokenJsonError for a damaged list."""
    names: dict[str, str] = {}
    bots = {"USLACKBOT"}
    for file in files:
        if file.path.name in USER_LISTS:
            with file.open_text() as stream:
                for user in JsonReader(stream).values():
                    if isinstance(user, dict) and isinstance(user.get("id"), str):
                        names[user["id"]] = _name_of(user) or user["id"]
                        bots |= {user["id"]} if user.get("is_bot") else set()
    return names, bots


def read(
    reader: JsonReader, cleaner: Cleaner, channel: str, names: dict[str, str], bots: set[str]
) -> Iterator[ChatMessage | Reason]:
    """Yield the messages of one day of a channel."""
    for message in reader.values():
        yield _message(message, channel, names, bots, cleaner) if isinstance(message, dict) else Reason.MALFORMED


def _message(
    message: dict[str, Any], channel: str, names: dict[str, str], bots: set[str], cleaner: Cleaner
) -> ChatMessage | Reason:
    subtype, user, text = message.get("subtype"), message.get("user"), message.get("text", "")
    if subtype in GONE:
        return Reason.DELETED
    if subtype == "bot_message" or message.get("bot_id") or user in bots:
        return Reason.BOTS
    if subtype not in WORDS or message.get("hidden"):
        return Reason.SERVICE
    moment = parse_seconds(message.get("ts"))
    if reason := unusable(moment, 0):
        return reason
    assert moment is not None
    if not isinstance(user, str) or not user or not isinstance(text, str):
        return Reason.MALFORMED
    if reason := unusable(moment, len(text)):
        return reason
    if not (words := cleaner.words(_plain(text, names, cleaner))):
        return why_empty(bool(text.strip()), bool(message.get("files")))
    thread = message.get("thread_ts")
    chat = f"{channel} {thread}" if isinstance(thread, str) else channel
    return ChatMessage(chat, moment, user, names.get(user) or _name_of(message.get("user_profile")) or user, words)


def _name_of(user: Any) -> str:
    """Return the name that Slack shows: the display name, else the real name, else the account's."""
    if not isinstance(user, dict):
        return ""
    profile = user["profile"] if isinstance(user.get("profile"), dict) else user
    for name in (profile.get("display_name"), profile.get("real_name"), user.get("real_name"), user.get("name")):
        if isinstance(name, str) and clean_name(name):
            return clean_name(name)
    return ""


def _plain(text: str, names: dict[str, str], cleaner: Cleaner) -> str:
    """Return the text as Slack shows it: names for ids, labels for links, and no entities."""

    def shown(found: "re.Match[str]") -> str:
        target, _, label = found[1].partition("|")
        if target.startswith("@"):
            return f"@{names.get(target[1:]) or label or 'someone'}"
        if target.startswith("#"):
            return f"#{label}" if label else "#channel"
        if target.startswith("!"):
            return label or f"@{target[1:].partition('^')[0]}"
        if target.startswith("mailto:"):
            return cleaner.known("email", html.unescape(label or target.removeprefix("mailto:")))
        if target.startswith("tel:"):
            return cleaner.known("phone", html.unescape(label or target.removeprefix("tel:")))
        is_address = not label or label in target or "://" in label
        return cleaner.known("link", html.unescape(label or target)) if is_address else label

    return html.unescape(MARKUP.sub(shown, text))
