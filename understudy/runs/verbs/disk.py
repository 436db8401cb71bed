"""`understudy runs disk`."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from understudy.console import counted, size_of, text
from understudy.errors import UserError
from understudy.runs.disk import KINDS, usage
from understudy.runs.find import runs_folder

LARGEST = 30


@dataclass
class Options:
    """Shows what runs take on the disk, the largest first, and what lies beside them. Shared files count once."""

    all: bool = False
    """List every run, not only the largest 30."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    folder = runs_folder()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} to look at")
    found = usage(folder)
    runs = sorted(found.runs.items(), key=lambda item: -item[1].total())
    shown = runs if options.all else runs[:LARGEST]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    for name in (*KINDS, "all"):
        table.add_column(name, justify="right", no_wrap=True)
    for run, kinds in shown:
        table.add_row(text(run), *(size_of(kinds[kind]) for kind in KINDS), size_of(kinds.total()))
    if rest := runs[len(shown) :]:
        sums = [sum(kinds[kind] for _, kinds in rest) for kind in KINDS]
        table.add_row(text(f"{counted(len(rest), 'smaller run')} (--all)"), *map(size_of, sums), size_of(sum(sums)))
    for what, size in sorted(found.beside.items()):
        table.add_row(text(what), *[""] * len(KINDS), size_of(size))
    table.add_row("all", *[""] * len(KINDS), size_of(found.total), style="bold")
    console.print(table)
