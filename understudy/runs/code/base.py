"""What of a commit's own files must not go into a record: secrets that somebody committed, and huge files."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import GitError
from understudy.files import write_json
from understudy.runs.code import secrets
from understudy.runs.code.changes import without_secrets
from understudy.runs.code.git import git
from understudy.runs.code.scratch import DELETED, EXECUTABLE, FILE, Edit

LARGEST_FILE = 50_000_000
NONE_FOUND = "exit code 1"


@dataclass(frozen=True)
class Suspects:
    """Files of a commit that hold secrets, or are huge: path to (mode, size in bytes)."""

    secret: dict[str, tuple[str, int]] = field(default_factory=dict)
    large: dict[str, tuple[str, int]] = field(default_factory=dict)


def corrections(top: Path, commit: str | None, memory: Path) -> tuple[list[Edit], list[dict[str, Any]]]:
    """The edits that make the commit's tree fit to be kept, and the files that they concern, with the reason.

    Searching the commit takes longer than all the rest of a snapshot, so what was found is remembered in the folder
    `memory`.
    """
    if commit is None:
        return [], []
    left_out: list[dict[str, Any]] = []
    suspects = _remembered(top, commit, memory / f"suspects-{commit}.json")
    edits = list(_corrected(top, commit, suspects, left_out))
    return edits, left_out


def _corrected(top: Path, commit: str, suspects: Suspects, left_out: list[dict[str, Any]]) -> Iterator[Edit]:
    for path, (_, size) in suspects.large.items():
        megabytes = LARGEST_FILE // 1_000_000
        reason = f"above {megabytes} MB; commit {commit[:12]} has it"
        left_out.append({"path": path, "bytes": size, "reason": reason})
        yield path, DELETED, b""
    for path, (mode, _) in suspects.secret.items():
        edit = path, mode, git(top, "cat-file", "blob", f"{commit}:{path}")
        if (corrected := without_secrets(edit, left_out)) != edit:
            yield corrected


def _remembered(top: Path, commit: str, path: Path) -> Suspects:
    try:
        return Suspects(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        found = _suspects(top, commit)
        write_json(path, found)
        return found


def _suspects(top: Path, commit: str) -> Suspects:
    suspicious = _with_suspicious_content(top, commit)
    found, unsure = Suspects(), dict[str, tuple[str, int]]()
    for entry in os.fsdecode(git(top, "ls-tree", "-r", "-l", "-z", commit)).split("\0")[:-1]:
        about, path = entry.split("\t", 1)
        mode, kind, _, size = about.split()
        if kind != "blob" or mode not in (FILE, EXECUTABLE):
            continue
        if int(size) > LARGEST_FILE:
            found.large[path] = mode, int(size)
        elif secrets.is_secret_file(path):
            found.secret[path] = mode, int(size)
        elif path in suspicious:
            unsure[path] = mode, int(size)
    contents = _contents(top, commit, list(unsure))
    found.secret.update({path: unsure[path] for path, content in contents if secrets.find(content)})
    return found


def _contents(top: Path, commit: str, paths: list[str]) -> Iterator[tuple[str, bytes]]:
    """The contents of many files of a commit, asked of one git process."""
    paths = [path for path in paths if "\n" not in path]  # which its questions, a line each, cannot name
    with tempfile.TemporaryFile() as questions:
        questions.writelines(os.fsencode(f"{commit}:{path}\n") for path in paths)
        questions.seek(0)
        answer, at = git(top, "cat-file", "--batch", stdin=questions), 0
    for path in paths:
        start = answer.index(b"\n", at) + 1
        size = int(answer[at:start].split()[-1])
        yield path, answer[start : start + size]
        at = start + size + 1


def _with_suspicious_content(top: Path, commit: str) -> set[str]:
    """The paths that git's own search, which is much faster than Python's, finds worth a look."""
    patterns = [word for pattern in secrets.PREFILTER for word in ("-e", pattern)]
    for flavour in ("-P", "-E"):  # the first is four times as fast, and not in every git
        try:
            output = git(top, "grep", "-z", "-l", "-I", "-i", flavour, *patterns, commit)
        except GitError as error:
            if NONE_FOUND in str(error):
                return set()
            if flavour == "-E":
                raise
        else:
            return {entry.partition(":")[2] for entry in os.fsdecode(output).split("\0")[:-1]}
    raise AssertionError("unreachable")
