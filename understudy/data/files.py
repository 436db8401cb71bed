"""Data files as people keep them: plain or gzip, named singly or by a glob, read piece by piece and never whole."""

import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from glob import escape, glob
from pathlib import Path
from typing import TypeVar

from understudy.data import hub
from understudy.errors import DataError, EntryError, suggestion

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PROBLEMS_KEPT = 20

T = TypeVar("T")


@dataclass
class Report:
    """How many entries were good and bad, and the first few problems, each naming its file and line.

    >>> report = Report(good=2)
    >>> report.add_problem("chats.jsonl:3: empty conversation")
    >>> print(report.summary())
    chats.jsonl:3: empty conversation
    2 entries read, 1 left out as malformed
    """

    good: int = 0
    bad: int = 0
    problems: list[str] = field(default_factory=list)
    cut: int = 0
    """Conversations that are longer than the context."""
    windows: int = 0
    """Into how many pieces those were cut."""

    def add_problem(self, problem: str) -> None:
        """Count a bad entry, and keep its problem if it is among the first few."""
        self.bad += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)

    def add(self, other: "Report") -> None:
        """Take in what another report counted."""
        self.good += other.good
        self.bad += other.bad
        self.cut += other.cut
        self.windows += other.windows
        self.problems = [*self.problems, *other.problems][:PROBLEMS_KEPT]

    def summary(self) -> str:
        """The problems, a line each, and the counts at the end."""
        unseen = self.bad - len(self.problems)
        more = [f"... and {unseen:,} more"] if unseen else []
        counts = [f"{self.good:,} entries read, {self.bad:,} left out as malformed"]
        if self.cut:
            counts.append(
                f"{self.cut:,} conversations are longer than the context: cut between exchanges into {self.windows:,} "
                "windows; each keeps the system message and drops the turns before it"
            )
        return "\n".join([*self.problems, *more, *counts])


def expand(paths: Sequence[str | Path]) -> list[Path]:
    """The files that the paths and globs name, each once; a glob's files come sorted. `hub:` names are fetched first.

    Raises:
        DataError: a path names nothing, a glob matches nothing, or a path is a folder.
        HubError: a data set cannot be had.
    """
    each = [paths] if isinstance(paths, str | Path) else paths  # a lone str is a sequence too, of letters
    files = [file for path in each for file in _matches(os.path.expanduser(path))]
    if not files:
        raise DataError("no data files given; expected at least one path or glob")
    return list(dict.fromkeys(files))


def _matches(path: str) -> list[Path]:
    if hub.is_reference(path):
        return [hub.fetch(path)]
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder; expected a file or a glob; try '{os.path.join(path, '*')}'")
    if os.path.exists(path):
        return [Path(path)]
    found = [Path(name) for name in sorted(glob(path, recursive=True)) if not os.path.isdir(name)]
    if not found:
        raise DataError(_nothing_there(path))
    return found


def _nothing_there(path: str) -> str:
    problem = f"no file matches {path}" if escape(path) != path else f"no such file: {path}"
    folder, name = os.path.split(path)
    try:
        return problem + suggestion(name, os.listdir(folder or "."))
    except OSError:
        return f"{problem}; there is no folder {folder}"


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    r"""Open a file as UTF-8 text, unpacked when its content is gzip, without a byte order mark.

    Lines end at "\n" alone and nothing is translated. A byte that is no UTF-8 becomes a lone surrogate (as
    `surrogateescape` has it) for `check_encoding` to find, so that one bad byte does not cost the whole file.

    Raises:
        DataError: the file cannot be read, or its gzip data is damaged.
    """
    try:
        with path.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == GZIP_MAGIC else raw
            if stream.peek(3)[:3] == BYTE_ORDER_MARK:
                stream.read(3)
            yield io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error}); expected a whole gzip file; fetch it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; expected a readable file") from error


def check_encoding(text: str) -> None:
    """Raise EntryError at the first byte of the file that was no UTF-8 (see `open_text`)."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        column = error.start - text.rfind("\n", 0, error.start)
        lines_down = text.count("\n", 0, error.start)
        raise EntryError(f"invalid UTF-8 (byte 0x{byte:02x} at column {column})", lines_down) from None


def usable(path: Path, entries: Iterable[tuple[int, T | EntryError]], report: Report, strict: bool) -> Iterator[T]:
    """The good entries of one file; the others go to the report, named by file and line.

    Args:
        path: the file that the entries come from.
        entries: (line number, the entry or what is wrong with it), in order.
        report: counts both kinds.
        strict: raise at the first bad entry.

    Raises:
        DataError: the file holds nothing, or nothing good, or (strict) anything bad.
    """
    good, first_problem = 0, ""
    for line, entry in entries:
        if isinstance(entry, EntryError):
            problem = f"{path}:{line + entry.lines_down}: {entry}"
            if strict:
                raise DataError(problem)
            report.add_problem(problem)
            first_problem = first_problem or problem
        else:
            good += 1
            report.good += 1
            yield entry
    if not good:
        why = f"nothing usable in {path}: {first_problem}" if first_problem else f"{path} is empty; expected some text"
        raise DataError(why)
