"""What an import reports: what was read, and what became of every message."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Column, Table

from understudy.console import counted, table, text, visible
from understudy.data.importers.clean import Cleaner, Kind
from understudy.data.importers.formats import Export
from understudy.data.importers.messages import Reason
from understudy.data.importers.segment import WrittenFile, speakers_by_messages
from understudy.data.importers.sort import MessageSorter

REDACTED: dict[Kind, str] = {"email": "e-mail", "phone": "phone number", "link": "link"}
SPEAKERS_SHOWN = 30


def sources_table(exports: Sequence[Export], kept: Sequence[int], sorter: MessageSorter) -> Table:
    """Return a table with a row per export; `kept`: the number of messages that were kept of each."""
    shown = table("file", "app", Column("messages", justify="right"), "from", "to", title="Read")
    for number, (export, count) in enumerate(zip(exports, kept, strict=True)):
        days = map(_day, sorter.span(number)) if count else ("", "")
        shown.add_row(text(export.label), export.app, f"{count:,}", *days)
    return shown


def speakers_table(sorter: MessageSorter) -> Table:
    """Return the numbered speakers, the most talkative first."""
    shown = table("", "speaker", "app", Column("messages", justify="right"), title="Who speaks")
    for place, number in enumerate(speakers_by_messages(sorter)[:SPEAKERS_SHOWN], 1):
        speaker = sorter.speakers[number]
        shown.add_row(str(place), text(visible(speaker.name)), speaker.app, f"{sorter.messages_of[number]:,}")
    return shown


def outcome_table(skipped: Counter[Reason], cleaner: Cleaner, train: WrittenFile, valid: WrittenFile) -> Table:
    """Return what became of every message: the rows add up to the title."""
    kept = train.messages + valid.messages
    title = f"What became of {counted(kept + skipped.total(), 'message')}"
    shown = table(Column(justify="right"), "", title=title, header=False)
    for part, purpose in ((train, "to learn from"), (valid, "to validate on")):
        span = f", {_day(part.first)} to {_day(part.last)}" if part.conversations else ""
        told = f"{purpose}: {counted(part.conversations, 'conversation')}{span}"
        shown.add_row(f"{part.messages:,}", told, style="bold")
    shown.add_section()
    for reason, count in skipped.most_common():
        shown.add_row(f"{count:,}", f"left out: {reason}")
    shown.add_section()
    for kind, what in REDACTED.items():
        replaced = f"[{kind}] in place of {counted(cleaner.redacted[kind], what)}"
        shown.add_row("", text(f"{what} kept" if kind in cleaner.keep else replaced))
    if cleaner.broken:
        shown.add_row("", f"{counted(cleaner.broken, 'message')} with broken characters, now \ufffd", style="yellow")
    return shown


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
