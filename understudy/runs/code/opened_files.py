"""Which files a process really read: those that no snapshot holds go into the record too.

A Python audit hook (PEP 578) notes the path of every file that is opened for reading, imports included. From time to
time `Watch.sweep` looks at the new ones. Files that the snapshot holds, libraries and devices are passed over. What is
left was ignored by git, lies outside the repository, or was changed between the snapshot and the moment it was read:
it is copied when small, and hashed when large.
"""

import contextlib
import os
import site
import stat
import sys
import sysconfig
import time
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from understudy.files import fingerprint, write_atomically
from understudy.runs.code import secrets
from understudy.runs.code.kept import READ_FILES, blob_id
from understudy.runs.code.pool import Pool
from understudy.runs.journal import Journal

LARGEST_COPY = 1_000_000
LARGEST_TOTAL = 50_000_000
MOST_FILES = 2_000  # a folder of pictures is data; run.json names data by its fingerprints
COPIES = "read"
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/bin", "/opt", "/run", "/var/lib")

METADATA = (".egg-info/", ".dist-info/")  # of installed packages, whose versions are recorded

_opened: dict[str, float] = {}
"""Absolute path of each file that this process opened for reading, and when first (seconds since 1970)."""
_watching = False


def begin() -> None:
    """From now on notes what this process reads, and what it has imported already.

    The hook stays for good: Python cannot take one away.
    """
    global _watching
    if not _watching:
        _watching = True
        sys.addaudithook(_note)
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str):
                _opened.setdefault(os.path.abspath(file), time.time())


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    """Called by Python at every event, so it does as little as it can, and never raises."""
    if event != "open":
        return
    path, mode, flags = arguments
    if not isinstance(path, str | bytes) or (isinstance(mode, str) and not mode.startswith("r")):
        return
    if mode is None and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY):
        return
    try:
        name = os.fsdecode(path)
        if not name.startswith("/"):
            name = os.path.join(os.getcwd(), name)
        _opened.setdefault(name, time.time())
    except (OSError, ValueError):
        pass


class Watch:
    """Puts what the process read beside its snapshot into `code_folder`: the files in read/, and a line for each in
    read.jsonl: {"path", "bytes", "id" (as git names the content; the sha256 where it was only hashed), "kept", "why"}.

    Paths inside the repository (or working folder) at `top` are relative to it, others absolute. `held`: what the
    snapshot holds, absolute path to content id.
    """

    def __init__(self, code_folder: Path, top: Path, held: Mapping[str, str], runs: Path, pool: Path) -> None:
        self._folder, self._top, self._held, self._pool = code_folder, top.resolve(), held, pool
        self._passed_over = _passed_over(runs)
        self._snapshot_time = time.time()
        self._looked_at: set[str] = set()
        self._noted = self._copied = 0

    def sweep(self, known: Set[str] = frozenset()) -> int:
        """Looks at the files that were opened since the last time; how many were noted in all.

        `known`: absolute paths that are recorded as data.
        """
        for path, when in list(_opened.items()):
            if path in self._looked_at or self._noted >= MOST_FILES:
                continue
            self._looked_at.add(path)
            source = _source_of(path)
            real = os.path.realpath(source) if source else path
            if source and (real == path or real not in self._looked_at) and not {path, real} & known:
                self._looked_at.add(real)
                with contextlib.suppress(OSError):  # gone again, or no longer readable: a temporary file
                    self._look_at(real, when)
        return self._noted

    def _look_at(self, path: str, when: float) -> None:
        if path.startswith(self._passed_over) or any(part in path for part in METADATA):
            return
        info = os.stat(path)
        held = self._held.get(path)
        changed_between = self._snapshot_time <= info.st_mtime <= when
        if stat.S_ISREG(info.st_mode) and (changed_between or not held):
            self._keep(path, info.st_size, held, edited_since=info.st_mtime > when)

    def _keep(self, path: str, size: int, held: str | None, edited_since: bool) -> None:
        name = os.path.relpath(path, self._top) if path.startswith(f"{self._top}/") else path
        entry: dict[str, Any] = {"path": name, "bytes": size, "why": _why(name, held, edited_since)}
        if size > LARGEST_COPY or self._copied + size > LARGEST_TOTAL:
            entry["id"] = fingerprint(path)["sha256"]
        else:
            content = Path(path).read_bytes()
            if held == blob_id(content, held):
                return
            # Not even the hash of a file of secrets: a short password can be guessed from it.
            identity = "not recorded" if secrets.is_secret_file(name) else blob_id(content, held)
            entry |= {"id": identity, **self._copy(name, content)}
        self._noted += 1
        with contextlib.closing(Journal(self._folder / READ_FILES)) as journal:
            journal.append(entry)

    def _copy(self, name: str, content: bytes) -> dict[str, Any]:
        if secrets.is_secret_file(name):
            return {"left_out": "its name says that it holds secrets"}
        found = secrets.find(content)
        blotted = secrets.blotted(content, found)
        identity = blob_id(blotted)
        kept = os.path.join(COPIES, identity)
        (self._folder / COPIES).mkdir(exist_ok=True)
        Pool(self._pool).put(f"{identity}.read", self._folder / kept, lambda path: write_atomically(path, blotted))
        self._copied += len(content)
        return {"kept": kept} | ({"left_out": "secrets, blotted out"} if found else {})


def _why(name: str, held: str | None, edited_since: bool) -> str:
    if held:
        return "changed between the snapshot and the moment it was read"
    where = "outside the repository" if name.startswith("/") else "not in the snapshot"
    return f"{where}; edited since it was read" if edited_since else where


def _source_of(path: str) -> str | None:
    """The file itself; of compiled Python (x/__pycache__/name.cpython-311.pyc) the source x/name.py."""
    if not path.endswith(".pyc"):
        return path
    folder, name = os.path.split(path)
    if os.path.basename(folder) != "__pycache__":
        return None
    return os.path.join(os.path.dirname(folder), name.partition(".")[0] + ".py")


def _passed_over(runs: Path) -> tuple[str, ...]:
    """Beginnings of paths that are no code of the run's: libraries, whose versions are recorded, devices, the runs."""
    libraries = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *site.getsitepackages()}
    folders = {*SYSTEM, *libraries, site.getusersitepackages(), str(runs)}
    return tuple(f"{os.path.realpath(folder)}/" for folder in folders if folder != "/")
