"""What the commands that mark runs have in common."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from understudy.console import text
from understudy.runs.listing import remarks_on
from understudy.runs.record import read_record


def say_marks(folder: Path, console: Console) -> None:
    """Prints a run with the marks and the note that it has now."""
    remarks = remarks_on(read_record(folder)) or Text("no marks", style="dim")
    console.print(Text.assemble(text(folder.name), "  ", remarks), soft_wrap=True)
