"""`understudy runs mark-good`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.runs.arguments import RunsReferences, all_meant
from understudy.runs.record import change_marks
from understudy.runs.verbs.marking import say_marks


@dataclass
class Options:
    """Takes away what `understudy runs mark-bad` has said of runs."""

    runs: RunsReferences


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    for record in all_meant(options.runs):
        change_marks(record.folder, bad="")
        say_marks(record.folder, console)
