"""The files that a process really reads: those that no snapshot holds go into the record too.

A Python audit hook (PEP 578) notes the path of every file that is opened for reading, imports included. From time to
time `OpenedFiles.sweep` looks at the new ones. Files that the snapshot holds, libraries and devices are passed over.
The others are ignored by git, lie outside the repository, or changed between the snapshot and the moment they were
read: small ones are copied, large ones hashed.
"""

import os
import site
import stat
import sys
import sysconfig
import time
from collections.abc import Mapping, Set
from contextlib import suppress
from functools import partial
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

from understudy.files import fingerprint, write_atomically
from understudy.runs.code import secrets
from understudy.runs.code.kept import READ_FILES, blob_id
from understudy.runs.code.snapshot import POOL, keep_in_pool
from understudy.runs.journal import append_line

LARGEST_COPY = 1_000_000
LARGEST_TOTAL = 50_000_000
MOST_FILES = 2_000  # a folder of pictures is data; run.json names data by its fingerprints
COPIES = "read"
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/bin", "/opt", "/run", "/var/lib")
METADATA = (".egg-info/", ".dist-info/")  # of installed packages, whose versions are recorded

_opened: dict[str, float] = {}
"""Absolute path of each file that this process opened for reading, and when first (seconds since 1970)."""
_noting = False


def begin() -> None:
    """Note from now on what this process reads, and note what it has imported already. Later calls do nothing.

    The hook stays for good: Python cannot take one away.
    """
    global _noting
    if _noting:
        return
    _noting = True
    sys.addaudithook(_note)
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            _opened.setdefault(os.path.abspath(file), time.time())


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    """Note one file. Python calls this at every event, so it does as little as it can, and never raises."""
    if event != "open":
        return
    # `open` gives a mode, `os.open` flags.
    path, mode, flags = arguments
    if not isinstance(path, str | bytes) or (isinstance(mode, str) and not mode.startswith("r")):
        return
    if mode is None and isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY):
        return
    with suppress(OSError, ValueError):
        name = os.fsdecode(path)
        if not name.startswith("/"):
            name = os.path.join(os.getcwd(), name)
        _opened.setdefault(name, time.time())


class OpenedFiles:
    """Puts what the process read beside its snapshot into `code_folder`: the files in read/, and a line for each in
    read.jsonl: {"path", "bytes", "id" (as git names the content; the sha256 where it was only hashed), "kept", "why"}.

    Paths inside the repository (or working folder) at `top` are relative to it, others absolute. `held`: what the
    snapshot holds, absolute path to content id. `runs`: the folder of all runs.
    """

    def __init__(self, code_folder: Path, top: Path, held: Mapping[str, str], runs: Path) -> None:
        self._folder, self._top, self._held, self._pool = code_folder, top.resolve(), held, runs / POOL
        self._snapshot_time = time.time()
        self._looked_at: set[str] = set()
        self._noted = self._copied = 0
        # Not code of the run's: libraries, whose versions are recorded, devices, and the runs themselves.
        libraries = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *site.getsitepackages()}
        folders = {*SYSTEM, *libraries, site.getusersitepackages(), str(runs)}
        self._passed_over = tuple(f"{os.path.realpath(folder)}/" for folder in folders if folder != "/")

    def sweep(self, known: Set[str] = frozenset()) -> None:
        """Look at the files that were opened since the last time, but the `known` absolute paths, recorded as data."""
        for path, when in _opened.copy().items():  # in one step, as another thread may open a file meanwhile
            if path in self._looked_at or self._noted >= MOST_FILES:
                continue
            self._looked_at.add(path)
            try:
                real = os.path.realpath(source_from_cache(path) if path.endswith(".pyc") else path)
            except ValueError:  # compiled Python that no source belongs to
                continue
            if (real == path or real not in self._looked_at) and not {path, real} & known:
                self._looked_at.add(real)
                with suppress(OSError):  # gone again, or no longer readable: a temporary file
                    self._look_at(real, when)

    def _look_at(self, path: str, when: float) -> None:
        """Note the file at a real path, which was opened at a time, unless the snapshot holds what was read."""
        if path.startswith(self._passed_over) or any(part in path for part in METADATA):
            return
        # A file changed between the snapshot and its opening is another than the one that the snapshot holds.
        info = os.stat(path)
        held = self._held.get(path)
        changed_between = self._snapshot_time <= info.st_mtime <= when
        if not stat.S_ISREG(info.st_mode) or (held and not changed_between):
            return
        name = path.removeprefix(f"{self._top}/")
        if held:
            why = "changed between the snapshot and the moment it was read"
        else:
            why = "outside the repository" if name.startswith("/") else "not in the snapshot"
            why += "; edited since it was read" if info.st_mtime > when else ""
        entry: dict[str, Any] = {"path": name, "bytes": info.st_size, "why": why}
        # Its content, or the hash of it.
        if info.st_size > LARGEST_COPY or self._copied + info.st_size > LARGEST_TOTAL:
            entry["id"] = fingerprint(path)["sha256"]
        else:
            content = Path(path).read_bytes()
            if held == blob_id(content, held):
                return
            redacted, reason = secrets.redact(name, content)
            entry |= {"left_out": reason} if reason else {}
            if redacted is None:
                # Not even the hash of a file of secrets: a short password can be guessed from it.
                entry["id"] = "not recorded"
            else:
                entry |= {"id": blob_id(content, held), "kept": f"{COPIES}/{blob_id(redacted)}"}
                (self._folder / COPIES).mkdir(exist_ok=True)
                write = partial(write_atomically, data=redacted)
                keep_in_pool(self._pool, f"{blob_id(redacted)}.read", self._folder / entry["kept"], write)
                self._copied += len(content)
        self._noted += 1
        append_line(self._folder / READ_FILES, entry)
