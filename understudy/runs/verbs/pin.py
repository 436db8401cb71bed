"""`understudy runs pin`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.runs.arguments import RunsReferences, all_meant
from understudy.runs.record import change_marks
from understudy.runs.verbs.marking import say_marks


@dataclass
class Options:
    """Pins runs: `understudy runs gc` never deletes them."""

    runs: RunsReferences


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    for record in all_meant(options.runs):
        change_marks(record.folder, pinned=True)
        say_marks(record.folder, console)
