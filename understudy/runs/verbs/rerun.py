"""`understudy runs rerun`."""

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from understudy.runs.arguments import RunReference
from understudy.runs.find import find_run
from understudy.runs.record import read_record
from understudy.runs.rerun.child import start
from understudy.runs.rerun.packages import build_environment, environment_differences
from understudy.runs.rerun.tree import FOLDER, put_up

MOST_NAMED = 8


@dataclass
class Options:
    """Runs a run again: its exact code, its configuration and its seed, as a new run.

    The code is put up in a folder of its own, and your working tree stays as it is. Said before it starts: which
    packages differ from those of the first time, and which files are no longer the same.
    """

    run: RunReference
    build_environment: bool = False
    """First make a virtual environment with the very versions that the run had (kept for the next time)."""


def main(options: Options, console: Console) -> int:
    """See `Options`; the exit code is the run's."""
    record = read_record(find_run(options.run))
    runs = record.folder.parent
    tree = put_up(record, runs / FOLDER / record.id)
    python = build_environment(record, runs / "cache" / "environments") if options.build_environment else None
    tell(console, f"{record.id}: its code is in {tree.cwd}")
    if not python:
        tell_environment(console, environment_differences(record))
    for note in tree.notes:
        tell(console, note, "yellow")
    child = start(record, tree, runs, python)
    try:
        code = child.process.wait()
    except KeyboardInterrupt:  # it has been told too, and saves what it has
        code = child.process.wait()
    if folder := child.folder():
        tell(console, f"{folder.name} repeats {record.id}; understudy runs compare {record.id} {folder.name}")
    return code


def tell_environment(console: Console, differences: list[str]) -> None:
    """Says how the environment differs from that of the run."""
    if not differences:
        tell(console, "environment: the same versions as then")
        return
    more = f" and {len(differences) - MOST_NAMED} more" if len(differences) > MOST_NAMED else ""
    tell(console, f"environment: {'; '.join(differences[:MOST_NAMED])}{more}", "yellow")
    tell(console, "--build-environment makes one with the versions of then", "dim")


def tell(console: Console, line: str, style: str = "") -> None:
    """Prints a line in which nothing is markup."""
    console.print(Text(line, style=style), soft_wrap=True)
