"""`understudy runs untag`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.errors import UserError, suggestion
from understudy.runs.arguments import RunsReference, Tags, runs_meant
from understudy.runs.record import change_marks
from understudy.runs.verbs.marking import say_marks


@dataclass
class Options:
    """Takes tags away from a run."""

    run: RunsReference
    tags: Tags
    """The tags."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    if not options.tags:
        raise UserError(f"untag needs a tag: understudy runs untag {options.run} baseline")
    records = runs_meant(options.run)
    present = {tag for record in records for tag in record.marks.tags}
    for tag in options.tags:
        if tag not in present:
            hint = suggestion(tag, present) or f"; it has {', '.join(sorted(present)) or 'none'}"
            raise UserError(f"{options.run} has no tag {tag!r}{hint}")
    for record in records:
        change_marks(record.folder, tags=tuple(tag for tag in record.marks.tags if tag not in options.tags))
        say_marks(record.folder, console)
