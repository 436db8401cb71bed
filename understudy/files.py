"""Files that are whole or not there at all, locks between processes, and values as plain JSON."""

import hashlib
import json
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from understudy.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """Yield a free path beside `path` to make a file or folder at, and rename it into place when the block succeeds.

    Readers, and crashes, meet the old file or the new one, whole. When the block fails, what it made is removed.
    A file is replaced; a folder takes the place of an empty folder or of nothing (else OSError).

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "model"
    >>> with whole(folder) as building:
    ...     building.mkdir()
    ...     _ = (building / "note.txt").write_text("hello")
    >>> [file.name for file in folder.iterdir()]
    ['note.txt']
    """
    path = Path(path)
    # Not mkstemp: its files are private to the user, and a run must be readable by whoever may read its folder.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path | str, blocking: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder, or of a file that is made where there is none; yield whether it is held.

    It is a lock between processes, and between two uses in one process. A killed process holds nothing.

    Args:
        path: a folder, or a file that serves only as a lock.
        blocking: wait for whoever holds it; else go on at once, with False where it is taken.

    Raises:
        OSError: it cannot be opened, or its file system has no locks.
    """
    if fcntl is None:
        yield True
        return
    # A folder can only be opened for reading, which is enough for a lock.
    kind = os.O_RDONLY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, kind | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
            held = True
        except BlockingIOError:
            held = False
        yield held
    finally:
        os.close(descriptor)


def write_atomically(path: Path | str, data: str | bytes) -> None:
    """Write `data` (text as UTF-8) so that readers, and crashes, meet the old file or the new one, whole.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "note.txt"
    >>> write_atomically(path, "hello")
    >>> path.read_text()
    'hello'
    """
    with whole(path) as temporary, open(temporary, "xb") as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)
        # Before the rename, or a power cut could leave an empty file in the place of the old one.
        file.flush()
        os.fsync(file.fileno())


def cache_folder(kind: str, file: str = "") -> Path:
    """Return the user's own folder for one kind of thing that is made once: below XDG_CACHE_HOME, by default ~/.cache.

    Where that cannot be written and does not have `file` either, it is a folder among the temporary ones. Raises
    PermissionError where others can write to that folder.
    """
    kept = os.environ.get("XDG_CACHE_HOME")
    home = Path(kept) if kept else Path("~/.cache").expanduser()
    folder = home / "understudy" / kind
    try:
        # A user without a home does not get one made.
        if kept or home.parent.exists():
            folder.mkdir(parents=True, exist_ok=True)
        if (file and (folder / file).exists()) or os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass

    user = os.getuid() if hasattr(os, "getuid") else None
    folder = Path(tempfile.gettempdir()) / f"understudy-{kind}-{user or 0}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if user is not None and (folder.stat().st_uid != user or folder.stat().st_mode & 0o022):
        raise PermissionError(f"others can write {folder}, so nothing in there can be trusted; remove it")
    return folder


@contextmanager
def reading(path: Path | str, advice: str) -> Iterator[None]:
    """Raise CheckpointError, with the file's name and what to try, where reading a file of a model fails."""
    try:
        yield
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; {advice}") from error
    except Exception as error:  # the libraries that read have many kinds
        reason = f"it does not have {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{path} cannot be read ({reason}); {advice}") from error


def is_temporary(name: str) -> bool:
    """Return whether a file or folder of this name was being written. Only a killed process leaves one behind.

    >>> is_temporary(".run.json.0a1b2c.tmp"), is_temporary(".step-000400"), is_temporary("run.json")
    (True, True, False)
    """
    return name.startswith(".") and (name.endswith(".tmp") or name.startswith(".step-"))


def fingerprint(path: Path | str) -> dict[str, Any]:
    """Return what identifies a file's content: `{"path": absolute path, "bytes": size, "sha256": hex digest}`.

    Reads the file in pieces, so a file of any size takes little memory. `bytes` counts what was hashed.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"path": os.path.abspath(path), "bytes": file.tell(), "sha256": digest}


def plain(value: Any) -> Any:
    """Return the value in JSON's own types. Floats that JSON lacks become the strings "nan", "inf" and "-inf".

    Takes numbers, strings, mappings, lists, tuples, paths, dataclasses, and arrays or tensors (anything with `tolist`).
    Raises TypeError for anything else.

    >>> plain({"loss": float("nan"), "betas": (0.9, 0.95), "data": Path("a/b.txt")})
    {'loss': 'nan', 'betas': [0.9, 0.95], 'data': 'a/b.txt'}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.init}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"cannot write a {type(value).__name__} as JSON: {value!r}")


def write_json(path: Path | str, value: Any) -> None:
    """Write the value as indented JSON, atomically."""
    write_atomically(path, json.dumps(plain(value), indent=2, allow_nan=False) + "\n")
