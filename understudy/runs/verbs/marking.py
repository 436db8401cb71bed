"""What the commands that mark runs have in common."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from understudy.console import text
from understudy.runs.find import Record
from understudy.runs.table import remarks_of


def say_marks(folder: Path, console: Console) -> None:
    """Prints a run with the marks and the note that it has now."""
    remarks = remarks_of(Record(folder)) or Text("no marks", style="dim")
    console.print(Text.assemble(text(folder.name), "  ", remarks), soft_wrap=True)
