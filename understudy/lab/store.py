"""Finding runs: where they lie, which there are, and which one a short name means."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from understudy.lab.errors import RunNotFoundError, suggestion
from understudy.lab.liveness import status_of
from understudy.lab.marks import Marks, read_marks

MOST_CANDIDATES = 6


@dataclass(frozen=True)
class Record:
    """A run as it lies on disk. `data` is run.json, empty where it cannot be read (then `status` is "broken")."""

    folder: Path
    data: dict[str, Any]
    status: str

    @property
    def id(self) -> str:
        """The run's id, which is its folder's name."""
        return self.folder.name

    @property
    def verb(self) -> str:
        """What was run: pretrain, finetune, ..."""
        return str(self.data.get("verb", "?"))

    @property
    def created(self) -> datetime:
        """When the run began; for a broken one, when its folder last changed."""
        try:
            return datetime.fromisoformat(self.data["created"]).astimezone()
        except (KeyError, TypeError, ValueError):
            return datetime.fromtimestamp(os.path.getmtime(self.folder)).astimezone()

    @cached_property
    def marks(self) -> Marks:
        """What somebody marked the run with: bad, tags, pinned."""
        return read_marks(self.folder)

    @property
    def note(self) -> str:
        """What somebody wrote about the run, or nothing."""
        try:
            return (self.folder / "note.txt").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""


def runs_folder() -> Path:
    """Where runs are kept: the environment variable UNDERSTUDY_RUNS, or `runs` in the current folder."""
    return Path(os.environ.get("UNDERSTUDY_RUNS") or "runs").expanduser().absolute()


def read_record(folder: Path) -> Record:
    """The record of one run; never fails on a broken one."""
    try:
        data = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        data = None
    if not isinstance(data, dict):
        return Record(folder, {}, "broken")
    return Record(folder, data, status_of(data, folder))


def list_runs(folder: Path | None = None) -> list[Record]:
    """All runs, oldest first; none where the folder does not exist. Folders without a run.json are not runs."""
    return sorted(map(read_record, _run_folders(folder)), key=lambda record: (record.created, record.id))


def find_run(reference: str, folder: Path | None = None, verbs: Collection[str] | None = None) -> Path:
    """The folder of the run that `reference` means.

    A reference is an id, the beginning of one, its words or their beginning (`brave-otter`), the path of a run's
    folder, `last`, or `last:VERB`. `verbs` says which runs may count as `last`. RunNotFoundError for none or several.
    """
    if os.sep in reference or Path(reference, "run.json").is_file():
        return _at_path(Path(reference).expanduser().absolute())
    if reference == "last" or reference.startswith("last:"):
        return _last(reference.partition(":")[2], list_runs(folder), verbs)
    return _by_name(reference, folder or runs_folder())


def _run_folders(folder: Path | None) -> list[Path]:
    folder = folder or runs_folder()
    if not folder.is_dir():
        return []
    return sorted(path.parent for path in folder.glob("*/run.json"))


def _at_path(path: Path) -> Path:
    if not (path / "run.json").is_file():
        raise RunNotFoundError(f"no run at {path}: a run's folder holds a run.json")
    return path


def _last(verb: str, records: list[Record], verbs: Collection[str] | None) -> Path:
    records = [record for record in records if record.status != "broken"]
    present = {record.verb for record in records}
    if verb and verbs is not None and verb not in verbs:
        raise RunNotFoundError(f"a run of {verb!r} does not fit here: expected one of {', '.join(sorted(verbs))}")
    wanted = {verb} if verb else set(present if verbs is None else verbs)
    for record in reversed(records):
        if record.verb in wanted:
            return record.folder
    made = f"; there are runs of {', '.join(sorted(present))}" if present else ""
    kind = f" of {' or '.join(sorted(wanted))}" if wanted else ""
    raise RunNotFoundError(f"no run{kind} yet{made}{suggestion(verb, present)}")


def _by_name(reference: str, folder: Path) -> Path:
    folders = {path.name: path for path in _run_folders(folder)}
    if not folders:
        raise RunNotFoundError(f"no run {reference!r}: there are no runs in {folder} yet")
    words = {name: name.split("-", 2)[-1] for name in folders}
    exact = [name for name in folders if reference in (name, words[name])]
    begun = [
        name for name in folders if reference and (name.startswith(reference) or words[name].startswith(reference))
    ]
    matches = exact or begun
    if len(matches) == 1:
        return folders[matches[0]]
    if matches:
        raise RunNotFoundError(f"{reference!r} may be any of {_listed(matches)}: write more of the id")
    close = suggestion(reference, folders if reference[:1].isdigit() else words.values())
    raise RunNotFoundError(f"no run {reference!r} in {folder}{close or '; `understudy runs` lists them'}")


def _listed(names: list[str]) -> str:
    newest = names[-MOST_CANDIDATES:]
    more = f" and {len(names) - len(newest)} more" if len(names) > len(newest) else ""
    return ", ".join(newest) + more
