"""The exact code behind a run, kept with it, whatever state the working tree was in."""

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import understudy
from understudy.lab.code.git import (
    DELETED,
    EXECUTABLE,
    FILE,
    SUBMODULE,
    SYMLINK,
    Change,
    Edit,
    GitError,
    Scratch,
    git,
    read_status,
    repository_of,
)
from understudy.lab.code.sources import copy_sources

LARGEST_UNTRACKED_FILE = 10_000_000
LARGEST_UNTRACKED_TOTAL = 200_000_000  # a data folder that nobody told git to ignore must not go into every run
PACKAGE = Path(understudy.__file__).parent


def take(working_folder: Path, run_id: str, destination: Path, exclude: Iterable[Path] = ()) -> dict[str, Any]:
    """Keeps the code that a run starts from in `destination`, and returns the record of it for run.json.

    In a git repository ("kind": "git") a commit of the whole working tree, with tracked edits, deletions and untracked
    files, becomes refs/runs/<run_id> and `destination/snapshot.bundle`, which `git clone` takes. HEAD, index, working
    tree and stash stay untouched. Elsewhere ("kind": "copy") the source files are copied. "left_out" names what was too
    large. Nothing here ever raises: "error" says what went wrong, and "kind" is "none" when nothing could be kept.

    The `understudy` package is kept too where it is not part of that repository; "understudy" says how.
    """
    exclude = [path.resolve() for path in (*exclude, destination)]
    title, ref = f"understudy run {run_id}", f"refs/runs/{run_id}"
    try:
        destination.mkdir(parents=True, exist_ok=True)
        record = _keep(working_folder, destination / "snapshot.bundle", destination / "working", title, ref, exclude)
    except Exception as error:
        record = {"kind": "none", "error": _one_line(error)}
    try:
        package = _keep_package(working_folder, record, destination, exclude)
    except Exception as error:
        package = {"kind": "none", "error": _one_line(error)}
    return {**record, "understudy": {"version": understudy.__version__, "path": str(PACKAGE), **package}}


def _keep(folder: Path, bundle: Path, copy: Path, title: str, ref: str | None, exclude: list[Path]) -> dict[str, Any]:
    """A git snapshot of the folder's repository as `bundle`, or else a copy of the folder's sources as `copy`."""
    error = None
    try:
        if top := repository_of(folder):
            return _git_snapshot(top, bundle, title, ref, exclude)
    except (GitError, OSError) as problem:
        error = _one_line(problem)
    return {"kind": "copy", "error": error, **copy_sources(folder, copy, exclude)}


def _keep_package(
    working_folder: Path, record: dict[str, Any], destination: Path, exclude: list[Path]
) -> dict[str, Any]:
    """The same for this package, unless the record of the working folder covers it already."""
    covered = Path(record.get("top") or working_folder.resolve())
    if PACKAGE.is_relative_to(covered) and _is_covered(record, destination / "working" / PACKAGE.relative_to(covered)):
        return {"kind": "inside"}
    copy = destination / "understudy"
    if "site-packages" in PACKAGE.parts:  # installed: a repository around that is not the package's own
        return {"kind": "copy", **copy_sources(PACKAGE, copy, exclude)}
    # No ref there: somebody else's checkout is not a place to leave things.
    return _keep(PACKAGE, destination / "understudy.bundle", copy, "the understudy package", None, exclude)


def _is_covered(record: dict[str, Any], copy: Path) -> bool:
    """Whether a package below the working folder is in its record: a virtual environment there is not."""
    return repository_of(PACKAGE) is not None if record["kind"] == "git" else (copy / "__init__.py").exists()


def _git_snapshot(top: Path, bundle: Path, title: str, ref: str | None, exclude: list[Path]) -> dict[str, Any]:
    status = read_status(top)
    changes = [change for change in status.changes if not _is_under(top / change.path, exclude)]
    kept, left_out = _choose(top, changes)
    message = f"{title}\n\nThe working tree as it stood on {status.commit or 'no commit yet'}.\n"
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        scratch = Scratch(Path(folder), top, shared=ref is not None)
        commit = scratch.commit(message, status.commit, _edits(top, kept, left_out))
        scratch.bundle(bundle)
    if ref:
        git(top, "update-ref", ref, commit)
    unread = {entry["path"] for entry in left_out}
    return {
        "kind": "git",
        "top": str(top),
        "commit": status.commit,
        "snapshot": commit,
        "ref": ref,
        "branch": status.branch,
        "dirty": bool(changes),
        "dirty_files": [change.path for change in changes if change.tracked],
        "untracked_files": [change.path for change in kept if not change.tracked and change.path not in unread],
        "left_out": left_out,
    }


def _choose(top: Path, changes: list[Change]) -> tuple[list[Change], list[dict[str, Any]]]:
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
        if not reason or change.submodule:
            kept.append(change)
            room -= size
    return kept, left_out


def _virtual_environments(changes: list[Change]) -> tuple[str, ...]:
    """Python environments that nobody told git to ignore: gigabytes, and the list of packages says what is in them."""
    marker = "/pyvenv.cfg"
    marked = [change.path for change in changes if not change.tracked and change.path.endswith(marker)]
    return tuple(path.removesuffix("pyvenv.cfg") for path in marked)


def _reason_to_leave_out(change: Change, size: int, room: int) -> str:
    if change.inner_changes:
        return "uncommitted changes inside a submodule"
    if change.path.endswith("/"):
        return "a git repository of its own"
    if size > LARGEST_UNTRACKED_FILE:
        return "untracked and above 10 MB"
    return "untracked files fill 200 MB already" if size > room else ""


def _edits(top: Path, changes: Iterable[Change], left_out: list[dict[str, Any]]) -> Iterator[Edit]:
    """Reads the changes one by one. Files may come and go meanwhile; one that cannot be read is added to `left_out`."""
    for change in changes:
        try:
            yield (change.path, DELETED, b"") if change.deleted else _read(top / change.path, change)
        except (FileNotFoundError, NotADirectoryError):
            if change.tracked:
                yield change.path, DELETED, b""
        except (OSError, GitError) as error:
            left_out.append({"path": change.path, "bytes": None, "reason": f"not readable: {_one_line(error)}"})


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


def _is_under(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
