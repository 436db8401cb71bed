"""The code and the surroundings of a run, restored in a folder of their own.

The folder mirrors the absolute paths of the first time: what was in /home/ada/project is in FOLDER/home/ada/project. So
`../data/x.jsonl` leads where it led, and no configuration has to be rewritten. Code is the record's, byte for byte.
Data, and files too large or too secret to be kept, are links to where they were, once they are found to be the same.
"""

import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import DataError, GitError, UserError
from understudy.files import fingerprint
from understudy.runs.code import secrets
from understudy.runs.code.git import git
from understudy.runs.code.kept import PACKAGE_PREFIX, blob_id, clone, files_beside, parts_of
from understudy.runs.compare.differences import data_files
from understudy.runs.record import Record

FOLDER = ".reruns"
"""Beside the runs: trees of runs that are run again."""
# Bytes as they are in the commit, whatever the repository's attributes and the user's configuration say.
EXACT = "* -text -filter -ident -working-tree-encoding\n"


@dataclass
class Tree:
    """The folder, the run's working folder and this package's parent in it, and notes on what is not as it was."""

    root: Path
    cwd: Path
    package_parent: Path
    notes: list[str] = field(default_factory=list)

    def inside(self, path: str | Path) -> Path:
        """Return where the tree has what was at an absolute path."""
        return self.root / str(path).lstrip("/")

    def original(self, path: str) -> str:
        """Return the path that a file of the tree had the first time."""
        return path.removeprefix(str(self.root)) if path.startswith("/") else path

    def link(self, source: Path) -> None:
        """Link to a file of today, unless the tree has that path already."""
        target = self.inside(source)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)


def restore_tree(record: Record, root: Path) -> Tree:
    """Restore the code and the surroundings of a run in the folder `root`, which is emptied first.

    Raises UserError where no code was kept or it cannot be read, DataError where data of the run are gone.
    """
    code = record.data.get("code") or {}
    if code.get("kind") not in ("git", "copy"):
        why = f": {code['error']}" if code.get("error") else ""
        raise UserError(f"no code was kept with run {record.id}, so it cannot run again{why}")
    if not (record.folder / "code").is_dir():
        raise UserError(f"run {record.id} was exported without its code (--no-code), so it cannot run again")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    cwd, package = record.data["cwd"], code["understudy"]
    tree = Tree(root, root / cwd.lstrip("/"), (root / package["path"].lstrip("/")).parent)
    top = code.get("top") or cwd
    try:
        # `at` is the path of a part in the repository, or in the package where that was kept by itself.
        for prefix, at, part in parts_of(code):
            is_package = at.startswith(PACKAGE_PREFIX)
            part_top = (package.get("top") or package["path"]) if is_package else top
            _restore_part(record, tree, prefix, os.path.join(part_top, at.removeprefix(PACKAGE_PREFIX)), part)
        _restore_read_files(record, tree, Path(top))
    except (GitError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"the code of run {record.id} cannot be restored: {error}") from error

    # Data are too large to copy; a rerun reads the originals.
    for entry in record.data.get("data", []):
        source = Path(entry["path"])
        if not source.exists():
            about = data_files([entry])[entry["path"]]
            raise DataError(f"{source} is gone: the run learned from it ({about}); put it back there")
        if not _is_same(source, entry):
            tree.notes.append(f"{source}: has changed since, so the run will learn from other data")
        tree.link(source)
    tree.cwd.mkdir(parents=True, exist_ok=True)
    return tree


def _restore_part(record: Record, tree: Tree, prefix: str, place: str, part: Mapping[str, Any]) -> None:
    """Restore a repository, a submodule or an archive of sources whose top was at the absolute path `place`."""
    target, code_folder = tree.inside(place.rstrip("/")), record.folder / "code"
    target.mkdir(parents=True, exist_ok=True)
    if part["kind"] == "copy":
        with zipfile.ZipFile(code_folder / f"{prefix}sources.zip") as archive:
            archive.extractall(target)
    else:
        # A submodule's folder is empty in the tree of its repository, so nothing should be there yet.
        if any(target.iterdir()):
            raise UserError(f"{target} is not empty: two parts of the code of run {record.id} have the same place")
        commit = clone(code_folder, prefix, part, target)
        (target / ".git" / "info").mkdir(exist_ok=True)
        (target / ".git" / "info" / "attributes").write_text(EXACT)
        git(target, "-c", "core.autocrlf=false", "checkout", "--quiet", "--detach", commit)

    # What the record must not or could not hold is brought back from where it was.
    for entry in part.get("left_out", []):
        path, reason = entry["path"], entry["reason"]
        source, target = Path(place) / path, tree.inside(Path(place) / path)
        # A file in which secrets were replaced; the second word is what early versions wrote.
        if reason.startswith(("redacted", "blotted out")):
            content = source.read_bytes() if source.exists() and target.exists() else None
            if content is not None and secrets.redact(path, content)[0] == target.read_bytes():
                target.write_bytes(content)
            else:
                tree.notes.append(f"{path}: secrets in it are ***, and the file at that path is a different one by now")
        elif not source.exists():
            tree.notes.append(f"{path}: was not kept ({reason}), and is gone")
        elif not target.exists() and source.is_file():
            tree.link(source)
            tree.notes.append(f"{path}: was not kept ({reason}); today's file is used")


def _restore_read_files(record: Record, tree: Tree, top: Path) -> None:
    """Restore what the run read beside its snapshot: copies where they were kept, else links to the files of today."""
    for path, entry in files_beside(record.folder / "code").items():
        source = top / path  # an absolute path stays one
        target = tree.inside(source)
        if entry.get("kept"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(record.folder / "code" / entry["kept"], target)
            if path.startswith("/") and not _is_same(source, entry):
                tree.notes.append(f"{path}: has changed since; a program that reads it by this path meets today's file")
        elif not source.exists():
            tree.notes.append(f"{path}: was only hashed, and is gone")
        elif not target.exists():
            tree.link(source)
            if not _is_same(source, entry):
                tree.notes.append(f"{path}: was only hashed, and has changed since")


def _is_same(path: Path, entry: Mapping[str, Any]) -> bool:
    """Return whether a file has the content that the record of a data file, or of a file read beside, names."""
    if not path.exists() or path.stat().st_size != entry["bytes"]:
        return False
    if entry.get("kept"):
        return blob_id(path.read_bytes(), entry["id"]) == entry["id"]
    return fingerprint(path)["sha256"] == entry.get("sha256", entry.get("id"))
