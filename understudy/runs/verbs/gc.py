"""`understudy runs gc`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from understudy.console import counted, size_of, text
from understudy.errors import UserError
from understudy.runs.arguments import Query
from understudy.runs.cleanup import Plan, carry_out, plan
from understudy.runs.disk import freed
from understudy.runs.find import list_runs, runs_folder
from understudy.runs.listing import print_runs
from understudy.runs.query import duration, matching
from understudy.runs.record import Record

MOST_SHOWN = 30


@dataclass
class Options:
    """Says which runs and leftovers would be deleted, what that frees, and why others stay; --delete does it.

    Runs go only where a query, --keep or --older-than names them; of several of these all must hold. Never deleted are
    runs that are running, pinned, or built upon by one that stays. Leftovers are what killed processes half wrote, code
    that no run has any more, and tokenized data that nobody has read for 30 days.
    """

    query: Query = ()
    keep: int | None = None
    """Keep the newest of the runs that fit, this many, and delete the others."""
    older_than: str = ""
    """Delete runs that began longer ago than this: 12h, 30d, 8w."""
    checkpoints: bool = False
    """Delete the checkpoints before the last, too, of runs that stay, are not pinned, and that none builds upon."""
    delete: bool = False
    """Do it. Without this nothing is changed."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    folder, records = runs_folder(), list_runs()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} to clean up")
    found = plan(folder, records, _chosen(options, records), options.checkpoints)
    size = size_of(freed(found.paths()))
    _tell(found, console)
    if not found.paths():
        console.print("Nothing to delete.")
    elif options.delete:
        for line in carry_out(found):
            console.print(text(line, "yellow"), soft_wrap=True)
        console.print(f"{size} freed.")
    else:
        console.print(f"{size} would come free. Nothing is deleted yet: add --delete.", style="bold")


def _chosen(options: Options, records: Sequence[Record]) -> list[Record]:
    if not (options.query or options.older_than or options.keep is not None):
        return []
    chosen = list(records)
    if options.query:
        chosen = matching(" ".join(options.query), chosen)
    if options.keep is not None:
        if options.keep < 0:
            raise UserError(f"--keep {options.keep} is out of range; expected 0 or more")
        chosen = chosen[: max(0, len(chosen) - options.keep)]
    if options.older_than:
        seconds = duration(options.older_than)
        if seconds is None:
            raise UserError(f"--older-than {options.older_than} is no duration; expected one such as 12h, 30d or 8w")
        chosen = [record for record in chosen if record.created.timestamp() < time.time() - seconds]
    return chosen


def _tell(found: Plan, console: Console) -> None:
    if found.runs:
        console.print(f"To delete: {counted(len(found.runs), 'run')}\n", style="bold")
        print_runs(found.runs[-MOST_SHOWN:], console)
        _end(len(found.runs), console)
    stay = [f"{record.id}: {reason}" for record, reason in found.stay]
    checkpoints = [f"{path.parent.parent.name} {path.name}" for path in found.checkpoints]
    leftovers = [f"{leftover.path}: {leftover.reason}" for leftover in found.leftovers]
    _list(f"{counted(len(stay), 'run')} would fit, but stay:", stay, console)
    _list(f"To delete: {counted(len(checkpoints), 'checkpoint')}", checkpoints, console)
    _list(f"To delete: {counted(len(leftovers), 'leftover')}", leftovers, console)


def _list(title: str, lines: Sequence[str], console: Console) -> None:
    if lines:
        console.print(title, style="bold")
        for line in lines[:MOST_SHOWN]:
            console.print(text(f"  {line}"), soft_wrap=True)
        _end(len(lines), console)


def _end(count: int, console: Console) -> None:
    more = f"  and {count - MOST_SHOWN} more\n" if count > MOST_SHOWN else ""
    console.print(more, style="dim")
