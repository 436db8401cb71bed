"""The list of runs on the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.table import Column
from rich.text import Text

from understudy.config import in_range
from understudy.console import age, counted, number, say, table, text
from understudy.runs.arguments import Query
from understudy.runs.find import LATEST, latest_runs, list_runs, runs_folder
from understudy.runs.query import in_order, matching
from understudy.runs.record import Record

STATUS_STYLES = {"running": "cyan", "finished": "green", "failed": "red", "broken": "red"}
NARROW = 110  # on a terminal of fewer columns, remarks go on lines of their own


@dataclass
class ListOptions:
    """Which runs are listed, and in which order."""

    query: Query = ()
    all: bool = False
    """List every run that fits, not only the latest."""
    limit: int = LATEST
    """How many runs to list."""
    sort: str = ""
    """A name to sort by, such as val_bpb: the smallest come first. Runs without it are left out."""
    reverse: bool = False
    """Reverse the order: newest first, or with --sort the largest first."""


def print_list(options: ListOptions, console: Console) -> None:
    """List the latest runs, newest last: id, verb, status, age, headline metric, marks and note.

    A query chooses, such as: "verb=finetune and val_bpb<1.2 and not bad". Quotes keep the shell away from < and >.
    Conditions are joined by "and"; "not" before one negates it. Operators are = != < <= > >= and ~ (contains). Names
    are id, verb, status, created, ended, age, seed, note, error, tag, parent, commit, host, headline, those of the
    outcome, of the last metrics, and of the options, dotted or their last part alone. The words bad, pinned and dirty
    are conditions by themselves.
    """
    in_range("limit", options.limit, 1)
    query = " ".join(options.query)
    # A query or an order concerns all runs, so all are read.
    if query or options.sort or options.all or options.reverse:
        everything = list_runs(console=console)
        found = matching(query, everything) if query else everything
        if options.sort:
            found = in_order(options.sort, found, everything)
        if options.reverse:
            found.reverse()
        # What was asked for comes first; but of runs in the order of time the newest come last.
        first = options.sort or options.reverse
        limit = len(found) if options.all else options.limit
        shown = found[:limit] if first else found[max(0, len(found) - limit) :]
        more = f"{counted(len(found) - limit, 'more run')}: --all lists them.\n"
        count = len(found)
    else:
        # Only the runs that are shown are read, so that this answers at once among thousands.
        shown, older = latest_runs(options.limit)
        count = len(shown) + older
        more = f"{counted(older, 'older run')}: `understudy runs --all` lists them.\n"
    if not shown:
        say(console, f"No run fits `{query}`." if query and everything else f"No runs in {runs_folder()} yet.")
        return
    if count > len(shown):
        say(console, more, "dim")
    print_runs(shown, console)


def print_runs(records: Sequence[Record], console: Console) -> None:
    """Print a row per run: id, verb, status, age, headline, and its remarks."""
    remarks = [remarks_on(record) for record in records]
    beside = any(remarks) and console.width >= NARROW
    names = ("run", "verb", "status", "age", "headline")
    columns = [Column(name, no_wrap=True, justify="right" if name == "age" else "left") for name in names]
    runs = table(*columns, *(["note"] if beside else []))
    for record, remark in zip(records, remarks, strict=True):
        status = text(record.status, STATUS_STYLES.get(record.status, "yellow"))
        cells = text(record.id), text(record.verb), status, age(record.created), text(headline_of(record))
        runs.add_row(*cells, *([remark] if beside else []))
    if beside or not any(remarks):
        console.print(runs)
        return

    # A remark goes below its run. The table's first line is its head, and no line is cut.
    lines = console.render_lines(runs, console.options.update(width=1000), pad=False)
    for line, remark in zip(lines, [Text(), *remarks], strict=True):
        console.print(Text.assemble(*((segment.text, segment.style or "") for segment in line)))
        if remark:
            console.print(Padding(remark, (0, 0, 0, 2)))


def remarks_on(record: Record) -> Text:
    """Return what there is to say of a run beside its figures: its marks, and its note or else its error."""
    marks = record.marks
    parts = [text(f"bad: {marks.bad}", "red")] if marks.bad else []
    parts += [Text("pinned", "magenta")] if marks.pinned else []
    parts += [text(" ".join(f"#{tag}" for tag in marks.tags), "cyan")] if marks.tags else []
    words = (record.note or record.error).split()
    parts += [text(" ".join(words))] if words else []
    return Text(" · ").join(parts)


def headline_of(record: Record) -> str:
    """Return the figure that sums the run up, with its name; an empty text where there is none yet."""
    return f"{record.headline[0]} {number(record.headline[1])}" if record.headline else ""
