"""What MLflow shows of a run: parameters, tags, metrics, times, files. Pure functions of the run's folder."""

import json
import math
import posixpath
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from understudy.console import flat, unicode
from understudy.runs.journal import NOT_IN_JSON
from understudy.runs.record import Record

MOST_METRICS = 1000  # MLflow's limit per request
LONGEST_PARAMETER = 6000
LONGEST_TAG = 5000  # the limit of older servers
LONGEST_NAME = 250
ARTIFACTS = ("run.json", "console.log", "samples.jsonl", "report.html")
SHOWN = (*ARTIFACTS, "metrics.jsonl", "marks.json", "note.txt")
STATUSES = {"running": "RUNNING", "finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED", "dead": "FAILED"}
RUN_TAG = "understudy.run"  # by which a run is found again
# These may disappear: a mark is taken back, or a failed run is resumed.
FLEETING_TAGS = ("bad", "tags", "pinned", "error", "mlflow.note.content")


class Point(NamedTuple):
    """One value of a metric, in the order of MLflow's `Metric`; `time` in milliseconds since 1970."""

    name: str
    value: float
    time: int
    step: int


def parameters(record: Record) -> dict[str, str]:
    """Return the configuration, flat: {"learner.steps": "4000", ...}."""
    config = flat(record.config).items()
    texts = {clean_name(name): value if isinstance(value, str) else json.dumps(value) for name, value in config}
    return {name: _storable(text)[:LONGEST_PARAMETER] for name, text in texts.items()}


def tags(record: Record) -> dict[str, str]:
    """Return what describes the run as a whole. Tags named mlflow.* have their own places on MLflow's page."""
    data, marks = record.data, record.marks
    code = data.get("code") or {}
    found = {
        RUN_TAG: record.id,
        "verb": record.verb,
        "command": " ".join(map(str, data.get("argv", []))),
        "status": record.status,
        "commit": record.commit,
        "dirty": str(code["dirty"]).lower() if "dirty" in code else "",
        "snapshot": code.get("ref") or "",
        "host": record.host,
        "seed": str(data.get("seed", "")),
        "parents": ", ".join(record.parents),
        "bad": marks.bad,
        "tags": ", ".join(marks.tags),
        "pinned": "true" if marks.pinned else "",
        "error": record.error,
        "mlflow.note.content": record.note,
        "mlflow.source.name": f"understudy {record.verb}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": record.commit,
    }
    return {name: _storable(value)[:LONGEST_TAG] for name, value in found.items() if value}


def times(record: Record) -> tuple[int, int | None]:
    """Return start and end in milliseconds since 1970; the end of a running run is None."""
    start = round(record.created.timestamp() * 1000)
    if record.status == "running":
        return start, None
    if record.status != "dead" and record.ended:
        return start, round(record.ended.timestamp() * 1000)
    # A dead run ended with its last sign of life.
    signs = [record.folder / name for name in ("heartbeat", "metrics.jsonl", "run.json")]
    return start, round(max(path.stat().st_mtime for path in signs if path.exists()) * 1000)


def batches(journal: Path, start: int) -> Iterator[tuple[list[Point], int]]:
    """Yield the metrics in the journal's whole lines from the byte `start` on, in batches that MLflow accepts.

    With each comes the byte up to which it reaches. A journal shorter than `start` has been replaced: it is read from
    its beginning.
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
                break  # it is being written, or its writer died
            row = _points(line)
            if points and len(points) + len(row) > MOST_METRICS:
                yield points, end
                points = []
            points += row
            end += len(line)
        if end > start:
            yield points, end


def file_states(folder: Path) -> dict[str, list[int]]:
    """Return size and modification time (ns) of each file of which a store shows something."""
    found = {}
    for name in SHOWN:
        with suppress(OSError):
            stat = (folder / name).stat()
            found[name] = [stat.st_size, stat.st_mtime_ns]
    return found


def clean_name(name: str) -> str:
    """Return a name that MLflow accepts: letters, digits and `_-. :/`, and never a path that leads out of a folder.

    >>> clean_name("loss (train)"), clean_name("val/loss"), clean_name("../loss")
    ('loss _train_', 'val/loss', '.._loss')
    """
    name = re.sub(r"[^/\w.\- :]", "_", name)[:LONGEST_NAME]
    if not name or posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
        name = name.replace("/", "_") or "_"
    return name if name.strip(".") else name.replace(".", "_")


def _points(line: bytes) -> list[Point]:
    """Return the metrics in a line of the journal; none for a line that a crash tore, or that is not ours."""
    try:
        row = json.loads(line)
        step, time = row.pop("step"), round(row.pop("time") * 1000)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return []
    if not isinstance(step, int):
        return []
    values = {clean_name(name): _number(value) for name, value in row.items()}
    return [Point(name, value, time, step) for name, value in values.items() if value is not None]


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return NOT_IN_JSON.get(value)
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _storable(text: str) -> str:
    """Return the text without what databases refuse: lone surrogates and the character zero."""
    return unicode(text).replace("\0", "\\0")
