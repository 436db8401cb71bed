"""Slack's export: a folder or zip archive with users.json, and for each channel a folder with a file a day.

    users.json   general/2024-03-12.json   general/2024-03-13.json   ...

A message: {"type": "message", "user": "U123", "text": "Hi <@U456>", "ts": "1355517523.000005", "thread_ts": ...}.
A thread, with the message that it answers, is a chat of its own.
"""

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from understudy.data.importers.clean import Cleaner, clean_name
from understudy.data.importers.export_files import Member
from understudy.data.importers.messages import (
    BOTS,
    DELETED,
    EMPTY,
    IMPOSSIBLE_DATE,
    LONGEST_MESSAGE,
    MALFORMED,
    MEDIA,
    ONLY_REDACTED,
    SERVICE,
    TOO_LONG,
    LeftOut,
    Said,
    parse_seconds,
    plausible,
)
from understudy.data.json_stream import JsonReader

DAY_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.json")
USER_LISTS = ("users.json", "org_users.json")
SAID = (None, "thread_broadcast", "reply_broadcast", "me_message", "file_share", "file_comment")
GONE = ("tombstone", "message_deleted")
MARKUP = re.compile(r"<([^<>\n]+)>")


def is_day(member: Member) -> bool:
    """Whether a file is a day of a channel, by its name and place."""
    return len(member.path.parts) > 1 and DAY_FILE.fullmatch(member.path.name) is not None


def read_users(members: Sequence[Member]) -> tuple[dict[str, str], set[str]]:
    """The names of the users by their ids, and the ids of those who are bots. BrokenJsonError for a damaged list."""
    names: dict[str, str] = {}
    bots = {"USLACKBOT"}
    for member in members:
        if member.path.name in USER_LISTS:
            with member.open_text() as stream:
                reader = JsonReader(stream)
                for _ in reader.elements():
                    user = reader.value()
                    if isinstance(user, dict) and isinstance(user.get("id"), str):
                        names[user["id"]] = _name_of(user) or user["id"]
                        bots |= {user["id"]} if user.get("is_bot") else set()
    return names, bots


def read(reader: JsonReader, channel: str, names: dict[str, str], bots: set[str], cleaner: Cleaner) -> Iterator[Any]:
    """The messages of one day of a channel: Said or LeftOut."""
    for _ in reader.elements():
        message = reader.value()
        if isinstance(message, dict):
            yield _message(message, channel, names, bots, cleaner)
        else:
            yield LeftOut(MALFORMED)


def _message(
    message: dict[str, Any], channel: str, names: dict[str, str], bots: set[str], cleaner: Cleaner
) -> Said | LeftOut:
    subtype, user, text = message.get("subtype"), message.get("user"), message.get("text", "")
    if subtype in GONE:
        return LeftOut(DELETED)
    if subtype == "bot_message" or message.get("bot_id") or user in bots:
        return LeftOut(BOTS)
    if subtype not in SAID or message.get("hidden"):
        return LeftOut(SERVICE)
    moment = parse_seconds(message.get("ts"))
    if moment is None or not plausible(moment):
        return LeftOut(IMPOSSIBLE_DATE)
    if not isinstance(user, str) or not user or not isinstance(text, str):
        return LeftOut(MALFORMED)
    if len(text) > LONGEST_MESSAGE:
        return LeftOut(TOO_LONG)
    if not (words := cleaner.words(_plain(text, names, cleaner))):
        return LeftOut(ONLY_REDACTED if text.strip() else MEDIA if message.get("files") else EMPTY)
    thread = message.get("thread_ts")
    chat = f"{channel} {thread}" if isinstance(thread, str) else channel
    return Said(chat, moment, user, names.get(user) or _name_of(message.get("user_profile")) or user, words)


def _name_of(user: Any) -> str:
    """How Slack shows a user: the display name, else the real name, else the account's."""
    if not isinstance(user, dict):
        return ""
    profile = user["profile"] if isinstance(user.get("profile"), dict) else user
    for name in (profile.get("display_name"), profile.get("real_name"), user.get("real_name"), user.get("name")):
        if isinstance(name, str) and clean_name(name):
            return clean_name(name)
    return ""


def _plain(text: str, names: dict[str, str], cleaner: Cleaner) -> str:
    """The text as Slack shows it: names for ids, labels for links, and no entities."""

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
