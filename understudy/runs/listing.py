"""`understudy runs`, `understudy runs list`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.console import counted
from understudy.errors import ConfigError
from understudy.runs.arguments import Query
from understudy.runs.find import LATEST, Record, latest_runs, list_runs, runs_folder
from understudy.runs.query import in_order, matching
from understudy.runs.table import RunsTable


@dataclass
class Options:
    """Lists the latest runs, newest last: id, verb, status, age, headline metric, marks and note.

    A query chooses, such as: "verb=finetune and val_bpb<1.2 and not bad". Quotes keep the shell away from < and >.
    Conditions are joined by and, or, not and brackets. Operators are = != < <= > >= and ~ (contains). Names are id,
    verb, status, created, ended, age, seed, note, error, tag, parent, commit, host, headline, those of the outcome, of
    the last metrics, and of the options, dotted or their last part alone. The words bad, pinned and dirty stand alone.
    """

    query: Query = ()
    all: bool = False
    """List every run that fits, not only the latest."""
    limit: int = LATEST
    """How many runs to list."""
    sort: str = ""
    """A name to sort by, such as val_bpb: the smallest come first. Runs without it are left out."""
    reverse: bool = False
    """The other way round: newest first, or the largest first."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    if options.limit < 1:
        raise ConfigError(f"--limit {options.limit} lists nothing; expected 1 or more")
    shown, left_out = _chosen(options)
    if not shown:
        query = " ".join(options.query)
        nothing = f"No run fits `{query}`." if query and latest_runs(1)[0] else f"No runs in {runs_folder()} yet."
        console.print(nothing, markup=False, highlight=False, soft_wrap=True)
        return
    if left_out:
        console.print(_left_out(options, left_out), style="dim", markup=False, highlight=False, soft_wrap=True)
    console.print(RunsTable(shown))


def _chosen(options: Options) -> tuple[list[Record], int]:
    """The runs to show, and how many fit but are left out."""
    query = " ".join(options.query)
    if not (query or options.sort or options.all or options.reverse):
        return latest_runs(options.limit)
    everything = list_runs()
    found = matching(query, everything) if query else everything
    if options.sort:
        found = in_order(options.sort, found, everything)
    if options.reverse:
        found.reverse()
    if options.all:
        return found, 0
    # Whatever is asked for comes first; but of runs in the order of time the newest stand last.
    shown = found[: options.limit] if options.sort or options.reverse else found[-options.limit :]
    return shown, len(found) - len(shown)


def _left_out(options: Options, count: int) -> str:
    if options.query or options.sort or options.reverse:
        return f"{counted(count, 'more run')}: --all lists them.\n"
    return f"{counted(count, 'older run')}: `understudy runs --all` lists them.\n"
