"""The files of an export: alone, in a folder, or in a zip archive, which is read without unpacking it."""

import codecs
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from typing_extensions import override

from understudy.console import size_of, visible
from understudy.data.files import what_is_there
from understudy.errors import DataError

HEAD = 1 << 16  # bytes that decide on an encoding
BUFFER = 1 << 18
BOMB_RATIO = 200  # chats compress to a tenth or a thirtieth of their size, not better
BOMB_BYTES = 50_000_000
MOST_FILES = 500_000
SUFFIXES = (".txt", ".json")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Advance = Callable[[int], None]


@dataclass(frozen=True)
class ExportFile:
    """A file of an export.

    Attributes:
        path: its path within its folder or archive; the name of a file that was named itself.
        label: its name in messages to the user.
        size: bytes, unpacked.
        open_bytes: opens it.
    """

    path: PurePosixPath
    label: str
    size: int
    open_bytes: Callable[[], Any]

    @contextmanager
    def open_text(self, advance: Advance = lambda _: None) -> Iterator[io.TextIOWrapper]:
        """Open it as text in the encoding that its first bytes suggest. Lines end at "\\n" alone.

        Bytes that are invalid in that encoding become lone surrogates. `advance` is called with the bytes read.

        Raises:
            DataError: the file cannot be read, or the archive is damaged.
        """
        with _damage_named(self.label), self.open_bytes() as raw:
            encoding = encoding_of(raw.read(HEAD))
            raw.seek(0)
            errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
            counted = io.BufferedReader(_Counted(raw, advance), BUFFER)
            yield io.TextIOWrapper(counted, encoding=encoding, errors=errors, newline="\n")


def files_of(path: Path) -> list[ExportFile]:
    """Return the file at a path, or those in the folder or zip archive there that could hold chats.

    Raises:
        DataError: there is nothing, or it is damaged, protected or a zip bomb.
    """
    if path.is_dir():
        inside = sorted(filter(Path.is_file, path.rglob("*")), key=str)
        return [_plain_file(file, file.relative_to(path)) for file in inside if file.suffix.lower() in SUFFIXES]
    if not path.exists():
        raise DataError(f"no such file: {visible(str(path))}{what_is_there(str(path))}")
    if not path.is_file():
        raise DataError(f"{visible(str(path))} is not a regular file; expected one that can be read twice")
    with _damage_named(visible(str(path))):
        with path.open("rb") as file:
            magic = file.read(4)
        if magic in (b"PK\x03\x04", b"PK\x05\x06"):  # the second is that of an empty archive
            return _in_archive(path)
        return [_plain_file(path, Path(path.name))]


def _plain_file(path: Path, inner: Path) -> ExportFile:
    return ExportFile(PurePosixPath(inner), visible(str(path)), path.stat().st_size, partial(path.open, "rb"))


def encoding_of(head: bytes) -> str:
    r"""Guess the encoding of a text by its first bytes: its byte order mark, else UTF-8, UTF-16 or Windows' Latin.

    >>> encoding_of("\ufeffhi".encode("utf-16-le")), encoding_of("hi, Zoë".encode("utf-16-be"))
    ('utf-16', 'utf-16-be')
    >>> encoding_of("Zoë".encode()), encoding_of("Zoë".encode("latin-1"))
    ('utf-8', 'cp1252')
    """
    for mark, name in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    pairs = len(head) // 2
    # Western text has a zero in every pair.
    for first, name in ((0, "utf-16-be"), (1, "utf-16-le")):
        if pairs and head[first::2].count(0) > 0.4 * pairs and head[1 - first :: 2].count(0) < 0.1 * pairs:
            return name
    # Windows' Latin is hardly ever valid UTF-8; a few broken bytes are damage.
    beyond = [character for character in head.decode("utf-8", "surrogateescape") if character > "\x7f"]
    broken = sum("\udc80" <= character <= "\udcff" for character in beyond)
    return "cp1252" if broken > len(beyond) / 2 else "utf-8"


def _in_archive(path: Path) -> list[ExportFile]:
    # It stays open as long as its files are held.
    archive = zipfile.ZipFile(path)
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise DataError(f"{path} holds {len(entries):,} files, far more than an export of chats; it is not opened")
    found = []
    for entry in sorted(entries, key=lambda entry: entry.filename):
        inner = PurePosixPath(entry.filename)
        if inner.suffix.lower() not in SUFFIXES or "__MACOSX" in inner.parts:
            continue
        label = visible(f"{path}:{entry.filename}")
        if entry.flag_bits & 1:
            raise DataError(f"{label} is protected by a password; unpack the archive and name the folder")
        if entry.file_size > max(BOMB_BYTES, BOMB_RATIO * entry.compress_size):
            raise DataError(
                f"{label} would unpack from {size_of(entry.compress_size)} to {size_of(entry.file_size)}; chats do not "
                "compress that well, so it is not opened; if it is a chat, unpack the archive and name the folder"
            )
        found.append(ExportFile(inner, label, entry.file_size, partial(archive.open, entry)))
    return found


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
    """A file whose bytes are counted as they are read."""

    def __init__(self, file: IO[bytes], advance: Advance) -> None:
        self._file, self._advance = file, advance

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        self._advance(len(piece))
        return len(piece)
