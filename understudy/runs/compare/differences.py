"""In what runs differ: one answer for comparisons, groups of seeds, `verify` and reports."""

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.console import flat
from understudy.runs.compare.runs import ComparedRun, direction, metric_names

ABSENT: Any = object()
MISSING = "—"
ENVIRONMENT = ("python", "platform", "host", "hardware", "compute", "processes", "environment")
NO_WINNER = (
    "Each setting has a single run with one seed, so no winner can be named. "
    "Run several seeds of each and compare them with --group-by."
)


@dataclass(frozen=True)
class DiffRow:
    """A row of a table: a name and a cell per run. `best`: the indices of the cells that hold the better figure."""

    name: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


def differing(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return each name whose value differs between the mappings, with its values (`ABSENT` where there is none).

    >>> differing([{"lr": 0.1, "steps": 9}, {"lr": 0.2, "steps": 9}])
    {'lr': [0.1, 0.2]}
    """
    names = dict.fromkeys(name for each in values for name in each)
    found = {name: [each.get(name, ABSENT) for each in values] for name in names}
    # 1, 1.0 and True are equal, but they are different settings.
    return {
        name: row
        for name, row in found.items()
        if any(value != row[0] or type(value) is not type(row[0]) for value in row[1:])
    }


def setting(data: Mapping[str, Any], without: Collection[str] = ("seed", "resume")) -> dict[str, Any]:
    """Return the configuration in a run.json by dotted name, without the keys in which seeds of one setting may differ.

    `without`: keys ("learner.compile"), sections ("loop") or the last words of keys ("seed") to leave out.
    """
    config = flat(data.get("config") or {})
    parts = {name: {name, name.partition(".")[0], name.rpartition(".")[2]} for name in config}
    return {name: value for name, value in config.items() if parts[name].isdisjoint(without)}


def environment(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the machine, the Python, the settings and the version of every package in a run.json, by dotted name."""
    named = {name: data[name] for name in ENVIRONMENT if data.get(name) is not None}
    packages = {f"package {name}": version for name, version in (data.get("packages") or {}).items()}
    return {**flat(named), **packages}


def data_files(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the size and the beginning of the hash of each data file by path, given the entries of a run.json."""
    return {entry["path"]: f"{entry['bytes']:,} bytes, sha256 {entry['sha256'][:12]}" for entry in entries}


def command_line(data: Mapping[str, Any]) -> str:
    """Return what was typed, quoted for a shell."""
    return shlex.join(map(str, data.get("argv") or []))


def differences(runs: Sequence[ComparedRun]) -> dict[str, list[DiffRow]]:
    """Return what differs besides code and figures, by kind; a kind without rows is the same in all runs."""
    records = [run.record.data for run in runs]
    configurations = []
    for run, data in zip(runs, records, strict=True):
        model = data.get("model") or {}
        made = {f"model: {name}": model[name] for name in ("parameters", "vocab_size") if name in model}
        configurations.append({"verb": run.record.verb, **run.config, **made, "parents": data.get("parents") or []})

    # Data are compared by content: the same files in another place are the same data.
    entries = [data.get("data") or [] for data in records]
    contents = [sorted(entry["sha256"] for entry in each) for each in entries]
    moved = all(content == contents[0] for content in contents)

    # The seeds made from a run's own seed are news only where that is the same.
    seeds: list[dict[str, Any]] = [{"all from": data.get("seed")} for data in records]
    if not differing(seeds):
        seeds = [data.get("seeds") or {} for data in records]

    kinds = {
        "configuration": configurations,
        "data": [] if moved else [data_files(each) for each in entries],
        "environment": [environment(data) for data in records],
        "seeds": seeds,
        "command lines": [{"command line": command_line(data), "folder": data.get("cwd", "")} for data in records],
    }
    return {
        kind: [DiffRow(name, tuple(map(_cell, row))) for name, row in differing(values).items()]
        for kind, values in kinds.items()
    }


def _cell(value: Any) -> str:
    if value is ABSENT:
        return MISSING
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "none"
    return "none" if value is None or value == "" else str(value)


def final_metrics(runs: Sequence[ComparedRun]) -> list[DiffRow]:
    """Return the last figure of each metric, with the better one marked where the metric's name tells which that is."""
    rows = []
    for name in metric_names(runs):
        values = [run.figures.get(name) for run in runs]
        known = {value for value in values if value is not None and math.isfinite(value)}
        best: frozenset[int] = frozenset()
        if direction(name) and len(known) > 1:
            top = max(known) if direction(name) > 0 else min(known)
            best = frozenset(i for i, value in enumerate(values) if value == top)
        rows.append(DiffRow(name, tuple(digits(values)), best))
    return rows


def digits(values: Sequence[float | None]) -> list[str]:
    """Return numbers with five significant digits, or as many more as tell unequal ones apart.

    >>> digits([0.5, 0.123456, None]), digits([0.1234561, 0.1234562])
    (['0.5', '0.12346', '—'], ['0.1234561', '0.1234562'])
    """
    for count in (5, 7, 9, 17):
        cells = [MISSING if value is None else f"{value:.{count}g}" for value in values]
        if len(set(cells)) >= len({str(value) for value in values}):
            break
    return cells
