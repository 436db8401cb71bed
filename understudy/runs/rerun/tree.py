"""The code and the surroundings of a run, put up again in a folder of their own.

The folder mirrors the absolute paths of the first time: what lay in /home/ada/project is in FOLDER/home/ada/project. So
`../data/x.jsonl` leads where it led, and no configuration has to be rewritten. Code is the record's, byte for byte.
Data, and files too large or too secret to be kept, are links to where they lay, once they are found to be the same.
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
from understudy.runs.code.kept import PACKAGE_PREFIX, ReadFiles, blob_id, clone, parts_of
from understudy.runs.record import Record

FOLDER = ".reruns"
"""Beside the runs: trees of runs that are run again."""
# Bytes as they are in the commit, whatever the repository's attributes and the user's configuration say.
EXACT = "* -text -filter -ident -working-tree-encoding\n"


@dataclass
class Tree:
    """The folder, where in it the run's working folder and this package's parent are, and what is not as it was."""

    root: Path
    cwd: Path
    package_parent: Path
    notes: list[str] = field(default_factory=list)

    def inside(self, path: str | Path) -> Path:
        """Where the tree has what lay at an absolute path."""
        return self.root / str(path).lstrip("/")


def put_up(record: Record, root: Path) -> Tree:
    """Makes the tree of a run in the folder `root`, which is emptied first.

    Raises UserError where no code was kept or it cannot be read, DataError where data of the run are gone.
    """
    code = record.data.get("code") or {}
    if code.get("kind") not in ("git", "copy"):
        raise UserError(f"no code was kept with run {record.id}, so it cannot run again: {code.get('error') or ''}")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    cwd, package = record.data["cwd"], code["understudy"]["path"]
    tree = Tree(root, root / cwd.lstrip("/"), (root / package.lstrip("/")).parent)
    try:
        for prefix, at, part in parts_of(code):
            _put_part(record, tree, prefix, _place_of(code, at, cwd), part)
        _put_files_read(record, tree, Path(code.get("top") or cwd))
    except (GitError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"the code of run {record.id} cannot be put up again: {error}") from error
    for entry in record.data.get("data", []):
        _link_data(tree, entry)
    tree.cwd.mkdir(parents=True, exist_ok=True)
    return tree


def _place_of(code: Mapping[str, Any], at: str, cwd: str) -> str:
    """The absolute path of a part's top: `at` is its path in the repository, or begins with the package's prefix."""
    package = code["understudy"]
    if at.startswith(PACKAGE_PREFIX):
        top = package.get("top") or package["path"]
        return os.path.join(top, at.removeprefix(PACKAGE_PREFIX))
    return os.path.join(code.get("top") or cwd, at)


def _put_part(record: Record, tree: Tree, prefix: str, place: str, part: Mapping[str, Any]) -> None:
    target, code_folder = tree.inside(place.rstrip("/")), record.folder / "code"
    target.mkdir(parents=True, exist_ok=True)
    if part["kind"] == "copy":
        with zipfile.ZipFile(code_folder / f"{prefix}sources.zip") as archive:
            archive.extractall(target)
    else:
        if any(target.iterdir()):  # an empty repository takes the place of a submodule's folder; this one is not empty
            raise UserError(f"{target} is not empty: two parts of the code of run {record.id} have the same place")
        commit = clone(code_folder, prefix, part, target)
        (target / ".git" / "info").mkdir(exist_ok=True)
        (target / ".git" / "info" / "attributes").write_text(EXACT)
        git(target, "-c", "core.autocrlf=false", "checkout", "--quiet", "--detach", commit)
    for entry in part.get("left_out", []):
        _put_left_out(tree, Path(place), entry)


def _put_left_out(tree: Tree, place: Path, entry: Mapping[str, Any]) -> None:
    """Brings back what the record must not or could not hold, from where it lay."""
    source, target = place / entry["path"], tree.inside(place / entry["path"])
    if entry["reason"].startswith(("redacted", "blotted out")):  # the second is what early versions wrote
        if source.exists() and target.exists():
            content = source.read_bytes()
            if secrets.redacted(content, secrets.find(content)) == target.read_bytes():
                target.write_bytes(content)
                return
        tree.notes.append(f"{entry['path']}: secrets are *** in it, and the file of that path is another by now")
    elif not source.exists():
        tree.notes.append(f"{entry['path']}: was not kept ({entry['reason']}), and is gone")
    elif not target.exists() and source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
        tree.notes.append(f"{entry['path']}: was not kept ({entry['reason']}); today's file is used")


def _put_files_read(record: Record, tree: Tree, top: Path) -> None:
    """What the run read beside its snapshot: copies where they were kept, else links to what is still the same."""
    files = ReadFiles(record.folder / "code")
    for path, entry in files.entries.items():
        source = top / path  # an absolute path stays one
        target = tree.inside(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.get("kept"):
            target.unlink(missing_ok=True)
            target.write_bytes(files.read(path))
            if path.startswith("/") and not _same(source, entry):
                tree.notes.append(f"{path}: has changed since; a program that reads it by this path meets today's file")
        elif source.exists() and not target.exists():
            target.symlink_to(source)
            if not _same(source, entry):
                tree.notes.append(f"{path}: was only hashed, and has changed since")
        elif not source.exists():
            tree.notes.append(f"{path}: was only hashed, and is gone")


def _same(path: Path, entry: Mapping[str, Any]) -> bool:
    if not path.exists() or path.stat().st_size != entry["bytes"]:
        return False
    if entry.get("kept"):
        return blob_id(path.read_bytes(), entry["id"]) == entry["id"]
    return fingerprint(path)["sha256"] == entry["id"]


def _link_data(tree: Tree, entry: Mapping[str, Any]) -> None:
    source = Path(entry["path"])
    if not source.exists():
        raise DataError(
            f"{source} is gone: the run learned from it ({entry['bytes']:,} bytes, sha256 {entry['sha256'][:12]}); "
            "put it back there"
        )
    if source.stat().st_size != entry["bytes"] or fingerprint(source)["sha256"] != entry["sha256"]:
        tree.notes.append(f"{source}: has changed since, so the run will learn from other data")
    target = tree.inside(source)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
