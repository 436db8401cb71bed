"""`understudy runs containing`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from understudy.console import say
from understudy.errors import UserError
from understudy.runs.code.kept import READ_FILES, open_code
from understudy.runs.containing import Piece, find_piece
from understudy.runs.find import list_runs
from understudy.runs.record import Record, change_marks


@dataclass
class Options:
    """Lists the runs whose code holds a commit, a line or a definition: which results did this bug touch?

    The code itself counts, not its history. A run from the same edits before they were committed is listed; one that
    was made after the bug was mended is not.
    """

    piece: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="COMMIT|FILE:LINE|SYMBOL")]
    """A commit, FILE:LINE or FILE:FIRST-LAST, or a function, class or constant. Lines and definitions are today's;
    with @RUN behind them, that run's."""
    mark_bad: Annotated[str, tyro.conf.arg(metavar="REASON")] = ""
    """Mark the runs that are listed as bad, with this reason."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    piece = find_piece(options.piece, Path.cwd())
    records = [record for record in list_runs() if record.status != "broken"]
    unread: list[str] = []
    shown = track(records, "looking through", console=console, transient=True, disable=not console.is_terminal)
    found = list(_holding(piece, shown, unread))
    say(console, piece.name, "bold")
    if found:
        console.print(_table(found))
    say(console, f"{len(found)} of {len(records)} runs hold this code", "" if found else "green")
    for line in unread:
        say(console, line, "yellow")
    if options.mark_bad:
        for record, _ in found:
            change_marks(record.folder, bad=options.mark_bad)
        say(console, f"marked as bad: {options.mark_bad}", "red")
    elif found:
        say(
            console,
            f'to take them out of comparisons: understudy runs containing {options.piece} --mark-bad "why"',
            "dim",
        )


def _holding(piece: Piece, records: Iterable[Record], unread: list[str]) -> Iterator[tuple[Record, str]]:
    """The runs that hold it, and where; each different code is looked at once."""
    places: dict[str, str] = {}
    for record in records:
        key = _code_key(record)
        if key not in places:
            try:
                with open_code(record.folder) as code:
                    places[key] = piece.place_in(code)
            except UserError as error:
                unread.append(str(error))
                continue
        if places[key]:
            yield record, places[key]


def _code_key(record: Record) -> str:
    """Equal for runs of equal code."""
    code = record.data.get("code") or {}
    package = code.get("understudy") or {}
    parts = [part.get(name) for part in (code, package) for name in ("snapshot", "digest")]
    parts.append([module.get("snapshot") for module in code.get("submodules", [])])
    read = record.folder / "code" / READ_FILES
    known = any(parts[:2])
    return repr([parts, sha256(read.read_bytes()).hexdigest() if read.exists() else "", "" if known else record.id])


def _table(found: list[tuple[Record, str]]) -> Table:
    from understudy.console import text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "verb", "status", "where", "note"):
        table.add_column(name, no_wrap=name == "run")
    for record, place in found:
        bad = f"bad: {record.marks.bad}" if record.marks.bad else record.note
        table.add_row(*map(text, (record.id, record.verb, record.status, place, bad)))
    return table
