"""One run as it lies on disk: what its files say, and how people marked it.

run.json belongs to the process that may still be running. Marks and notes therefore have files of their own.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from understudy.files import write_atomically, write_json
from understudy.runs.journal import last_value, last_values
from understudy.runs.process import status_of

HEADLINES = ("val_bpb", "loss")  # where the outcome names no headline: the first of these that was logged


@dataclass(frozen=True)
class Marks:
    """marks.json. `bad` is the reason why the run's results are not to be trusted, empty while they are."""

    bad: str = ""
    tags: tuple[str, ...] = ()
    pinned: bool = False


@dataclass(frozen=True, eq=False)
class Record:
    """A run as it was when it was read. Texts that its files lack are empty."""

    folder: Path
    data: dict[str, Any]  # run.json, empty where it cannot be read
    status: str  # as `status_of` says, or "broken" where run.json cannot be read
    verb: str
    created: datetime  # for a broken run, when its folder last changed
    ended: datetime | None  # None while it runs, or if it was killed
    host: str
    seed: int | None  # the value of --seed
    error: str  # what ended a failed run, in one line
    commit: str  # that was checked out
    dirty: bool  # whether the code had edits that were not committed
    parents: tuple[str, ...]  # the ids of the runs that this one builds on
    marks: Marks
    note: str

    @property
    def id(self) -> str:
        """The run's id."""
        return self.folder.name

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, nested."""
        return _dictionary(self.data.get("config"))

    @property
    def outcome(self) -> dict[str, Any]:
        """What came of the run, by name; empty until it has ended."""
        return _dictionary(self.data.get("outcome"))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The last value of every metric. Reads the whole journal."""
        return last_values(self.folder / "metrics.jsonl")

    @cached_property
    def headline(self) -> tuple[str, Any] | None:
        """The figure that sums the run up: the one its outcome names, else the last validation figure or loss."""
        named = self.outcome.get("headline")
        if isinstance(named, list) and len(named) == 2:
            return str(named[0]), named[1]
        for name in HEADLINES:
            if (value := last_value(self.folder / "metrics.jsonl", name)) is not None:
                return name, value
        return None


def read_record(folder: Path) -> Record:
    """Return the record of the run in `folder` as it is now. Never fails: what cannot be read is empty."""
    # What the run wrote. Any field may be missing or odd: the file may come from elsewhere, or be edited by hand.
    try:
        data = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        data = None
    broken = not isinstance(data, dict)
    data = {} if broken else data
    code, parents, seed = _dictionary(data.get("code")), data.get("parents"), data.get("seed")

    # A broken run needs a place in the order of time, too.
    created = _time(data.get("created"))
    if created is None:
        changed = 0.0
        with suppress(OSError):
            changed = folder.stat().st_mtime
        created = datetime.fromtimestamp(changed).astimezone()

    # What people wrote.
    note = ""
    with suppress(OSError, UnicodeDecodeError):
        note = (folder / "note.txt").read_text(encoding="utf-8").strip()

    return Record(
        folder=folder,
        data=data,
        status="broken" if broken else status_of(data, folder),
        verb=str(data.get("verb", "?")),
        created=created,
        ended=_time(data.get("ended")),
        host=str(data.get("host", "")),
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        error=str(data.get("error") or ""),
        commit=str(code.get("commit") or ""),
        dirty=bool(code.get("dirty")),
        parents=tuple(map(str, parents)) if isinstance(parents, list) else (),
        marks=read_marks(folder),
        note=note,
    )


def read_marks(folder: Path) -> Marks:
    """Return the marks of the run in `folder`, none where their file is missing or cannot be read."""
    try:
        data = json.loads((folder / "marks.json").read_bytes())
        return Marks(str(data["bad"]), tuple(map(str, data["tags"])), bool(data["pinned"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Marks()


def change_marks(folder: Path, **changes: Any) -> None:
    """Replace the named marks of the run."""
    write_json(folder / "marks.json", replace(read_marks(folder), **changes))


def set_note(folder: Path, text: str) -> None:
    """Write a note on the run; an empty text removes it."""
    write_atomically(folder / "note.txt", text.strip() + "\n")


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints of a run, oldest first: checkpoints/step-000400/, once its state.json is there."""
    found = [path.parent for path in (folder / "checkpoints").glob("step-*/state.json")]
    return sorted(found, key=lambda path: (len(path.name), path.name))  # step-1000000 comes after step-999999


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value).astimezone()
    except (TypeError, ValueError, OverflowError):
        return None
