"""What an import says at its end: what was read, and what became of every message."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.table import Column, Table

from understudy.console import counted, table, text, visible
from understudy.data.importers.clean import Cleaner, Kind
from understudy.data.importers.formats import Export
from understudy.data.importers.sort import Spool
from understudy.data.importers.speakers import by_messages
from understudy.data.importers.splitting import Part

REDACTED: dict[Kind, str] = {"email": "e-mail", "phone": "phone number", "link": "link"}
SPEAKERS_SHOWN = 30


@dataclass(frozen=True)
class Source:
    """An export that was read: how many messages were kept of it, and when the first and the last were sent."""

    export: Export
    kept: int
    first: float
    last: float


@dataclass
class Account:
    """What became of all messages: kept as they were read, or left out, then or later, and why."""

    sources: list[Source] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """Messages that were kept as they were read."""
        return sum(source.kept for source in self.sources)


def sources_table(account: Account) -> Table:
    """A row for each export."""
    shown = table("file", "app", Column("messages", justify="right"), "from", "to", title="Read")
    for source in account.sources:
        export = source.export
        days = (_day(source.first), _day(source.last)) if source.kept else ("", "")
        shown.add_row(text(export.label), export.app, f"{source.kept:,}", *days)
    return shown


def speakers_table(spool: Spool) -> Table:
    """Who speaks, numbered, the most talkative first."""
    shown = table("", "speaker", "app", Column("messages", justify="right"), title="Who speaks")
    for place, number in enumerate(by_messages(spool)[:SPEAKERS_SHOWN], 1):
        speaker = spool.speakers[number]
        shown.add_row(str(place), text(visible(speaker.name)), speaker.app, f"{spool.messages_of[number]:,}")
    return shown


def outcome_table(account: Account, cleaner: Cleaner, parts: tuple[Part, Part]) -> Table:
    """What became of every message: the rows add up to the title."""
    kept = sum(part.messages for part in parts)
    title = f"What became of {counted(kept + account.left_out.total(), 'message')}"
    shown = table(Column(justify="right"), "", title=title, header=False)
    for part, purpose in zip(parts, ("to learn from", "to validate on"), strict=True):
        span = f", {_day(part.first)} to {_day(part.last)}" if part.conversations else ""
        shown.add_row(
            f"{part.messages:,}", f"{purpose}: {counted(part.conversations, 'conversation')}{span}", style="bold"
        )
    shown.add_section()
    for reason, count in account.left_out.most_common():
        shown.add_row(f"{count:,}", f"left out: {reason}")
    shown.add_section()
    for kind, what in REDACTED.items():
        said = (
            f"{what} kept" if kind in cleaner.keep else f"[{kind}] in place of {counted(cleaner.redacted[kind], what)}"
        )
        shown.add_row("", text(said))
    if cleaner.broken:
        shown.add_row("", f"{counted(cleaner.broken, 'message')} with broken characters, now \ufffd", style="yellow")
    return shown


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
