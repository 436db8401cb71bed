"""An append-only file of JSON lines that survives `kill -9`: metrics.jsonl, samples.jsonl and others.

A line is written by one `os.write` on an O_APPEND descriptor: the kernel has it when the call returns, and a killed
process loses nothing. Only a full disk or a crash of the machine can tear a line, and readers skip those.
"""

import json
import math
import os
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from understudy.files import plain

END_BYTES = 1 << 16  # where the last value of a metric is looked for first
NOT_IN_JSON = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


class Journal:
    """Appends JSON lines to `path`, which it creates when needed.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
    >>> journal = Journal(path)
    >>> journal.log(0, loss=4.5)
    >>> journal.log(1, loss=float("inf"), tokens=512)
    >>> series(read_metrics(path), "loss")
    ([0, 1], [4.5, inf])
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o666)
        self.close: Callable[[], object] = weakref.finalize(self, os.close, self._descriptor)
        """Closes the file, as also happens when the journal is garbage-collected."""
        # A line torn by a crash must not swallow the next one.
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")
        self._torn = False  # whether the last line lacks its end, because the disk was full

    def log(self, step: int, **values: Any) -> None:
        """Write {"step", "time" (seconds since 1970), name: value...}. Floats come back bit for bit."""
        assert "time" not in values, "the journal writes the time itself"
        fields = [f'{{"step": {int(step)}, "time": {time.time()!r}']
        fields += [f"{_key(name)}: {_json(value)}" for name, value in values.items()]
        self._write((", ".join(fields) + "}\n").encode())

    def append(self, obj: dict[str, Any]) -> None:
        """Write any dictionary as one line. Raises OSError when the disk is full."""
        self._write(json.dumps(plain(obj), allow_nan=False).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line
        # One write, unless the disk fills up: then the next one raises.
        while line:
            written = os.write(self._descriptor, line)
            line = line[written:]
            self._torn = bool(line)


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one line to a journal that is seldom written."""
    with closing(Journal(path)) as journal:
        journal.append(row)


_key = lru_cache(maxsize=1024)(json.dumps)


def _json(value: Any) -> str:
    """Return a value as JSON."""
    # The common numbers without a detour: logging is three times as fast.
    if type(value) is float and math.isfinite(value):
        return float.__repr__(value)
    return int.__repr__(value) if type(value) is int else json.dumps(plain(value), allow_nan=False)


def read_lines(path: Path | str) -> list[dict[str, Any]]:
    """Return every whole line of a journal as it was written. Torn lines are skipped; a missing file has none."""
    try:
        with open(path, "rb") as file:
            return [row for line in file if (row := _parse(line)) is not None]
    except FileNotFoundError:
        return []


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Return the metrics of a run, sorted by step.

    A run that was killed and resumed from an earlier checkpoint logs some steps twice: of the lines with the same step
    and the same names the last one counts.
    """
    rows = [with_floats(row) for row in read_lines(path) if isinstance(row.get("step"), int)]
    last = {(row["step"], frozenset(row)): row for row in rows}
    return sorted(last.values(), key=lambda row: row["step"])


def series(rows: Iterable[dict[str, Any]], name: str) -> tuple[list[int], list[Any]]:
    """Return the steps and values of one name, over the rows that have it."""
    points = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in points], [value for _, value in points]


def last_values(path: Path | str) -> dict[str, Any]:
    """Return the value of every name that was logged last, over the whole journal."""
    last = {name: value for row in read_lines(path) for name, value in with_floats(row).items()}
    last.pop("time", None)
    return last


def last_value(path: Path | str, name: str) -> Any:
    """Return the value of `name` that was logged last, None where there is none. Most often reads only the end."""
    key = f"{_key(name)}: ".encode()
    with suppress(OSError), open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        for start in dict.fromkeys((max(0, size - END_BYTES), 0)):
            file.seek(start)
            for line in reversed(file.readlines()):
                row = _parse(line) if key in line else None
                if row and name in row:
                    return with_floats(row)[name]
    return None


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def with_floats(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the floats that JSON lacks, which `plain` made strings."""
    return {name: NOT_IN_JSON.get(value, value) if isinstance(value, str) else value for name, value in row.items()}
