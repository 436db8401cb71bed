"""Whether two runs logged the same, bit for bit."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.runs.journal import read_lines, read_metrics

# What a clock measured cannot be the same twice.
CLOCKED = re.compile(r"(^|_)(time|seconds|ms|per_s|per_second|speed|throughput|rate_s|memory|heartbeat)(_|$)")


@dataclass(frozen=True)
class BitComparison:
    """How many lines and checkpoints were compared, the first difference in words, and the second run's last step."""

    lines: int
    checkpoints: int
    difference: str | None
    last_step: int | None


def same_bits(a: Any, b: Any) -> bool:
    """Return whether two logged values are the same; floats by their bits, so that 0.0 is not -0.0 and NaN is NaN.

    >>> same_bits(0.1 + 0.2, 0.3), same_bits(float("nan"), float("nan")), same_bits(0.0, -0.0)
    (False, True, False)
    """
    # JSON has a text of its own for each float, and tells 1 from 1.0 and from True.
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def compare_bits(then: Path, now: Path, until: int | None = None, partial: bool = False) -> BitComparison:
    """Compare the metrics and the weights of two runs' folders.

    Args:
        then: the folder of the first run.
        now: that of the second.
        until: the last step to compare; None for all.
        partial: the second run has not ended, so what it lacks does not count as a difference.
    """
    # What was logged, by step and names, and the hashes of weights, by step
    logged: list[dict[tuple[int, frozenset[str]], dict[str, Any]]] = [{}, {}]
    hashes: list[dict[int, str]] = [{}, {}]
    for folder, lines, weights in zip((then, now), logged, hashes, strict=True):
        for row in read_metrics(folder / "metrics.jsonl"):
            values = {name: row[name] for name in sorted(row.keys() - {"step", "time"}) if not CLOCKED.search(name)}
            if values and (until is None or row["step"] <= until):
                lines[row["step"], frozenset(values)] = values
        rows = read_lines(folder / "checkpoints.jsonl")
        weights |= {row["step"]: row["sha256"] for row in rows if until is None or row["step"] <= until}

    # Lines are compared that have the same step and the same names, and weights of checkpoints that both runs have.
    old, new = logged
    found = []
    for (step, names), values in old.items():
        if (step, names) not in new:
            if not partial:
                found.append((step, _was(", ".join(values), "logged", "not logged")))
        elif not same_bits(values, other := new[step, names]):
            changed = next(name for name in values if not same_bits(values[name], other[name]))
            found.append((step, _was(changed, values[changed], other[changed])))
    for step, names in new.keys() - old.keys():
        found.append((step, _was(", ".join(sorted(names)), "not logged", "logged")))
    common = sorted(hashes[0].keys() & hashes[1].keys())
    for step in common:
        if hashes[0][step] != hashes[1][step]:
            found.append((step, _was("sha256 of the weights", hashes[0][step], hashes[1][step])))

    first = min(found, key=lambda difference: difference[0], default=None)
    last = max((step for step, _ in new), default=None)
    said = f"step {first[0]:,}: {first[1]}" if first else None
    return BitComparison(len(old.keys() & new.keys()), len(common), said, last)


def compare_outcomes(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return the first figure of two outcomes that differs, in words, leaving out texts and what a clock measured."""
    for name in then:
        if not CLOCKED.search(name) and not isinstance(then[name], str) and not same_bits(then[name], now.get(name)):
            return f"the outcome: {_was(name, then[name], now.get(name))}"
    return None


def _was(name: str, then: Any, now: Any) -> str:
    return f"{name} was {then}, and is {now} now"
