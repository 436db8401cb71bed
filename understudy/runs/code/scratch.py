"""Writing commits and bundles beside a repository, which itself gets no branch, no index entry and no lock."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

from understudy.runs.code.git import git

# One edit of a tree: (path, mode as git writes it, content; for a submodule the name of its commit).
Edit = tuple[str, str, bytes]
FILE, EXECUTABLE, SYMLINK, SUBMODULE, DELETED = "100644", "100755", "120000", "160000", ""
# Equal trees give equal commits, whoever made them and when: so the commit's name is the name of the code.
COMMITTER = b"understudy <understudy@localhost> 0 +0000"
# Searching for deltas takes half a second at 2,000 loose files, and what is packed already keeps its own.
QUICKLY = ("-c", "pack.window=0", "-c", "pack.compression=1")


@dataclass(frozen=True)
class Commits:
    """A clean tree and the tree with the edits on top; equal where nothing was edited."""

    base: str
    snapshot: str


class _OfTop(NamedTuple):
    """Where a repository keeps its objects, the name of their format, and the tree of the commit to begin with."""

    objects: str
    object_format: str
    tree: str | None


class Scratch:
    """A bare repository in a temporary folder that reads the objects of the repository at `top`.

    What it writes goes into the objects of `top` too when `shared`, and stays in the folder when not.
    """

    def __init__(self, top: Path, commit: str | None, shared: bool) -> None:
        self.top, self.commit_of_top, self.shared = top, commit, shared
        self.folder = Path(tempfile.mkdtemp(prefix="understudy-"))

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def git(self, *arguments: str, stdin: IO[bytes] | None = None) -> bytes:
        """What git prints when run in this repository."""
        borrow = "GIT_OBJECT_DIRECTORY" if self.shared else "GIT_ALTERNATE_OBJECT_DIRECTORIES"
        variables = {"GIT_DIR": str(self.folder), borrow: self._of_top.objects}
        return git(self.folder, *arguments, stdin=stdin, variables=variables)

    @cached_property
    def _of_top(self) -> "_OfTop":
        tree = [f"{self.commit_of_top}^{{tree}}"] if self.commit_of_top else []
        answer = git(self.top, "rev-parse", "--git-path", "objects", "--show-object-format", *tree)
        objects, object_format, *trees = os.fsdecode(answer).splitlines()
        return _OfTop(str(self.top / objects), object_format, trees[0] if trees else None)

    def commit(self, corrections: Iterable[Edit], edits: Iterable[Edit]) -> Commits:
        """Writes the branches `base`, the commit's tree with the corrections, and `snapshot`, that with the edits.

        Edits are applied in their order. Bytes go in as they are: no filter and no line-end conversion touches them.
        """
        self.git(
            "init",
            "--quiet",
            "--bare",
            f"--object-format={self._of_top.object_format}",
            "--template=",
            "-b",
            "snapshot",
        )
        with open(self.folder / "stream", "w+b") as stream:
            _write_commit(stream, "base", "The tree of a commit.", corrections, tree=self._of_top.tree)
            _write_commit(stream, "snapshot", "What the working tree had on top.", edits, parent="base")
            stream.seek(0)
            self.git("fast-import", "--quiet", stdin=stream)
        base, snapshot, base_tree, tree_now = os.fsdecode(
            self.git("rev-parse", "base", "snapshot", "base^{tree}", "snapshot^{tree}")
        ).split()
        if tree_now == base_tree:
            self.git("update-ref", "refs/heads/snapshot", base)
            snapshot = base
        return Commits(base, snapshot)

    def bundle_base(self, path: Path) -> None:
        """Packs the whole clean tree into one file that `git clone` takes."""
        self.git("update-ref", "--no-deref", "HEAD", "refs/heads/base")
        self.git(*QUICKLY, "bundle", "create", "--quiet", str(path.absolute()), "HEAD", "refs/heads/base")

    def bundle_edits(self, path: Path) -> None:
        """Packs what the snapshot has more than its base, for `git pull` in a clone of the base."""
        range_ = ("refs/heads/snapshot", "^refs/heads/base")
        self.git(*QUICKLY, "bundle", "create", "--quiet", str(path.absolute()), *range_)


def _write_commit(
    stream: IO[bytes],
    branch: str,
    message: str,
    edits: Iterable[Edit],
    tree: str | None = None,
    parent: str | None = None,
) -> None:
    """What `git fast-import` reads."""
    text = message.encode()
    stream.write(b"commit refs/heads/%s\ncommitter %s\n" % (branch.encode(), COMMITTER))
    stream.write(b"data %d\n%s\n" % (len(text), text))
    if parent:
        stream.write(b"from refs/heads/%s\n" % parent.encode())
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
