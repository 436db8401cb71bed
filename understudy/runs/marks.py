"""The commands that mark runs: note, tag, untag, pin, unpin, mark-bad, mark-good."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from understudy.console import text
from understudy.errors import UserError, suggestion
from understudy.runs.arguments import RunReference, RunsReference, SeveralRuns, Tags, Words, find_runs
from understudy.runs.find import find_run
from understudy.runs.listing import remarks_on
from understudy.runs.query import WORD
from understudy.runs.record import Record, change_marks, read_record, set_note


@dataclass
class NoteOptions:
    """A run and its note."""

    run: RunReference
    text: Words = ()
    """The note, in as many words as it takes; none removes the note."""


@dataclass
class TagOptions:
    """Runs and tags."""

    run: RunsReference
    tags: Tags
    """The tags: words without spaces, brackets and operators."""


@dataclass
class MarkBadOptions:
    """Runs and what is wrong with them."""

    run: RunsReference
    reason: Words = ()
    """Why its results are not to be trusted, in as many words as it takes."""


def note(options: NoteOptions, console: Console) -> None:
    """Write a note on a run, which the list of runs shows."""
    set_note(find_run(options.run), " ".join(options.text))


def tag(options: TagOptions, console: Console) -> None:
    """Give runs tags, which the list shows and a query finds: `understudy runs list tag=baseline`."""
    if not options.tags:
        raise UserError(f"tag needs a tag: understudy runs tag {options.run} baseline")
    for word in options.tags:
        if not WORD.fullmatch(word):
            raise UserError(f"{word!r} is not a tag: expected a word without spaces, quotes, brackets, = ! < > and ~")
    for record in find_runs([options.run]):
        _mark([record], console, tags=tuple(dict.fromkeys((*record.marks.tags, *options.tags))))


def untag(options: TagOptions, console: Console) -> None:
    """Remove tags from runs."""
    if not options.tags:
        raise UserError(f"untag needs a tag: understudy runs untag {options.run} baseline")
    records = find_runs([options.run])
    present = {word for record in records for word in record.marks.tags}
    for word in options.tags:
        if word not in present:
            hint = suggestion(word, present) or f"; it has {', '.join(sorted(present)) or 'none'}"
            raise UserError(f"{options.run} has no tag {word!r}{hint}")
    for record in records:
        _mark([record], console, tags=tuple(word for word in record.marks.tags if word not in options.tags))


def pin(options: SeveralRuns, console: Console) -> None:
    """Pin runs: `understudy runs gc` never deletes them."""
    _mark(find_runs(options.runs), console, pinned=True)


def unpin(options: SeveralRuns, console: Console) -> None:
    """Remove the pins of runs."""
    _mark(find_runs(options.runs), console, pinned=False)


def mark_bad(options: MarkBadOptions, console: Console) -> None:
    """Mark a run, or all that a query finds, as bad: comparisons leave it out, and lists show the reason.

    `understudy runs mark-good` removes the mark.
    """
    # Some write it as an option.
    words = options.reason[1:] if options.reason[:1] == ("--reason",) else options.reason
    reason = " ".join(" ".join(words).split())
    if not reason:
        raise UserError(f"mark-bad needs a reason: understudy runs mark-bad {options.run} labels were shifted")
    _mark(find_runs([options.run]), console, bad=reason)


def mark_good(options: SeveralRuns, console: Console) -> None:
    """Remove what `understudy runs mark-bad` said of runs."""
    _mark(find_runs(options.runs), console, bad="")


def _mark(records: Sequence[Record], console: Console, **changes: Any) -> None:
    """Change the marks of runs, and print each with what is marked now."""
    for record in records:
        change_marks(record.folder, **changes)
        remarks = remarks_on(read_record(record.folder)) or Text("no marks", style="dim")
        console.print(Text.assemble(text(record.id), "  ", remarks), soft_wrap=True)
