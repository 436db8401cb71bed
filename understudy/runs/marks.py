"""What people say about a run after the fact: bad and why, tags, pinned, a note.

These have files of their own, because run.json belongs to the process that may still be running.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from understudy.files import write_atomically, write_json


@dataclass(frozen=True)
class Marks:
    """marks.json: `bad` is the reason why the run's results are not to be trusted, empty while they are."""

    bad: str = ""
    tags: tuple[str, ...] = field(default=())
    pinned: bool = False


def read_marks(folder: Path) -> Marks:
    """The marks of the run in `folder`; none where there is no file, or one that cannot be read."""
    try:
        data = json.loads((folder / "marks.json").read_bytes())
        return Marks(str(data["bad"]), tuple(map(str, data["tags"])), bool(data["pinned"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Marks()


def change_marks(folder: Path, **changes: Any) -> Marks:
    """Replaces the named marks of the run and leaves the others; returns them all.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> change_marks(folder, tags=("baseline",)).tags
    ('baseline',)
    >>> change_marks(folder, bad="labels were shifted")
    Marks(bad='labels were shifted', tags=('baseline',), pinned=False)
    """
    marks = replace(read_marks(folder), **changes)
    write_json(folder / "marks.json", marks)
    return marks


def read_note(folder: Path) -> str:
    """What somebody wrote about the run in `folder`, or nothing."""
    try:
        return (folder / "note.txt").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def set_note(folder: Path, text: str) -> None:
    """Writes what should be remembered about a run; an empty text takes it away."""
    write_atomically(folder / "note.txt", text.strip() + "\n")
