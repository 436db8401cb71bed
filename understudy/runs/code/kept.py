"""Reading back the code that a run kept."""

import hashlib
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from understudy.errors import GitError, UserError
from understudy.runs.code import secrets
from understudy.runs.code.git import files_of, git
from understudy.runs.journal import read_lines
from understudy.runs.record import read_record

PACKAGE_PREFIX = "understudy-package/"
READ_FILES = "read.jsonl"


@dataclass
class KeptCode:
    """All code that a run kept: the working tree, submodules, this package where it lay elsewhere, files read beside.

    Paths are those in the repository (or the working folder); the package's, where it is kept separately, begin with
    `understudy-package/`; others are absolute.
    """

    files: dict[str, str] = field(default_factory=dict)
    """Path to content id, as git would name the content."""
    readers: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    """Path to the function that reads the content; files of which only the hash was kept have none."""

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises KeyError for one that was not kept, or of which only the hash was."""
        return self.readers[path]()


@contextmanager
def open_code(run_folder: Path, without_edits: bool = False) -> Iterator[KeptCode]:
    """Open the code that the run in `run_folder` began with; `without_edits`: the clean commit below.

    Raises UserError where none was kept, or where it cannot be read.
    """
    record = read_record(run_folder)
    code = record.data.get("code") or {}
    if code.get("kind") not in ("git", "copy"):
        raise UserError(f"no code was kept with run {record.id}: {code.get('error') or 'its record names none'}")
    kept = KeptCode()
    with ExitStack() as stack:
        try:
            for prefix, at, part in parts_of(code):
                files, read = _open_part(stack, run_folder / "code", prefix, part, without_edits)
                kept.files |= {at + path: content_id for path, content_id in files.items()}
                kept.readers |= {at + path: partial(read, path) for path in files}
            # What was read beside hides what the snapshot has at the same path.
            beside = {} if without_edits else files_beside(run_folder / "code")
            for path, entry in beside.items():
                kept.files[path] = entry["id"]
                kept.readers.pop(path, None)
                if entry.get("kept"):
                    kept.readers[path] = (run_folder / "code" / entry["kept"]).read_bytes
        except (GitError, OSError, zipfile.BadZipFile) as error:
            raise UserError(f"the code of run {record.id} cannot be read: {error}") from error
        yield kept


def committed_secrets(run_folder: Path, seen: set[str]) -> Iterator[str]:
    """Yield the committed files in a run's bundles that hold secrets, as `path (AWS key on line 2)`.

    A commit in `seen` is passed over; each other one is added. Raises GitError for a bundle that cannot be read.
    """
    data, folder = read_record(run_folder).data, run_folder / "code"
    # The code that the run began with, and that of each time it was resumed.
    codes = [(folder, data.get("code") or {})]
    codes += [(folder / f"resumed-{n}", entry["code"]) for n, entry in enumerate(data.get("resumed") or [], start=1)]
    for code_folder, code in codes:
        for prefix, at, part in parts_of(code):
            bundle = code_folder / f"{prefix}base.bundle"
            if part.get("kind") != "git" or part["base"] in seen or not bundle.exists():
                continue
            seen.add(part["base"])
            with ExitStack() as stack:
                files, read = _open_part(stack, code_folder, prefix, part, without_edits=True)
                for path in files:
                    if reason := secrets.redact(path, read(path))[1]:
                        yield f"{at}{path} ({reason.removeprefix('redacted: ')})"


def parts_of(code: Mapping[str, Any], prefix: str = "", at: str = "") -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the parts of a record of code: prefix of the files that hold it, where it goes, and the part's record."""
    yield prefix, at, code
    for index, module in enumerate(code.get("submodules", [])):
        yield from parts_of(module, f"{prefix}submodule-{index}-", f"{at}{module['path']}/")
    package = code.get("understudy") or {}
    if package.get("kind") in ("git", "copy"):
        yield from parts_of(package, "understudy-", PACKAGE_PREFIX)


def clone(code_folder: Path, prefix: str, part: Mapping[str, Any], target: Path, *, bare: bool = False) -> str:
    """Clone a part kept by git into `target`, which may exist when empty, and return the name of its commit.

    Where a killed process left the base unpacked, the repository that the run was made in may still have it.
    """
    base, edits = (code_folder / f"{prefix}{name}.bundle" for name in ("base", "edits"))
    source, name = (base, "base") if base.exists() else (Path(part["top"]), str(part["ref"]))
    kind = "sha256" if len(part["snapshot"]) == 64 else "sha1"
    git(target.parent, "init", "--quiet", *(["--bare"] if bare else []), f"--object-format={kind}", str(target))
    git(target, "fetch", "--quiet", "--no-tags", str(source), f"{name}:refs/heads/base")
    if edits.exists():
        git(target, "fetch", "--quiet", "--no-tags", str(edits), "snapshot:refs/heads/snapshot")
    else:
        git(target, "update-ref", "refs/heads/snapshot", "refs/heads/base")
    return str(part["snapshot"])


def _open_part(
    stack: ExitStack, folder: Path, prefix: str, part: Mapping[str, Any], without_edits: bool
) -> tuple[Mapping[str, str], Callable[[str], bytes]]:
    """Return the files of a part, path to content id, and the function that reads one of them."""
    if part["kind"] == "copy":
        archive = stack.enter_context(zipfile.ZipFile(folder / f"{prefix}sources.zip"))
        return {name: blob_id(archive.read(name)) for name in archive.namelist()}, archive.read
    target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-"))) / "code.git"
    commit = clone(folder, prefix, part, target, bare=True)
    files = files_of(partial(git, target), part["base"] if without_edits else commit)

    # One git process answers for all files that are read.
    command = ["git", "--git-dir", str(target), "cat-file", "--batch"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack.callback(process.communicate)

    def read(path: str) -> bytes:
        assert process.stdin
        assert process.stdout
        process.stdin.write(files[path].encode() + b"\n")
        process.stdin.flush()
        size = int(process.stdout.readline().split()[2])
        return process.stdout.read(size + 1)[:-1]

    return files, read


def files_beside(code_folder: Path) -> dict[str, dict[str, Any]]:
    """Return what a run read beside its snapshot (see `opened_files`): the last entry for each path."""
    return {entry["path"]: entry for entry in read_lines(code_folder / READ_FILES)}


def blob_id(content: bytes, like: str | None = None) -> str:
    """Return the name that git gives to a content, in the hash of the name `like`.

    >>> blob_id(b"hello")
    'b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0'
    """
    kind = hashlib.sha256 if like and len(like) == 64 else hashlib.sha1
    return kind(b"blob %d\0" % len(content) + content).hexdigest()
