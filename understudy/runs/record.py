"""What lists and queries ask of a run, gathered from the files in its folder."""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from understudy.runs.marks import read_marks, read_note

HEADLINES = ("val_bpb", "loss")  # where the outcome names none: the first of these that was logged


@dataclass(frozen=True)
class Facts:
    """The short facts of a run: those of run.json, its marks and its note.

    `status` is what run.json says ("broken" where it cannot be read): whether a "running" one lives is another matter.
    `created` and `ended` are seconds since 1970.
    """

    verb: str
    status: str
    created: float
    ended: float | None
    host: str
    pid: int | None
    process_start: int | None
    error: str
    seed: int | None
    commit: str
    dirty: bool
    parents: tuple[str, ...]
    note: str
    bad: str
    tags: tuple[str, ...]
    pinned: bool


@dataclass(frozen=True)
class Figures:
    """The names and values of a run that depend on what was run: its configuration, outcome and last metrics."""

    config: dict[str, Any]
    outcome: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def headline(self) -> tuple[str, Any] | None:
        """The figure that sums the run up: the one its outcome names, or else the last validation figure or loss."""
        named = self.outcome.get("headline")
        if isinstance(named, list) and len(named) == 2:
            return str(named[0]), named[1]
        return next(((name, self.metrics[name]) for name in HEADLINES if self.metrics.get(name) is not None), None)


def read_data(folder: Path) -> dict[str, Any] | None:
    """The run.json of the run in `folder`; None where it cannot be read."""
    try:
        data = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def figures_of(data: dict[str, Any] | None, metrics: dict[str, Any]) -> Figures:
    """The figures of a run, from its run.json and the last value of each metric."""
    data = data or {}
    return Figures(_dictionary(data.get("config")), _dictionary(data.get("outcome")), metrics)


def facts_of(folder: Path, data: dict[str, Any] | None) -> Facts:
    """The facts of the run in `folder`, whose run.json (None where it cannot be read) is `data`; never fails."""
    marks, status = read_marks(folder), "broken" if data is None else "dead"
    data = data or {}
    code = _dictionary(data.get("code"))
    parents = data.get("parents")
    return Facts(
        verb=str(data.get("verb", "?")),
        status=str(data.get("status", status)),
        created=_time(data.get("created")) or _changed(folder),
        ended=_time(data.get("ended")),
        host=str(data.get("host", "")),
        pid=_whole(data.get("pid")),
        process_start=_whole(data.get("process_start")),
        error=str(data.get("error") or ""),
        seed=_whole(data.get("seed")),
        commit=str(code.get("commit") or ""),
        dirty=bool(code.get("dirty")),
        parents=tuple(map(str, parents)) if isinstance(parents, list) else (),
        note=read_note(folder),
        bad=marks.bad,
        tags=marks.tags,
        pinned=marks.pinned,
    )


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _time(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _changed(folder: Path) -> float:
    try:
        return os.path.getmtime(folder)
    except OSError:
        return 0.0
