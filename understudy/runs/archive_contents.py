"""What an archive holds: the list of its files, which stands at its beginning, and the rules for it.

understudy-runs.json                     the list: see `Contents`
20261123-1412-brave-otter/run.json       and every other file of the runs, in the order of the list
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from understudy.errors import ArchiveError

LIST_NAME = "understudy-runs.json"
FORMAT = 1
LARGEST_LIST = 64 << 20
RESERVED = ("cache", "index.sqlite")
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True)
class File:
    """A file of a run: its path below the run's folder, with slashes, its size and its sha256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PackedRun:
    """A run in an archive."""

    id: str
    verb: str
    parents: tuple[str, ...]
    files: tuple[File, ...]

    @property
    def bytes(self) -> int:
        """The size of all its files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class Contents:
    """The list of an archive."""

    runs: tuple[PackedRun, ...]

    def written(self) -> bytes:
        """As it stands in the archive."""
        runs = [vars(run) | {"files": [vars(file) for file in run.files]} for run in self.runs]
        return json.dumps({"format": FORMAT, "runs": runs}, indent=1).encode() + b"\n"


def is_safe_id(run_id: str) -> bool:
    """Whether a folder of that name may hold a run on any machine.

    >>> is_safe_id("20261123-1412-brave-otter"), is_safe_id(".."), is_safe_id("a/b"), is_safe_id("cache")
    (True, False, False, False)
    """
    return bool(SAFE_ID.fullmatch(run_id)) and run_id not in RESERVED


def is_safe_path(path: str) -> bool:
    """Whether a path stays within the folder that it is put in.

    >>> is_safe_path("code/base.bundle"), is_safe_path("/etc/passwd"), is_safe_path("a/../../b")
    (True, False, False)
    """
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def read_contents(written: bytes) -> Contents:
    """The list as `Contents.written` made it; ArchiveError for anything else."""
    try:
        values = json.loads(written)
        if values["format"] != FORMAT:
            raise ArchiveError(f"the archive is of format {values['format']!r}; expected {FORMAT}: update understudy")
        contents = Contents(tuple(map(_run, values["runs"])))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArchiveError(
            f"{LIST_NAME} in the archive is not what `understudy runs export` writes: {error}"
        ) from error
    _refuse_twins("run", [run.id for run in contents.runs])
    return contents


def _run(values: Any) -> PackedRun:
    run = PackedRun(values["id"], str(values["verb"]), tuple(map(str, values["parents"])), _files(values["files"]))
    if not isinstance(run.id, str) or not is_safe_id(run.id):
        raise ArchiveError(f"the archive holds a run called {run.id!r}, which is no name for a run's folder")
    if "run.json" not in [file.path for file in run.files]:
        raise ArchiveError(f"the archive holds no run.json of {run.id}")
    _refuse_twins(f"file of {run.id}", [file.path for file in run.files])
    return run


def _files(values: Any) -> tuple[File, ...]:
    files = tuple(File(value["path"], value["bytes"], value["sha256"]) for value in values)
    for file in files:
        if not isinstance(file.path, str) or not is_safe_path(file.path):
            raise ArchiveError(f"the archive holds {file.path!r}, which leads out of the run's folder")
        if type(file.bytes) is not int or file.bytes < 0 or not isinstance(file.sha256, str):
            raise ArchiveError(f"the archive's list gives {file.path!r} a size of {file.bytes!r}")
    return files


def _refuse_twins(what: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        twin = next(name for number, name in enumerate(names) if name in names[:number])
        raise ArchiveError(f"the archive lists the {what} {twin!r} twice")
