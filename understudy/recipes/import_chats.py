"""Turn exported chats (WhatsApp, Telegram, Discord, Slack) into conversations to fine-tune on."""

import shlex
import sys
from collections import Counter
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
from understudy.data.importers.formats import Hints, exports_of
from understudy.data.importers.messages import Reason
from understudy.data.importers.segment import choose_bots, collect, speakers_by_messages, turns, write_split
from understudy.data.importers.sort import MessageSorter
from understudy.errors import ConfigError, DataError
from understudy.recipes.import_report import outcome_table, sources_table, speakers_table

HOUR = 3600.0
MINUTE = 60.0
Exports = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE [FILE ...]", help_behavior_hint="(required)")
]
Names = Annotated[
    tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: none)")
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
            raise ConfigError(f"{there[0]} already exists; name other files with --out, or overwrite with --force")

    @property
    def written(self) -> tuple[Path, Path]:
        """The files for training and for validation."""
        return Path(f"{self.out}-train.jsonl"), Path(f"{self.out}-valid.jsonl")

    @property
    def kept_kinds(self) -> tuple[Kind, ...]:
        """What is not redacted."""
        return tuple(kind for kind in KINDS if getattr(self, f"keep_{kind}s"))


def main(config: Config, console: Console) -> None:
    """Import the exports and say what became of every message."""
    config.validate()
    names = tuple(clean_name(name) for name in config.bot)
    hints = Hints(config.dates, names)
    exports = [export for path in config.files for export in exports_of(Path(path).expanduser(), hints)]
    cleaner = Cleaner(config.kept_kinds)
    redact = Cleaner(config.kept_kinds)  # for speakers' names, which are not counted with the texts
    skipped: Counter[Reason] = Counter()
    with closing(MessageSorter()) as sorter:
        # What the exports hold
        kept = []
        with progress(console, "reading", sum(export.size for export in exports), percent=True) as bar:
            for number, export in enumerate(exports):
                kept.append(sorter.add(number, export.app, export.read(cleaner, bar.advance), skipped))
        notes = [(export.label, note) for export in exports for note in export.notes]
        if not sum(kept):
            said = [f"{counted(count, 'message')} {reason}" for reason, count in skipped.most_common()]
            why = "; ".join(said + [note for _, note in notes]) or "they hold no messages"
            raise DataError(f"nothing to learn from in {', '.join(export.label for export in exports)}: {why}")
        console.print(sources_table(exports, kept, sorter))
        for label, note in notes:
            console.print(text(f"{label}: {note}", style="yellow"), soft_wrap=True)

        # The conversations of the one whose part the bot learns
        can_ask = console.is_terminal and bool(sys.stdin) and sys.stdin.isatty()
        bots = choose_bots(sorter, names, partial(_ask, sorter, console) if can_ask else None)
        name_of = cache(lambda number: redact.text(sorter.speakers[number].name))
        turns_of = partial(turns, bots=bots, merge_within=config.burst * MINUTE, name_of=name_of)
        with progress(console, "cutting into conversations", sum(kept), percent=True) as bar:
            collect(sorter, bots, config.silence * HOUR, turns_of, skipped, bar.advance)
        if not sorter.has_lines():
            why = "; ".join(f"{count:,} messages {reason}" for reason, count in skipped.most_common(3))
            raise DataError(f"no conversation is left to learn from: {why}; try a longer --silence, or another --bot")
        train, valid = write_split(sorter, *config.written, config.valid_share, skipped)

    # What became of every message, and what to do next
    console.print(outcome_table(skipped, cleaner, train, valid))
    written = [str(file.path) for file in (train, valid) if file.conversations]
    console.print(text(f"written: {', '.join(written)}"), soft_wrap=True)
    held_out = ["--valid", str(valid.path)] if valid.conversations else []
    command = shlex.join(["understudy", "finetune", "--base", "gpt1", "--data", str(train.path), *held_out])
    console.print(text(f"next: {command}"), soft_wrap=True)


def _ask(sorter: MessageSorter, console: Console) -> str:
    """Return the id of the speaker that the user picks from a list."""
    console.print(speakers_table(sorter))
    numbers = speakers_by_messages(sorter)
    answer = clean_name(console.input("Whose part is the bot to learn? Its number or name: "))
    picked = int(answer) if answer.isdecimal() else 0
    return sorter.speakers[numbers[picked - 1]].key if 1 <= picked <= len(numbers) else answer
