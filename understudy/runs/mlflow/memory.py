"""tracking.json: what each store has acknowledged of a run. May be lost at any time; then all is sent again."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from understudy.files import write_json

NAME = "tracking.json"


@dataclass
class Memory:
    """What one store has of one run.

    `experiment` tells the store from another that came to the same address, such as after its file was deleted.
    """

    experiment: str = ""
    run: str = ""
    """The run's id there."""
    offset: int = 0
    """Bytes of metrics.jsonl that are there."""
    status: str = ""
    files: dict[str, list[int]] = field(default_factory=dict)
    """Size and time of change of each file, as the store has it."""
    checkpoint: str = ""
    """The checkpoint whose model is there."""


def read_memory(folder: Path, store: str) -> Memory:
    """What is remembered of `store` (its masked URI); nothing where there is no file, or one that cannot be read."""
    values = _read(folder).get(store)
    names = {field.name for field in fields(Memory)}
    if not isinstance(values, dict):
        return Memory()
    remembered = {name: value for name, value in values.items() if name in names}
    plain = Memory()
    if any(type(value) is not type(getattr(plain, name)) for name, value in remembered.items()):
        return plain
    return Memory(**remembered)


def remember(folder: Path, store: str, memory: Memory) -> None:
    """Writes down what the store has now."""
    write_json(folder / NAME, {**_read(folder), store: asdict(memory)})


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Of several processes that send the same run, one at a time does: else both would begin it in the store."""
    descriptor = os.open(folder / "tracking.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(folder: Path) -> dict[str, Any]:
    try:
        data = json.loads((folder / NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
