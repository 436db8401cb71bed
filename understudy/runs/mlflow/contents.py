"""What of a run goes into MLflow: parameters, tags, metrics, times, files. Pure functions of the run's folder."""

import json
import math
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from understudy.console import flat
from understudy.runs.journal import NOT_IN_JSON
from understudy.runs.record import Record

MOST_METRICS = 1000  # of one request, says MLflow
LONGEST_PARAMETER = 6000
LONGEST_TAG = 5000  # what older servers hold
LONGEST_NAME = 250
ARTIFACTS = ("run.json", "console.log", "samples.jsonl", "report.html")
WATCHED = (*ARTIFACTS, "metrics.jsonl", "marks.json", "note.txt")
STATUSES = {"running": "RUNNING", "finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED", "dead": "FAILED"}
RUN_TAG = "understudy.run"  # by which a run is found again
# Those that may be gone again: a mark was taken back, or a failed run resumed.
FLEETING_TAGS = ("bad", "tags", "pinned", "error", "mlflow.note.content")


@dataclass(frozen=True)
class Point:
    """One figure of a journal's line; `time` in milliseconds since 1970."""

    name: str
    value: float
    time: int
    step: int


@dataclass(frozen=True)
class Batch:
    """Points to send together, and the byte of the journal up to which they reach."""

    points: list[Point]
    end: int


def parameters(record: Record) -> dict[str, str]:
    """The configuration, flat: {"learner.steps": "4000", ...}."""
    config = record.data.get("config")
    found = flat(config) if isinstance(config, dict) else {}
    return {clean_name(name): _value(value)[:LONGEST_PARAMETER] for name, value in found.items()}


def tags(record: Record) -> dict[str, str]:
    """What is said of the run as a whole. MLflow's own names, where it has them, show in its page's own places."""
    data, marks = record.data, record.marks
    code = data.get("code") or {}
    found = {
        RUN_TAG: record.id,
        "verb": record.verb,
        "command": " ".join(map(str, data.get("argv", []))),
        "status": record.status,
        "commit": code.get("commit") or "",
        "dirty": str(code["dirty"]).lower() if "dirty" in code else "",
        "snapshot": code.get("ref") or "",
        "host": str(data.get("host") or ""),
        "seed": str(data.get("seed", "")),
        "parents": ", ".join(map(str, data.get("parents", []))),
        "bad": marks.bad,
        "tags": ", ".join(marks.tags),
        "pinned": "true" if marks.pinned else "",
        "error": str(data.get("error") or ""),
        "mlflow.note.content": record.note,
        "mlflow.source.name": f"understudy {record.verb}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": code.get("commit") or "",
    }
    return {name: _printable(value)[:LONGEST_TAG] for name, value in found.items() if value}


def times(record: Record) -> tuple[int, int | None]:
    """Beginning and end in milliseconds since 1970. A dead run ended with its last sign of life."""
    began = round(record.created.timestamp() * 1000)
    if record.status == "running":
        return began, None
    if record.status == "dead" or not record.data.get("ended"):
        signs = [record.folder / name for name in ("heartbeat", "metrics.jsonl", "run.json")]
        return began, round(max(path.stat().st_mtime for path in signs if path.exists()) * 1000)
    return began, _milliseconds(record.data["ended"])


def batches(journal: Path, start: int) -> Iterator[Batch]:
    """The figures of the journal's whole lines from the byte `start` on, in pieces that MLflow takes.

    A journal shorter than `start` is another one by now: it is read from its beginning.
    """
    if not journal.exists():
        return
    with open(journal, "rb") as file:
        if start > file.seek(0, 2):
            start = 0
        file.seek(start)
        points: list[Point] = []
        end = start
        for line in file:
            if not line.endswith(b"\n"):
                break  # somebody is writing it, or died while doing so
            row = _points(line)
            if points and len(points) + len(row) > MOST_METRICS:
                yield Batch(points, end)
                points = []
            points += row
            end += len(line)
        if end > start:
            yield Batch(points, end)


def looks(folder: Path) -> dict[str, list[int]]:
    """Size and time of change of each file that a store shows something of."""
    found = {}
    for name in WATCHED:
        try:
            stat = (folder / name).stat()
        except OSError:
            continue
        found[name] = [stat.st_size, stat.st_mtime_ns]
    return found


def clean_name(name: str) -> str:
    """A name that MLflow takes: letters, digits and `_-. :/`, and no path that leads out.

    >>> clean_name("loss (train)"), clean_name("val/loss"), clean_name("../loss")
    ('loss _train_', 'val/loss', '.._loss')
    """
    name = re.sub(r"[^/\w.\- :]", "_", name)[:LONGEST_NAME]
    if not name or posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        name = name.replace("/", "_") or "_"
    return name if name.strip(".") else name.replace(".", "_")


def _points(line: bytes) -> list[Point]:
    try:
        row = json.loads(line)
        step, time = row["step"], round(row["time"] * 1000)
    except (ValueError, KeyError, TypeError, OverflowError):
        return []  # torn by a crash, or none of ours
    if not isinstance(step, int):
        return []
    found = {clean_name(name): _figure(value) for name, value in row.items() if name not in ("step", "time")}
    return [Point(name, value, time, step) for name, value in found.items() if value is not None]


def _figure(value: Any) -> float | None:
    """As a float, if it is a number."""
    if isinstance(value, str):
        return NOT_IN_JSON.get(value)
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _value(value: Any) -> str:
    return _printable(value if isinstance(value, str) else json.dumps(value))


def _printable(value: str) -> str:
    """Without what a database refuses: halves of characters, and the character zero."""
    return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
