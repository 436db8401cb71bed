"""What differs between the code of two runs, file by file and line by line."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from understudy.console import visible
from understudy.errors import UserError
from understudy.runs.code import secrets
from understudy.runs.code.kept import PACKAGE_PREFIX, KeptCode, open_code
from understudy.runs.compare.runs import ComparedRun
from understudy.runs.record import Record

LARGEST_TEXT = 1_000_000
# difflib's time may grow with the square of the lines that differ.
MOST_LINES = 20_000
NO_LINE_END = "\\ No newline at end of file"


@dataclass(frozen=True)
class FileDiff:
    """How one file differs: changed, added, removed or renamed (then `was` is the old path).

    `lines` are those of a unified diff without the two that name the file, control characters spelt out: each begins
    with "@", "+", "-", " " or a backslash. Where there are none, `remark` says why.
    """

    path: str
    how: str
    was: str = ""
    lines: tuple[str, ...] = ()
    remark: str = ""

    @property
    def name(self) -> str:
        """The path, after the old one where the file moved."""
        return f"{self.was} → {self.path}" if self.was else self.path

    def count(self, sign: str) -> int:
        """Return the number of added ("+") or removed ("-") lines."""
        return sum(line[0] == sign for line in self.lines)


@dataclass(frozen=True)
class CodeDifference:
    """How the code of the run `after` differs from that of `before`; `problem` says why that is unknown."""

    before: str
    after: str
    files: tuple[FileDiff, ...] = ()
    problem: str = ""

    def shown(self, per_file: int, in_all: int) -> list[tuple[FileDiff, tuple[str, ...]]]:
        """Return each file with the first lines of its diff, at most `per_file` of them and `in_all` of all files."""
        found = []
        for file in self.files:
            lines = file.lines[: min(per_file, in_all)]
            in_all -= len(lines)
            found.append((file, lines))
        return found


def code_differences(runs: Sequence[ComparedRun]) -> list[CodeDifference]:
    """Return how the code of each run but the first differs from that of the first."""
    first, *others = runs
    return [_difference(first.label, first.record.folder, other.label, other.record.folder) for other in others]


def since_commit(record: Record) -> CodeDifference:
    """Return how the code of a run differs from the commit that it was made from."""
    return _difference("the commit", record.folder, record.id, record.folder, since_commit=True)


def _difference(before: str, old: Path, after: str, new: Path, since_commit: bool = False) -> CodeDifference:
    try:
        with open_code(old, without_edits=since_commit) as old_code, open_code(new) as new_code:
            return CodeDifference(before, after, tuple(diff_files(old_code, new_code)))
    except UserError as error:
        return CodeDifference(before, after, problem=str(error))


def code_ids(folder: Path) -> dict[str, str] | None:
    """Return the content id of every file of a run's code by path; None where no code was kept."""
    try:
        with open_code(folder) as code:
            return dict(code.files)
    except UserError:
        return None


def diff_files(before: KeptCode, after: KeptCode) -> Iterator[FileDiff]:
    """Yield the files that differ: those of the repository first, then those from elsewhere, then this package's."""
    old, new = before.files, after.files
    changed = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}

    # New path to old path of the files that only moved.
    gone = {old[path]: path for path in sorted(changed) if path not in new}
    renamed = {path: gone.pop(new[path]) for path in sorted(changed) if path not in old and new[path] in gone}

    def place(path: str) -> tuple[bool, bool, str]:
        return path.startswith(PACKAGE_PREFIX), path.startswith("/"), path

    for path in sorted(changed - set(renamed.values()), key=place):
        if path in renamed:
            yield FileDiff(path, "renamed", was=renamed[path])
        else:
            yield _diff(path, before, after)


def _diff(path: str, before: KeptCode, after: KeptCode) -> FileDiff:
    how = "added" if path not in before.files else "removed" if path not in after.files else "changed"
    try:
        old = before.read(path) if how != "added" else b""
        new = after.read(path) if how != "removed" else b""
    except KeyError:
        return FileDiff(path, how, remark="only its hash was kept")

    def sizes(old: int, new: int, unit: str) -> str:
        known = {"added": f"{new:,}", "removed": f"{old:,}"}
        return f"{known.get(how, f'{old:,} → {new:,}')} {unit}"

    if any(b"\0" in content[:8000] for content in (old, new)):  # which is how git tells
        return FileDiff(path, how, remark=f"not text: {sizes(len(old), len(new), 'bytes')}")
    if max(len(old), len(new)) > LARGEST_TEXT:
        return FileDiff(path, how, remark=f"too large to show: {sizes(len(old), len(new), 'bytes')}")

    # What is committed is kept with its secrets, and a page that people show around must not have them.
    redacted = [secrets.redact(path, content)[0] for content in (old, new)]
    if None in redacted:
        return FileDiff(path, how, remark="its name says that it holds secrets")
    if redacted[0] == redacted[1] and old != new:
        return FileDiff(path, how, remark="the difference is in its secrets")
    # Lines keep their ends, so that a missing one at the end of the file counts as a difference.
    texts = [(content or b"").decode("utf-8", "surrogateescape") for content in redacted]
    old_lines, new_lines = (list(StringIO(text, newline="\n")) for text in texts)
    if max(len(old_lines), len(new_lines)) > MOST_LINES:
        return FileDiff(path, how, remark=f"too large to show: {sizes(len(old_lines), len(new_lines), 'lines')}")
    lines: list[str] = []
    for line in list(difflib.unified_diff(old_lines, new_lines))[2:]:
        lines += [visible(line.removesuffix("\n"))] + [NO_LINE_END] * (not line.endswith("\n"))
    return FileDiff(path, how, lines=tuple(lines))
