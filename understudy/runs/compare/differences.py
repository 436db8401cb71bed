"""Tables with a column a run: what differs, and the final metrics."""

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.console import flat
from understudy.runs.compare.runs import ComparedRun, direction, metric_names

MISSING = "—"
ENVIRONMENT = ("python", "platform", "host", "hardware", "compute", "processes", "environment")


@dataclass(frozen=True)
class Row:
    """A line of a sheet: a name and a cell for each run. `best`: the cells that hold the better figure."""

    name: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Sheet:
    """A table with a column for each run."""

    title: str
    rows: tuple[Row, ...]


def differences(runs: Sequence[ComparedRun]) -> list[Sheet]:
    """What differs between the runs besides their code; a sheet without rows says that nothing of its kind does."""
    kinds: dict[str, Callable[[ComparedRun], dict[str, Any]]] = {
        "configuration": _configuration,
        "environment": environment,
        "command lines": _command,
    }
    sheets = {title: _differing(title, [values(run) for run in runs]) for title, values in kinds.items()}
    return [sheets["configuration"], _data(runs), sheets["environment"], _seeds(runs), sheets["command lines"]]


def final_metrics(runs: Sequence[ComparedRun]) -> Sheet:
    """The last figure of each metric, with the better one marked where the metric's name tells which that is."""
    return Sheet("final metrics", tuple(_metric(name, runs) for name in metric_names(runs)))


def differing_keys(runs: Sequence[ComparedRun]) -> list[str]:
    """The configuration keys in which the runs differ, but for seeds."""
    rows = _differing("", [run.config for run in runs]).rows
    return [row.name for row in rows if row.name.rpartition(".")[2] not in ("seed", "resume")]


def command_line(run: ComparedRun) -> str:
    """What was typed, as a shell takes it."""
    return shlex.join(map(str, run.record.data.get("argv") or []))


def digits(values: Sequence[float | None]) -> list[str]:
    """Numbers with five significant digits, or as many more as tell unequal ones apart.

    >>> digits([0.5, 0.123456, None]), digits([0.1234561, 0.1234562])
    (['0.5', '0.12346', '—'], ['0.1234561', '0.1234562'])
    """
    for count in (5, 7, 9, 17):
        cells = [MISSING if value is None else f"{value:.{count}g}" for value in values]
        if len(set(cells)) >= len({str(value) for value in values}):
            break
    return cells


def _metric(name: str, runs: Sequence[ComparedRun]) -> Row:
    values = [run.figures.get(name) for run in runs]
    sign, known = direction(name), [value for value in values if value is not None and math.isfinite(value)]
    if not sign or len(set(known)) < 2:
        return Row(name, tuple(digits(values)))
    best = max(known, key=lambda value: sign * value)
    return Row(name, tuple(digits(values)), frozenset(i for i, value in enumerate(values) if value == best))


def _differing(title: str, values: Sequence[dict[str, Any]]) -> Sheet:
    names = dict.fromkeys(name for each in values for name in each)
    absent = object()
    rows = []
    for name in names:
        found = [each.get(name, absent) for each in values]
        if any(value != found[0] or type(value) is not type(found[0]) for value in found[1:]):
            rows.append(Row(name, tuple(MISSING if value is absent else _cell(value) for value in found)))
    return Sheet(title, tuple(rows))


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "none"
    return "none" if value is None or value == "" else str(value)


def _configuration(run: ComparedRun) -> dict[str, Any]:
    model = run.record.data.get("model") or {}
    made = {f"model: {name}": model[name] for name in ("parameters", "vocab_size") if name in model}
    return {"verb": run.record.verb, **run.config, **made, "parents": run.record.data.get("parents") or []}


def _seeds(runs: Sequence[ComparedRun]) -> Sheet:
    """Those made from the runs' own seeds say something only where these are the same."""
    own = _differing("seeds", [{"all from": run.seed} for run in runs])
    return own if own.rows else _differing("seeds", [run.record.data.get("seeds") or {} for run in runs])


def environment(run: ComparedRun) -> dict[str, Any]:
    """The machine, the Python and the settings that a run stood on, and the version of every package."""
    data = run.record.data
    named = {name: data.get(name) for name in ENVIRONMENT}
    packages = {f"package {name}": version for name, version in (data.get("packages") or {}).items()}
    return {**flat({name: value for name, value in named.items() if value is not None}), **packages}


def _command(run: ComparedRun) -> dict[str, Any]:
    return {"command line": command_line(run), "folder": run.record.data.get("cwd", "")}


def _data(runs: Sequence[ComparedRun]) -> Sheet:
    """Files whose content differs; the same content in another place is no difference."""
    entries = [run.record.data.get("data") or [] for run in runs]
    contents = [sorted(entry["sha256"] for entry in each) for each in entries]
    if all(content == contents[0] for content in contents):
        return Sheet("data", ())
    described = [
        {entry["path"]: f"{entry['bytes']:,} bytes, sha256 {entry['sha256'][:12]}" for entry in each}
        for each in entries
    ]
    return _differing("data", described)
