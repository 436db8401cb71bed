"""Asking git about a working tree without leaving a trace in it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from understudy.errors import GitError

TIMEOUT_SECONDS = 120.0
# Variables that choose the user's configuration, not the repository: everything else named GIT_* could point elsewhere.
KEPT_VARIABLES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH")


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
        top = Path(line(git(folder, "rev-parse", "--show-toplevel")))
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


def line(output: bytes) -> str:
    """One line of output without its end."""
    return os.fsdecode(output.removesuffix(b"\n"))


def submodules_of(top: Path) -> list[str]:
    """The paths of the submodules that the working tree names, present or not."""
    if not (top / ".gitmodules").exists():
        return []
    try:
        output = git(top, "config", "-z", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$")
    except GitError:  # a file without any
        return []
    return [os.fsdecode(entry).partition("\n")[2] for entry in output.split(b"\0") if entry]


def files_of(ask: Callable[..., bytes], commit: str) -> dict[str, str]:
    """The files of a commit: path to the name of its content. `ask` runs git where the commit is."""
    files = {}
    for entry in os.fsdecode(ask("ls-tree", "-r", "-z", commit)).split("\0")[:-1]:
        about, path = entry.split("\t", 1)
        _, kind, name = about.split()
        if kind == "blob":
            files[path] = name
    return files
