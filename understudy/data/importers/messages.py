"""What an export holds: messages, and reasons why one is left out."""

import time
from datetime import UTC, datetime
from math import isfinite
from typing import Any, NamedTuple

DAY = 86_400.0
FIRST_TIME = datetime.fromisoformat("1990-01-01T00:00Z").timestamp()  # no chat is older than this
LONGEST_MESSAGE = 100_000  # characters; the longest that any of the apps sends is 65,536 (WhatsApp)

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


class Said(NamedTuple):
    """One message.

    Attributes:
        chat: the chat, or thread, within its file.
        time: seconds since 1970. A time without a zone is taken as it stands, as if it were UTC.
        speaker: who said it: the app's own id, or the name where an export has none.
        name: how the speaker is called.
        text: what was said, cleaned and redacted.
    """

    chat: str
    time: float
    speaker: str
    name: str
    text: str


class LeftOut(NamedTuple):
    """A message that is not kept, and why."""

    reason: str


def plausible(moment: float) -> bool:
    """Whether a message can have been sent then: not before 1990, and not later than tomorrow."""
    return FIRST_TIME <= moment <= time.time() + DAY


def parse_time(text: Any) -> float | None:
    """Seconds since 1970 of an ISO 8601 time, with or without a zone; None for anything else.

    >>> parse_time("1970-01-01T01:00:00.500+01:00"), parse_time("1970-01-02T00:00:00"), parse_time("soon")
    (0.5, 86400.0, None)
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def parse_seconds(text: Any) -> float | None:
    """Seconds since 1970 from a number or its spelling ("1355517523.000005"); None for anything else.

    >>> parse_seconds("1355517523.000005"), parse_seconds("inf"), parse_seconds(None)
    (1355517523.000005, None, None)
    """
    try:
        seconds = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if isfinite(seconds) else None
