"""The runs of a comparison, and what their metrics' names tell."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from understudy.console import counted, flat
from understudy.errors import UserError
from understudy.runs.find import words_of
from understudy.runs.journal import read_metrics, series, with_floats
from understudy.runs.pages.curves import Points, finite
from understudy.runs.record import Record, read_record

NO_METRICS = ("step", "time")
# Words in the names of metrics that tell which way is better.
LOWER_IS_BETTER = {"loss", "bpb", "perplexity"}
HIGHER_IS_BETTER = {"recall", "accuracy", "hits", "right", "f1", "return"}
FAVOURITES = ("val_bpb", "bpb", "val_loss", "loss")


@dataclass(eq=False)
class ComparedRun:
    """A run under the `label` that it has in a comparison."""

    record: Record = field(repr=False)
    label: str

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Its metrics, by step."""
        return read_metrics(self.record.folder / "metrics.jsonl")

    @cached_property
    def curves(self) -> dict[str, Points]:
        """The steps and the finite values of each metric."""
        names = dict.fromkeys(name for row in self.rows for name in row if name not in NO_METRICS)
        return {name: finite(*series(self.rows, name)) for name in names}

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its configuration by dotted name."""
        return flat(self.record.config)

    @cached_property
    def figures(self) -> dict[str, float]:
        """Its final metrics: the last value of each logged name, and the numbers of the outcome. May be nan."""
        # Of a resumed run the row with the highest step counts, which need not be the last in the file.
        last = {name: value for row in self.rows for name, value in row.items() if name not in NO_METRICS}
        last |= with_floats(flat(self.record.outcome))
        numbers = {name: value for name, value in last.items() if isinstance(value, int | float)}
        return {name: float(value) for name, value in numbers.items() if not isinstance(value, bool)}

    @cached_property
    def headline(self) -> str | None:
        """The name, among the final metrics, of the one that sums the run up; None where there is none."""
        if self.record.headline is None:
            return None
        # "recall" sums up a run whose figures have "right_recall".
        word = self.record.headline[0]
        return next((name for name in self.figures if name == word or name.endswith(f"_{word}")), None)

    @property
    def failed_checks(self) -> list[str]:
        """The names of the checks for silent bugs that failed."""
        checks = self.record.data.get("checks") or []
        return [str(check.get("name")) for check in checks if check.get("verdict") == "failed"]

    def curve(self, name: str) -> Points:
        """Return the curve of a metric; one without points where it was not logged."""
        return self.curves.get(name, ([], []))

    def not_finite(self, name: str) -> str:
        """Say which values a curve leaves out because they are not finite numbers; empty where it leaves out none."""
        shown = set(self.curve(name)[0])
        steps = [row["step"] for row in self.rows if name in row and row["step"] not in shown]
        if not steps:
            return ""
        return (
            f"{self.label}: {name} was not a finite number at {counted(len(steps), 'step')}, first at step {steps[0]:,}"
        )


def compared(folders: Sequence[Path]) -> list[ComparedRun]:
    """Return the runs in these folders, each once, labelled by their words, or by their ids where words are shared.

    Raises UserError for a run whose run.json cannot be read.
    """
    records = [read_record(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]
    for record in records:
        if record.status == "broken":
            raise UserError(f"run {record.id} cannot be compared: its run.json is missing or damaged")
    shared = Counter(words_of(record.id) for record in records)
    return [
        ComparedRun(record, words if shared[words := words_of(record.id)] == 1 else record.id) for record in records
    ]


def direction(metric: str) -> int:
    """Return 1 where a higher value of the metric is better, -1 where a lower one is, 0 where its name does not tell.

    >>> direction("val_bpb"), direction("right_recall"), direction("lr")
    (-1, 1, 0)
    """
    words = set("".join(letter if letter.isalnum() else " " for letter in metric.lower()).split())
    return bool(words & HIGHER_IS_BETTER) - bool(words & LOWER_IS_BETTER)


def metric_names(runs: Sequence[ComparedRun]) -> list[str]:
    """Return the final metrics that any of the runs has: headlines first, then those that compare best."""
    headlines = {run.headline for run in runs}
    names = dict.fromkeys(name for run in runs for name in run.figures)
    return sorted(names, key=lambda name: (name not in headlines, *_rank(name)))


def curve_names(runs: Sequence[ComparedRun]) -> list[str]:
    """Return the metrics that the most runs have a curve of; those that compare best come first."""
    owners = Counter(name for run in runs for name, (steps, _) in run.curves.items() if len(steps) > 1)
    most = max(owners.values(), default=0)
    return sorted((name for name in owners if owners[name] == most), key=_rank)


def _rank(metric: str) -> tuple[int, bool]:
    place = FAVOURITES.index(metric) if metric in FAVOURITES else len(FAVOURITES)
    return place, direction(metric) == 0
