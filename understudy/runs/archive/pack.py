"""Writing runs into one archive, and `understudy runs export`."""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console

from understudy.console import and_more, counted, say, size_of, unicode
from understudy.errors import ArchiveError, GitError
from understudy.files import fingerprint, is_temporary, plain, whole
from understudy.runs.arguments import RunsReferences, find_runs
from understudy.runs.code.kept import committed_secrets
from understudy.runs.find import ancestors, list_runs
from understudy.runs.record import Record

LIST_NAME = "understudy-runs.json"
FORMAT = 1
SUFFIXES = (".tar.gz", ".tgz")
LEVEL = 1  # weights hardly shrink at any level, and the higher ones take three times as long
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
RESERVED = ("cache", "index.sqlite")


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
    """Write runs, whole folders, into the new archive `target`, which appears whole or not at all.

    Args:
        records: the runs.
        target: a name that ends in .tar.gz.
        leave_out: the files and folders of a run to leave out, such as "checkpoints".
        allow_secrets: do not search the committed files in the code for secrets.

    Returns:
        What the archive lists, and the names of links and other special files, which it cannot hold.

    Raises:
        ArchiveError: the target has another suffix or exists, a run is still running, or its code holds secrets.
    """
    if not target.name.endswith(SUFFIXES):
        raise ArchiveError(f"{target.name!r} cannot name an archive; expected a name that ends in .tar.gz")
    if target.exists():
        raise ArchiveError(f"{target} is there already; name another file with --to")
    for record in records:
        if record.status == "running":
            raise ArchiveError(f"run {record.id} is still running and its files are changing: wait until it has ended")
        if not is_safe_id(record.id):
            raise ArchiveError(f"the folder {record.id!r} has a name that other machines may not take: rename it first")
    if not allow_secrets and "code" not in leave_out:
        _refuse_secrets(records)

    special: list[str] = []
    runs = tuple(_listed(record, leave_out, special) for record in records)
    list_ = json.dumps(plain({"format": FORMAT, "runs": runs}), indent=1).encode() + b"\n"
    folders = {record.id: record.folder for record in records}
    try:
        with whole(target) as made, tarfile.open(made, "w:gz", compresslevel=LEVEL, format=tarfile.PAX_FORMAT) as tar:
            _add(tar, LIST_NAME, len(list_), io.BytesIO(list_))
            for run in runs:
                for file in run.files:
                    path = folders[run.id] / file.path
                    with (
                        io.BytesIO(settled(path.read_bytes()))
                        if file.path == "run.json"
                        else open(path, "rb") as source
                    ):
                        sha256 = _add(tar, f"{run.id}/{file.path}", file.bytes, source)
                    if sha256 != file.sha256:
                        raise ArchiveError(f"{file.path} of {run.id} changed while it was exported; export it again")
    except OSError as error:
        raise ArchiveError(f"cannot write {target}: {error.strerror or error}") from error
    return runs, tuple(special)


def _add(archive: tarfile.TarFile, name: str, size: int, source: IO[bytes]) -> str:
    """Add a file to an archive, and return its sha256."""
    # A header of our own: a file of the code is a hard link, which tarfile would write as a link to the first.
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    hashed = Hashed(source)
    archive.addfile(header, hashed)
    return hashed.sha256


def _refuse_secrets(records: Sequence[Record]) -> None:
    """Raise ArchiveError where committed files hold secrets. Edits and untracked files were searched at the start."""
    ways_out = "leave the code out with --no-code, or take it as it is with --allow-secrets"
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

    def walk(below: str) -> None:
        for entry in sorted(os.scandir(record.folder / below), key=lambda entry: entry.name):
            path = f"{below}{entry.name}"
            if is_temporary(entry.name) or path == "heartbeat" or path in leave_out:
                continue
            if entry.is_dir(follow_symlinks=False):
                walk(f"{path}/")
            elif not entry.is_file(follow_symlinks=False):
                special.append(f"{record.id}/{path}")
            else:
                files.append(described(record.folder, path))

    walk("")
    return ArchivedRun(record.id, record.verb, record.parents, tuple(files))


class Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._file.read(size)
        self._digest.update(data)
        return data

    @property
    def sha256(self) -> str:
        """The hash of what was read so far."""
        return self._digest.hexdigest()


def described(folder: Path, path: str) -> ArchivedFile:
    """Return the size and hash of a run's file as it is exported."""
    if path == "run.json":
        content = settled((folder / path).read_bytes())
        return ArchivedFile(path, len(content), hashlib.sha256(content).hexdigest())
    found = fingerprint(folder / path)
    return ArchivedFile(path, found["bytes"], found["sha256"])


def settled(run_json: bytes) -> bytes:
    """Return run.json as it goes to another machine, where its process does not run: "running" becomes "dead"."""
    try:
        data = json.loads(run_json)
    except ValueError:
        return run_json
    if not isinstance(data, dict) or data.get("status") != "running":
        return run_json
    return json.dumps(data | {"status": "dead"}, indent=2).encode() + b"\n"


def is_safe_id(run_id: str) -> bool:
    """Whether a folder of that name may hold a run on any machine.

    >>> is_safe_id("20261123-1412-brave-otter"), is_safe_id(".."), is_safe_id("a/b"), is_safe_id("cache")
    (True, False, False, False)
    """
    return bool(SAFE_ID.fullmatch(run_id)) and run_id not in RESERVED


@dataclass
class ExportOptions:
    """Write runs, whole folders with their checkpoints, into one archive that `understudy runs import` takes in.

    Committed files that look like secrets are refused: what you commit, a run keeps.
    """

    runs: RunsReferences
    to: str = ""
    """The archive: a name that ends in .tar.gz. By default it is in this folder, named after the run."""
    parents: bool = False
    """Take along the runs that these build on."""
    no_checkpoints: bool = False
    """Leave the checkpoints out: the record without the weights."""
    no_code: bool = False
    """Leave the code out: the run can be looked at, and not be run again."""
    allow_secrets: bool = False
    """Take the code as it is, without a search for secrets in its committed files."""


def export_runs(options: ExportOptions, console: Console) -> None:
    """Pack the runs, and print what the archive holds and lacks."""
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
    for line in lines:
        say(console, unicode(line))
