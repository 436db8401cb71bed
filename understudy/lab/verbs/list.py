"""`understudy runs`, `understudy runs list`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.lab.store import list_runs, runs_folder
from understudy.lab.table import RunsTable

LATEST = 30


@dataclass
class Options:
    """Lists the latest runs, newest last: id, verb, status, age, headline metric, note."""

    all: bool = False
    """List every run, not only the latest 30."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    records = list_runs()
    if not records:
        console.print(f"No runs in {runs_folder()} yet.", markup=False, highlight=False, soft_wrap=True)
        return
    shown = records if options.all else records[-LATEST:]
    if len(shown) < len(records):
        console.print(f"{len(records) - len(shown)} older runs: `understudy runs --all` lists them.\n", style="dim")
    console.print(RunsTable(shown))
