"""`understudy runs note`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.runs.arguments import RunReference, Words
from understudy.runs.find import find_run
from understudy.runs.record import set_note


@dataclass
class Options:
    """Writes a note on a run, which the list of runs shows."""

    run: RunReference
    text: Words = ()
    """The note, in as many words as it takes; none takes the note away."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    set_note(find_run(options.run), " ".join(options.text))
