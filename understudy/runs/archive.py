"""Runs as one .tar.gz that another machine takes in: `pack` writes it; `unpack` reads it and trusts nothing in it.

understudy-runs.json                     the list of all files, with their sizes and hashes
20261123-1412-brave-otter/run.json       and every other file of the runs, in the order of the list
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Annotated

import tyro
from rich.console import Console

from understudy.config import from_dict
from understudy.console import and_more, counted, say, size_of, unicode
from understudy.errors import ArchiveError, ConfigError, GitError
from understudy.files import fingerprint, is_temporary, plain, whole, write_atomically
from understudy.runs.arguments import RunsReferences, find_runs
from understudy.runs.code.kept import committed_secrets
from understudy.runs.disk import walk
from understudy.runs.find import ancestors, list_runs, make_runs_folder
from understudy.runs.record import Record, read_record

LIST_NAME = "understudy-runs.json"
FORMAT = 1
LEVEL = 1  # weights hardly shrink at any level, and the higher ones take three times as long
# The names of folders that may hold a run on any machine.
SAFE_ID = re.compile(r"(?!(cache|index\.sqlite)$)[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
DAMAGED = (gzip.BadGzipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, ValueError, OverflowError)
LARGEST_READ = 16 << 20
SLACK = 64 << 10  # what headers and padding may take, per file and at all
ROOM_TO_LEAVE = 64 << 20


@dataclass(frozen=True)
class ArchivedFile:
    """A file of a run: its path below the run's folder, with slashes, its size and its sha256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ArchivedRun:
    """A run on the list of an archive."""

    id: str
    verb: str
    parents: tuple[str, ...]
    files: tuple[ArchivedFile, ...]


def pack(
    records: Sequence[Record], target: Path, leave_out: Collection[str] = (), allow_secrets: bool = False
) -> tuple[tuple[ArchivedRun, ...], tuple[str, ...]]:
    """Write runs, whole folders but what `leave_out` names, into the new archive `target`, whole or not at all.

    Returns what the archive lists, and the names of links and other special files, which it cannot hold.
    Raises ArchiveError where the target is not a new .tar.gz, a run is not over, or a committed file holds secrets.
    """
    if not target.name.endswith((".tar.gz", ".tgz")):
        raise ArchiveError(f"{target.name!r} cannot name an archive; expected a name that ends in .tar.gz")
    if target.exists():
        raise ArchiveError(f"{target} already exists; name another file with --to")
    for record in records:
        if record.status == "running":
            raise ArchiveError(f"run {record.id} is still running and its files are changing: wait until it has ended")
        if not SAFE_ID.fullmatch(record.id):
            raise ArchiveError(f"the folder {record.id!r} has a name that other machines may not take: rename it first")
    if not allow_secrets and "code" not in leave_out:
        _refuse_secrets(records)

    special: list[str] = []
    runs = tuple(_listed(record, leave_out, special) for record in records)
    list_ = json.dumps(plain({"format": FORMAT, "runs": runs}), indent=1).encode() + b"\n"
    try:
        with whole(target) as made, tarfile.open(made, "w:gz", compresslevel=LEVEL, format=tarfile.PAX_FORMAT) as tar:
            _add(tar, LIST_NAME, len(list_), io.BytesIO(list_))
            for record, run in zip(records, runs, strict=True):
                for file in run.files:
                    with _open(record.folder, file.path) as source:
                        _add(tar, f"{run.id}/{file.path}", file.bytes, source)
                    if _described(record.folder, file.path) != file:
                        raise ArchiveError(f"{file.path} of {run.id} changed while it was exported; export it again")
    except OSError as error:
        raise ArchiveError(f"cannot write {target}: {error.strerror or error}") from error
    return runs, tuple(special)


def _add(archive: tarfile.TarFile, name: str, size: int, source: IO[bytes]) -> None:
    # A header of our own: a file of the code is a hard link, which tarfile would write as a link to the first.
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    archive.addfile(header, source)


def _refuse_secrets(records: Sequence[Record]) -> None:
    """Raise ArchiveError where committed files hold secrets. Edits and untracked files were searched at the start."""
    ways_out = "leave the code out with --no-code, or include it anyway with --allow-secrets"
    found: list[str] = []
    seen: set[str] = set()
    for record in records:
        try:
            found += map(unicode, committed_secrets(record.folder, seen))
        except (GitError, OSError) as error:
            problem = f"the code of run {record.id} cannot be searched for secrets: {error}"
            raise ArchiveError(f"{problem}; {ways_out}") from error
    if found:
        raise ArchiveError(f"committed files hold what looks like secrets: {and_more(found, 5, '; ')}; {ways_out}")


def _listed(record: Record, leave_out: Collection[str], special: list[str]) -> ArchivedRun:
    """Return the run with the list of its files; what is not a plain file is added to `special`."""
    files: list[ArchivedFile] = []
    for path, status in sorted(walk(record.folder)):
        name = str(path.relative_to(record.folder))
        if name.partition("/")[0] in {"heartbeat", *leave_out} or any(map(is_temporary, name.split("/"))):
            continue
        if stat.S_ISREG(status.st_mode):
            files.append(_described(record.folder, name))
        elif not stat.S_ISDIR(status.st_mode):
            special.append(f"{record.id}/{name}")
    return ArchivedRun(record.id, record.verb, record.parents, tuple(files))


def _described(folder: Path, path: str) -> ArchivedFile:
    """Return the size and hash of a run's file as it is exported."""
    with _open(folder, path) as file:
        digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]  # a BytesIO will do
        return ArchivedFile(path, file.seek(0, os.SEEK_END), digest.hexdigest())


def _open(folder: Path, path: str) -> IO[bytes]:
    """Open a run's file as it is exported."""
    return io.BytesIO(settled((folder / path).read_bytes())) if path == "run.json" else open(folder / path, "rb")


def settled(run_json: bytes) -> bytes:
    """Return run.json as it goes to another machine, where its process does not run: "running" becomes "dead"."""
    with suppress(ValueError):
        data = json.loads(run_json)
        if isinstance(data, dict) and data.get("status") == "running":
            return json.dumps(data | {"status": "dead"}, indent=2).encode() + b"\n"
    return run_json


def unpack(path: Path, runs: Path) -> tuple[list[str], list[str], list[str]]:
    """Take the runs of the archive at `path` into the folder `runs`: all of them, each whole, or none.

    Returns the runs that were taken in, those that were there already, and the parents of both that are not there.
    Raises ArchiveError where it is damaged, holds anything but the plain files on its list, does not fit on the disk,
    or holds a run that is there with other content.
    """
    try:
        with open(path, "rb") as file:
            if file.read(4) == b"PK\3\4":
                way_out = f"export the runs again, or unpack it yourself, unchecked, with: unzip {path} -d {runs}"
                raise ArchiveError(f"{path} is a .zip archive; expected a .tar.gz: {way_out}")
        with _Bounded(path) as bounded, tarfile.open(fileobj=bounded, mode="r:") as archive:
            return _unpack(archive, bounded, runs)
    except DAMAGED as error:
        raise ArchiveError(f"{path} is damaged, or not an archive of runs: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ArchiveError(f"cannot import {path}: {error.strerror or error}") from error


class _Bounded(gzip.GzipFile):
    """Unpacks no more than was allowed, and no header of many megabytes, which tarfile would take into memory."""

    left = LARGEST_READ * 8

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LARGEST_READ or size > self.left + SLACK:
            raise ArchiveError("the archive holds more than its list says, or a header of absurd size: not unpacked")
        data = super().read(size)
        self.left -= len(data)
        return data


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield name, size and content of each file. A content must be read before the next is asked for."""
    for info in archive:
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.sparse is not None:
            kind = "a link" if info.issym() or info.islnk() else "a folder" if info.isdir() else "a device or the like"
            raise ArchiveError(f"the archive holds {info.name!r}, {kind}: only plain files are taken")
        content = archive.extractfile(info)
        assert content  # only links and folders have none
        yield info.name, info.size, content


def _unpack(archive: tarfile.TarFile, bounded: _Bounded, runs: Path) -> tuple[list[str], list[str], list[str]]:
    members = _members(archive)
    listed = _read_list(*next(members, ("", 0, io.BytesIO())))
    there = {run.id for run in listed if os.path.lexists(runs / run.id)}
    wanted = [run for run in listed if run.id not in there]
    for run in listed:
        # A run that is there must be the same.
        for file in run.files if run.id in there else ():
            same = False
            with suppress(OSError):
                same = _described(runs / run.id, file.path) == file
            if not same:
                raise ArchiveError(f"run {run.id} already exists, with another {file.path}: nothing was imported")
    size, free = sum(file.bytes for run in wanted for file in run.files), shutil.disk_usage(runs).free
    if size + ROOM_TO_LEAVE > free:
        raise ArchiveError(f"the archive unpacks to {size_of(size)}, and {runs} has {size_of(free)} of free space")

    # From here on an archive that hides more than is on its list is found out.
    bounded.left = SLACK + sum(file.bytes + SLACK for run in listed for file in run.files)
    with TemporaryDirectory(prefix=".import-", suffix=".tmp", dir=runs, ignore_cleanup_errors=True) as building:
        if wanted:
            _extract(members, listed, there, Path(building))
        for run in wanted:
            # The run's record must be its own, and must not say that it runs.
            folder = Path(building, run.id)
            data = read_record(folder).data
            if not data or data.get("id", run.id) != run.id:
                raise ArchiveError(f"the archive's {run.id} holds a run.json that is damaged, or another run's")
            write_atomically(folder / "run.json", settled((folder / "run.json").read_bytes()))
        for run in wanted:
            os.rename(Path(building, run.id), runs / run.id)
    parents = {parent for run in listed for parent in run.parents}
    missing = sorted(parent for parent in parents if not (runs / parent).exists())
    return [run.id for run in wanted], sorted(there), missing


def _read_list(name: str, size: int, content: IO[bytes]) -> tuple[ArchivedRun, ...]:
    """Read the list of an archive, its first file, and refuse names that are not safe."""
    if name != LIST_NAME:
        raise ArchiveError(f"not an archive of runs: {LIST_NAME} is not at its beginning")
    if size > LARGEST_READ:
        raise ArchiveError(f"the archive's list of files takes {size:,} bytes; expected {LARGEST_READ:,} at most")
    try:
        values = json.loads(content.read(size))
        if values["format"] != FORMAT:
            raise ArchiveError(f"the archive is of format {values['format']!r}; expected {FORMAT}: update understudy")
        runs = tuple(from_dict(ArchivedRun, run) for run in values["runs"])
    except (ConfigError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArchiveError(f"{LIST_NAME} is not what `understudy runs export` writes: {error}") from error
    names: set[str] = set()
    for run in runs:
        if not SAFE_ID.fullmatch(run.id):
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
        target = building / run_id / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb") as copy:
            shutil.copyfileobj(content, copy)
            copy.flush()
            os.fsync(copy.fileno())
        if fingerprint(target)["sha256"] != file.sha256:
            raise ArchiveError(f"{name!r} is not what was exported: its sha256 differs; nothing was imported")
    if expected:
        raise ArchiveError(f"the archive lacks {next(iter(expected))!r}, which is on its list")


@dataclass
class ExportOptions:
    """What goes into an archive."""

    runs: RunsReferences
    to: str = ""
    """The archive: a name that ends in .tar.gz. By default it is in this folder, named after the run."""
    parents: bool = False
    """Include the runs that these depend on."""
    no_checkpoints: bool = False
    """Leave the checkpoints out: the record without the weights."""
    no_code: bool = False
    """Leave the code out: the run can be viewed but not rerun."""
    allow_secrets: bool = False
    """Include the code as it is, without a search for secrets in its committed files."""


def export_runs(options: ExportOptions, console: Console) -> None:
    """Write runs, whole folders with their checkpoints, into one archive that `understudy runs import` takes in.

    Committed files that look like secrets are refused, because a run keeps everything that is committed.
    """
    records = find_runs(options.runs)
    if options.parents:
        known = {record.id: record for record in list_runs(records[0].folder.parent)}
        named = {record.id for record in records}
        records += [known[parent] for parent in ancestors(named, known) if parent not in named]
    more = f"-and-{len(records) - 1}-more" if len(records) > 1 else ""
    target = Path(options.to or f"{records[0].id}{more}.tar.gz").expanduser()
    leave_out = ["checkpoints"] * options.no_checkpoints + ["code"] * options.no_code
    runs, special = pack(records, target, leave_out, options.allow_secrets)

    size = sum(file.bytes for run in runs for file in run.files)
    lines = [f"{counted(len(records), 'run')} ({size_of(size)}) in {target} ({size_of(target.stat().st_size)})"]
    lines += [f"left out, as only plain files are taken: {path}" for path in special]
    packed = {record.id for record in records}
    lines += [
        f"{record.id} builds on {parent}, which is not in the archive: --parents takes it along"
        for record in records
        for parent in record.parents
        if parent not in packed
    ]
    say(console, unicode("\n".join(lines)))


@dataclass
class ImportOptions:
    """An archive to take in."""

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """The archive, a .tar.gz."""


def import_runs(options: ImportOptions, console: Console) -> None:
    """Take in the runs of an archive that `understudy runs export` wrote: all of them, or none where one is in doubt.

    Every file is checked against the archive's list. A run that already exists stays as it is.
    """
    new, there, missing = unpack(Path(options.file).expanduser(), make_runs_folder(None))
    lines = [f"imported {run}" for run in new]
    lines += [f"{run} already exists, with the same content" for run in there]
    lines += [f"{parent}, which they build on, is not here" for parent in missing]
    say(console, unicode("\n".join(lines)))
