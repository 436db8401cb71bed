"""A folder's source files as one archive: the record of the code without git."""

import hashlib
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.runs.code import secrets

SUFFIXES = {
    *(".py", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".sh", ".md"),
    *(".j2", ".html", ".css", ".js", ".svg", ".layout"),
}
NAMES = {"Makefile"}
SKIPPED_FOLDERS = {"site-packages", "node_modules", "__pycache__"}
LARGEST_FILE = 1_000_000
LARGEST_TOTAL = 50_000_000
MOST_ENTRIES = 50_000  # a run started in a home folder must not wait for a walk through all of it
LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass
class Sources:
    """The small source files under a folder, without their secrets: path to content; and what was left out, and why."""

    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[dict[str, Any]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Equal for equal files."""
        digest = hashlib.sha256()
        for path, content in self.files.items():
            digest.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
        return digest.hexdigest()

    def write(self, path: Path) -> None:
        """Write them as a zip file: the same bytes for the same files."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in self.files.items():
                entry = zipfile.ZipInfo(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), LONG_AGO)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)


def read_sources(folder: Path, exclude: Iterable[Path] = ()) -> Sources:
    """Read the small source files under `folder`, in the order of their paths.

    Skips hidden folders, virtual environments, run folders and `exclude`; follows no symlinked folders. `left_out`
    names source files that are too large, secrets, and where the walk stopped: [{"path", "bytes", "reason"}].
    """
    sources, total, entries = Sources(), 0, 0
    excluded = [path.resolve() for path in exclude]
    for parent, folders, files in os.walk(folder):
        entries += len(folders) + len(files)
        if entries > MOST_ENTRIES:
            reason = f"more than {MOST_ENTRIES} entries: the rest was not looked at"
            sources.left_out.append({"path": ".", "bytes": None, "reason": reason})
            break
        folders[:] = sorted(name for name in folders if not _is_skipped(Path(parent, name), excluded))
        for path in (Path(parent, name) for name in sorted(files)):
            if (path.suffix not in SUFFIXES and path.name not in NAMES) or not path.is_file():
                continue
            name, size, content = str(path.relative_to(folder)), 0, None
            try:
                size = path.stat().st_size
                if size > LARGEST_FILE:
                    reason = "above 1 MB"
                elif total + size > LARGEST_TOTAL:
                    reason = "the archive is full at 50 MB"
                else:
                    content, reason = secrets.redact(name, path.read_bytes())
            except OSError as error:
                reason = f"not readable: {error.strerror}"
            if reason:
                sources.left_out.append({"path": name, "bytes": size, "reason": reason})
            if content is not None:
                sources.files[name] = content
                total += len(content)
    return sources


def _is_skipped(folder: Path, exclude: list[Path]) -> bool:
    named = folder.name.startswith(".") or folder.name in SKIPPED_FOLDERS
    # A folder of runs, unless it is a package of that name: this project has one.
    runs = folder.name == "runs" and not (folder / "__init__.py").exists()
    return named or runs or (folder / "pyvenv.cfg").exists() or folder.resolve() in exclude
