"""Whether two runs logged the same, bit for bit."""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.runs.journal import read_lines, read_metrics

# What a clock measured cannot be the same twice.
CLOCKED = re.compile(r"(^|_)(time|seconds|ms|per_s|per_second|speed|throughput|rate_s|memory|heartbeat)(_|$)")


@dataclass(frozen=True)
class Difference:
    """The first thing that is not the same: at which step (None for the outcome), its name, then and now."""

    step: int | None
    name: str
    then: Any
    now: Any

    def __str__(self) -> str:
        where = "the outcome" if self.step is None else f"step {self.step:,}"
        return f"{where}: {self.name} was {_exactly(self.then)}, and is {_exactly(self.now)} now"


@dataclass(frozen=True)
class Likeness:
    """What was compared, and the first difference, if any."""

    lines: int
    checkpoints: int
    difference: Difference | None
    last_step: int | None


def same_bits(a: Any, b: Any) -> bool:
    """Whether two logged values are the same; floats by their bits, so that 0.0 is not -0.0 and NaN is NaN.

    >>> same_bits(0.1 + 0.2, 0.3), same_bits(float("nan"), float("nan")), same_bits(0.0, -0.0)
    (False, True, False)
    """
    if isinstance(a, float) and isinstance(b, float):
        return (a != a and b != b) or struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_bits(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_bits, a, b))
    return type(a) is type(b) and bool(a == b)


def compare(then: Path, now: Path, until: int | None = None, partial: bool = False) -> Likeness:
    """Compares metrics and weights of two runs' folders, up to the step `until`.

    `partial`: the second run is not at its end, so what it lacks is no difference.
    """
    old, new = (_lines(folder, until) for folder in (then, now))
    found = list(_metric_differences(old, new, partial))
    weights = [_weights(folder, until) for folder in (then, now)]
    common = sorted(weights[0].keys() & weights[1].keys())
    found += [
        Difference(step, "sha256 of the weights", weights[0][step], weights[1][step])
        for step in common
        if weights[0][step] != weights[1][step]
    ]
    first = min(found, key=lambda difference: difference.step or 0, default=None)
    steps = [step for step, _ in new]
    return Likeness(len(old.keys() & new.keys()), len(common), first, max(steps, default=None))


def compare_outcomes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Difference | None:
    """The first figure of two outcomes that differs; what a clock measured, and paths, are left out."""
    for name in then:
        if CLOCKED.search(name) or isinstance(then[name], str):
            continue
        if not same_bits(then[name], now.get(name)):
            return Difference(None, name, then[name], now.get(name))
    return None


Lines = dict[tuple[int, frozenset[str]], dict[str, Any]]


def _metric_differences(old: Lines, new: Lines, partial: bool) -> Iterator[Difference]:
    for key, row in old.items():
        if key not in new:
            if not partial:
                yield Difference(key[0], ", ".join(sorted(key[1])), "logged", "not logged")
            continue
        for name in sorted(key[1]):
            if not same_bits(row[name], new[key][name]):
                yield Difference(key[0], name, row[name], new[key][name])
    for key in new.keys() - old.keys():
        yield Difference(key[0], ", ".join(sorted(key[1])), "not logged", "logged")


def _lines(folder: Path, until: int | None) -> Lines:
    """What was logged, by step and names."""
    lines = {}
    for row in read_metrics(folder / "metrics.jsonl"):
        names = frozenset(name for name in row if name not in ("step", "time") and not CLOCKED.search(name))
        if names and (until is None or row["step"] <= until):
            lines[row["step"], names] = row
    return lines


def _weights(folder: Path, until: int | None) -> dict[int, str]:
    rows = read_lines(folder / "checkpoints.jsonl")
    return {row["step"]: row["sha256"] for row in rows if until is None or row["step"] <= until}


def _exactly(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
