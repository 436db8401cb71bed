"""Which app an export comes from, recognised by its content, and its messages."""

import io
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from understudy.console import counted, visible
from understudy.data.importers import discord, slack, telegram, whatsapp
from understudy.data.importers.clean import Cleaner
from understudy.data.importers.export_files import Advance, ExportFile, files_of
from understudy.data.importers.messages import ChatMessage, Reason
from understudy.data.json_stream import JsonReader
from understudy.errors import BrokenJsonError, DataError

LINES_LOOKED_AT = 200
LOOKED_FOR = (
    "looked for WhatsApp's text ([12.03.24, 18:05:11] Ada: ... or 12/03/2024, 18:05 - Ada: ...), Telegram's "
    "result.json, DiscordChatExporter's JSON, and Slack's folder or zip of channels"
)
Messages = Iterator[ChatMessage | Reason]
Reader = Callable[[JsonReader, Cleaner], Messages]
Part = tuple[ExportFile, Reader]


@dataclass
class Export:
    """Messages of one app: from one file or, for Slack, from a workspace.

    Attributes:
        app: WhatsApp, Telegram, Discord or Slack.
        label: the file's name in messages to the user.
        size: bytes to read in all.
        read: streams the messages, once, and adds to `notes` what the user should know of them.
    """

    app: str
    label: str
    size: int
    read: Callable[[Cleaner, Advance], Messages]
    notes: list[str]


@dataclass(frozen=True)
class Hints:
    """What the user says beforehand of WhatsApp's files: the order of dates, and names."""

    dates: whatsapp.Dates = "auto"
    names: Collection[str] = ()


def exports_of(path: Path, hints: Hints) -> list[Export]:
    """Return the exports at a path: a file, a folder or a zip archive.

    Raises:
        DataError: there is none (the message says what was looked for), or the file is missing, empty or damaged.
    """
    files = files_of(path)
    if len(files) == 1 and files[0].path.name == path.name and not path.is_dir():
        return [_recognised(files[0], hints)]
    workspaces = {day.path.parent.parent for day in files if slack.is_day(day)}
    found = [_slack(path, root, files) for root in sorted(workspaces)]
    refused = []
    for file in files:
        # What lies within a workspace is a part of Slack's.
        if file.path.suffix.lower() == ".json" and any(map(file.path.is_relative_to, workspaces)):
            continue
        try:
            found.append(_recognised(file, hints))
        except DataError as error:
            refused.append(error)
    if not found:
        of = f"; {refused[0]}" if len(refused) == 1 else ""
        what = counted(len(files), ".txt or .json file")
        raise DataError(f"{visible(str(path))} holds no export known here, in {what}; {LOOKED_FOR}{of}")
    if refused:
        found[0].notes.append(f"{counted(len(refused), 'other file')} in {visible(str(path))} left alone")
    return found


def _recognised(file: ExportFile, hints: Hints) -> Export:
    with file.open_text() as stream:
        lines = list(itertools.islice(_lines(stream), LINES_LOOKED_AT))
    opening = "".join(lines).lstrip("\ufeff").lstrip()
    if not opening:
        raise DataError(f"{file.label} is empty; expected an exported chat")
    notes: list[str] = []
    if any(map(whatsapp.begins_message, lines)):
        return Export("WhatsApp", file.label, 2 * file.size, partial(_whatsapp, file, hints, notes), notes)
    app, problem = "", ""
    if opening[0] in "{[":
        with file.open_text() as stream:
            try:
                app, problem = _app_of_json(JsonReader(stream))
            except BrokenJsonError as error:
                problem = f"it is not valid JSON: {error}"
    if app:
        day = partial(slack.read, channel=file.path.parent.name, names={}, bots={"USLACKBOT"})
        readers: dict[str, Reader] = {"Discord": discord.read, "Telegram": telegram.read, "Slack": day}
        return Export(app, file.label, file.size, partial(_json, [(file, readers[app])], notes), notes)
    if re.match(r"<!doctype html|<html", opening, re.IGNORECASE):
        problem = "it is a web page; export from Telegram as machine-readable JSON, from Discord with --format Json"
    problem = problem or f"it begins {visible(json.dumps(opening[:40], ensure_ascii=False))}"
    raise DataError(f"{file.label} is not an export known here ({problem}); {LOOKED_FOR}")


def _app_of_json(reader: JsonReader) -> tuple[str, str]:
    """Return the app whose JSON this is, or "" and what it is instead."""
    if reader.peek() == "[":
        message = next(reader.values(), None)
        is_slack = isinstance(message, dict) and "ts" in message
        return ("Slack", "") if is_slack else ("", "it is a JSON array, but not of Slack's messages")
    keys = []
    for key in reader.members():
        keys.append(key)
        if key in ("guild", "channel"):
            return "Discord", ""
        if key in (*telegram.CHAT_LISTS, "personal_information"):
            return "Telegram", ""
        if key == "messages" and reader.peek() == "[":
            message = next(reader.values(), None)
            if isinstance(message, dict) and "author" in message:
                return "Discord", ""
            if isinstance(message, dict) and "role" in message:
                return "", "it holds conversations already: name it in `understudy finetune --data`"
            return "Telegram", ""
        reader.skip()
    return "", f"it is JSON with the keys {', '.join(map(repr, keys[:8])) or 'none'}"


def _lines(stream: io.TextIOBase) -> Iterator[str]:
    # A line without end comes in pieces.
    return iter(lambda: stream.readline(whatsapp.LONGEST_LINE), "")


def _whatsapp(file: ExportFile, hints: Hints, notes: list[str], cleaner: Cleaner, advance: Advance) -> Messages:
    with file.open_text(advance) as stream:
        style = whatsapp.survey(_lines(stream), hints.dates, hints.names)
    notes.append(f"dates {'' if style.certain else 'perhaps '}{style.order}: {style.why}")
    with file.open_text(advance) as stream:
        yield from whatsapp.read(_lines(stream), style, cleaner)


def _slack(path: Path, root: PurePosixPath, files: list[ExportFile]) -> Export:
    """Return the export of a workspace whose channels lie in `root`."""
    files = [file for file in files if file.path.is_relative_to(root)]
    days = [file for file in files if slack.is_day(file) and file.path.parent.parent == root]
    label = visible(str(path)) if root == PurePosixPath() else visible(f"{path}:{root}")
    notes: list[str] = []

    def parts() -> Iterator[Part]:
        try:
            names, bots = slack.read_users(files)
        except BrokenJsonError as error:
            raise DataError(f"{label}: the list of users is damaged ({error}); export again") from error
        if not names:
            notes.append("no users.json: speakers go by their ids")
        for day in days:
            yield day, partial(slack.read, channel=str(day.path.parent), names=names, bots=bots)

    return Export("Slack", label, sum(day.size for day in days), partial(_json, parts(), notes), notes)


def _json(parts: Iterable[Part], notes: list[str], cleaner: Cleaner, advance: Advance) -> Messages:
    """Yield the messages of JSON files; of one that is damaged those before the damage, with a note."""
    for file, read in parts:
        with file.open_text(advance) as stream:
            try:
                yield from read(JsonReader(stream), cleaner)
            except BrokenJsonError as error:
                notes.append(f"damaged JSON in {file.label}, {error}; the rest of it is lost: export again")
