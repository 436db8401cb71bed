"""Asking git about a working tree, and writing commits beside it, without leaving a trace in it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from understudy.errors import GitError

TIMEOUT_SECONDS = 120.0
# Variables that choose the user's configuration, not the repository: everything else named GIT_* could point elsewhere.
KEPT_VARIABLES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH")


class Mode(StrEnum):
    """The kind of an entry of a tree, as git writes it; empty for one that is deleted."""

    FILE, EXECUTABLE, SYMLINK, SUBMODULE, DELETED = "100644", "100755", "120000", "160000", ""


Edit = tuple[str, Mode, bytes]
"""One edit of a tree: path, mode and content; for a submodule the name of its commit."""
# Equal trees give equal commits, whoever made them and when: so the commit's name is the name of the code.
COMMITTER = b"understudy <understudy@localhost> 0 +0000"
# Searching for deltas takes half a second at 2,000 loose files, and what is packed already keeps its own.
BUNDLE = ("-c", "pack.window=0", "-c", "pack.compression=1", "bundle", "create", "--quiet")


@dataclass(frozen=True)
class Change:
    """One path where the working tree differs from the commit below it."""

    path: str
    tracked: bool
    deleted: bool = False
    submodule: bool = False


def git(
    folder: Path, *arguments: str, stdin: IO[bytes] | None = None, variables: Mapping[str, str] | None = None
) -> bytes:
    """Run `git arguments` in `folder` and return what it prints. Raises GitError when it fails.

    Hooks, file-system monitors and optional locks are off, and GIT_* variables of the caller do not reach it.
    """
    # A hook or a GIT_DIR of the caller would make git look, or write, somewhere else.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in KEPT_VARIABLES}
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    env = {**kept, **quiet, **(variables or {})}
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *arguments]
    source = stdin or subprocess.DEVNULL
    try:
        done = subprocess.run(command, cwd=folder, env=env, stdin=source, capture_output=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git {arguments[0]}: {error}") from error
    if done.returncode != 0:
        # One line says what is wrong; advice may stand around it.
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        fatal = next((line for line in lines if line.startswith("fatal:")), lines[-1])
        raise GitError(f"git {arguments[0]}: {fatal}")
    return done.stdout


def repository_of(folder: Path) -> Path | None:
    """Return the top of the working tree that `folder` belongs to; None outside git and where git ignores it.

    Raises GitError where git finds a repository but refuses it (another owner, a broken one).
    """
    if shutil.which("git") is None:
        return None
    try:
        top = Path(os.fsdecode(git(folder, "rev-parse", "--show-toplevel").removesuffix(b"\n")))
    except GitError as error:
        if "not a git repository" in str(error) or "must be run in a work tree" in str(error):
            return None
        raise
    if folder.resolve() == top.resolve():
        return top
    try:
        git(folder, "check-ignore", "--quiet", ".")
    except GitError:
        return top  # not ignored
    return None


def read_status(top: Path) -> tuple[str | None, str | None, list[Change]]:
    """Return the commit (None before the first), the branch (None when detached), and every changed path at `top`."""
    arguments = ("--branch", "--untracked-files=all", "--no-renames", "--ignore-submodules=none")
    entries = os.fsdecode(git(top, "status", "--porcelain=v2", "-z", *arguments)).split("\0")
    headers = dict(entry.removeprefix("# ").split(" ", 1) for entry in entries if entry.startswith("# "))
    changes = []
    for entry in entries:
        # Lines of porcelain v2: `? path`, `1 XY sub ...6 fields path` or `u XY sub ...8 fields path`.
        kind, rest = entry[:2], entry[2:]
        if kind == "? ":
            changes.append(Change(rest, tracked=False))
        elif kind in ("1 ", "u "):
            both, submodule, *_, path = rest.split(" ", 7 if kind == "1 " else 9)
            # "D." was taken out of the index only: should the file still stand there, it has an untracked entry, too.
            deleted = both == "D." or both[1] == "D"
            changes.append(Change(path, tracked=True, deleted=deleted, submodule=submodule[0] == "S"))
    commit, branch = headers["branch.oid"], headers["branch.head"]
    return None if commit == "(initial)" else commit, None if branch == "(detached)" else branch, changes


def code_of(folder: Path) -> dict[str, Any]:
    """Return which commit the code in a folder is, and whether it has edits: nothing outside git.

    >>> set(code_of(Path(__file__).parent)) <= {"commit", "dirty"}
    True
    """
    try:
        top = repository_of(folder)
        if top is None:
            return {}
        commit, _, changes = read_status(top)
    except GitError:
        return {}
    return {"commit": commit, "dirty": bool(changes)}


def entries_of(ask: Callable[..., bytes], commit: str, *options: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of each entry of a commit, with its mode, kind, name and whatever the options of ls-tree add.

    `ask` runs git where the commit is. The kind is "blob", or for a submodule "commit".
    """
    for entry in os.fsdecode(ask("ls-tree", "-r", "-z", *options, commit)).split("\0")[:-1]:
        about, path = entry.split("\t", 1)
        yield path, about.split()


def files_of(ask: Callable[..., bytes], commit: str) -> dict[str, str]:
    """Return the files of a commit: path to the name of the content."""
    return {path: name for path, (_, kind, name) in entries_of(ask, commit) if kind == "blob"}


class Scratch:
    """A bare repository in a temporary folder, for commits and bundles on top of a commit of the repository at `top`.

    It reads the objects of `top`, which gets no branch, no index entry and no lock. When `shared`, what it writes goes
    into the objects of `top` too; otherwise it stays in the folder.
    """

    def __init__(self, top: Path, commit: str | None, shared: bool) -> None:
        tree = [f"{commit}^{{tree}}"] if commit else []
        answer = git(top, "rev-parse", "--git-path", "objects", "--show-object-format", *tree)
        objects, self._object_format, *trees = os.fsdecode(answer).splitlines()
        self._tree = trees[0] if trees else None
        self.folder = Path(tempfile.mkdtemp(prefix="understudy-"))
        borrowed = str(top / objects)
        # The second variable holds a list of paths between colons, of which one may have a colon in quotes.
        quoted = '"' + borrowed.replace("\\", r"\\").replace('"', r"\"") + '"'
        borrow = {"GIT_OBJECT_DIRECTORY": borrowed} if shared else {"GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted}
        self._variables = {"GIT_DIR": str(self.folder), **borrow}

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def git(self, *arguments: str, stdin: IO[bytes] | None = None) -> bytes:
        """Run git in this repository and return what it prints."""
        return git(self.folder, *arguments, stdin=stdin, variables=self._variables)

    def commit(self, corrections: Iterable[Edit], edits: Iterable[Edit]) -> tuple[str, str]:
        """Write the branches `base`, the commit's tree with the corrections, and `snapshot`, that with the edits.

        Returns the names of the two commits, which are equal where the edits change nothing.
        """
        # Bytes go in as they are: no filter and no line-end conversion touches them.
        self.git("init", "--quiet", "--bare", f"--object-format={self._object_format}", "--template=", "-b", "snapshot")
        with open(self.folder / "stream", "w+b") as stream:
            base_tree = b'M 040000 %s ""\n' % self._tree.encode() if self._tree else b""
            _write_commit(stream, b"base", b"The tree of a commit.", base_tree, corrections)
            _write_commit(stream, b"snapshot", b"What the working tree had on top.", b"from refs/heads/base\n", edits)
            stream.seek(0)
            self.git("fast-import", "--quiet", stdin=stream)
        names = self.git("rev-parse", "base", "snapshot", "base^{tree}", "snapshot^{tree}").decode().split()
        base, snapshot, tree_before, tree_now = names
        if tree_now == tree_before:
            self.git("update-ref", "refs/heads/snapshot", base)
            snapshot = base
        return base, snapshot

    def bundle_base(self, path: Path) -> None:
        """Pack the whole clean tree into one file that `git clone` takes."""
        self.git("update-ref", "--no-deref", "HEAD", "refs/heads/base")
        self.git(*BUNDLE, str(path.absolute()), "HEAD", "refs/heads/base")

    def bundle_edits(self, path: Path) -> None:
        """Pack what the snapshot has more than its base, for `git pull` in a clone of the base."""
        self.git(*BUNDLE, str(path.absolute()), "refs/heads/snapshot", "^refs/heads/base")


def _write_commit(stream: IO[bytes], branch: bytes, message: bytes, start: bytes, edits: Iterable[Edit]) -> None:
    """Write one commit in the language of `git fast-import`. `start`: what it begins with, in that language."""
    stream.write(b"commit refs/heads/%s\ncommitter %s\n" % (branch, COMMITTER))
    stream.write(b"data %d\n%s\n%s" % (len(message), message, start))
    for path, mode, content in edits:
        name = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
        if mode == Mode.DELETED:
            stream.write(b'D "%s"\n' % name)
        elif mode == Mode.SUBMODULE:
            stream.write(b'M 160000 %s "%s"\n' % (content, name))
        else:
            stream.write(b'M %s inline "%s"\ndata %d\n%s\n' % (mode.encode(), name, len(content), content))
