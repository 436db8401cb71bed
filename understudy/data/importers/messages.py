"""What an export holds: messages, and reasons why one is skipped."""

import time
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite
from typing import Any, NamedTuple

DAY = 86_400.0
FIRST_TIME = datetime.fromisoformat("1990-01-01T00:00Z").timestamp()  # no chat is older than this
LONGEST_MESSAGE = 100_000  # characters; the longest that any of the apps sends is 65,536 (WhatsApp)


class Reason(StrEnum):
    """Why a message is in none of the files that are written."""

    MEDIA = "media, stickers and other attachments without words"
    DELETED = "deleted by who wrote them"
    SERVICE = "notices of the app: joins, calls, pins, encryption"
    FORWARDED = "forwarded, so in another's words"
    BOTS = "written by bots and integrations"
    EMPTY = "empty"
    ONLY_REDACTED = "nothing but a link, an e-mail address or a phone number"
    IMPOSSIBLE_DATE = "with an impossible date"
    MALFORMED = "malformed"
    TOO_LONG = f"longer than {LONGEST_MESSAGE:,} characters"
    NO_REPLY = "in conversations in which the bot says nothing"
    ALONE = "in conversations in which only the bot speaks"
    REPEATED = "in conversations that another file holds too"
    STRADDLING = "in conversations that go on while validation begins"


class ChatMessage(NamedTuple):
    """One message.

    Attributes:
        chat: the chat, or thread, within its file.
        time: seconds since 1970. A time without a zone is taken as UTC.
        speaker: the app's own id of the sender, or the name where an export has no ids.
        name: the sender's name.
        text: the text, cleaned and redacted.
    """

    chat: str
    time: float
    speaker: str
    name: str
    text: str


def unusable(moment: float | None, size: int) -> Reason | None:
    """Return why a message of this time and of `size` characters cannot be kept, or None."""
    # Not before 1990, and not later than tomorrow.
    if moment is None or not FIRST_TIME <= moment <= time.time() + DAY:
        return Reason.IMPOSSIBLE_DATE
    return Reason.TOO_LONG if size > LONGEST_MESSAGE else None


def why_empty(had_text: bool, had_media: bool) -> Reason:
    """Return why no words are left of a message."""
    if had_text:
        return Reason.ONLY_REDACTED
    return Reason.MEDIA if had_media else Reason.EMPTY


def parse_time(text: Any) -> float | None:
    """Return the seconds since 1970 of an ISO 8601 time, with or without a zone; None for anything else.

    >>> parse_time("1970-01-01T01:00:00.500+01:00"), parse_time("1970-01-02T00:00:00"), parse_time("soon")
    (0.5, 86400.0, None)
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def parse_seconds(text: Any) -> float | None:
    """Return the seconds since 1970 that a number or its spelling gives; None for anything else.

    >>> parse_seconds("1355517523.000005"), parse_seconds("inf"), parse_seconds(None)
    (1355517523.000005, None, None)
    """
    try:
        seconds = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if isfinite(seconds) else None
