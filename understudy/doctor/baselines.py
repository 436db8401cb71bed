"""The figures of earlier healthy runs of the same kind, as a measure for this one."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

from understudy.doctor.checks import Check, Verdict
from understudy.runs.record import Record, read_record

FEWEST, MOST = 3, 20
"""How many earlier runs there must be, and how many are taken."""
LOOKED_AT = 200
"""How many of the latest runs are looked through."""
WITHOUT = ("options", "loop")
WITHOUT_LEARNER = ("micro_batch_size", "compile")

Figures = Mapping[str, float]


def shape_of(record: Mapping[str, Any]) -> str:
    """What runs must share to be compared: verb, model and configuration, but for the seed and how it is computed."""
    config = {name: value for name, value in record["config"].items() if name not in WITHOUT}
    config["learner"] = {k: v for k, v in config.get("learner", {}).items() if k not in WITHOUT_LEARNER}
    return json.dumps([record["verb"], record.get("model"), config], sort_keys=True)


def earlier_figures(runs: Path, record: Mapping[str, Any]) -> list[Figures]:
    """Those of the latest finished runs of the same shape that nobody marked bad and no check found fault with."""
    try:
        with os.scandir(runs) as entries:
            names = sorted((entry.name for entry in entries if entry.name != record["id"]), reverse=True)
    except OSError:
        return []
    found: list[Figures] = []
    shape = shape_of(record)
    for name in names[:LOOKED_AT]:
        other = read_record(runs / name)
        if _is_healthy(other) and shape_of(other.data) == shape:
            found.append(other.data["check_figures"])
        if len(found) == MOST:
            break
    return found


def _is_healthy(record: Record) -> bool:
    if record.status != "finished" or not record.data.get("check_figures") or record.marks.bad:
        return False
    return all(check["verdict"] != "failed" for check in record.data["checks"])


class References(Check):
    """A run that begins unlike all the healthy ones before it: a changed constant, other data, a lost layer.

    How: the first loss, the median gradient norm of the first 20 steps and the update-to-weight ratio at the 20th
    against the medians of at least three earlier finished runs of the same verb and configuration. Threshold: the
    norm and the ratio within a factor of 3, the loss within 0.5 nats; or within six times the earlier runs' spread,
    where that is wider. Source: Google, "Deep Learning Tuning Playbook" (2023), on comparing with earlier
    experiments; the factors are ours.
    """

    name: ClassVar[str] = "references"
    causes: ClassVar[tuple[str, str]] = (
        "a change to the code since those runs (`understudy runs show` names their commits)",
        "the data files or the tokenizer are other ones under the same names",
    )

    def __init__(self, earlier: Sequence[Figures]):
        self.earlier = earlier

    def compare(self, figures: Figures) -> Verdict:
        """The figures of this run against the earlier ones'."""
        if len(self.earlier) < FEWEST:
            return self.skipped(f"{len(self.earlier)} earlier runs like this one; it takes {FEWEST}")
        told, good = [], True
        for name, value in figures.items():
            values = [float(one[name]) for one in self.earlier if name in one]
            if len(values) >= FEWEST:
                told.append(f"{name} {value:.3g} (earlier {median(values):.3g})")
                good &= _is_near(name, value, values)
        return self.judge(good, "; ".join(told), f"about what {len(self.earlier)} earlier runs had")


def _is_near(name: str, value: float, values: Sequence[float]) -> bool:
    scale = (lambda x: x) if name.endswith("loss") else (lambda x: math.log(max(x, 1e-30)))
    allowed = 0.5 if name.endswith("loss") else math.log(3)
    middle = median(map(scale, values))
    spread = 1.4826 * median(abs(scale(x) - middle) for x in values)
    return abs(scale(value) - middle) <= max(allowed, 6 * spread)
