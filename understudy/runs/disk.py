"""The disk: what runs take of it, and how a run ends well where it is full."""

import contextlib
import errno
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.console import counted, size_of, table, text
from understudy.errors import DiskFullError, UserError
from understudy.runs.find import runs_folder

if TYPE_CHECKING:
    from rich.console import Console

KINDS = ("checkpoints", "code", "journals", "other")
BLOCK = 512  # bytes, the unit of st_blocks
LARGEST = 30  # runs that the command lists
LEAST_RESERVED = 256 << 10  # bytes
NO_ROOM = 4 << 20  # bytes: a disk with more is not full
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class DiskOptions:
    """How much is listed."""

    all: bool = False
    """List every run, not only the largest 30."""


def disk(options: DiskOptions, console: "Console") -> None:
    """Show what runs take on the disk, the largest first, and what lies beside them. Shared files count once."""
    from rich.table import Column

    folder = runs_folder()
    if not folder.is_dir():
        raise UserError(f"no folder {folder} to look at; UNDERSTUDY_RUNS names another")
    found, beside = usage(folder)
    runs = sorted(found.items(), key=lambda item: -item[1].total())
    total = beside.total() + sum(kinds.total() for kinds in found.values())
    # The largest runs, the others together, and what lies beside the runs.
    shown = runs if options.all else runs[:LARGEST]
    figures = [Column(name, justify="right", no_wrap=True) for name in (*KINDS, "all")]
    sizes = table(Column("run", no_wrap=True), *figures)
    for run, kinds in shown:
        sizes.add_row(text(run), *(size_of(kinds[kind]) for kind in KINDS), size_of(kinds.total()))
    if rest := runs[len(shown) :]:
        sums = [sum(kinds[kind] for _, kinds in rest) for kind in KINDS]
        sizes.add_row(text(f"{counted(len(rest), 'smaller run')} (--all)"), *map(size_of, sums), size_of(sum(sums)))
    for what, size in sorted(beside.items()):
        sizes.add_row(text(what), *[""] * len(KINDS), size_of(size))
    sizes.add_row("all", *[""] * len(KINDS), size_of(total), style="bold")
    console.print(sizes)


def usage(runs: Path) -> tuple[dict[str, Counter[str]], Counter[str]]:
    """Return what the folder of all runs takes: bytes by run and kind, and by what lies beside the runs.

    A file with several names counts once.
    """
    found, beside, seen = dict[str, Counter[str]](), Counter[str](), set[tuple[int, int]]()
    # Hidden folders come first, so that shared code counts beside the runs and not for the first run that links it.
    for entry in sorted(os.scandir(runs), key=lambda entry: entry.name[0] != "."):
        top = Path(entry.path)
        is_run = (top / "run.json").is_file()
        what = {"cache": "tokenized data (cache)", ".code": "code that runs share"}.get(entry.name, "leftovers")
        for path, status in walk(top):
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            if is_run:
                first = path.relative_to(top).parts[:1]
                kind = "journals" if path.suffix in (".jsonl", ".log") else "other"
                kind = first[0] if first and first[0] in ("checkpoints", "code") else kind
                found.setdefault(entry.name, Counter())[kind] += status.st_blocks * BLOCK
            else:
                beside[what] += status.st_blocks * BLOCK
    beside["leftovers"] += runs.lstat().st_blocks * BLOCK
    return found, beside


def walk(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield everything at and below the path, folders too. What disappears meanwhile is passed over."""
    try:
        status = path.lstat()
        entries = list(os.scandir(path)) if stat.S_ISDIR(status.st_mode) else []
    except OSError:
        return
    yield path, status
    for entry in entries:
        yield from walk(Path(entry.path))


def freed(paths: Iterable[Path]) -> int:
    """Return the bytes that come free when all these are deleted: those of files without another name elsewhere."""
    found = [((status.st_dev, status.st_ino), status) for top in paths for _, status in walk(top)]
    names, files = Counter(key for key, _ in found), dict(found)
    return sum(
        status.st_blocks * BLOCK
        for key, status in files.items()
        if stat.S_ISDIR(status.st_mode) or names[key] >= status.st_nlink
    )


@contextlib.contextmanager
def reserve(folder: Path) -> Iterator[None]:
    """Hold some room on the disk, or what there is of it, so that a run can say how it ended even on a full disk."""
    path = folder / ".reserve.tmp"
    with contextlib.suppress(OSError):
        # The new record is written beside the old one, and may have grown by then.
        size = max(LEAST_RESERVED, 2 * path.with_name("run.json").stat().st_size)
        path.write_bytes(os.urandom(size))  # a disk that compresses would make nothing of zeros
    yield
    with contextlib.suppress(OSError):
        path.unlink()


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turn whatever error a full disk causes into a DiskFullError that names the disk of `folder`."""
    try:
        yield
    except Exception as error:
        if problem := full_disk(error, folder):
            raise DiskFullError(problem) from error
        raise


def full_disk(error: BaseException | None, folder: Path) -> str:
    """Return one line on the disk that was full when a run in `folder` met this error, empty for any other cause."""
    while error:
        # Libraries that write by themselves have errors of their own, with the system's words in them.
        words = any(os.strerror(number) in str(error) for number in FULL)
        if error.errno in FULL if isinstance(error, OSError) else words:
            break
        error = error.__cause__ or error.__context__
    if error is None:
        return ""
    if isinstance(error, OSError) and error.errno == errno.EDQUOT:
        return f"the quota on the disk of {folder} is used up: free some room there"
    free = 0
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(folder).free
    if free > NO_ROOM:  # then it was another disk
        return f"no room left on a disk, though there is on that of {folder}: {' '.join(str(error).split())}"
    return f"no room left on the disk of {folder}: free some there"
