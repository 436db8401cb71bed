"""Deleting runs, and what old and killed processes left in the folder of all runs."""

import contextlib
import os
import re
import secrets
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from understudy.config import in_range
from understudy.console import counted, say, size_of
from understudy.errors import ConfigError, GitError, UserError
from understudy.files import is_temporary, locked
from understudy.runs.arguments import Query
from understudy.runs.code.git import git
from understudy.runs.code.snapshot import POOL
from understudy.runs.disk import freed, walk
from understudy.runs.find import ancestors, list_runs, runs_folder
from understudy.runs.listing import print_runs
from understudy.runs.query import duration, matching
from understudy.runs.record import Record, list_checkpoints, read_record
from understudy.runs.rerun.tree import FOLDER

LEFTOVER_SECONDS = 3_600
STALE_SECONDS = 30 * 86_400
RUN_NAME = re.compile(r"\d{8}-\d{4}-\w+-\w+")
MOST_SHOWN = 30


@dataclass
class GcOptions:
    """What may be deleted."""

    query: Query = ()
    keep: int | None = None
    """Keep the newest of the runs that fit, this many, and delete the others."""
    older_than: str = ""
    """Delete runs that began longer ago than this: 12h, 30d, 8w."""
    checkpoints: bool = False
    """Also delete the checkpoints before the last, of runs that stay, are not pinned and that no run builds upon."""
    delete: bool = False
    """Do it. Without this nothing is changed."""


@dataclass(frozen=True)
class Plan:
    """What would be deleted: `runs`, `checkpoints` and `leftovers`; and the runs that fit but stay.

    `stay` says why a run stays, by its id, and `leftovers` why nothing needs a file or folder.
    """

    runs: list[Record]
    stay: dict[str, str]
    checkpoints: list[Path]
    leftovers: dict[Path, str]

    def paths(self) -> list[Path]:
        """Return all that would be deleted."""
        return [*(run.folder for run in self.runs), *self.checkpoints, *self.leftovers]


def gc(options: GcOptions, console: Console) -> None:
    """Say which runs and leftovers would be deleted, what that frees, and why others stay; --delete does it.

    Runs are deleted only where a query, --keep or --older-than names them; of several of these all must hold. Runs that
    are running, pinned, or built upon by a run that stays are never deleted. Leftovers are what killed processes half
    wrote, code that no run has any more, and tokenized data that has not been read for 30 days.
    """
    folder, records = runs_folder(), list_runs(console=console)
    if not folder.is_dir():
        raise UserError(f"no folder {folder} to clean up; UNDERSTUDY_RUNS names another")
    found = plan(folder, records, _chosen(options, records), options.checkpoints)
    size = size_of(freed(found.paths()))

    # What would be deleted, and why other runs stay.
    if found.runs:
        say(console, f"To delete: {counted(len(found.runs), 'run')}\n", "bold")
        print_runs(found.runs[-MOST_SHOWN:], console)
        _print_rest(len(found.runs), console)
    stay = [f"{run}: {reason}" for run, reason in found.stay.items()]
    checkpoints = [f"{path.parent.parent.name} {path.name}" for path in found.checkpoints]
    leftovers = [f"{path}: {reason}" for path, reason in found.leftovers.items()]
    for title, lines in (
        (f"{counted(len(stay), 'run')} would fit, but stay:", stay),
        (f"To delete: {counted(len(checkpoints), 'checkpoint')}", checkpoints),
        (f"To delete: {counted(len(leftovers), 'leftover')}", leftovers),
    ):
        if lines:
            say(console, title, "bold")
            for line in lines[:MOST_SHOWN]:
                say(console, f"  {line}")
            _print_rest(len(lines), console)

    # Do it, or say how to.
    if not found.paths():
        say(console, "Nothing to delete.")
    elif options.delete:
        for line in apply(found):
            say(console, line, "yellow")
        say(console, f"{size} freed.")
    else:
        say(console, f"{size} would come free. Nothing is deleted yet: add --delete.", "bold")


def plan(folder: Path, records: Sequence[Record], chosen: Sequence[Record], checkpoints: bool = False) -> Plan:
    """Return what to delete of the runs `chosen` among all the `records` in `folder`, and of the leftovers there.

    A run stays while it is running, pinned, or one that a staying run builds on, directly or not. With `checkpoints`,
    the checkpoints before the last of staying runs go too, except of pinned runs and those that others build on.
    """
    # Of the chosen runs, those stay that have a reason of their own, or that a staying run builds on.
    known = {record.id: record for record in records}
    reasons = {record.id: reason for record in chosen if (reason := _reason_to_stay(record))}
    going = {record.id for record in chosen} - reasons.keys()
    needed = ancestors(known.keys() - going, known)
    reasons |= {parent: f"{child} builds on it" for parent, child in needed.items() if parent in going}
    # Of the runs that stay, old checkpoints may go.
    runs = [record for record in chosen if record.id not in reasons]
    going = {record.id for record in runs}
    staying = [record for record in records if record.id not in going]
    spared = [record for record in staying if record.id not in needed and not _reason_to_stay(record)]
    old = [path for record in spared for path in list_checkpoints(record.folder)[:-1]] if checkpoints else []
    leftovers = dict([*_leftovers(folder, records, staying), *_unlinked_code(folder / POOL, runs)])
    stay = {record.id: reasons[record.id] for record in chosen if record.id in reasons}
    return Plan(runs, stay, old, leftovers)


def apply(plan: Plan) -> Iterator[str]:
    """Delete what the plan says, and yield a line for each run that could not be deleted after all."""
    for run in plan.runs:
        if problem := _delete_run(run):
            yield f"{run.id} stays: {problem}"
    for path in (*plan.checkpoints, *plan.leftovers):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def _chosen(options: GcOptions, records: Sequence[Record]) -> Sequence[Record]:
    if not (options.query or options.older_than or options.keep is not None):
        return []
    chosen = matching(" ".join(options.query), records) if options.query else records
    if options.keep is not None:
        in_range("keep", options.keep, 0)
        chosen = chosen[: max(0, len(chosen) - options.keep)]
    if options.older_than:
        seconds = duration(options.older_than)
        if seconds is None:
            raise ConfigError(f"--older-than {options.older_than} is not a duration; expected such as 12h, 30d or 8w")
        chosen = [record for record in chosen if record.created.timestamp() < time.time() - seconds]
    return chosen


def _print_rest(count: int, console: Console) -> None:
    say(console, f"  and {count - MOST_SHOWN} more\n" if count > MOST_SHOWN else "", "dim")


def _reason_to_stay(record: Record) -> str:
    return "it is running" if record.status == "running" else "it is pinned" if record.marks.pinned else ""


def _leftovers(folder: Path, records: Sequence[Record], staying: Sequence[Record]) -> Iterator[tuple[Path, str]]:
    """Yield what nothing needs, and why. What was written to within the last hour may still be in the making."""
    # Beside the runs.
    for path in folder.iterdir():
        if path.name.startswith("index.sqlite"):
            yield path, "an index of runs that only earlier versions used"
        elif RUN_NAME.fullmatch(path.name) and path.is_dir() and not any(path.iterdir()) and _is_older(path):
            yield path, "a run that never began"
    for path in folder.glob(f"{FOLDER}/*"):
        if _is_older(path):
            yield path, "a tree in which a run was run again"

    # Beside the runs and in them. What a running one writes is not a leftover.
    inside = [path for record in staying if record.status != "running" for path, _ in walk(record.folder)]
    for path in (*folder.iterdir(), *inside):
        if is_temporary(path.name) and _is_older(path):
            yield path, "half written"

    # In the cache, while nothing runs that may use it.
    in_use = any(record.status == "running" for record in records)
    for path in folder.glob("cache/*") if not in_use else ():
        if path.name.startswith(".") and _is_older(path):
            yield path, "half written"
        elif _is_older(path, STALE_SECONDS):
            yield path, "tokenized data that has not been read for 30 days"


def _unlinked_code(pool: Path, going: Sequence[Record]) -> Iterator[tuple[Path, str]]:
    """Yield the files of the pool that no run links to once the runs `going` are deleted."""
    # How many names of each file are deleted with the runs.
    links = Counter(status.st_ino for record in going for _, status in walk(record.folder / "code"))
    for path, status in walk(pool):
        left = status.st_nlink - links[status.st_ino]
        # A new run may be about to link a file that is just made; making and losing a link both set the time of change.
        settled = left < status.st_nlink or status.st_ctime < time.time() - LEFTOVER_SECONDS
        if stat.S_ISREG(status.st_mode) and left <= 1 and settled:
            yield path, "code of no run"


def _is_older(top: Path, seconds: float = LEFTOVER_SECONDS) -> bool:
    """Whether nothing there was written, and no file read, for that long."""
    # Looking at a folder counts as reading it, so only files tell when they were read.
    times = [status.st_mtime for _, status in walk(top)]
    times += [status.st_atime for _, status in walk(top) if stat.S_ISREG(status.st_mode)]
    return max(times, default=0.0) < time.time() - seconds


def _delete_run(record: Record) -> str:
    """Delete a run, whole or not at all. Returns the reason if it must stay by now, else an empty text."""
    try:
        # Whoever resumes the run holds this lock, and either did so before or finds the run gone.
        with locked(record.folder):
            now = read_record(record.folder)
            if reason := _reason_to_stay(now):
                return reason
            gone = record.folder.with_name(f".{record.id}.{secrets.token_hex(6)}.tmp")
            os.rename(record.folder, gone)
    except FileNotFoundError:
        return ""  # it is gone already
    except OSError as error:
        return f"it cannot be deleted: {error.strerror}"
    shutil.rmtree(gone, ignore_errors=True)

    # Let go of the commits that the run kept in its repository, where they are still what it recorded.
    for entry in (now.data, *now.data.get("resumed", [])):
        code = entry.get("code") or {}
        top, ref, snapshot = code.get("top"), code.get("ref"), code.get("snapshot")
        if top and ref and snapshot and Path(top).is_dir():
            with contextlib.suppress(GitError):
                git(Path(top), "update-ref", "-d", ref, snapshot)
    return ""
