"""The two kinds of file that an archive may be, .tar.gz and .zip, read and written in the same way."""

import gzip
import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

from understudy.errors import ArchiveError

SUFFIXES = (".tar.gz", ".tgz", ".zip")
LEVEL = 1  # weights hardly shrink at any level, and the higher ones take three times as long
PIECE = 1 << 20
LARGEST_READ = 16 << 20
SLACK = 64 << 10  # what headers and padding may take, for each file and at all


class Readable(Protocol):
    """Whatever can be read."""

    def read(self, size: int = ..., /) -> bytes:
        """The next bytes."""


class Writer(Protocol):
    """Adds files to an archive."""

    def add(self, name: str, size: int, file: Readable) -> None:
        """Copies `size` bytes of the file."""


class Member(Protocol):
    """A file in an archive. Its name is anything."""

    name: str
    size: int

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """Its bytes; of a .tar.gz only until the next member is asked for."""


class Reader(Protocol):
    """The members of an archive, in order."""

    def __iter__(self) -> Iterator[Member]: ...

    def allow(self, count: int, size: int) -> None:
        """Sets how many files, of how many bytes in all, are yet to be read: whoever hides more is found out."""


@contextmanager
def writing(path: Path, zipped: bool) -> Iterator[Writer]:
    """Writes an archive at `path`: a .zip, or else a .tar.gz."""
    if zipped:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            yield _ZipWriter(archive)
    else:
        with tarfile.open(path, "w:gz", compresslevel=LEVEL, format=tarfile.PAX_FORMAT) as archive:
            yield _TarWriter(archive)


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Reads the archive at `path`, whose content says which kind it is."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield _ZipReader(archive)
    else:
        with gzip.open(path) as unpacked:
            bounded = _Bounded(unpacked)
            with tarfile.open(fileobj=bounded, mode="r:") as archive:
                yield _TarReader(archive, bounded)


class _TarWriter:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def add(self, name: str, size: int, file: Readable) -> None:
        # A header of our own: a file of the code is a hard link, which tarfile would write as a link to the first.
        header = tarfile.TarInfo(name)
        header.size, header.mode = size, 0o644
        self._archive.addfile(header, file)


class _ZipWriter:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, size: int, file: Readable) -> None:
        with self._archive.open(name, "w", force_zip64=True) as target:
            shutil.copyfileobj(file, target, PIECE)


class _Bounded(io.RawIOBase):
    """Unpacks no more than was allowed, and no header of many megabytes, which tarfile would take into memory."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self.left = LARGEST_READ * 8

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_READ or size > self.left + SLACK:
            raise ArchiveError("the archive holds more than its list says, or a header of absurd size: not unpacked")
        data = self._file.read(size)
        self.left -= len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _TarMember:
    def __init__(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        self.name, self.size = info.name, info.size
        self._archive, self._info = archive, info

    def open(self) -> IO[bytes]:
        file = self._archive.extractfile(self._info)
        assert file  # only links and folders have none
        return file


class _TarReader:
    def __init__(self, archive: tarfile.TarFile, bounded: _Bounded) -> None:
        self._archive, self._bounded = archive, bounded

    def __iter__(self) -> Iterator[Member]:
        for info in self._archive:
            if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.sparse is not None:
                raise ArchiveError(f"the archive holds {info.name!r}, {_tar_kind(info)}: only plain files are taken")
            yield _TarMember(self._archive, info)

    def allow(self, count: int, size: int) -> None:
        self._bounded.left = size + SLACK * (count + 1)


def _tar_kind(info: tarfile.TarInfo) -> str:
    kinds = {tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link", tarfile.DIRTYPE: "a folder"}
    return kinds.get(info.type, "a device or something else that is no plain file")


class _ZipMember:
    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self.name, self.size = info.filename, info.file_size
        self._archive, self._info = archive, info

    def open(self) -> IO[bytes]:
        return self._archive.open(self._info)


class _ZipReader:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def __iter__(self) -> Iterator[Member]:
        for info in self._archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG) or info.is_dir():
                what = "a symbolic link" if kind == stat.S_IFLNK else "no plain file"
                raise ArchiveError(f"the archive holds {info.filename!r}, {what}: only plain files are taken")
            yield _ZipMember(self._archive, info)

    def allow(self, count: int, size: int) -> None:
        """Nothing: of each member no more is unpacked than it is said to hold."""
