"""What `--data` names, resolved once: the files, their kind and their fingerprints. Plain or gzip, read in pieces."""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from glob import escape, glob
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar

from understudy.data import hub
from understudy.errors import ConfigError, DataError, EntryError, suggestion

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HEAD = 1 << 16  # characters that decide what a file holds
MOST_KEPT_OPEN = 100  # files; a process may open about a thousand
PROBLEMS_KEPT = 20

T = TypeVar("T")
Kind = Literal["chats", "text"]
Opener = Callable[[Path], AbstractContextManager[io.TextIOWrapper]]


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
    """The pieces that those were cut into."""

    def add_problem(self, problem: str) -> None:
        """Count a bad entry; keep the problem if it is among the first few."""
        self.bad += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)

    def add(self, other: "Report") -> None:
        """Add the counts and problems of another report."""
        self.good += other.good
        self.bad += other.bad
        self.cut += other.cut
        self.windows += other.windows
        self.problems = [*self.problems, *other.problems][:PROBLEMS_KEPT]

    def summary(self) -> str:
        """Return the problems, one per line, and the counts at the end."""
        unseen = self.bad - len(self.problems)
        more = [f"... and {unseen:,} more"] if unseen else []
        counts = [f"{self.good:,} entries read, {self.bad:,} left out as malformed"]
        if self.cut:
            counts.append(
                f"{self.cut:,} conversations are longer than the context: cut between exchanges into {self.windows:,} "
                "windows; each keeps the system message and drops the turns before it"
            )
        return "\n".join([*self.problems, *more, *counts])


def expand(name: str) -> list[Path]:
    """Return the file that a path names, or those that a glob matches, sorted. What `hub:` names is fetched.

    Raises:
        DataError: the path names nothing, the glob matches nothing, or the path is a folder.
        HubError: a data set cannot be fetched.
    """
    path = os.path.expanduser(name)
    if path.startswith(hub.PREFIX):
        return [hub.fetch(path)]
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder; expected a file or a glob; try '{os.path.join(path, '*')}'")
    # Also a name that looks like a glob.
    if os.path.exists(path):
        return [Path(path)]
    found = [Path(file) for file in sorted(glob(path, recursive=True)) if not os.path.isdir(file)]
    if not found:
        problem = f"no file matches {path}" if escape(path) != path else f"no such file: {path}"
        raise DataError(problem + what_is_there(path))
    return found


def what_is_there(path: str) -> str:
    """Return a hint where a path names nothing: the names close to it in its folder, or that there is no folder."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        return f"; there is no folder {folder}"
    return suggestion(name, os.listdir(folder or "."))


@contextmanager
def open_text(path: str | Path) -> Iterator[io.TextIOWrapper]:
    r"""Open a file as UTF-8 text, unpacked when its content is gzip, without a byte order mark.

    Lines end at "\n" alone and nothing is translated. A byte that is not UTF-8 becomes a lone surrogate (as
    `surrogateescape` has it) for `check_encoding` to find, so that one bad byte does not cost the whole file.

    Raises:
        DataError: the file cannot be read, or its gzip data is damaged.
    """
    with _damage_named(path), open(path, "rb") as raw:
        yield _decoded(raw)


def _decoded(raw: io.BufferedReader) -> io.TextIOWrapper:
    stream = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == GZIP_MAGIC else raw
    if stream.peek(3)[:3] == BYTE_ORDER_MARK:
        stream.read(3)
    return io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="\n")


@contextmanager
def _damage_named(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error}); expected a whole gzip file; fetch it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; expected a readable file") from error


@dataclass(frozen=True)
class DataFile:
    """A file of conversations or plain text, as it was when it was inspected.

    Attributes:
        path: its path.
        kind: "chats" for a JSON array or JSON lines, "text" for anything else.
        fingerprint: what `understudy.files.fingerprint` gives.
    """

    path: Path
    kind: Kind
    fingerprint: dict[str, Any] = field(hash=False)

    @classmethod
    def inspect(cls, path: Path) -> "DataFile":
        """Open a file once to guess its kind from the head and to hash the whole.

        Raises:
            DataError: the file is empty or cannot be read.
        """
        with _damage_named(path), path.open("rb") as file:
            stream = _decoded(file)
            lines = [line.strip() for line in stream.read(HEAD).split("\n") if line.strip()]
            if not lines:
                raise DataError(f"{path} is empty; expected text or conversations")
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            fingerprint = {"path": os.path.abspath(path), "bytes": file.tell(), "sha256": digest}
        opening = "".join("".join(lines[:20]).split())[:2]
        is_array = opening.startswith("[") and opening[1:] in ("", "{", "[", '"', "]")
        # A malformed line among good ones, even the first, does not make the file a text.
        like_objects = sum(line.startswith("{") and line[1:].lstrip().startswith('"') for line in lines)
        kind: Kind = "chats" if is_array or opening == '{"' or 2 * like_objects >= len(lines) else "text"
        return cls(path, kind, fingerprint)


class DataFiles:
    """The files that `--data` and `--valid` name, found and inspected once.

    Attributes:
        train: the files to learn from.
        valid: the files to validate on.
        kind: what all of them hold.
    """

    def __init__(self, train: Sequence[DataFile], valid: Sequence[DataFile], kind: Kind) -> None:
        self.train, self.valid, self.kind = tuple(train), tuple(valid), kind
        self._stack: ExitStack | None = None
        self._open: dict[Path, tuple[io.TextIOWrapper, int]] = {}

    @classmethod
    def resolve(cls, data: Sequence[str], valid: Sequence[str] = ()) -> "DataFiles":
        """Find and inspect the files that paths, globs and `hub:` names stand for.

        Raises:
            DataError: a name matches no file, or files of both kinds; a file is empty or cannot be read.
            ConfigError: some names are of conversations and others of plain text.
            HubError: a data set of the Hub cannot be fetched.
        """
        if not data:
            raise DataError("no data files given; expected at least one path or glob")
        paths_of = {name: expand(name) for name in (*data, *valid)}
        inspected = {path: DataFile.inspect(path) for path in dict.fromkeys(chain(*paths_of.values()))}
        kinds: dict[str, Kind] = {}
        for name, paths in paths_of.items():
            first_of: dict[Kind, Path] = {}
            for path in paths:
                first_of.setdefault(inspected[path].kind, path)
            if len(first_of) > 1:
                both = " and ".join(f"{kind} ({path})" for kind, path in first_of.items())
                raise DataError(f"{name} mixes {both}; expected one kind")
            (kinds[name],) = first_of
        if len(set(kinds.values())) > 1:
            both = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
            raise ConfigError(f"conversations and plain text do not mix in one run: {both}")
        train, held_out = (
            [inspected[path] for path in dict.fromkeys(chain(*(paths_of[name] for name in names)))]
            for names in (data, valid)
        )
        return cls(train, held_out, "chats" if "chats" in kinds.values() else "text")

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Within this context, rewind a file that is read again instead of opening it again."""
        try:
            with ExitStack() as self._stack:
                yield
        finally:
            self._stack = None
            self._open.clear()

    @contextmanager
    def text(self, path: Path) -> Iterator[io.TextIOWrapper]:
        """Open one of the files as `open_text` does."""
        if self._stack is None or (path not in self._open and len(self._open) >= MOST_KEPT_OPEN):
            with open_text(path) as stream:
                yield stream
            return
        with _damage_named(path):
            if path not in self._open:
                raw = self._stack.enter_context(path.open("rb"))
                stream = self._stack.enter_context(_decoded(raw))
                self._open[path] = stream, stream.tell()  # after a byte order mark
            stream, start = self._open[path]
            stream.seek(start)
            yield stream


def check_encoding(text: str) -> None:
    """Raise EntryError for the first byte that was not UTF-8 (see `open_text`)."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        column = error.start - text.rfind("\n", 0, error.start)
        lines_down = text.count("\n", 0, error.start)
        raise EntryError(f"invalid UTF-8 (byte 0x{byte:02x} at column {column})", lines_down) from None


def usable(path: Path, entries: Iterable[tuple[int, T | EntryError]], report: Report, strict: bool) -> Iterator[T]:
    """Yield the good entries of one file; the others are reported by file and line.

    Args:
        path: the file that the entries come from.
        entries: (line number, the entry or its error), in order.
        report: counts both.
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
