"""`understudy runs tag`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.errors import UserError
from understudy.runs.arguments import RunsReference, Tags, runs_meant
from understudy.runs.query import WORD
from understudy.runs.record import change_marks
from understudy.runs.verbs.marking import say_marks


@dataclass
class Options:
    """Gives a run tags, which the list shows and a query finds: `understudy runs list tag=baseline`."""

    run: RunsReference
    tags: Tags
    """The tags: words without spaces, brackets and operators."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    if not options.tags:
        raise UserError(f"tag needs a tag: understudy runs tag {options.run} baseline")
    for tag in options.tags:
        if not WORD.fullmatch(tag):
            raise UserError(f"{tag!r} is no tag: expected a word without spaces, quotes, brackets, = ! < > and ~")
    for record in runs_meant(options.run):
        change_marks(record.folder, tags=tuple(dict.fromkeys((*record.marks.tags, *options.tags))))
        say_marks(record.folder, console)
