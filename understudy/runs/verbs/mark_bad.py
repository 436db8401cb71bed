"""`understudy runs mark-bad`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.errors import UserError
from understudy.runs.arguments import RunsReference, Words, runs_meant
from understudy.runs.record import change_marks
from understudy.runs.verbs.marking import say_marks


@dataclass
class Options:
    """Marks a run, or all that a query finds, as bad: comparisons leave it out, and the reason shows wherever it does.

    `understudy runs mark-good` takes the mark away.
    """

    run: RunsReference
    reason: Words = ()
    """Why its results are not to be trusted, in as many words as it takes."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    reason = " ".join(" ".join(options.reason).split())
    if not reason:
        raise UserError(f"mark-bad needs a reason: understudy runs mark-bad {options.run} labels were shifted")
    for record in runs_meant(options.run):
        change_marks(record.folder, bad=reason)
        say_marks(record.folder, console)
