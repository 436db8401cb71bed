"""A comparison of runs as they are, one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

from understudy.runs.compare.code import CodeDifference, code_differences
from understudy.runs.compare.differences import Sheet, differences, final_metrics
from understudy.runs.compare.runs import ComparedRun, curve_names

NO_WINNER = (
    "Each setting stands on a single run, one seed each: no winner can be named. "
    "Run several seeds of each and compare them with --group-by."
)


@dataclass(frozen=True)
class Comparison:
    """What `runs compare A B ...` shows. `curves`: the metrics that can be drawn together, best first."""

    runs: tuple[ComparedRun, ...]
    code: tuple[CodeDifference, ...]
    sheets: tuple[Sheet, ...]
    curves: tuple[str, ...]
    metrics: Sheet


def compare(runs: Sequence[ComparedRun]) -> Comparison:
    """Compares two runs or more; code is compared with that of the first."""
    return Comparison(
        runs=tuple(runs),
        code=tuple(code_differences(runs)),
        sheets=tuple(differences(runs)),
        curves=tuple(curve_names(runs)),
        metrics=final_metrics(runs),
    )
