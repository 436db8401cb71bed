"""WhatsApp's exported chats: one text file, whose lines look as the phone writes dates.

    [12.03.24, 18:05:11] Ada: Hello        iPhones
    12/03/2024, 18:05 - Ada: Hello         Android

Any other line continues the message before it. Whether the day or the month comes first, and where a name with a colon
in it ends, only the file as a whole can tell, so it is read twice.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Literal

from understudy.data.importers.clean import MARKS, Cleaner, clean_name
from understudy.data.importers.messages import LONGEST_MESSAGE, ChatMessage, Reason, unusable, why_empty

Dates = Literal["auto", "day-first", "month-first"]

LEFT_TO_RIGHT = "\u200e"
LONGEST_LINE = 1 << 16
MOST_SENDERS = 10_000  # whose names the first reading remembers
DISORDER = 7200.0  # seconds: phones' clocks differ, and in autumn an hour comes twice

_DATE = r"(\d{1,4})[./-]\s?(\d{1,2})[./-]\s?(\d{1,4})\.?"
_TIME = r"(上午|下午|오전|오후)?\s?(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?\s?([ap]\.?\s?m\.?|ص|م|π\.?μ\.?|μ\.?μ\.?)?"
HEADER = re.compile(rf"(\[)?{_DATE}[,،]?\s(?:à\s|um\s|kl\.?\s)?{_TIME}(?(1)\]\s?|\s[-–]\s)", re.IGNORECASE)
AFTERNOON = re.compile(r"p|下午|오후|م|μ\.?μ", re.IGNORECASE)
NAME_END = re.compile(r":(?=\s|$)")
# A quotation that is not closed: the notice 'Ada changed the subject to “Re: lunch”', cut at its colon.
OPEN_QUOTE = re.compile(r'[“„«][^”“»]*\Z|^[^"]*"[^"]*(?:"[^"]*"[^"]*)*\Z')
NOTICE_WORDS = 3  # the fewest that a notice has after a name
LOCATION = re.compile(r"\w[\w ]*: https?://(?:maps\.google|www\.google|maps\.apple)\.\S+")
BRACKETED = re.compile(r"<[^<>\n]{2,60}>")
NOTE_BEHIND = re.compile(r"\s*\u200e(?:<[^<>\n]{2,80}>|(?P<phrase>[^\n]{3,60}))\Z")

# What the app writes in place of a message, in many languages.
_PHRASES: dict[str, list[str]] = tomllib.loads(files(__package__).joinpath("whatsapp.toml").read_text("utf-8"))
_ANY = {name: "|".join(map(re.escape, phrases)) for name, phrases in _PHRASES.items()}
OMITTED = re.compile("|".join(_PHRASES["omitted"]), re.IGNORECASE)
ATTACHED = re.compile(
    r"(?:IMG|VID|PTT|AUD|STK|DOC|PHOTO|VIDEO|AUDIO)-\d{8}-WA\d+\.\w{2,5} \([^()\n]{3,40}\)"
    rf"|[^\n<>:]{{1,200}}\.\w{{2,5}} \((?:{_ANY['attached']})\)",
    re.IGNORECASE,
)
DELETED = re.compile(rf"(?:{_ANY['deleted']})[.。]?", re.IGNORECASE)
EDITED = re.compile(rf"\s*\u200e?<(?:{_ANY['edited']})[.。]?>\Z", re.IGNORECASE)


@dataclass(frozen=True)
class DateStyle:
    """How a file writes dates, and who writes in it, as its first reading tells.

    Attributes:
        bracketed: whether dates stand in brackets.
        order: how they are read.
        why: what told the order.
        certain: whether that is beyond doubt.
        names: names with a colon in them.
        senders: messages per name up to the first colon.
    """

    bracketed: bool
    order: str
    why: str
    certain: bool
    names: frozenset[str]
    senders: Counter[str]


def begins_message(line: str) -> "re.Match[str] | None":
    """Return the match of a line's date and time, in the line without marks; None if it does not begin a message."""
    return HEADER.match(line if line.isascii() else MARKS.sub("", line))


def survey(lines: Iterable[str], dates: Dates = "auto", names: Collection[str] = ()) -> DateStyle:
    """Read a file once for its style.

    Args:
        lines: the lines of the file.
        dates: the order of the dates, if the user knows it.
        names: names with colons that the user knows.
    """
    counts: Counter[str] = Counter()
    senders: Counter[str] = Counter()
    second_names: dict[str, Counter[str]] = {}
    last_date, last_key = None, {"day-first": 0, "month-first": 0}
    for line in lines:
        match = begins_message(line)
        if match is None:
            continue
        counts["bracketed" if match[1] else "bare"] += 1
        date = match.group(2, 3, 4)
        if date != last_date:
            last_date = date
            _count_date(counts, match, last_key)
        _count_sender(senders, match.string[match.end() :], second_names)
    # A name goes on to a second colon if all its messages do, in few ways, each met at least three times.
    with_colons = [name for name in names if ": " in name]
    for name, seconds in second_names.items():
        if seconds and "" not in seconds and min(seconds.values()) >= 3:
            with_colons += [clean_name(f"{name}:{second}") for second in seconds]
    order, why, certain = (dates, "as --dates says", True) if dates != "auto" else _order(counts)
    return DateStyle(counts["bracketed"] > counts["bare"], order, why, certain, frozenset(with_colons), senders)


def _count_date(counts: Counter[str], match: "re.Match[str]", last_key: dict[str, int]) -> None:
    """Count what a date says of the order: whether only one is possible, and in which it goes back in time."""
    first, second, third = (int(part) for part in match.group(2, 3, 4))
    if first > 31:
        counts["year-first"] += 1
        return
    counts["only day-first"] += first > 12 >= second
    counts["only month-first"] += second > 12 >= first
    # Written as by phones in the United States: 3/9/24, 6:05 PM.
    is_short = len(match[2]) + len(match[3]) < 4 and len(match[4]) == 2
    counts["american"] += bool(match[9]) and "/" in match[0] and is_short
    for order, month, day in (("day-first", second, first), ("month-first", first, second)):
        key = (third * 13 + month) * 32 + day
        counts[f"forward {order}"] -= key < last_key[order]
        last_key[order] = key


def _order(counts: Counter[str]) -> tuple[str, str, bool]:
    """Return the order of day and month, what tells it, and whether that is beyond doubt."""
    if counts["year-first"] > counts["only day-first"] + counts["only month-first"]:
        return "year-first", "dates begin with the year", True
    for what, why in (
        ("only", "some dates have no other reading"),
        ("forward", "read so, its messages follow one another in time"),
    ):
        day, month = counts[f"{what} day-first"], counts[f"{what} month-first"]
        if day != month:
            return "day-first" if day > month else "month-first", why, True
    return "month-first" if counts["american"] else "day-first", "either would do; --dates sets it", False


def _count_sender(senders: Counter[str], rest: str, second_names: dict[str, Counter[str]]) -> None:
    # Note who may have sent this, and what the name would be if it went on to the second colon.
    end = NAME_END.search(rest)
    if end is None:
        return
    name = rest[: end.start()]
    if name not in senders and len(senders) >= MOST_SENDERS:
        return
    senders[name] += 1
    seconds = second_names.setdefault(name, Counter())
    second_end = NAME_END.search(rest, end.end())
    seconds[rest[end.end() : second_end.start()] if second_end and second_end.start() < 80 else ""] += 1
    # A name does not go on in more ways than that.
    if len(seconds) > 20:
        seconds.clear()
        seconds[""] = 1


def read(lines: Iterable[str], about: DateStyle, cleaner: Cleaner) -> Iterator[ChatMessage | Reason]:
    """Yield the messages of a file in its order; `about` is what `survey` found in the same lines."""
    clock, pending, size = 0.0, None, 0
    for line in lines:
        header = _header(line, about)
        if header is None:
            if pending is not None:
                size += len(line)
                if size <= LONGEST_MESSAGE:
                    pending[1].append(line)
            continue
        if pending is not None:
            yield _message(pending[0], pending[1], size, about, cleaner)
        moment, rest = header
        if moment is not None and 0 < clock - moment <= DISORDER:
            # The message keeps its place, since the file has the order of the screen.
            moment = clock
        clock = moment if moment is not None else clock
        pending, size = (moment, [rest]), len(rest)
    if pending is not None:
        yield _message(pending[0], pending[1], size, about, cleaner)


def _header(line: str, about: DateStyle) -> tuple[float | None, str] | None:
    """Return when the message that begins on this line was sent (None: impossible) and the rest of the line."""
    match = begins_message(line)
    if match is None or (match[1] is not None) != about.bracketed:
        return None
    rest = match.string[match.end() :]
    # The marks stay in the text: they tell the app's own words.
    if LEFT_TO_RIGHT in line and ": " in rest:
        rest = rest.partition(": ")[0] + ": " + line.partition(": ")[2]
    return _moment(match, about.order), rest


def _moment(match: "re.Match[str]", order: str) -> float | None:
    first, second, third = (int(part) for part in match.group(2, 3, 4))
    year, month, day = {
        "day-first": (third, second, first),
        "month-first": (third, first, second),
        "year-first": (first, second, third),
    }["year-first" if first > 31 else order]
    hour, minute, seconds = int(match[6]), int(match[7]), int(match[8] or 0)
    if half := match[5] or match[9]:
        hour = hour % 12 + 12 * bool(AFTERNOON.match(half))
    try:
        moment = datetime(year + 2000 * (year < 100), month, day, hour, minute, seconds, tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return None if unusable(moment, 0) else moment


def _message(
    moment: float | None, lines: list[str], size: int, about: DateStyle, cleaner: Cleaner
) -> ChatMessage | Reason:
    raw = "".join(lines).rstrip("\r\n")
    name, text = _split_name(raw, about)
    if not name:
        return Reason.SERVICE
    if reason := unusable(moment, size):
        return reason
    assert moment is not None
    text, why = _own_words(text, about.bracketed)
    words = cleaner.words(text)
    return ChatMessage("", moment, name, name, words) if words else why


def _split_name(raw: str, about: DateStyle) -> tuple[str, str]:
    """Return who wrote a message, and the text. The name is empty where the app speaks."""
    first, newline, more = raw.partition("\n")
    end = NAME_END.search(first)
    if end is None:
        return "", ""
    if about.names and (second := NAME_END.search(first, end.end())):
        end = second if clean_name(first[: second.start()]) in about.names else end
    name = first[: end.start()]
    # A notice with a colon looks like a message of a rare sender, whose name begins with another or has a quote.
    words = name.split(" ")
    heads = (" ".join(words[:count]) for count in range(1, len(words) - NOTICE_WORDS + 1))
    if about.senders[name] <= 2 and (OPEN_QUOTE.search(name) or any(about.senders[head] > 2 for head in heads)):
        return "", ""
    text = first[end.end() :].removeprefix(" ") + newline + more
    return clean_name(name), text


def _own_words(text: str, bracketed: bool) -> tuple[str, Reason]:
    """Return what the sender wrote of this text, and the reason for skipping the message if that is nothing."""
    plain = MARKS.sub("", text).strip()
    if DELETED.fullmatch(plain):
        return "", Reason.DELETED
    text = EDITED.sub("", text.rstrip()) if ">" in text else text
    first, _, caption = text.strip().partition("\n")
    bare = MARKS.sub("", first).strip()
    if ATTACHED.fullmatch(bare) or OMITTED.fullmatch(bare) or LOCATION.fullmatch(bare):
        return caption, Reason.MEDIA
    if bare == "null" or (BRACKETED.fullmatch(bare) and (" " in bare or not bare.isascii())):
        return caption, Reason.MEDIA
    if bracketed and first.lstrip().startswith(LEFT_TO_RIGHT):
        return "", Reason.SERVICE
    if LEFT_TO_RIGHT in text and (behind := NOTE_BEHIND.search(text)):
        phrase = behind["phrase"]
        if phrase is None or OMITTED.fullmatch(MARKS.sub("", phrase).strip()):
            text = text[: behind.start()]
    if MARKS.sub("", text).strip():
        return text, Reason.ONLY_REDACTED
    return "", why_empty(False, bool(plain))
