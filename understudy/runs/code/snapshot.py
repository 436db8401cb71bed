"""The exact code behind a run, kept with it, whatever state the working tree was in.

In a run's folder `code/`, each a hard link to a file that all runs of the same code share (see `Pool`):

    base.bundle    the tree of the commit at hand, for `git clone`
    edits.bundle   what the working tree had on top, for `git pull` in that clone; absent where it had nothing
    sources.zip    where there is no git: the source files
    understudy-*   the same for this package, unless it is part of that repository; submodule-0-* for submodules
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import understudy
from understudy.errors import GitError
from understudy.runs.code.base import corrections
from understudy.runs.code.changes import choose, edits
from understudy.runs.code.git import files_of, git, read_status, repository_of, submodules_of
from understudy.runs.code.kept import blob_id
from understudy.runs.code.pool import Pool
from understudy.runs.code.scratch import Commits, Scratch
from understudy.runs.code.sources import read_sources

MOST_NAMED = 200
PACKAGE = Path(understudy.__file__).parent
POOL = ".code"
"""The pool's folder beside the runs."""


@dataclass
class Snapshot:
    """What was kept: `record` for run.json, and the packing that goes on in the background.

    The record: "kind" is "git", "copy" or "none" (nothing could be kept; "error" says why). For "git": "top", "commit",
    "branch", "dirty", "dirty_files", "untracked_files", "base" and "snapshot" (commits that hold the clean tree and the
    tree as it was; equal code has equal names), "ref" and "submodules". For "copy": "digest" and "files", how many.
    "left_out": [{"path", "bytes", "reason"}]. "understudy": the same for this package, or "inside".
    """

    record: dict[str, Any] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    """The files that it holds: absolute path to content id."""
    packing: list[Future[None]] = field(default_factory=list)

    def finish(self) -> str:
        """Waits until all is on disk; what went wrong with it, in a line."""
        errors = [future.exception() for future in self.packing]
        return "; ".join(_one_line(error) for error in errors if error)


def take(working_folder: Path, run_id: str, destination: Path, pool: Path, exclude: Iterable[Path] = ()) -> Snapshot:
    """Keeps the code that a run starts from in `destination`.

    In a git repository the working tree, with tracked edits, deletions and untracked files, becomes refs/runs/<run_id>.
    HEAD, index, working tree and stash stay untouched. Elsewhere the source files are kept. Nothing here ever raises.

    The edits are on disk when this returns. The commit below them, which no editing changes, may still be packed by a
    thread: the first time that it is used, and then never again.
    """
    taken = Snapshot()
    try:
        destination.mkdir(parents=True, exist_ok=True)
        keeper = _Keeper(destination, Pool(pool), [path.resolve() for path in (*exclude, destination, pool)], taken)
        taken.record = keeper.keep(working_folder, "", f"refs/runs/{run_id}")
    except Exception as error:
        taken.record = {"kind": "none", "error": _one_line(error)}
        return taken
    try:
        package = _keep_package(keeper, working_folder)
    except Exception as error:
        package = {"kind": "none", "error": _one_line(error)}
    taken.record["understudy"] = {"version": understudy.__version__, "path": str(PACKAGE), **package}
    return taken


@dataclass(frozen=True)
class _Keeper:
    destination: Path
    pool: Pool
    exclude: list[Path]
    taken: Snapshot

    def keep(self, folder: Path, prefix: str, ref: str | None) -> dict[str, Any]:
        """A git snapshot of the folder's repository, or else its sources, in files that begin with the prefix."""
        error = None
        try:
            if top := repository_of(folder):
                return self._git_snapshot(top, prefix, ref)
        except (GitError, OSError) as problem:
            error = _one_line(problem)
        return {"kind": "copy", "error": error, **self.keep_sources(folder, prefix)}

    def keep_sources(self, folder: Path, prefix: str) -> dict[str, Any]:
        """The folder's source files."""
        sources = read_sources(folder, self.exclude)
        digest = sources.digest
        self._hold(folder.resolve(), {name: blob_id(content) for name, content in sources.files.items()})
        self.pool.put(f"{digest}.zip", self.destination / f"{prefix}sources.zip", sources.write)
        return {"digest": digest, "files": len(sources.files), "left_out": _capped(sources.left_out)}

    def _git_snapshot(self, top: Path, prefix: str, ref: str | None) -> dict[str, Any]:
        status = read_status(top)
        changes = [change for change in status.changes if not _is_under(top / change.path, self.exclude)]
        kept, left_out = choose(top, changes)
        base_edits, not_in_base = corrections(top, status.commit, self.pool.folder)
        # No ref, and not an object, in somebody else's checkout: that is not a place to leave things.
        scratch = Scratch(top, status.commit, shared=ref is not None)
        try:
            commits = scratch.commit(base_edits, edits(top, kept, left_out))
            if ref:
                git(top, "update-ref", ref, commits.snapshot)
            self._pack_edits(scratch, commits, prefix)
            self._hold(top, files_of(scratch.git, commits.snapshot))
        except BaseException:
            scratch.close()
            raise
        self._pack_base(scratch, commits, prefix)
        unread = {entry["path"] for entry in left_out if not entry["reason"].startswith("blotted")}
        return {
            "kind": "git",
            "top": str(top),
            "commit": status.commit,
            "base": commits.base,
            "snapshot": commits.snapshot,
            "ref": ref,
            "branch": status.branch,
            "dirty": bool(changes),
            "dirty_files": [change.path for change in changes if change.tracked],
            "untracked_files": [change.path for change in kept if not change.tracked and change.path not in unread],
            "submodules": self._submodules(top, prefix),
            "left_out": _capped([*left_out, *not_in_base]),
        }

    def _hold(self, folder: Path, files: Mapping[str, str]) -> None:
        self.taken.held.update({f"{folder}/{path}": name for path, name in files.items()})

    def _submodules(self, top: Path, prefix: str) -> list[dict[str, Any]]:
        paths = [path for path in submodules_of(top) if (top / path / ".git").exists()]
        return [
            {"path": path, **self.keep(top / path, f"{prefix}submodule-{index}-", None)}
            for index, path in enumerate(paths)
        ]

    def _pack_edits(self, scratch: Scratch, commits: Commits, prefix: str) -> None:
        if commits.snapshot != commits.base:
            target = self.destination / f"{prefix}edits.bundle"
            self.pool.put(f"{commits.snapshot}.edits.bundle", target, scratch.bundle_edits)

    def _pack_base(self, scratch: Scratch, commits: Commits, prefix: str) -> None:
        name, target = f"{commits.base}.bundle", self.destination / f"{prefix}base.bundle"

        def pack() -> None:
            try:
                self.pool.put(name, target, scratch.bundle_base)
            finally:
                scratch.close()

        if (self.pool.folder / name).exists():
            pack()
        else:
            self.taken.packing.append(_in_background(pack))


def _in_background(work: Callable[[], None]) -> Future[None]:
    """Starts the work in a thread of its own, which the interpreter waits for at its end."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")
    future = executor.submit(work)
    executor.shutdown(wait=False)
    return future


def _keep_package(keeper: _Keeper, working_folder: Path) -> dict[str, Any]:
    """Keeps this package, unless the record of the working folder covers it already."""
    record = keeper.taken.record
    covered = Path(record.get("top") or working_folder.resolve())
    if PACKAGE.is_relative_to(covered) and _is_covered(record, covered, keeper.exclude):
        return {"kind": "inside"}
    if "site-packages" in PACKAGE.parts:  # installed: a repository around that is not the package's own
        return {"kind": "copy", **keeper.keep_sources(PACKAGE, "understudy-")}
    return keeper.keep(PACKAGE, "understudy-", None)


def _is_covered(record: dict[str, Any], folder: Path, exclude: list[Path]) -> bool:
    """Whether a package below the working folder is in its record: a virtual environment there is not."""
    if record["kind"] == "git":
        return repository_of(PACKAGE) is not None
    return str((PACKAGE / "__init__.py").relative_to(folder)) in read_sources(folder, exclude).files


def _capped(left_out: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The list as run.json can hold it: of a folder with ten thousand data files the first few hundred are enough."""
    if len(left_out) <= MOST_NAMED:
        return left_out
    rest = left_out[MOST_NAMED:]
    size = sum(entry["bytes"] or 0 for entry in rest)
    return [*left_out[:MOST_NAMED], {"path": "...", "bytes": size, "reason": f"{len(rest):,} more files"}]


def _is_under(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
