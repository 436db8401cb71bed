"""The exact code behind a run, kept with it, whatever state the working tree was in.

In a run's folder `code/`, each a hard link to a file that all runs of the same code share (see `keep_in_pool`):

    base.bundle    the tree of the commit at hand, for `git clone`
    edits.bundle   what the working tree had on top, for `git pull` in that clone; absent where it had nothing
    sources.zip    without git: the source files
    understudy-*   the same for this package, unless it is part of that repository; submodule-0-* for submodules
"""

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import understudy
from understudy.errors import GitError
from understudy.files import whole, write_json
from understudy.runs.code import secrets
from understudy.runs.code.git import Change, Edit, Mode, Scratch, entries_of, git, read_status, repository_of
from understudy.runs.code.kept import blob_id
from understudy.runs.code.sources import read_sources

LARGEST_COMMITTED_FILE = 50_000_000
LARGEST_UNTRACKED_FILE = 10_000_000
LARGEST_UNTRACKED_TOTAL = 50_000_000  # a data folder missing from .gitignore must not go into every run
MOST_NAMED = 200
PACKAGE = Path(understudy.__file__).parent
POOL = ".code"
"""The pool's folder beside the runs."""
LeftOut = list[dict[str, Any]]
"""The files that were left out: [{"path", "bytes", "reason"}]."""


def take(working_folder: Path, run_id: str, destination: Path, pool: Path, exclude: Iterable[Path] = ()) -> "Snapshot":
    """Keep the code that a run starts from in `destination`. Never raises.

    In a git repository the working tree, with tracked edits, deletions and untracked files, becomes refs/runs/<run_id>;
    nothing else there changes. Elsewhere the source files are kept. The edits are on disk when this returns. The commit
    below them, which no editing changes, may still be packed by a thread the first time that it is used.
    """
    taken = Snapshot(destination, pool, [path.resolve() for path in (*exclude, destination, pool)])
    taken.record = taken.keep(working_folder, "", f"refs/runs/{run_id}")
    inside = any(path.startswith(f"{PACKAGE}/") for path in taken.held)
    package = {"kind": "inside"} if inside else taken.keep(PACKAGE, "understudy-", None)
    taken.record["understudy"] = {"version": understudy.__version__, "path": str(PACKAGE), **package}
    return taken


def keep_in_pool(pool: Path, name: str, target: Path, make: Callable[[Path], None]) -> None:
    """Link the file `name` of the pool to `target`. `make(path)` writes it where the pool does not have it yet.

    The pool is a folder of files that never change, named after their content. A run's folder gets a hard link (or a
    copy, where there are none), so it is complete by itself; a thousand runs of one tree cost one file.
    """
    kept = pool / name
    for _ in range(2):  # a file that no run links to yet may be deleted between the two steps
        if not kept.exists():
            with whole(kept) as building:
                make(building)
        try:
            os.link(kept, target)
        except FileExistsError:
            pass
        except FileNotFoundError:
            continue
        except OSError:
            shutil.copyfile(kept, target)
        return
    raise FileNotFoundError(f"{kept} went away twice while it was being linked to {target}")


@dataclass
class Snapshot:
    """What a run keeps of its code in `destination`, its folder code/; `exclude` names folders that are not code.

    The record, for run.json: "kind" is "git", "copy" or "none" (nothing could be kept; "error" says why). For "git":
    "top", "commit", "branch", "dirty", "dirty_files", "untracked_files", "base" and "snapshot" (commits that hold the
    clean tree and the tree as it was; equal code has equal names), "ref" and "submodules". For "copy": "digest" and
    "files", how many. "left_out": [{"path", "bytes", "reason"}]. "understudy": the same for this package, or "inside".
    """

    destination: Path
    pool: Path
    exclude: list[Path]
    record: dict[str, Any] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    """The files that it holds: absolute path to content id."""
    packing: list[Future[None]] = field(default_factory=list)
    """What threads still pack in the background."""

    def finish(self) -> str:
        """Wait until all is on disk, and return in a line what went wrong with it."""
        errors = [future.exception() for future in self.packing]
        return "; ".join(_one_line(error) for error in errors if error)

    def keep(self, folder: Path, prefix: str, ref: str | None) -> dict[str, Any]:
        """Keep the folder's repository, or else its sources, in files that begin with the prefix; return its record."""
        error = None
        # Where this package is installed, a repository around it is not its own.
        installed = folder == PACKAGE and "site-packages" in PACKAGE.parts
        try:
            self.destination.mkdir(parents=True, exist_ok=True)
            self.pool.mkdir(parents=True, exist_ok=True)
            try:
                if not installed and (top := repository_of(folder)):
                    return self._keep_repository(top, prefix, ref)
            except (GitError, OSError) as problem:
                error = _one_line(problem)
            sources = read_sources(folder, self.exclude)
            digest = sources.digest
            self._hold(folder.resolve(), {name: blob_id(content) for name, content in sources.files.items()})
            keep_in_pool(self.pool, f"{digest}.zip", self.destination / f"{prefix}sources.zip", sources.write)
            left_out = _capped(sources.left_out)
            return {"kind": "copy", "error": error, "digest": digest, "files": len(sources.files), "left_out": left_out}
        except Exception as problem:
            return {"kind": "none", "error": _one_line(problem)}

    def _keep_repository(self, top: Path, prefix: str, ref: str | None) -> dict[str, Any]:
        # What differs from the commit, and which of it is too much to keep.
        commit, branch, changes = read_status(top)
        changes = [change for change in changes if not any(map((top / change.path).is_relative_to, self.exclude))]
        chosen, left_out = choose(top, changes)
        huge = _huge_files(top, commit, self.pool)

        # The edits at once: they may be gone the next moment. Without a ref it is another project's checkout, which
        # gets no objects either: not a place to leave things.
        scratch = Scratch(top, commit, shared=ref is not None)
        try:
            deleted = [(entry["path"], Mode.DELETED, b"") for entry in huge]
            base, snapshot = scratch.commit(deleted, edits(top, chosen, left_out))
            if ref:
                git(top, "update-ref", ref, snapshot)
            if snapshot != base:
                target = self.destination / f"{prefix}edits.bundle"
                keep_in_pool(self.pool, f"{snapshot}.edits.bundle", target, scratch.bundle_edits)
            entries = list(entries_of(scratch.git, snapshot))
            self._hold(top, {path: name for path, (_, kind, name) in entries if kind == "blob"})
        except BaseException:
            scratch.close()
            raise
        self._pack_base(scratch, base, prefix)

        # A redacted file is named as left out, and yet in the snapshot.
        absent = {entry["path"] for entry in left_out if not entry["reason"].startswith("redacted")}
        submodules = [path for path, (_, kind, _) in entries if kind == "commit" and (top / path / ".git").exists()]
        return {
            "kind": "git",
            "top": str(top),
            "commit": commit,
            "base": base,
            "snapshot": snapshot,
            "ref": ref,
            "branch": branch,
            "dirty": bool(changes),
            "dirty_files": [change.path for change in changes if change.tracked],
            "untracked_files": [change.path for change in chosen if not change.tracked and change.path not in absent],
            "submodules": [
                {"path": path, **self.keep(top / path, f"{prefix}submodule-{index}-", None)}
                for index, path in enumerate(submodules)
            ],
            "left_out": _capped([*left_out, *huge]),
        }

    def _hold(self, folder: Path, files: Mapping[str, str]) -> None:
        self.held.update({f"{folder}/{path}": name for path, name in files.items()})

    def _pack_base(self, scratch: Scratch, base: str, prefix: str) -> None:
        """Pack the clean tree: by a thread, which the interpreter waits for at its end, unless the pool has it."""
        name, target = f"{base}.bundle", self.destination / f"{prefix}base.bundle"

        def pack() -> None:
            try:
                keep_in_pool(self.pool, name, target, scratch.bundle_base)
            finally:
                scratch.close()

        if (self.pool / name).exists():
            pack()
        else:
            executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")
            self.packing.append(executor.submit(pack))
            executor.shutdown(wait=False)


def choose(top: Path, changes: list[Change]) -> tuple[list[Change], LeftOut]:
    """Return the changes to keep, deletions first (a deleted file may have given way to a folder), and the others."""
    # Python environments missing from .gitignore: gigabytes, and the list of packages says what is in them.
    marked = [change.path for change in changes if not change.tracked and change.path.endswith("/pyvenv.cfg")]
    environments = tuple(path.removesuffix("pyvenv.cfg") for path in marked)
    left_out: LeftOut = [{"path": path, "bytes": None, "reason": "a virtual environment"} for path in environments]

    kept, room = [], LARGEST_UNTRACKED_TOTAL
    # Tracked files are kept whatever their size: git has them in any case.
    for change in sorted(changes, key=lambda change: not change.deleted):
        if not change.tracked and change.path.startswith(environments):
            continue
        size = 0
        with suppress(OSError):
            size = 0 if change.tracked else (top / change.path).lstat().st_size
        if change.path.endswith("/"):
            reason = "a git repository of its own"
        elif size > LARGEST_UNTRACKED_FILE:
            reason = f"untracked and above {LARGEST_UNTRACKED_FILE // 1_000_000} MB"
        elif size > room:
            reason = f"untracked files fill {LARGEST_UNTRACKED_TOTAL // 1_000_000} MB already"
        else:
            kept.append(change)
            room -= size
            continue
        left_out.append({"path": change.path, "bytes": size, "reason": reason})
    return kept, left_out


def edits(top: Path, changes: Iterable[Change], left_out: LeftOut) -> Iterator[Edit]:
    """Read the changes one by one. Files may come and go meanwhile.

    A file that cannot be read, or holds a secret, is added to `left_out`.
    """
    for change in changes:
        path, mode, content = top / change.path, Mode.DELETED, b""
        try:
            if change.submodule and not change.deleted:
                mode, content = Mode.SUBMODULE, git(path, "rev-parse", "HEAD").strip()
            elif not change.deleted:
                info = path.lstat()
                if stat.S_ISLNK(info.st_mode):
                    mode, content = Mode.SYMLINK, os.fsencode(os.readlink(path))
                elif stat.S_ISREG(info.st_mode):
                    mode, content = Mode.EXECUTABLE if info.st_mode & stat.S_IXUSR else Mode.FILE, path.read_bytes()
                else:  # opening a named pipe would wait for ever
                    raise FileNotFoundError(path)
        except (FileNotFoundError, NotADirectoryError):
            if change.tracked:
                yield change.path, Mode.DELETED, b""
            continue
        except (OSError, GitError) as error:
            left_out.append({"path": change.path, "bytes": None, "reason": f"not readable: {_one_line(error)}"})
            continue
        if mode in (Mode.FILE, Mode.EXECUTABLE):
            redacted, reason = secrets.redact(change.path, content)
            if reason:
                left_out.append({"path": change.path, "bytes": len(content), "reason": reason})
            mode, content = (Mode.DELETED, b"") if redacted is None else (mode, redacted)
        yield change.path, mode, content


def _huge_files(top: Path, commit: str | None, pool: Path) -> LeftOut:
    """Return the files of a commit that are too large to go into a record, with the reason."""
    if commit is None:
        return []
    # Asking for the sizes takes as long as all the rest of a snapshot, so the pool remembers what was found.
    memory = pool / f"huge-{commit}.json"
    try:
        sizes = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        entries = entries_of(partial(git, top), commit, "-l")
        files = {path: int(size) for path, (_, kind, _, size) in entries if kind == "blob"}
        sizes = {path: size for path, size in files.items() if size > LARGEST_COMMITTED_FILE}
        write_json(memory, sizes)
    reason = f"above {LARGEST_COMMITTED_FILE // 1_000_000} MB; commit {commit[:12]} has it"
    return [{"path": path, "bytes": size, "reason": reason} for path, size in sizes.items()]


def _capped(left_out: LeftOut) -> LeftOut:
    """Shorten the list for run.json: of a folder with ten thousand data files the first few hundred are enough."""
    if len(left_out) <= MOST_NAMED:
        return left_out
    rest = left_out[MOST_NAMED:]
    size = sum(entry["bytes"] or 0 for entry in rest)
    return [*left_out[:MOST_NAMED], {"path": "...", "bytes": size, "reason": f"{len(rest):,} more files"}]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
