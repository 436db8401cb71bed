"""What may go from a runs folder: runs that nobody needs, and what killed processes and old runs have left behind."""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import GitError
from understudy.files import is_temporary
from understudy.runs.code.git import git
from understudy.runs.code.snapshot import POOL
from understudy.runs.disk import walk
from understudy.runs.find import ancestors
from understudy.runs.record import Record, list_checkpoints, read_record
from understudy.runs.rerun.tree import FOLDER

LEFTOVER_SECONDS = 3_600  # what was written to within the last hour may still be in the making
STALE_SECONDS = 30 * 86_400
RUN_NAME = re.compile(r"\d{8}-\d{4}-\w+-\w+")


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing needs, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Plan:
    """What would go: `runs`, `checkpoints` and `leftovers`; and the runs that fit but stay, with the reason."""

    runs: list[Record]
    stay: list[tuple[Record, str]]
    checkpoints: list[Path]
    leftovers: list[Leftover]

    def paths(self) -> list[Path]:
        """All that would be deleted."""
        return [*(run.folder for run in self.runs), *self.checkpoints, *(leftover.path for leftover in self.leftovers)]


def plan(folder: Path, records: Sequence[Record], chosen: Sequence[Record], checkpoints: bool = False) -> Plan:
    """What to delete of the runs `chosen` among all the `records` in `folder`, and of the leftovers there.

    A run stays while it is running, pinned, or one that a staying run builds on, directly or not. `checkpoints`: of the
    runs that stay, the checkpoints before the last go too, but for pinned runs and those that others build on.
    """
    known = {record.id: record for record in records}
    reasons = {record.id: reason for record in chosen if (reason := _reason_to_stay(record))}
    going = {record.id for record in chosen} - reasons.keys()
    needed = ancestors(known.keys() - going, known)
    reasons |= {parent: f"{child} builds on it" for parent, child in needed.items() if parent in going}
    runs = [record for record in chosen if record.id not in reasons]
    going = {record.id for record in runs}
    staying = [record for record in records if record.id not in going]
    old = _old_checkpoints(staying, needed.keys()) if checkpoints else []
    leftovers = [*_beside_runs(folder, records), *_in_runs(staying)]
    leftovers += _unlinked_code(folder / POOL, runs)
    stay = [(record, reasons[record.id]) for record in chosen if record.id in reasons]
    return Plan(runs, stay, old, leftovers)


def carry_out(plan: Plan) -> Iterator[str]:
    """Deletes what the plan says; yields a line for each run that could not be deleted after all."""
    for run in plan.runs:
        if problem := _delete_run(run):
            yield f"{run.id} stays: {problem}"
    for path in (*plan.checkpoints, *(leftover.path for leftover in plan.leftovers)):
        _delete(path)


def _reason_to_stay(record: Record) -> str:
    if record.status == "running":
        return "it is running"
    return "it is pinned" if record.marks.pinned else ""


def _old_checkpoints(records: Sequence[Record], needed: Any) -> list[Path]:
    spared = [record for record in records if record.id not in needed and not _reason_to_stay(record)]
    return [path for record in spared for path in list_checkpoints(record.folder)[:-1]]


def _beside_runs(folder: Path, records: Sequence[Record]) -> Iterator[Leftover]:
    for path in folder.iterdir():
        if is_temporary(path.name) and _is_older(path, LEFTOVER_SECONDS):
            yield Leftover(path, "half written")
        elif RUN_NAME.fullmatch(path.name) and _is_empty(path) and _is_older(path, LEFTOVER_SECONDS):
            yield Leftover(path, "a run that never began")
    for path in folder.glob("index.sqlite*"):
        yield Leftover(path, "an index of runs that is no longer used")
    trees = folder / FOLDER
    for path in trees.iterdir() if trees.is_dir() else ():
        if _is_older(path, LEFTOVER_SECONDS):
            yield Leftover(path, "a tree in which a run was run again")
    cache = folder / "cache"
    if not cache.is_dir() or any(record.status == "running" for record in records):
        return
    for path in cache.iterdir():
        if path.name.startswith(".") and _is_older(path, LEFTOVER_SECONDS):
            yield Leftover(path, "half written")
        elif _is_older(path, STALE_SECONDS):
            yield Leftover(path, "tokenized data that nobody has read for 30 days")


def _in_runs(records: Sequence[Record]) -> Iterator[Leftover]:
    for record in records:
        if record.status != "running":
            for path, _ in walk(record.folder):
                if is_temporary(path.name) and _is_older(path, LEFTOVER_SECONDS):
                    yield Leftover(path, "half written")


def _unlinked_code(pool: Path, going: Sequence[Record]) -> Iterator[Leftover]:
    """The files of the pool that no run links to once these have gone."""
    links: dict[int, int] = {}
    for record in going:
        for _, status in walk(record.folder / "code"):
            links[status.st_ino] = links.get(status.st_ino, 0) + 1
    for path, status in walk(pool):
        left = status.st_nlink - links.get(status.st_ino, 0)
        # A new run may be about to link a file that is just made; making and losing a link both set the time of change.
        settled = left < status.st_nlink or status.st_ctime < time.time() - LEFTOVER_SECONDS
        if stat.S_ISREG(status.st_mode) and left <= 1 and settled:
            yield Leftover(path, "code of no run")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _is_older(top: Path, seconds: float) -> bool:
    """Whether nothing there was written, and no file read, for so long. Looking at a folder counts as reading it."""
    times = [status.st_mtime for _, status in walk(top)]
    times += [status.st_atime for _, status in walk(top) if stat.S_ISREG(status.st_mode)]
    return max(times, default=0.0) < time.time() - seconds


def _delete_run(record: Record) -> str:
    """Deletes a run, whole or not at all; the reason if it must stay by now."""
    try:
        descriptor = os.open(record.folder, os.O_RDONLY)
    except OSError:
        return ""  # it has gone
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # whoever resumes it does so before or finds it gone
        now = read_record(record.folder)
        if reason := _reason_to_stay(now):
            return reason
        data = now.data
        gone = record.folder.with_name(f".{record.id}.{secrets.token_hex(6)}.tmp")
        os.rename(record.folder, gone)
    except OSError as error:
        return f"it cannot be deleted: {error.strerror}"
    finally:
        os.close(descriptor)
    shutil.rmtree(gone, ignore_errors=True)
    _delete_refs(data)
    return ""


def _delete_refs(data: dict[str, Any]) -> None:
    """Lets go of the commits that a run kept in its repository, where they are still what it recorded."""
    for entry in (data, *data.get("resumed", [])):
        code = entry.get("code") or {}
        top, ref, snapshot = code.get("top"), code.get("ref"), code.get("snapshot")
        if top and ref and snapshot and Path(top).is_dir():
            with contextlib.suppress(GitError):
                git(Path(top), "update-ref", "-d", ref, snapshot)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
