"""The files of an export, wherever they lie: alone, in a folder, or in a zip archive, which is never unpacked."""

import codecs
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from understudy.console import size_of, visible
from understudy.errors import DataError, suggestion

HEAD = 1 << 16  # bytes that decide on an encoding
BUFFER = 1 << 18
BOMB_RATIO = 200  # chats pack to a tenth or a thirtieth of their size; what packs better than this is no chat
BOMB_BYTES = 50_000_000
MOST_MEMBERS = 500_000
SUFFIXES = (".txt", ".json")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Member:
    """A file of an export.

    Attributes:
        path: where it lies within its folder or archive; of a file that was named itself, its name.
        label: how it is called towards the user.
        size: its bytes, unpacked.
        open_bytes: opens it.
    """

    path: PurePosixPath
    label: str
    size: int
    open_bytes: Callable[[], Any]

    @contextmanager
    def open_text(self, progress: Progress = lambda _: None) -> Iterator[io.TextIOWrapper]:
        """Its text, in the encoding that its first bytes speak for; lines end at "\\n" alone, nothing is translated.

        What is of no encoding becomes a lone surrogate. `progress` is told how many bytes were read.

        Raises:
            DataError: the file cannot be read, or the archive is damaged.
        """
        with _damage_named(self.label), self.open_bytes() as raw:
            head = raw.read(HEAD)
            encoding = encoding_of(head)
            errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
            counted = io.BufferedReader(_Counted(head, raw, progress), BUFFER)
            yield io.TextIOWrapper(counted, encoding=encoding, errors=errors, newline="\n")


def members_of(path: Path) -> list[Member]:
    """The files at a path: itself, or those in the folder or zip archive that could hold chats.

    Raises:
        DataError: there is nothing, or it is damaged, protected, or unpacks to far more than it is.
    """
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        folder = path.parent
        close = suggestion(path.name, os.listdir(folder)) if folder.is_dir() else f"; there is no folder {folder}"
        raise DataError(f"no such file: {visible(str(path))}{close}")
    if not path.is_file():
        raise DataError(f"{visible(str(path))} is no regular file; expected one that can be read twice")
    with _damage_named(visible(str(path))):
        with path.open("rb") as file:
            magic = file.read(4)
        if magic in (b"PK\x03\x04", b"PK\x05\x06"):  # the second is how an empty one begins
            return _in_archive(path)
        size = path.stat().st_size
    return [Member(PurePosixPath(path.name), visible(str(path)), size, partial(path.open, "rb"))]


def encoding_of(head: bytes) -> str:
    r"""The encoding of a text by its first bytes: its byte order mark, else UTF-8, UTF-16 or Windows' Latin.

    >>> encoding_of("\ufeffhi".encode("utf-16-le")), encoding_of("hi, Zoë".encode("utf-16-be"))
    ('utf-16', 'utf-16-be')
    >>> encoding_of("Zoë".encode()), encoding_of("Zoë".encode("latin-1"))
    ('utf-8', 'cp1252')
    """
    for mark, name in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    pairs = len(head) // 2
    for first, name in ((0, "utf-16-be"), (1, "utf-16-le")):  # Western text has a zero in every pair
        if pairs and head[first::2].count(0) > 0.4 * pairs and head[1 - first :: 2].count(0) < 0.1 * pairs:
            return name
    beyond = [character for character in head.decode("utf-8", "surrogateescape") if character > "\x7f"]
    broken = sum("\udc80" <= character <= "\udcff" for character in beyond)
    return "cp1252" if broken > len(beyond) / 2 else "utf-8"


def _in_folder(folder: Path) -> list[Member]:
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():
                inner = PurePosixPath(path.relative_to(folder).as_posix())
                size = path.stat().st_size
                found.append(Member(inner, visible(str(path)), size, partial(path.open, "rb")))
    return sorted(found, key=lambda member: str(member.path))


def _in_archive(path: Path) -> list[Member]:
    archive = zipfile.ZipFile(path)  # which stays open as long as its members are held
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_MEMBERS:
        raise DataError(f"{path} holds {len(entries):,} files; no export of chats does, so it is not opened")
    found = []
    for entry in sorted(entries, key=lambda entry: entry.filename):
        inner = PurePosixPath(entry.filename)
        if inner.suffix.lower() in SUFFIXES and "__MACOSX" not in inner.parts:
            _check_entry(path, entry)
            label = visible(f"{path}:{entry.filename}")
            found.append(Member(inner, label, entry.file_size, partial(archive.open, entry)))
    return found


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    name = visible(f"{path}:{entry.filename}")
    if entry.flag_bits & 1:
        raise DataError(f"{name} is protected by a password; unpack the archive and name the folder")
    if entry.file_size > max(BOMB_BYTES, BOMB_RATIO * entry.compress_size):
        raise DataError(
            f"{name} would unpack from {size_of(entry.compress_size)} to {size_of(entry.file_size)}; no chat packs so "
            "well, so it is not opened; if it is one, unpack the archive and name the folder"
        )


@contextmanager
def _damage_named(label: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        what = " ".join(str(error).split()) or "it ends too soon"
        raise DataError(f"{label}: damaged zip archive ({what}); export or download it again") from error
    except OSError as error:
        raise DataError(f"{label} cannot be read: {error.strerror or error}; expected a readable file") from error


class _Counted(io.RawIOBase):
    """Bytes on their way, the head first, and how many."""

    def __init__(self, head: bytes, rest: IO[bytes], progress: Progress) -> None:
        self._head = head
        self._rest = rest
        self._progress = progress

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer as far as one read does."""
        size = len(buffer)
        piece, self._head = (self._head[:size], self._head[size:]) if self._head else (self._rest.read(size), b"")
        buffer[: len(piece)] = piece
        self._progress(len(piece))
        return len(piece)
