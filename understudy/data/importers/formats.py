"""Which app an export comes from, told by its content, and its messages."""

import io
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from understudy.console import counted, visible
from understudy.data.importers import discord, slack, telegram, whatsapp
from understudy.data.importers.clean import Cleaner
from understudy.data.importers.export_files import Member, Progress, members_of
from understudy.data.importers.messages import LeftOut, Said
from understudy.data.json_stream import JsonReader
from understudy.errors import BrokenJsonError, DataError

LINES_LOOKED_AT = 200
LOOKED_FOR = (
    "looked for WhatsApp's text ([12.03.24, 18:05:11] Ada: ... or 12/03/2024, 18:05 - Ada: ...), Telegram's "
    "result.json, DiscordChatExporter's JSON, and Slack's folder or zip of channels"
)
Messages = Iterator[Said | LeftOut]


@dataclass
class Export:
    """Messages of one app, from one file or, of Slack, from a workspace.

    Attributes:
        app: WhatsApp, Telegram, Discord or Slack.
        label: the file, as it is called towards the user.
        size: bytes that reading it goes through.
        read: streams the messages; what is to be said of them is in `notes` afterwards.
    """

    app: str
    label: str
    size: int
    read: Callable[[Cleaner, Progress], Messages]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Hints:
    """What the user says beforehand of WhatsApp's files: the order of dates, and names."""

    dates: whatsapp.Dates = "auto"
    names: Collection[str] = ()


def exports_of(path: Path, hints: Hints) -> list[Export]:
    """The exports at a path: a file, a folder or a zip archive.

    Raises:
        DataError: there is none, with what was looked for; or the file is missing, empty or damaged.
    """
    members = members_of(path)
    if len(members) == 1 and members[0].path.name == path.name and not path.is_dir():
        return [_recognised(members[0], hints)]
    workspaces = {day.path.parent.parent for day in members if slack.is_day(day)}
    found = [_slack(path, root, members) for root in sorted(workspaces)]
    refused = []
    for member in members:
        if member.path.suffix.lower() == ".json" and any(map(member.path.is_relative_to, workspaces)):
            continue  # a part of Slack's
        try:
            found.append(_recognised(member, hints))
        except DataError as error:
            refused.append(error)
    if not found:
        of = f"; {refused[0]}" if len(refused) == 1 else ""
        what = counted(len(members), ".txt or .json file")
        raise DataError(f"{visible(str(path))} holds no export that is known here, in {what}; {LOOKED_FOR}{of}")
    if refused:
        found[0].notes.append(f"{counted(len(refused), 'other file')} in {visible(str(path))} left alone")
    return found


def _recognised(member: Member, hints: Hints) -> Export:
    with member.open_text() as stream:
        lines = list(itertools.islice(_lines(stream), LINES_LOOKED_AT))
    opening = "".join(lines).lstrip("\ufeff").lstrip()
    if not opening:
        raise DataError(f"{member.label} is empty; expected an exported chat")
    if any(map(whatsapp.begins_message, lines)):
        return _whatsapp(member, hints)
    app, problem = _app_of_json(member) if opening[0] in "{[" else ("", "")
    if app:
        return _json(member, app)
    raise DataError(f"{member.label} is no export known here ({problem or _described(opening)}); {LOOKED_FOR}")


def _described(opening: str) -> str:
    if re.match(r"<!doctype html|<html", opening, re.IGNORECASE):
        return "it is a web page; export from Telegram as machine-readable JSON, from Discord with --format Json"
    return f"it begins {visible(json.dumps(opening[:40], ensure_ascii=False))}"


def _app_of_json(member: Member) -> tuple[str, str]:
    """Whose JSON this is; without one ("", what it is instead)."""
    with member.open_text() as stream:
        reader = JsonReader(stream)
        try:
            return _app_of_object(reader) if reader.peek() == "{" else _app_of_array(reader)
        except BrokenJsonError as error:
            return "", f"it is no JSON: {error}"


def _app_of_object(reader: JsonReader) -> tuple[str, str]:
    keys = []
    for key in reader.members():
        keys.append(key)
        if key in ("guild", "channel"):
            return "Discord", ""
        if key in (*telegram.CHAT_LISTS, "personal_information"):
            return "Telegram", ""
        if key == "messages" and reader.peek() == "[":
            return _app_of_messages(reader)
        reader.skip()
    return "", f"it is JSON with the keys {', '.join(map(repr, keys[:8])) or 'none'}"


def _app_of_messages(reader: JsonReader) -> tuple[str, str]:
    for _ in reader.elements():
        message = reader.value()
        if isinstance(message, dict) and "author" in message:
            return "Discord", ""
        if isinstance(message, dict) and "role" in message:
            return "", "it holds conversations already: name it in `understudy finetune --data`"
        break
    return "Telegram", ""


def _app_of_array(reader: JsonReader) -> tuple[str, str]:
    for _ in reader.elements():
        message = reader.value()
        if isinstance(message, dict) and "ts" in message:
            return "Slack", ""
        break
    return "", "it is a JSON array, but not of Slack's messages"


def _lines(stream: io.TextIOBase) -> Iterator[str]:
    """Lines, those without end in pieces."""
    return iter(lambda: stream.readline(whatsapp.LONGEST_LINE), "")


def _whatsapp(member: Member, hints: Hints) -> Export:
    def read(cleaner: Cleaner, progress: Progress) -> Messages:
        with member.open_text(progress) as stream:
            about = whatsapp.survey(_lines(stream), hints.dates, hints.names)
        sure = "" if about.certain else "perhaps "
        export.notes.append(f"dates {sure}{about.order}: {about.why}")
        with member.open_text(progress) as stream:
            yield from whatsapp.read(_lines(stream), about, cleaner)

    export = Export("WhatsApp", member.label, 2 * member.size, read)
    return export


def _json(member: Member, app: str) -> Export:
    def messages(reader: JsonReader, cleaner: Cleaner) -> Messages:
        if app == "Slack":
            return slack.read(reader, member.path.parent.name, {}, {"USLACKBOT"}, cleaner)
        return (discord if app == "Discord" else telegram).read(reader, cleaner)

    def read(cleaner: Cleaner, progress: Progress) -> Messages:
        yield from _to_the_break(member, export, progress, lambda reader: messages(reader, cleaner))

    export = Export(app, member.label, member.size, read)
    return export


def _slack(path: Path, root: PurePosixPath, members: list[Member]) -> Export:
    """The export of a workspace, whose channels lie in `root`."""
    members = [member for member in members if member.path.is_relative_to(root)]
    days = [member for member in members if slack.is_day(member) and member.path.parent.parent == root]
    label = visible(str(path)) if root == PurePosixPath() else visible(f"{path}:{root}")

    def read(cleaner: Cleaner, progress: Progress) -> Messages:
        try:
            names, bots = slack.read_users(members)
        except BrokenJsonError as error:
            raise DataError(f"{label}: the list of users is damaged ({error}); export again") from error
        if not names:
            export.notes.append("no users.json: speakers go by their ids")
        for day in days:
            channel = str(day.path.parent)

            def messages(reader: JsonReader, channel: str = channel) -> Messages:
                return slack.read(reader, channel, names, bots, cleaner)

            yield from _to_the_break(day, export, progress, messages)

    export = Export("Slack", label, sum(day.size for day in days), read)
    return export


def _to_the_break(
    member: Member, export: Export, progress: Progress, messages: Callable[[JsonReader], Messages]
) -> Messages:
    """The messages of a JSON file; where it is damaged, those before that, and a note."""
    with member.open_text(progress) as stream:
        try:
            yield from messages(JsonReader(stream))
        except BrokenJsonError as error:
            export.notes.append(f"damaged JSON in {member.label}, {error}; what follows there is lost: export again")
