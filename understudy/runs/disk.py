"""The disk: what runs take of it, and how a run ends well where it is full."""

import contextlib
import errno
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
    """Show what runs take on the disk, the largest first, and what lies beside them. Shared files count once."""

    all: bool = False
    """List every run, not only the largest 30."""


@dataclass
class Usage:
    """Bytes on the disk, by run and kind, and by what lies beside the runs, such as the code that they share.

    A file with several names counts once.
    """

    runs: dict[str, Counter[str]] = field(default_factory=dict)
    beside: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """The sum of everything."""
        return self.beside.total() + sum(kinds.total() for kinds in self.runs.values())


def disk(options: DiskOptions, console: "Console") -> None:
    """Print a table of what runs take, by kind, and of what lies beside them."""
    from rich.table import Column

    folder = runs_folder()
    if not folder.is_dir():
        raise UserError(f"no folder {folder} to look at; UNDERSTUDY_RUNS names another")
    found = usage(folder)
    runs = sorted(found.runs.items(), key=lambda item: -item[1].total())
    # The largest runs, the others together, and what lies beside the runs.
    shown = runs if options.all else runs[:LARGEST]
    figures = [Column(name, justify="right", no_wrap=True) for name in (*KINDS, "all")]
    sizes = table(Column("run", no_wrap=True), *figures)
    for run, kinds in shown:
        sizes.add_row(text(run), *(size_of(kinds[kind]) for kind in KINDS), size_of(kinds.total()))
    if rest := runs[len(shown) :]:
        sums = [sum(kinds[kind] for _, kinds in rest) for kind in KINDS]
        sizes.add_row(text(f"{counted(len(rest), 'smaller run')} (--all)"), *map(size_of, sums), size_of(sum(sums)))
    for what, size in sorted(found.beside.items()):
        sizes.add_row(text(what), *[""] * len(KINDS), size_of(size))
    sizes.add_row("all", *[""] * len(KINDS), size_of(found.total), style="bold")
    console.print(sizes)


def usage(runs: Path) -> Usage:
    """Return what the folder of all runs takes."""
    found, seen = Usage(), set[tuple[int, int]]()
    # Hidden folders come first, so that shared code counts beside the runs and not for the first run that links it.
    entries = sorted(os.scandir(runs), key=lambda entry: entry.name[0] != ".")
    for entry in entries:
        top = Path(entry.path)
        is_run = (top / "run.json").is_file()
        beside = {"cache": "tokenized data (cache)", ".code": "code that runs share"}.get(entry.name, "leftovers")
        for path, status in walk(top):
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            size = status.st_blocks * BLOCK
            if not is_run:
                found.beside[beside] += size
                continue
            first = path.relative_to(top).parts[:1]
            kind = "journals" if path.suffix in (".jsonl", ".log") else "other"
            kind = first[0] if first and first[0] in ("checkpoints", "code") else kind
            found.runs.setdefault(entry.name, Counter())[kind] += size
    found.beside["leftovers"] += runs.lstat().st_blocks * BLOCK
    return found


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
    names: Counter[tuple[int, int]] = Counter()
    files: dict[tuple[int, int], os.stat_result] = {}
    for top in paths:
        for _, status in walk(top):
            names[status.st_dev, status.st_ino] += 1
            files[status.st_dev, status.st_ino] = status
    return sum(
        status.st_blocks * BLOCK
        for key, status in files.items()
        if stat.S_ISDIR(status.st_mode) or names[key] >= status.st_nlink
    )


class Reserve:
    """Some room on the disk that is given back when the run ends, so that even on a full disk it can say how."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".reserve.tmp"
        self._held = False

    def hold(self) -> None:
        """Take the room, or what there is of it."""
        self._held = True
        with contextlib.suppress(OSError):
            # The new record is written beside the old one, and may have grown by then.
            size = max(LEAST_RESERVED, 2 * self._path.with_name("run.json").stat().st_size)
            self._path.write_bytes(os.urandom(size))  # a disk that compresses would make nothing of zeros

    def release(self) -> None:
        """Give the room back, if this process holds it."""
        if self._held:
            with contextlib.suppress(OSError):
                self._path.unlink()


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
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = 0
    if free > NO_ROOM:  # then it was another disk
        return f"no room left on a disk, though there is on that of {folder}: {' '.join(str(error).split())}"
    return f"no room left on the disk of {folder}: free some there"
