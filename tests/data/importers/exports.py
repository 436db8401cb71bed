"""Writes exports as the four apps do, from a plain list of what happened, and says what an import must make of it."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

BOT = "Ada Lovelace"
# The last one is not in the address book, and must not be in what is written.
PEOPLE = (BOT, "Zoë 🎉", "שרה", "+49 151 2345678")
SECRETS = {
    "email": ["ada@example.org", "j.o'neil+x@mail.co.uk", "имя@почта.рф"],
    "phone": ["+49 151 2345678", "(555) 123-4567", "06 12 34 56 78", "0151/2345678"],
    "link": ["https://example.org/a?b=c", "www.example.com", "youtu.be/dQw4w9WgXcQ", "example.net"],
}
START = datetime(2019, 5, 13, 9, 0, tzinfo=UTC)  # the 13th cannot be a month
MINUTE = timedelta(minutes=1)
WHATSAPP_NOTICE = "Messages and calls are end-to-end encrypted. Tap to learn more."


@dataclass(frozen=True)
class Event:
    """Something in a chat.

    `kind` is said, media, deleted or notice; `secret` (kind, text) stands in what was said; `mark` is a word that
    occurs in this event alone.
    """

    time: datetime
    speaker: str
    kind: str
    mark: str
    words: str = ""
    secret: tuple[str, str] | None = None

    @property
    def text(self) -> str:
        """What was said."""
        return " ".join(part for part in (self.mark, self.words, self.secret[1] if self.secret else "") if part)


words = st.text(st.characters(categories=["Lu", "Ll", "Lo", "So"], exclude_characters="\u200e"), min_size=1, max_size=8)
sentences = st.lists(st.one_of(words, st.just("\n")), max_size=5).map(lambda parts: " ".join(parts).strip())
secrets_ = st.sampled_from([(kind, text) for kind, texts in SECRETS.items() for text in texts])


@st.composite
def histories(draw: st.DrawFn, people: Sequence[str] = PEOPLE) -> list[Event]:
    """Up to thirty events, minutes or hours apart."""
    events, time = [], START
    for number in range(draw(st.integers(1, 30))):
        time += draw(st.sampled_from([0, 1, 4, 30, 239, 241, 3000])) * MINUTE
        kind = draw(st.sampled_from(["said"] * 6 + ["media", "deleted", "notice"]))
        secret = draw(st.none() | secrets_) if kind == "said" else None
        events.append(Event(time, draw(st.sampled_from(people)), kind, f"mark{number}x", draw(sentences), secret))
    return events


def kept(events: Sequence[Event], silence: timedelta) -> list[list[Event]]:
    """The conversations that must come out: what was said, cut at silences, where the bot and another both speak."""
    talks: list[list[Event]] = []
    for event in (event for event in events if event.kind == "said"):
        if not talks or event.time - talks[-1][-1].time > silence:
            talks.append([])
        talks[-1].append(event)
    return [talk for talk in talks if len({event.speaker == BOT for event in talk}) == 2]


@dataclass(frozen=True)
class WhatsAppStyle:
    """How a phone writes."""

    bracketed: bool = True
    date: str = "%d.%m.%y"
    time: str = "%H:%M:%S"
    marks: bool = False
    newline: str = "\n"
    encoding: str = "utf-8"
    zipped: bool = False


whatsapp_styles = st.builds(
    WhatsAppStyle,
    bracketed=st.booleans(),
    date=st.sampled_from(["%d.%m.%y", "%d/%m/%Y", "%m/%d/%y", "%Y-%m-%d", "%Y. %m. %d.", "%d-%m-%Y"]),
    time=st.sampled_from(["%H:%M:%S", "%H:%M", "%H.%M", "%I:%M:%S\u202f%p", "%I:%M %p"]),
    marks=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
    zipped=st.booleans(),
)


def write_whatsapp(folder: Path, events: Sequence[Event], style: WhatsAppStyle = WhatsAppStyle()) -> Path:
    """`_chat.txt`, or the archive that holds it."""
    mark = "\u200e" if style.marks else ""
    lines = []
    for event in events:
        when = f"{event.time:{style.date}}, {event.time:{style.time}}"
        begin = f"{mark}[{when}] " if style.bracketed else f"{mark}{when} - "
        name = f"\u202a{event.speaker}\u202c" if style.marks and event.speaker[0] == "+" else event.speaker
        note = "\u200e" if style.bracketed else ""
        body = {
            "said": f"{name}: {event.text}",
            "media": f"{name}: {note}{'image omitted' if style.bracketed else '<Media omitted>'}",
            "deleted": f"{name}: {note}This message was deleted.",
            "notice": f"{name}: {note}{WHATSAPP_NOTICE}" if style.bracketed else WHATSAPP_NOTICE,
        }[event.kind]
        lines.append(begin + body + "\n")
    content = "".join(lines).replace("\n", style.newline).encode(style.encoding)
    if not style.zipped:
        (folder / "_chat.txt").write_bytes(content)
        return folder / "_chat.txt"
    with zipfile.ZipFile(folder / "chat.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_chat.txt", content)
        archive.writestr("00000001-PHOTO.jpg", b"\xff\xd8\xff\xe0")
    return folder / "chat.zip"


def telegram_message(number: int, event: Event, marked: bool) -> dict[str, Any]:
    """One message of result.json; `marked`: addresses and links are pieces that the app marks."""
    who = {"from": event.speaker, "from_id": f"user{PEOPLE.index(event.speaker) + 100}"}
    message: dict[str, Any] = {"id": number, "type": "message", "date": f"{event.time:%Y-%m-%dT%H:%M:%S}"}
    message["date_unixtime"] = str(int(event.time.timestamp()))
    if event.kind == "notice":
        return message | {"type": "service", "actor": event.speaker, "action": "phone_call", "text": event.mark}
    if event.kind == "media":
        return message | who | {"photo": f"(File not included {event.mark})", "width": 800, "text": ""}
    if event.kind == "deleted":  # nothing stays of it
        return {"id": number, "type": "unsupported"}
    text: str | list[Any] = event.text
    if marked and event.secret:
        kind, secret = event.secret
        text = [f"{event.mark} {event.words}".strip() + " ", {"type": kind, "text": secret}]
    return message | who | {"text": text, "text_entities": []}


def write_telegram(
    folder: Path, chats: Sequence[Sequence[Event]], marked: bool = False, indent: int | None = 1
) -> Path:
    """`result.json`: of one chat alone, or of several within the export of an account."""
    lists = [
        {
            "name": f"chat {number}",
            "type": "private_group",
            "id": number,
            "messages": [telegram_message(i, event, marked) for i, event in enumerate(events)],
        }
        for number, events in enumerate(chats)
    ]
    account = {
        "about": "Here is the data you requested. {[]}",
        "personal_information": {"first_name": "Ada", "phone_number": "+44 20 7946 0958"},
        "contacts": {"about": "x", "list": [{"first_name": "Zoë", "phone_number": "0044 1"}] * 3},
        "chats": {"about": "all chats", "list": lists},
    }
    path = folder / "result.json"
    path.write_text(json.dumps(lists[0] if len(lists) == 1 else account, ensure_ascii=False, indent=indent), "utf-8")
    return path


def discord_message(number: int, event: Event) -> dict[str, Any]:
    """One message as DiscordChatExporter writes it."""
    place = PEOPLE.index(event.speaker)
    author = {"id": f"{place}11111111111111111", "name": f"user{place}", "discriminator": "0000"}
    author |= {"nickname": event.speaker, "isBot": False, "avatarUrl": "https://cdn.example/a.png"}
    kinds = {"notice": "ChannelNameChange", "said": "Reply" if number % 2 else "Default"}
    return {
        "id": str(number),
        "type": kinds.get(event.kind, "Default"),
        "timestamp": event.time.astimezone(tz=None).isoformat(timespec="milliseconds"),
        "timestampEdited": None,
        "content": event.text if event.kind in ("said", "notice") else "",
        "author": author,
        "attachments": [{"id": "1", "url": f"https://cdn.example/{event.mark}"}] if event.kind == "media" else [],
        "embeds": [],
        "stickers": [],
        "mentions": [],
    }


def write_discord(folder: Path, events: Sequence[Event], newest_first: bool = False) -> Path:
    """The export of a channel."""
    messages = [discord_message(number, event) for number, event in enumerate(events)]
    if newest_first:
        messages = messages[::-1]
    export = {"guild": {"id": "0", "name": "Direct Messages"}, "channel": {"id": "7", "name": "general"}}
    rest = {"dateRange": {"after": None, "before": None}, "messages": messages, "messageCount": len(messages)}
    path = folder / "general.json"
    path.write_text(json.dumps(export | rest, ensure_ascii=False, indent=2), "utf-8")
    return path


def slack_message(event: Event) -> dict[str, Any]:
    """One message of a day's file, with Slack's markup around what it takes for links."""
    user = f"U{PEOPLE.index(event.speaker)}"
    message: dict[str, Any] = {"type": "message", "user": user, "ts": f"{event.time.timestamp():.6f}"}
    if event.kind == "notice":
        return message | {"subtype": "channel_join", "text": f"<@{user}> has joined the channel {event.mark}"}
    if event.kind == "deleted":
        return message | {"subtype": "tombstone", "text": "This message was deleted.", "hidden": True}
    if event.kind == "media":
        return message | {"text": "", "files": [{"id": "F1", "name": event.mark}]}
    text = f"{event.mark} {event.words}".strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if event.secret:
        kind, secret = event.secret
        prefix = {"email": "mailto:", "phone": "tel:", "link": "http://"}[kind]
        text += f" <{prefix}{secret.removeprefix('https://')}|{secret}>"
    return message | {"text": text}


def write_slack(folder: Path, events: Sequence[Event], zipped: bool = False) -> Path:
    """The export of a workspace with one channel."""
    users = [
        {"id": f"U{place}", "name": f"user{place}", "profile": {"real_name": "Somebody", "display_name": name}}
        for place, name in enumerate(PEOPLE)
    ]
    days: dict[str, list[Any]] = {}
    for event in events:
        days.setdefault(f"general/{event.time:%Y-%m-%d}.json", []).append(slack_message(event))
    files = {"users.json": users, "channels.json": [{"id": "C1", "name": "general"}], **days}
    if zipped:
        path = folder / "slack.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, json.dumps(content))
        return path
    path = folder / "slack"
    (path / "general").mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_text(json.dumps(content))
    return path
