"""Files that are whole or not there at all, and values as plain JSON."""

import hashlib
import json
import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


def write_atomically(path: Path | str, data: str | bytes) -> None:
    """Writes `data` (text as UTF-8) so that readers, and crashes, meet the old file or the new one, whole.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "note.txt"
    >>> write_atomically(path, "hello")
    >>> path.read_text()
    'hello'
    """
    path = Path(path)
    # Not mkstemp: its files are private to the user, and a run must be readable by whoever may read its folder.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that was being written: only a killed process leaves it behind.

    >>> is_temporary(".run.json.0a1b2c.tmp"), is_temporary(".step-000400"), is_temporary("run.json")
    (True, True, False)
    """
    return name.startswith(".") and (name.endswith(".tmp") or name.startswith(".step-"))


def fingerprint(path: Path | str) -> dict[str, Any]:
    """What identifies a file's content: `{"path": absolute path, "bytes": size, "sha256": hex digest}`.

    Reads the file in pieces, so a file of any size takes about a megabyte of memory. `bytes` counts what was hashed.
    """
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return {"path": os.path.abspath(path), "bytes": size, "sha256": digest.hexdigest()}


def plain(value: Any) -> Any:
    """The value in JSON's own types. Floats that JSON cannot hold become the strings "nan", "inf" and "-inf".

    Takes numbers, strings, mappings, lists, tuples, paths, dataclasses, and arrays or tensors (anything with `tolist`).

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
    """Writes the value as indented JSON, atomically."""
    write_atomically(path, json.dumps(plain(value), indent=2, allow_nan=False) + "\n")
