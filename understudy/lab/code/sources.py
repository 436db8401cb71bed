"""Copying a folder's source files: the record of the code where there is no git to ask."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SUFFIXES = {".py", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".sh", ".md"}
NAMES = {"Makefile"}
SKIPPED_FOLDERS = {"runs", "site-packages", "node_modules", "__pycache__"}
LARGEST_FILE = 1_000_000
LARGEST_COPY = 50_000_000
MOST_ENTRIES = 50_000  # a run started in a home folder must not wait for a walk through all of it


def copy_sources(folder: Path, destination: Path, exclude: Iterable[Path] = ()) -> dict[str, Any]:
    """Copies the small source files under `folder` into `destination`.

    Returns {"files": how many, "left_out": [{"path", "bytes", "reason"}]}: source files too large for it, and where the
    walk stopped. Skips hidden folders, virtual environments, run folders and `exclude`; follows no symlinked folders.
    """
    copied, total = 0, 0
    left_out: list[dict[str, Any]] = []
    for path in _source_files(folder, [path.resolve() for path in exclude]):
        if path is None:
            reason = f"more than {MOST_ENTRIES} entries: the rest was not looked at"
            left_out.append({"path": ".", "bytes": None, "reason": reason})
            break
        relative = path.relative_to(folder)
        size, reason = _copy(path, destination / relative, room=LARGEST_COPY - total)
        if reason:
            left_out.append({"path": str(relative), "bytes": size, "reason": reason})
        else:
            copied, total = copied + 1, total + size
    return {"files": copied, "left_out": left_out}


def _copy(path: Path, target: Path, room: int) -> tuple[int, str]:
    """Copies one file; its size, and the reason if it was left out."""
    size = 0
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            return size, "above 1 MB"
        if size > room:
            return size, "the copy is full at 50 MB"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    except OSError as error:
        return size, f"not readable: {error.strerror}"
    return size, ""


def _source_files(folder: Path, exclude: list[Path]) -> Iterator[Path | None]:
    """The source files under the folder in a fixed order; a last None when there was too much to see it all."""
    entries = 0
    for parent, folders, files in os.walk(folder):
        entries += len(folders) + len(files)
        if entries > MOST_ENTRIES:
            yield None
            return
        folders[:] = sorted(name for name in folders if not _is_skipped(Path(parent, name), exclude))
        for name in sorted(files):
            path = Path(parent, name)
            if (path.suffix in SUFFIXES or name in NAMES) and path.is_file():
                yield path


def _is_skipped(folder: Path, exclude: list[Path]) -> bool:
    if folder.name.startswith(".") or folder.name in SKIPPED_FOLDERS or (folder / "pyvenv.cfg").exists():
        return True
    return folder.resolve() in exclude
