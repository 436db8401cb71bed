"""The first metrics of earlier healthy runs of the same kind, to compare those of a run with."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from understudy.doctor.checks import Finding, check
from understudy.files import plain
from understudy.runs.compare.differences import differing, setting
from understudy.runs.find import list_ids
from understudy.runs.record import Record, read_record

# Steps after which a run's own baseline is complete.
FIRST_STEPS = 20
# How many earlier runs there must be, and how many are taken.
FEWEST, MOST = 3, 20
# How many of the latest runs are searched for them.
SEARCHED = 200
# How far a loss may be from the median of earlier ones, in nats per token; and by which factor anything else.
LOSS, FACTOR = 0.5, 3.0
# Or by how many standard deviations of the earlier runs, as their median absolute deviation tells them.
SPREADS = 6
WITHOUT = ("options", "loop", "learner.micro_batch_size", "learner.compile")

Baseline = Mapping[str, float]
"""What a run recorded of its first steps, by name."""


def comparison_key(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what runs must share to be compared: verb, model and configuration, without seed and ways to compute."""
    return plain({"verb": record["verb"], "model": record.get("model"), **setting(record, WITHOUT)})


def read_baselines(runs: Path, record: Mapping[str, Any]) -> list[Baseline]:
    """Return the baselines of the latest comparable runs that finished, passed all checks and are not marked bad."""
    key = comparison_key(record)

    def is_healthy(other: Record) -> bool:
        if other.status != "finished" or other.marks.bad or not other.data.get("check_figures"):
            return False
        passed = all(check["verdict"] != "failed" for check in other.data["checks"])
        return passed and not differing([key, comparison_key(other.data)])

    latest = [name for name in list_ids(runs)[::-1] if name != record["id"]][:SEARCHED]
    healthy = filter(is_healthy, (read_record(runs / name) for name in latest))
    return [other.data["check_figures"] for other in islice(healthy, MOST)]


@check(
    "a change to the code since those runs (`understudy runs show` names their commits)",
    "the data files or the tokenizer are other ones under the same names",
)
def references(baseline: Baseline, earlier: Sequence[Baseline]) -> Finding:
    """Check that a run begins like the healthy runs before it: with no changed constant, other data or lost layer.

    The first loss, the median gradient norm of the first 20 steps and the update-to-weight ratio at the 20th are
    compared with the medians of earlier finished runs of the same verb and configuration. Source: Google, "Deep
    Learning Tuning Playbook" (2023), on comparing with earlier experiments; the limits are ours.
    """
    if not baseline:
        return Finding("skipped", f"it takes the first {FIRST_STEPS} steps")
    if len(earlier) < FEWEST:
        return Finding("skipped", f"{len(earlier)} earlier runs like this one; it takes {FEWEST}")
    told, good = [], True
    for name, value in baseline.items():
        values = [float(one[name]) for one in earlier if name in one]
        if len(values) < FEWEST:
            continue
        told.append(f"{name} {value:.3g} (earlier {median(values):.3g})")
        # Losses are compared by their difference, norms and ratios by their quotient.
        is_loss = name.endswith("loss")
        value, *values = (x if is_loss else math.log(max(x, 1e-30)) for x in (value, *values))
        middle = median(values)
        spread = 1.4826 * median(abs(x - middle) for x in values)
        good &= abs(value - middle) <= max(LOSS if is_loss else math.log(FACTOR), SPREADS * spread)
    return Finding(good, "; ".join(told), f"about what {len(earlier)} earlier runs had")
