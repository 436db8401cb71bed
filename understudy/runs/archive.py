"""Taking the runs of an archive in. Whoever wrote it is not trusted: nothing of it lands outside a run's new folder."""

import gzip
import hashlib
import os
import secrets
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.console import size_of
from understudy.errors import ArchiveError
from understudy.files import fingerprint, write_atomically
from understudy.runs.archive_contents import LARGEST_LIST, LIST_NAME, Contents, File, PackedRun, read_contents
from understudy.runs.archive_formats import PIECE, Member, Reader, reading
from understudy.runs.archive_pack import settled
from understudy.runs.record import read_record

BROKEN = (gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile, zlib.error)
DAMAGED = (*BROKEN, EOFError, RuntimeError, ValueError, OverflowError)
ROOM_TO_LEAVE = 64 << 20


@dataclass(frozen=True)
class Unpacked:
    """The runs that were taken in, those that were there already, and the parents of both that are not."""

    new: tuple[str, ...]
    there: tuple[str, ...]
    missing_parents: tuple[str, ...]


def unpack(path: Path, runs: Path) -> Unpacked:
    """Takes the runs of the archive at `path` into the folder `runs`: all of them, each whole, or none.

    Raises:
        ArchiveError: it is damaged, holds anything but the plain files on its list, needs more room than there is, or
            holds a run that is there with other content.
    """
    try:
        with reading(path) as archive:
            return _unpack(archive, runs)
    except FileNotFoundError as error:
        raise ArchiveError(f"no archive at {error.filename or path}") from error
    except DAMAGED as error:
        raise ArchiveError(f"{path} is damaged, or no archive of runs: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ArchiveError(f"cannot import {path}: {error.strerror or error}") from error


def _unpack(archive: Reader, runs: Path) -> Unpacked:
    members = iter(archive)
    contents = _contents(next(members, None))
    there = {run.id for run in contents.runs if _is_there(run, runs)}
    wanted = [run for run in contents.runs if run.id not in there]
    archive.allow(sum(len(run.files) for run in contents.runs), sum(run.bytes for run in contents.runs))
    building = runs / f".import-{secrets.token_hex(6)}.tmp"
    try:
        _check_room(sum(run.bytes for run in wanted), runs)
        building.mkdir()
        if wanted:
            _extract(members, contents, there, building)
            for run in wanted:
                _settle(building / run.id)
        for run in wanted:
            os.rename(building / run.id, runs / run.id)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    parents = {parent for run in contents.runs for parent in run.parents}
    missing = sorted(parent for parent in parents if not (runs / parent).exists())
    return Unpacked(tuple(run.id for run in wanted), tuple(sorted(there)), tuple(missing))


def _contents(first: Member | None) -> Contents:
    if first is None or first.name != LIST_NAME:
        raise ArchiveError(f"no archive of runs: {LIST_NAME} is not at its beginning")
    if first.size > LARGEST_LIST:
        raise ArchiveError(f"the archive's list of files takes {first.size:,} bytes; expected {LARGEST_LIST:,} at most")
    with first.open() as file:
        return read_contents(file.read(first.size))


def _is_there(run: PackedRun, runs: Path) -> bool:
    """Whether the run is there with the same content; ArchiveError where it has other content."""
    folder = runs / run.id
    if not os.path.lexists(folder):
        return False
    for file in run.files:
        if not _is_same(folder / file.path, file):
            raise ArchiveError(f"run {run.id} is there already, with another {file.path}: nothing was imported")
    return True


def _is_same(path: Path, file: File) -> bool:
    try:
        if file.path == "run.json":
            return hashlib.sha256(settled(path.read_bytes())).hexdigest() == file.sha256
        return path.stat().st_size == file.bytes and fingerprint(path)["sha256"] == file.sha256
    except OSError:
        return False


def _check_room(size: int, runs: Path) -> None:
    free = shutil.disk_usage(runs).free
    if size + ROOM_TO_LEAVE > free:
        raise ArchiveError(f"the archive unpacks to {size_of(size)}, and {runs} has {size_of(free)} of free space")


def _extract(members: Iterator[Member], contents: Contents, there: set[str], building: Path) -> None:
    """Writes the files of the runs that are not `there`, checked against the list; all of them must come."""
    expected = {f"{run.id}/{file.path}": (run.id, file) for run in contents.runs for file in run.files}
    for member in members:
        run_id, file = expected.pop(member.name, (None, None))
        if run_id is None or file is None:
            raise ArchiveError(f"the archive holds {member.name!r}, which is not on its list, or is there twice")
        if member.size != file.bytes:
            raise ArchiveError(f"{member.name!r} has {member.size:,} bytes; the archive's list says {file.bytes:,}")
        if run_id not in there:
            _copy(member, file, building / run_id / file.path)
    if expected:
        raise ArchiveError(f"the archive lacks {next(iter(expected))!r}, which is on its list")


def _copy(member: Member, file: File, target: Path) -> None:
    digest, left = hashlib.sha256(), file.bytes
    target.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, open(target, "xb") as copy:
        while left and (piece := source.read(min(PIECE, left))):
            digest.update(piece)
            copy.write(piece)
            left -= len(piece)
        copy.flush()
        os.fsync(copy.fileno())
    if left or digest.hexdigest() != file.sha256:
        raise ArchiveError(f"{member.name!r} is not what was exported: its sha256 differs; nothing was imported")


def _settle(folder: Path) -> None:
    """Makes sure that the run's record is its own, and says that it does not run."""
    record = read_record(folder)
    if record.status == "broken" or record.data.get("id", folder.name) != folder.name:
        raise ArchiveError(f"the archive's {folder.name} holds a run.json that is damaged, or another run's")
    whole = (folder / "run.json").read_bytes()
    if settled(whole) != whole:
        write_atomically(folder / "run.json", settled(whole))
