"""Turn exported chats (WhatsApp, Telegram, Discord, Slack) into conversations to fine-tune on."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from understudy.config import in_range
from understudy.console import counted, progress, text
from understudy.data.importers.clean import KINDS, Cleaner, Kind, clean_name
from understudy.data.importers.formats import Export, Hints, exports_of
from understudy.data.importers.segment import (
    SegmentConfig,
    WrittenFile,
    choose_bots,
    collect,
    speakers_by_messages,
    write_split,
)
from understudy.data.importers.sort import MessageSorter
from understudy.errors import ConfigError, DataError
from understudy.recipes.import_report import Source, Tally, outcome_table, sources_table, speakers_table

HOUR = 3600.0
MINUTE = 60.0
Exports = Annotated[
    tuple[str, ...],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint="(required)"),
]
Names = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: none)"),
]


@dataclass(frozen=True)
class Config:
    """Turns exported chats into conversations to fine-tune on; nothing leaves this machine.

    Takes WhatsApp's .txt or .zip, Telegram's result.json, DiscordChatExporter's JSON, and Slack's folder or .zip.
    """

    files: Exports
    """Exports: files, folders or zip archives, of one app or of several."""
    bot: Names = ()
    """The speaker whose part the bot learns; --bot again for another name of the same person. Without it, asks."""
    out: str = "chats"
    """Beginning of the names of the files written: OUT-train.jsonl and OUT-valid.jsonl."""
    silence: float = 4.0
    """Hours without a message after which a new conversation begins."""
    burst: float = 5.0
    """Minutes within which messages of one side are joined."""
    valid_share: float = 0.1
    """Share of the conversations held out for validation: the latest."""
    dates: Literal["auto", "day-first", "month-first"] = "auto"
    """How WhatsApp's dates are read: 3/9/24 is 3 September or 9 March; auto decides by the whole file."""
    keep_emails: bool = False
    """Leave e-mail addresses as they are."""
    keep_phones: bool = False
    """Leave phone numbers as they are."""
    keep_links: bool = False
    """Leave links as they are."""
    force: bool = False
    """Overwrite existing files."""

    def validate(self) -> None:
        """Raise ConfigError for options out of range, and for files that cannot be written."""
        if not self.files:
            raise ConfigError("no files given; expected at least one export, such as understudy import-chats _chat.txt")
        in_range("silence", self.silence, 0, above=True, of="hours")
        in_range("burst", self.burst, 0, of="minutes")
        in_range("valid_share", self.valid_share, 0, 1, below=True)
        folder = Path(self.out).parent
        if not folder.is_dir():
            raise ConfigError(f"--out {self.out}: there is no folder {folder}; make it, or name another")
        there = [path for path in self.written if path.exists()]
        if there and not self.force:
            raise ConfigError(f"{there[0]} is there already; name other files with --out, or overwrite with --force")

    @property
    def written(self) -> tuple[Path, Path]:
        """The files for training and for validation."""
        return Path(f"{self.out}-train.jsonl"), Path(f"{self.out}-valid.jsonl")

    @property
    def kept_kinds(self) -> tuple[Kind, ...]:
        """What is not redacted."""
        keep = {"email": self.keep_emails, "phone": self.keep_phones, "link": self.keep_links}
        return tuple(kind for kind in KINDS if keep[kind])


def main(config: Config, console: Console) -> None:
    """Import the exports and say what became of every message."""
    config.validate()
    names = tuple(clean_name(name) for name in config.bot)
    hints = Hints(config.dates, names)
    exports = [export for path in config.files for export in exports_of(Path(path).expanduser(), hints)]
    cleaner = Cleaner(config.kept_kinds)
    tally = Tally()
    with closing(MessageSorter()) as sorter:
        _read(exports, sorter, cleaner, tally, console)
        console.print(sources_table(tally))
        for export in exports:
            for note in export.notes:
                console.print(text(f"{export.label}: {note}", style="yellow"), soft_wrap=True)
        can_ask = console.is_terminal and bool(sys.stdin) and sys.stdin.isatty()
        bots = choose_bots(sorter, names, partial(_ask, sorter, console) if can_ask else None)
        train, valid = _write(config, sorter, bots, tally, console)
    console.print(outcome_table(tally, cleaner, train, valid))
    written = [str(file.path) for file in (train, valid) if file.conversations]
    console.print(text(f"written: {', '.join(written)}"), soft_wrap=True)
    held_out = ["--valid", str(valid.path)] if valid.conversations else []
    command = shlex.join(["understudy", "finetune", "--base", "gpt1", "--data", str(train.path), *held_out])
    console.print(text(f"next: {command}"), soft_wrap=True)


def _read(exports: Sequence[Export], sorter: MessageSorter, cleaner: Cleaner, tally: Tally, console: Console) -> None:
    with progress(console, "reading", sum(export.size for export in exports), percent=True) as bar:
        for number, export in enumerate(exports):
            kept = sorter.add(number, export.app, export.read(cleaner, bar.advance), tally.skipped)
            tally.sources.append(Source(export, kept, *(sorter.span(number) if kept else (0.0, 0.0))))
    if not tally.kept:
        said = [f"{counted(count, 'message')} {reason}" for reason, count in tally.skipped.most_common()]
        notes = [note for export in exports for note in export.notes]
        why = "; ".join(said + notes) or "they hold no messages"
        raise DataError(f"nothing to learn from in {', '.join(export.label for export in exports)}: {why}")


def _write(
    config: Config, sorter: MessageSorter, bots: frozenset[int], tally: Tally, console: Console
) -> tuple[WrittenFile, WrittenFile]:
    redact = Cleaner(config.kept_kinds)  # another cleaner, since names are not counted with the texts

    @cache
    def name_of(number: int) -> str:
        return redact.text(sorter.speakers[number].name)

    segments = SegmentConfig(bots, config.silence * HOUR, config.burst * MINUTE, name_of)
    with progress(console, "cutting into conversations", tally.kept, percent=True) as bar:
        collect(sorter, segments, tally.skipped, bar.advance)
    if not sorter.has_lines():
        said = "; ".join(f"{count:,} messages {reason}" for reason, count in tally.skipped.most_common(3))
        raise DataError(f"no conversation is left to learn from: {said}; try a longer --silence, or another --bot")
    train, valid = config.written
    return write_split(sorter, train, valid, config.valid_share, tally.skipped)


def _ask(sorter: MessageSorter, console: Console) -> str:
    """Return the id of the speaker that the user picks from a list."""
    console.print(speakers_table(sorter))
    numbers = speakers_by_messages(sorter)
    answer = clean_name(console.input("Whose part is the bot to learn? Its number or name: "))
    picked = int(answer) if answer.isdecimal() else 0
    return sorter.speakers[numbers[picked - 1]].key if 1 <= picked <= len(numbers) else answer
