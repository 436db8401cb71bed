"""Whether two runs logged the same, bit for bit."""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.runs.journal import read_lines, read_metrics

# What a clock measured cannot be the same twice.
CLOCKED = re.compile(r"(^|_)(time|seconds|ms|per_s|per_second|speed|throughput|rate_s|memory|heartbeat)(_|$)")

Lines = dict[tuple[int, frozenset[str]], dict[str, Any]]
"""What was logged, by step and names."""


@dataclass(frozen=True)
class FirstDifference:
    """The first value that is not the same: at which step (None for the outcome), its name, then and now."""

    step: int | None
    name: str
    then: Any
    now: Any

    def __str__(self) -> str:
        where = "the outcome" if self.step is None else f"step {self.step:,}"
        then, now = (repr(value) if isinstance(value, float) else str(value) for value in (self.then, self.now))
        return f"{where}: {self.name} was {then}, and is {now} now"


@dataclass(frozen=True)
class BitComparison:
    """How many lines and checkpoints were compared, the first difference, and the second run's last step."""

    lines: int
    checkpoints: int
    difference: FirstDifference | None
    last_step: int | None


def same_bits(a: Any, b: Any) -> bool:
    """Return whether two logged values are the same; floats by their bits, so that 0.0 is not -0.0 and NaN is NaN.

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


def compare_bits(then: Path, now: Path, until: int | None = None, partial: bool = False) -> BitComparison:
    """Compare the metrics and the weights of two runs' folders.

    Args:
        then: the folder of the first run.
        now: that of the second.
        until: the last step to compare; None for all.
        partial: the second run has not ended, so what it lacks does not count as a difference.
    """
    # Metrics are compared line by line. Lines belong together that have the same step and the same names.
    logged: list[Lines] = [{}, {}]
    for folder, lines in zip((then, now), logged, strict=True):
        for row in read_metrics(folder / "metrics.jsonl"):
            key = frozenset(name for name in row if name not in ("step", "time") and not CLOCKED.search(name))
            if key and (until is None or row["step"] <= until):
                lines[row["step"], key] = row
    old, new = logged
    found = []
    for (step, names), row in old.items():
        if (step, names) in new:
            other = new[step, names]
            changed = [name for name in sorted(names) if not same_bits(row[name], other[name])]
            found += [FirstDifference(step, name, row[name], other[name]) for name in changed]
        elif not partial:
            found.append(FirstDifference(step, ", ".join(sorted(names)), "logged", "not logged"))
    for step, names in new.keys() - old.keys():
        found.append(FirstDifference(step, ", ".join(sorted(names)), "not logged", "logged"))

    # Weights are compared by their hashes, at the checkpoints that both runs have.
    hashes: list[dict[int, str]] = []
    for folder in (then, now):
        rows = read_lines(folder / "checkpoints.jsonl")
        hashes.append({row["step"]: row["sha256"] for row in rows if until is None or row["step"] <= until})
    common = sorted(hashes[0].keys() & hashes[1].keys())
    for step in common:
        if hashes[0][step] != hashes[1][step]:
            found.append(FirstDifference(step, "sha256 of the weights", hashes[0][step], hashes[1][step]))

    first = min(found, key=lambda difference: difference.step or 0, default=None)
    last = max((step for step, _ in new), default=None)
    return BitComparison(len(old.keys() & new.keys()), len(common), first, last)


def compare_outcomes(then: Mapping[str, Any], now: Mapping[str, Any]) -> FirstDifference | None:
    """Return the first figure of two outcomes that differs, leaving out texts and what a clock measured."""
    for name in then:
        if not CLOCKED.search(name) and not isinstance(then[name], str) and not same_bits(then[name], now.get(name)):
            return FirstDifference(None, name, then[name], now.get(name))
    return None
