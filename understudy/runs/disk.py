"""What lies in a runs folder and what it takes on the disk."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("checkpoints", "code", "journals", "other")
BLOCK = 512  # bytes, the unit of st_blocks


@dataclass
class Usage:
    """Bytes on the disk: by run and kind, and by what else lies beside the runs. A file with several names counts once.

    The code that runs share counts beside them.
    """

    runs: dict[str, Counter[str]] = field(default_factory=dict)
    beside: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All of it."""
        return self.beside.total() + sum(kinds.total() for kinds in self.runs.values())


def usage(runs: Path) -> Usage:
    """What the folder of all runs takes."""
    found, seen = Usage(), set[tuple[int, int]]()
    found.beside[_beside("")] += runs.lstat().st_blocks * BLOCK
    # Hidden folders first: what the pool of code holds is not counted again for each run that links it.
    for entry in sorted(os.scandir(runs), key=lambda entry: entry.name[0] != "."):
        is_run = (Path(entry.path) / "run.json").is_file()
        for path, status in walk(Path(entry.path)):
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            size = status.st_blocks * BLOCK
            if is_run:
                found.runs.setdefault(entry.name, Counter())[_kind(path.relative_to(entry.path))] += size
            else:
                found.beside[_beside(entry.name)] += size
    return found


def walk(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything at and below the path, folders too. What goes away meanwhile is passed over."""
    try:
        status = path.lstat()
        entries = list(os.scandir(path)) if stat.S_ISDIR(status.st_mode) else []
    except OSError:
        return
    yield path, status
    for entry in entries:
        yield from walk(Path(entry.path))


def freed(paths: Iterable[Path]) -> int:
    """The bytes that come free when all these are deleted: those of files without another name elsewhere."""
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


def _kind(path: Path) -> str:
    first = path.parts[0] if path.parts else ""
    if first in ("checkpoints", "code"):
        return first
    return "journals" if path.suffix in (".jsonl", ".log") else "other"


def _beside(name: str) -> str:
    return {"cache": "tokenized data (cache)", ".code": "code that runs share"}.get(name, "leftovers")
