"""Writing runs into one file."""

import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from understudy.errors import ArchiveError
from understudy.files import fingerprint, is_temporary
from understudy.runs.archive_contents import LIST_NAME, Contents, File, PackedRun, is_safe_id
from understudy.runs.archive_formats import SUFFIXES, Writer, writing
from understudy.runs.record import Record

NOT_CONTENT = ("heartbeat",)


@dataclass(frozen=True)
class Packed:
    """What was written, and what could not be: links and other things that are no plain files, by name."""

    contents: Contents
    left_out: tuple[str, ...]


def pack(records: Sequence[Record], target: Path, checkpoints: bool = True) -> Packed:
    """Writes the runs, whole folders, into the new file `target` (.tar.gz or .zip), which appears whole or not at all.

    Raises:
        ArchiveError: the name fits no kind of archive or is taken, or a run is still running.
    """
    if not target.name.endswith(SUFFIXES):
        raise ArchiveError(f"{target.name!r} is no name for an archive; expected one that ends in .tar.gz or .zip")
    if target.exists():
        raise ArchiveError(f"{target} is there already; name another file with --to")
    for record in records:
        _refuse_to_pack(record)
    lists = {record.id: _list(record.folder, checkpoints) for record in records}
    contents = Contents(tuple(_described(record, lists[record.id][0]) for record in records))
    building = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with writing(building, zipped=target.name.endswith(".zip")) as archive:
            _write(archive, contents, {record.id: record.folder for record in records})
        os.replace(building, target)
    except OSError as error:
        raise ArchiveError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        building.unlink(missing_ok=True)
    return Packed(contents, tuple(f"{run_id}/{path}" for run_id, (_, left_out) in lists.items() for path in left_out))


def settled(run_json: bytes) -> bytes:
    """run.json as it goes to another machine, where none of its processes runs: "running" becomes "dead"."""
    try:
        data = json.loads(run_json)
    except ValueError:
        return run_json
    if not isinstance(data, dict) or data.get("status") != "running":
        return run_json
    return json.dumps(data | {"status": "dead"}, indent=2).encode() + b"\n"


def _refuse_to_pack(record: Record) -> None:
    if record.status == "running":
        raise ArchiveError(f"run {record.id} is still running and its files are changing: export it when it has ended")
    if not is_safe_id(record.id):
        raise ArchiveError(f"the folder {record.id!r} has a name that other machines may not take: rename it first")


def _list(folder: Path, checkpoints: bool) -> tuple[list[str], list[str]]:
    """The paths of the files to pack, and of what is left out."""
    files: list[str] = []
    left_out: list[str] = []
    for path in _walk(folder, "", checkpoints):
        plain = os.path.isfile(folder / path) and not os.path.islink(folder / path)
        (files if plain else left_out).append(path)
    return files, left_out


def _walk(folder: Path, below: str, checkpoints: bool) -> Iterator[str]:
    for entry in sorted(os.scandir(folder / below), key=lambda entry: entry.name):
        path = f"{below}{entry.name}"
        if is_temporary(entry.name) or path in NOT_CONTENT or (path == "checkpoints" and not checkpoints):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder, f"{path}/", checkpoints)
        else:
            yield path


def _described(record: Record, paths: list[str]) -> PackedRun:
    files = []
    for path in paths:
        if path == "run.json":
            found = settled((record.folder / path).read_bytes())
            files.append(File(path, len(found), hashlib.sha256(found).hexdigest()))
        else:
            entry = fingerprint(record.folder / path)
            files.append(File(path, entry["bytes"], entry["sha256"]))
    return PackedRun(record.id, record.verb, record.parents, tuple(files))


def _write(archive: Writer, contents: Contents, folders: dict[str, Path]) -> None:
    written = contents.written()
    archive.add(LIST_NAME, len(written), io.BytesIO(written))
    for run in contents.runs:
        for file in run.files:
            with _opened(folders[run.id] / file.path) as source:
                hashed = _Hashed(source)
                try:
                    archive.add(f"{run.id}/{file.path}", file.bytes, hashed)
                except UnicodeEncodeError as error:
                    raise ArchiveError(f"{file.path!r} is no name for a .zip; write a .tar.gz instead") from error
            if hashed.digest.hexdigest() != file.sha256:
                raise ArchiveError(f"{file.path} of {run.id} changed while it was exported; export it again")


def _opened(path: Path) -> IO[bytes]:
    return io.BytesIO(settled(path.read_bytes())) if path.name == "run.json" else open(path, "rb")


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data
