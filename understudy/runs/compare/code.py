"""What differs between the code of two runs, file by file and line by line."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from understudy.console import visible
from understudy.errors import UserError
from understudy.runs.code.kept import PACKAGE_PREFIX, open_code
from understudy.runs.compare.runs import ComparedRun

LARGEST_TEXT = 1_000_000
MOST_LINES = 20_000  # difflib's time may grow with the square of the lines that differ
NO_LINE_END = "\\ No newline at end of file"
Line = tuple[str, str]


class Code(Protocol):
    """Files by path: their content ids, and their contents."""

    @property
    def files(self) -> Mapping[str, str]:
        """Path to content id; equal ids mean equal bytes."""

    def read(self, path: str) -> bytes:
        """The content of a file; KeyError where only its id is known."""


@dataclass(frozen=True)
class FileDiff:
    """How one file differs.

    `how`: changed, added, removed or renamed (then `was` is its old path). `lines` are those of a unified diff, without
    the two that name the file: pairs of "@", "+", "-" or " " and the rest, control characters spelt out. `remark` says
    why there are none.
    """

    path: str
    how: str
    was: str = ""
    lines: tuple[Line, ...] = ()
    remark: str = ""

    @property
    def added(self) -> int:
        """How many lines came."""
        return sum(sign == "+" for sign, _ in self.lines)

    @property
    def removed(self) -> int:
        """How many lines went."""
        return sum(sign == "-" for sign, _ in self.lines)


@dataclass(frozen=True)
class CodeDifference:
    """How the code of the run `after` differs from that of `before`; `problem` says why that is not known."""

    before: str
    after: str
    files: tuple[FileDiff, ...] = ()
    problem: str = ""


def code_differences(runs: Sequence[ComparedRun]) -> list[CodeDifference]:
    """From the first run's code to that of each other one."""
    found = []
    first = runs[0]
    for other in runs[1:]:
        try:
            with ExitStack() as stack:
                before, after = (stack.enter_context(open_code(run.record.folder)) for run in (first, other))
                found.append(CodeDifference(first.label, other.label, tuple(diff_files(before, after))))
        except UserError as error:
            found.append(CodeDifference(first.label, other.label, problem=str(error)))
    return found


def code_ids(run: ComparedRun) -> dict[str, str] | None:
    """The content of every file by path; None where no code was kept."""
    try:
        with open_code(run.record.folder) as code:
            return dict(code.files)
    except UserError:
        return None


def diff_files(before: Code, after: Code) -> Iterator[FileDiff]:
    """The files that differ: those of the repository first, then those from elsewhere, then this package's."""
    changed = {
        path for path in before.files.keys() | after.files.keys() if before.files.get(path) != after.files.get(path)
    }
    renamed = _renamed(before.files, after.files, changed)
    for path in sorted(
        changed - set(renamed.values()), key=lambda path: (path.startswith(PACKAGE_PREFIX), path[:1] == "/", path)
    ):
        if path in renamed:
            yield FileDiff(path, "renamed", was=renamed[path])
        else:
            yield _diff(path, before, after)


def _renamed(before: Mapping[str, str], after: Mapping[str, str], changed: set[str]) -> dict[str, str]:
    """New path to old path of the files that only moved."""
    gone = {before[path]: path for path in sorted(changed) if path not in after}
    return {path: gone.pop(after[path]) for path in sorted(changed) if path not in before and after[path] in gone}


def _diff(path: str, before: Code, after: Code) -> FileDiff:
    how = "added" if path not in before.files else "removed" if path not in after.files else "changed"
    try:
        old = before.read(path) if how != "added" else b""
        new = after.read(path) if how != "removed" else b""
    except KeyError:
        return FileDiff(path, how, remark="only its hash was kept")
    if _is_binary(old) or _is_binary(new):
        return FileDiff(path, how, remark=f"not text: {_sizes(how, len(old), len(new), 'bytes')}")
    if max(len(old), len(new)) > LARGEST_TEXT:
        return FileDiff(path, how, remark=f"too large to show: {_sizes(how, len(old), len(new), 'bytes')}")
    lines = [content.decode("utf-8", "surrogateescape").split("\n") for content in (old, new)]
    if max(map(len, lines)) > MOST_LINES:
        return FileDiff(path, how, remark=f"too large to show: {_sizes(how, len(lines[0]), len(lines[1]), 'lines')}")
    return FileDiff(path, how, lines=tuple(_unified(*map(_whole_lines, lines))))


def _is_binary(content: bytes) -> bool:
    """As git decides it."""
    return b"\0" in content[:8000]


def _sizes(how: str, old: int, new: int, unit: str) -> str:
    sides = {"added": f"{new:,}", "removed": f"{old:,}"}
    return f"{sides.get(how) or f'{old:,} → {new:,}'} {unit}"


def _whole_lines(lines: list[str]) -> list[str]:
    """Lines with their ends, so that a missing end at the end of the file counts as a difference."""
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _unified(old: list[str], new: list[str]) -> Iterator[Line]:
    for line in list(difflib.unified_diff(old, new))[2:]:
        sign = line[0]
        yield sign, visible(line.removesuffix("\n") if sign == "@" else line[1:].removesuffix("\n"))
        if not line.endswith("\n"):
            yield "\\", NO_LINE_END
