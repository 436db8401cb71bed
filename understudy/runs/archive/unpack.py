"""Taking in the runs of an archive, and `understudy runs import`. Whoever wrote the archive is not trusted."""

import gzip
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import IO, Annotated

import tyro
from rich.console import Console
from typing_extensions import override

from understudy.config import from_dict
from understudy.console import say, size_of, unicode
from understudy.errors import ArchiveError, ConfigError
from understudy.files import write_atomically
from understudy.runs.archive.pack import (
    FORMAT,
    LIST_NAME,
    ArchivedRun,
    Hashed,
    described,
    is_safe_id,
    settled,
)
from understudy.runs.find import make_runs_folder
from understudy.runs.record import read_record

PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
SPECIAL = {tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link", tarfile.DIRTYPE: "a folder"}
DAMAGED = (gzip.BadGzipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, ValueError, OverflowError)
PIECE = 1 << 20
LARGEST_LIST = 64 << 20
LARGEST_READ = 16 << 20
SLACK = 64 << 10  # what headers and padding may take, per file and at all
ROOM_TO_LEAVE = 64 << 20


@dataclass(frozen=True)
class Imported:
    """The runs that were taken in, those that were there already, and the parents of both that are not."""

    new: tuple[str, ...]
    there: tuple[str, ...]
    missing_parents: tuple[str, ...]


def unpack(path: Path, runs: Path) -> Imported:
    """Take the runs of the archive at `path` into the folder `runs`: all of them, each whole, or none.

    Raises:
        ArchiveError: it is damaged, holds anything but the plain files on its list, needs more room than there is, or
            holds a run that is there with other content.
    """
    try:
        with open(path, "rb") as file:
            if file.read(4) == b"PK\3\4":
                way_out = f"export the runs again, or unpack it yourself, unchecked, with: unzip {path} -d {runs}"
                raise ArchiveError(f"{path} is a .zip archive; expected a .tar.gz: {way_out}")
        with _Bounded(path) as bounded, tarfile.open(fileobj=bounded, mode="r:") as archive:
            return _unpack(archive, bounded, runs)
    except FileNotFoundError as error:
        raise ArchiveError(f"no archive at {error.filename or path}") from error
    except DAMAGED as error:
        raise ArchiveError(f"{path} is damaged, or not an archive of runs: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ArchiveError(f"cannot import {path}: {error.strerror or error}") from error


class _Bounded(gzip.GzipFile):
    """Unpacks no more than was allowed, and no header of many megabytes, which tarfile would take into memory."""

    left = LARGEST_READ * 8

    @override
    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LARGEST_READ or size > self.left + SLACK:
            raise ArchiveError("the archive holds more than its list says, or a header of absurd size: not unpacked")
        data = super().read(size)
        self.left -= len(data)
        return data


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield name, size and content of each file. A content must be read before the next is asked for."""
    for info in archive:
        content = archive.extractfile(info) if info.type in PLAIN and info.sparse is None else None
        if content is None:
            kind = SPECIAL.get(info.type, "a device or another special file")
            raise ArchiveError(f"the archive holds {info.name!r}, {kind}: only plain files are taken")
        yield info.name, info.size, content


def _unpack(archive: tarfile.TarFile, bounded: _Bounded, runs: Path) -> Imported:
    members = _members(archive)
    listed = _read_list(next(members, ("", 0, io.BytesIO())))
    there = {run.id for run in listed if _is_there(run, runs)}
    wanted = [run for run in listed if run.id not in there]
    size, free = sum(file.bytes for run in wanted for file in run.files), shutil.disk_usage(runs).free
    if size + ROOM_TO_LEAVE > free:
        raise ArchiveError(f"the archive unpacks to {size_of(size)}, and {runs} has {size_of(free)} of free space")

    # From here on an archive that hides more than is on its list is found out.
    bounded.left = SLACK + sum(file.bytes + SLACK for run in listed for file in run.files)
    building = runs / f".import-{token_hex(6)}.tmp"
    try:
        building.mkdir()
        if wanted:
            _extract(members, listed, there, building)
        for run in wanted:
            # The run's record must be its own, and must not say that it runs.
            data = read_record(building / run.id).data
            if not data or data.get("id", run.id) != run.id:
                raise ArchiveError(f"the archive's {run.id} holds a run.json that is damaged, or another run's")
            content = (building / run.id / "run.json").read_bytes()
            if settled(content) != content:
                write_atomically(building / run.id / "run.json", settled(content))
        for run in wanted:
            os.rename(building / run.id, runs / run.id)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    parents = {parent for run in listed for parent in run.parents}
    missing = sorted(parent for parent in parents if not (runs / parent).exists())
    return Imported(tuple(run.id for run in wanted), tuple(sorted(there)), tuple(missing))


def _read_list(first: tuple[str, int, IO[bytes]]) -> tuple[ArchivedRun, ...]:
    """Read the list of an archive, its first file, and refuse names that are not safe."""
    name, size, content = first
    if name != LIST_NAME:
        raise ArchiveError(f"not an archive of runs: {LIST_NAME} is not at its beginning")
    if size > LARGEST_LIST:
        raise ArchiveError(f"the archive's list of files takes {size:,} bytes; expected {LARGEST_LIST:,} at most")
    try:
        values = json.loads(content.read(size))
        if values["format"] != FORMAT:
            raise ArchiveError(f"the archive is of format {values['format']!r}; expected {FORMAT}: update understudy")
        runs = tuple(from_dict(ArchivedRun, run) for run in values["runs"])
    except (ConfigError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArchiveError(f"{LIST_NAME} is not what `understudy runs export` writes: {error}") from error
    names: set[str] = set()
    for run in runs:
        if not is_safe_id(run.id):
            raise ArchiveError(f"the archive holds a run called {run.id!r}, which cannot name a run's folder")
        if "run.json" not in [file.path for file in run.files]:
            raise ArchiveError(f"the archive holds no run.json of {run.id}")
        for file in run.files:
            if any(part in ("", ".", "..") or "\0" in part for part in file.path.split("/")):
                raise ArchiveError(f"the archive holds {file.path!r}, which leads out of the run's folder")
            if file.bytes < 0:
                raise ArchiveError(f"the archive's list gives {file.path!r} a size of {file.bytes}")
            if (name := f"{run.id}/{file.path}") in names:
                raise ArchiveError(f"the archive lists {name!r} twice")
            names.add(name)
    return runs


def _is_there(run: ArchivedRun, runs: Path) -> bool:
    """Whether the run is there with the same content. Raises ArchiveError where it has other content."""
    if not os.path.lexists(runs / run.id):
        return False
    for file in run.files:
        try:
            same = described(runs / run.id, file.path) == file
        except OSError:
            same = False
        if not same:
            raise ArchiveError(f"run {run.id} is there already, with another {file.path}: nothing was imported")
    return True


def _extract(
    members: Iterator[tuple[str, int, IO[bytes]]], listed: Sequence[ArchivedRun], there: set[str], building: Path
) -> None:
    """Write the files of the runs that are not `there`, checked against the list; all of them must come."""
    expected = {f"{run.id}/{file.path}": (run.id, file) for run in listed for file in run.files}
    for name, size, content in members:
        run_id, file = expected.pop(name, (None, None))
        if run_id is None or file is None:
            raise ArchiveError(f"the archive holds {name!r}, which is not on its list, or is there twice")
        if size != file.bytes:
            raise ArchiveError(f"{name!r} has {size:,} bytes; the archive's list says {file.bytes:,}")
        if run_id in there:
            continue

        # Never tarfile's own extract: only these bytes, under this name, which was found safe.
        target, source = building / run_id / file.path, Hashed(content)
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb") as copy:
            shutil.copyfileobj(source, copy, PIECE)
            copy.flush()
            os.fsync(copy.fileno())
        if source.sha256 != file.sha256:
            raise ArchiveError(f"{name!r} is not what was exported: its sha256 differs; nothing was imported")
    if expected:
        raise ArchiveError(f"the archive lacks {next(iter(expected))!r}, which is on its list")


@dataclass
class ImportOptions:
    """Take in the runs of an archive that `understudy runs export` wrote: all of them, or none where one is in doubt.

    Every file is checked against the archive's list. A run that is there already stays as it is.
    """

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """The archive, a .tar.gz."""


def import_runs(options: ImportOptions, console: Console) -> None:
    """Unpack an archive, and print which runs are new."""
    found = unpack(Path(options.file).expanduser(), make_runs_folder(None))
    lines = [f"imported {run}" for run in found.new]
    lines += [f"{run} is there already, with the same content" for run in found.there]
    lines += [f"{parent}, which they build on, is not here" for parent in found.missing_parents]
    for line in lines:
        say(console, unicode(line))
