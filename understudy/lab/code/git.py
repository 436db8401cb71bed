"""Asking git about a working tree without leaving a trace in it."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

TIMEOUT_SECONDS = 120.0
# Variables that choose the user's configuration, not the repository: everything else named GIT_* could point elsewhere.
KEPT_VARIABLES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH")

# One edit of a tree: (path, mode as git writes it, content; for a submodule the name of its commit).
Edit = tuple[str, str, bytes]
FILE, EXECUTABLE, SYMLINK, SUBMODULE, DELETED = "100644", "100755", "120000", "160000", ""


class GitError(Exception):
    """git is missing, refused, or took too long; the message is the line in which it said so."""


@dataclass(frozen=True)
class Change:
    """One path where the working tree differs from the commit below it.

    `tracked`: git knows the path. `deleted`: the working tree has it no more. `submodule`: it is a repository of its
    own; `inner_changes`: one with changes that it has not committed.
    """

    path: str
    tracked: bool
    deleted: bool = False
    submodule: bool = False
    inner_changes: bool = False


@dataclass(frozen=True)
class Status:
    """Where a working tree stands: the commit (None before the first), the branch (None when detached), the changes."""

    commit: str | None
    branch: str | None
    changes: list[Change]


def git(
    folder: Path, *arguments: str, stdin: IO[bytes] | None = None, variables: Mapping[str, str] | None = None
) -> bytes:
    """What `git arguments` prints when run in `folder`; GitError when it fails.

    Hooks, file-system monitors and optional locks are off, and GIT_* variables of the caller do not reach it.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in KEPT_VARIABLES}
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**kept, **quiet, **(variables or {})},
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git {arguments[0]}: {error}") from error
    if done.returncode != 0:
        raise GitError(f"git {arguments[0]}: {_complaint(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def _complaint(stderr: bytes) -> str:
    """The line that says what is wrong; advice may stand around it."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return next((line for line in lines if line.startswith("fatal:")), lines[-1] if lines else "")


def repository_of(folder: Path) -> Path | None:
    """The top of the working tree that `folder` belongs to; None outside git and where the repository ignores it.

    Raises GitError where git finds a repository but refuses it (another owner, a broken one).
    """
    if shutil.which("git") is None:
        return None
    try:
        top = Path(_line(git(folder, "rev-parse", "--show-toplevel")))
    except GitError as error:
        if "not a git repository" in str(error) or "must be run in a work tree" in str(error):
            return None
        raise
    return None if folder.resolve() != top.resolve() and _is_ignored(folder) else top


def _is_ignored(folder: Path) -> bool:
    try:
        git(folder, "check-ignore", "--quiet", ".")
    except GitError:
        return False
    return True


def read_status(top: Path) -> Status:
    """The commit, the branch and every changed or untracked path of the working tree at `top`."""
    arguments = (
        "--porcelain=v2",
        "-z",
        "--branch",
        "--untracked-files=all",
        "--no-renames",
        "--ignore-submodules=none",
    )
    entries = os.fsdecode(git(top, "status", *arguments)).split("\0")
    headers = dict(entry.removeprefix("# ").split(" ", 1) for entry in entries if entry.startswith("# "))
    commit, branch = headers["branch.oid"], headers["branch.head"]
    return Status(
        commit=None if commit == "(initial)" else commit,
        branch=None if branch == "(detached)" else branch,
        changes=[_change(entry) for entry in entries if entry[:2] in ("1 ", "u ", "? ")],
    )


def _change(entry: str) -> Change:
    """One line of porcelain v2: `? path`, `1 XY sub ...6 fields path` or `u XY sub ...8 fields path`."""
    kind, rest = entry[0], entry[2:]
    if kind == "?":
        return Change(rest, tracked=False)
    fields = rest.split(" ", 7 if kind == "1" else 9)
    both, submodule, path = fields[0], fields[1], fields[-1]
    return Change(
        path,
        tracked=True,
        # "D." was taken out of the index only: should the file still stand there, it has an untracked entry of its own.
        deleted=both == "D." or both[1] == "D",
        submodule=submodule[0] == "S",
        inner_changes="M" in submodule or "U" in submodule,
    )


@dataclass(frozen=True)
class Scratch:
    """A bare repository in the empty `folder` that reads the objects of the repository at `top`.

    What it writes goes into the objects of `top` too when `shared`, and stays in `folder` when not.
    """

    folder: Path
    top: Path
    shared: bool

    def git(self, *arguments: str, stdin: IO[bytes] | None = None) -> bytes:
        """What git prints when run in this repository."""
        borrow = "GIT_OBJECT_DIRECTORY" if self.shared else "GIT_ALTERNATE_OBJECT_DIRECTORIES"
        variables = {"GIT_DIR": str(self.folder), borrow: self._objects}
        return git(self.folder, *arguments, stdin=stdin, variables=variables)

    @cached_property
    def _objects(self) -> str:
        return str(self.top / _line(git(self.top, "rev-parse", "--git-path", "objects")))

    def commit(self, message: str, base: str | None, edits: Iterable[Edit]) -> str:
        """Writes a commit without a parent, checked out as the branch `snapshot`; returns its name.

        It holds the tree of the commit `base` with the `edits` applied in their order. The bytes go in as they are: no
        filter and no line-end conversion touches them.
        """
        object_format = _line(git(self.top, "rev-parse", "--show-object-format"))
        self.git("init", "--quiet", "--bare", f"--object-format={object_format}", "--template=")
        self.git("symbolic-ref", "HEAD", "refs/heads/snapshot")
        tree = _line(git(self.top, "rev-parse", f"{base}^{{tree}}")) if base else None
        with open(self.folder / "stream", "w+b") as stream:
            _write_stream(stream, message, tree, edits)
            stream.seek(0)
            self.git("fast-import", "--quiet", stdin=stream)
        return _line(self.git("rev-parse", "refs/heads/snapshot"))

    def bundle(self, path: Path) -> None:
        """Packs the commit into one file that `git clone` takes."""
        self.git("bundle", "create", "--quiet", str(path.absolute()), "HEAD", "refs/heads/snapshot")


def _write_stream(stream: IO[bytes], message: str, tree: str | None, edits: Iterable[Edit]) -> None:
    """What `git fast-import` reads."""
    text = message.encode()
    stream.write(
        b"commit refs/heads/snapshot\ncommitter understudy <understudy@localhost> %d +0000\n" % int(time.time())
    )
    stream.write(b"data %d\n%s\n" % (len(text), text))
    if tree:
        stream.write(b'M 040000 %s ""\n' % tree.encode())
    for path, mode, content in edits:
        if mode == DELETED:
            stream.write(b"D %s\n" % _quoted(path))
        elif mode == SUBMODULE:
            stream.write(b"M 160000 %s %s\n" % (content, _quoted(path)))
        else:
            stream.write(b"M %s inline %s\ndata %d\n%s\n" % (mode.encode(), _quoted(path), len(content), content))


def _quoted(path: str) -> bytes:
    escaped = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'


def _line(output: bytes) -> str:
    return os.fsdecode(output.removesuffix(b"\n"))
