"""Which changes of a working tree go into its snapshot, and what they hold."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from understudy.errors import GitError
from understudy.runs.code import secrets
from understudy.runs.code.git import Change, git
from understudy.runs.code.scratch import DELETED, EXECUTABLE, FILE, SUBMODULE, SYMLINK, Edit

LARGEST_UNTRACKED_FILE = 10_000_000
LARGEST_UNTRACKED_TOTAL = 50_000_000  # a data folder that nobody told git to ignore must not go into every run


def choose(top: Path, changes: list[Change]) -> tuple[list[Change], list[dict[str, Any]]]:
    """The changes to keep, deletions first (a deleted file may have given way to a folder), and what is left out."""
    environments = _virtual_environments(changes)
    kept, room = [], LARGEST_UNTRACKED_TOTAL
    left_out: list[dict[str, Any]] = [
        {"path": path, "bytes": None, "reason": "a virtual environment"} for path in environments
    ]
    for change in sorted(changes, key=lambda change: not change.deleted):
        if not change.tracked and change.path.startswith(environments):
            continue
        size = 0 if change.tracked else _size(top / change.path)
        reason = _reason_to_leave_out(change, size, room)
        if reason:
            left_out.append({"path": change.path, "bytes": size, "reason": reason})
        else:
            kept.append(change)
            room -= size
    return kept, left_out


def edits(top: Path, changes: Iterable[Change], left_out: list[dict[str, Any]]) -> Iterator[Edit]:
    """Reads the changes one by one. Files may come and go meanwhile.

    A file that cannot be read, or holds a secret, is added to `left_out`.
    """
    for change in changes:
        try:
            edit = (change.path, DELETED, b"") if change.deleted else _read(top / change.path, change)
        except (FileNotFoundError, NotADirectoryError):
            if change.tracked:
                yield change.path, DELETED, b""
        except (OSError, GitError) as error:
            reason = f"not readable: {' '.join(str(error).split())}"
            left_out.append({"path": change.path, "bytes": None, "reason": reason})
        else:
            yield without_secrets(edit, left_out)


def without_secrets(edit: Edit, left_out: list[dict[str, Any]]) -> Edit:
    """The edit with what looks like a secret blotted out, or a deletion where the file's name says that it is one."""
    path, mode, content = edit
    if mode not in (FILE, EXECUTABLE):
        return edit
    if secrets.is_secret_file(path):
        left_out.append({"path": path, "bytes": len(content), "reason": "its name says that it holds secrets"})
        return path, DELETED, b""
    found = secrets.find(content)
    if not found:
        return edit
    what = ", ".join(f"{secret.kind} on line {secret.line}" for secret in found)
    left_out.append({"path": path, "bytes": len(content), "reason": f"blotted out: {what}"})
    return path, mode, secrets.blotted(content, found)


def _virtual_environments(changes: list[Change]) -> tuple[str, ...]:
    """Python environments that nobody told git to ignore: gigabytes, and the list of packages says what is in them."""
    marker = "/pyvenv.cfg"
    marked = [change.path for change in changes if not change.tracked and change.path.endswith(marker)]
    return tuple(path.removesuffix("pyvenv.cfg") for path in marked)


def _reason_to_leave_out(change: Change, size: int, room: int) -> str:
    if change.path.endswith("/"):
        return "a git repository of its own"
    if size > LARGEST_UNTRACKED_FILE:
        return f"untracked and above {LARGEST_UNTRACKED_FILE // 1_000_000} MB"
    return f"untracked files fill {LARGEST_UNTRACKED_TOTAL // 1_000_000} MB already" if size > room else ""


def _read(path: Path, change: Change) -> Edit:
    if change.submodule:
        return change.path, SUBMODULE, git(path, "rev-parse", "HEAD").strip()
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return change.path, SYMLINK, os.fsencode(os.readlink(path))
    if not stat.S_ISREG(info.st_mode):  # opening a named pipe would wait for ever
        raise FileNotFoundError(f"{path} is no longer a file")
    return change.path, EXECUTABLE if info.st_mode & stat.S_IXUSR else FILE, path.read_bytes()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
