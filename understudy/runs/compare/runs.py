"""The runs of a comparison, with what it asks of them."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from understudy.console import flat
from understudy.errors import UserError
from understudy.runs.find import words_of
from understudy.runs.journal import NOT_IN_JSON, read_metrics, series
from understudy.runs.pages.curves import finite
from understudy.runs.record import Record, read_record

NO_METRICS = ("step", "time")
# Words in the names of metrics that say which way is better.
LOWER_IS_BETTER = {"loss", "bpb", "perplexity"}
HIGHER_IS_BETTER = {"recall", "accuracy", "hits", "right", "f1"}
FAVOURITES = ("val_bpb", "bpb", "val_loss", "loss")


class ComparedRun:
    """A run under the `label` that it has in a comparison."""

    def __init__(self, record: Record, label: str) -> None:
        self.record = record
        self.label = label
        self._curves: dict[str, tuple[list[int], list[float]]] = {}

    def __repr__(self) -> str:
        return f"ComparedRun({self.label!r})"

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Its metrics, by step."""
        return read_metrics(self.record.folder / "metrics.jsonl")

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its configuration with dotted names."""
        return flat(self.record.data.get("config") or {})

    @cached_property
    def figures(self) -> dict[str, float]:
        """Its final metrics: the last of each name that was logged, and the numbers of the outcome. May be nan."""
        last = {name: value for row in self.rows for name, value in row.items() if name not in NO_METRICS}
        outcome = flat(self.record.data.get("outcome") or {})
        read = {
            name: NOT_IN_JSON.get(value, value) if isinstance(value, str) else value for name, value in outcome.items()
        }
        return {name: float(value) for name, value in (last | read).items() if _is_number(value)}

    @cached_property
    def headline(self) -> str | None:
        """The name, among the final metrics, of the one that the run was made for, where it says so."""
        named = (self.record.data.get("outcome") or {}).get("headline")
        if not isinstance(named, list) or len(named) != 2:
            return None
        endings = (str(named[0]), f"_{named[0]}")  # "recall" sums up a run whose figures have "right_recall"
        return next((name for name in self.figures if name == endings[0] or name.endswith(endings[1])), None)

    @property
    def seed(self) -> Any:
        """What all its random numbers come from."""
        return self.record.data.get("seed")

    @property
    def failed_checks(self) -> list[str]:
        """The checks for silent bugs that it did not pass."""
        checks = self.record.data.get("checks") or []
        return [str(check.get("name")) for check in checks if check.get("verdict") == "failed"]

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """The steps and the finite values of one metric."""
        if name not in self._curves:
            self._curves[name] = finite(*series(self.rows, name))
        return self._curves[name]


def compared(folders: Sequence[Path]) -> list[ComparedRun]:
    """The runs in these folders, each once; called by their words, or by their ids where words are shared."""
    records = [read_record(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]
    for record in records:
        if record.status == "broken":
            raise UserError(f"run {record.id} cannot be compared: its run.json is missing or damaged")
    words = [words_of(record.id) for record in records]
    shared = Counter(words)
    names = [record.id if shared[word] > 1 else word for record, word in zip(records, words, strict=True)]
    return [ComparedRun(record, name) for record, name in zip(records, names, strict=True)]


def direction(metric: str) -> int:
    """1 where a higher value of the metric is better, -1 where a lower one is, 0 where its name does not say.

    >>> direction("val_bpb"), direction("right_recall"), direction("lr")
    (-1, 1, 0)
    """
    words = set("".join(letter if letter.isalnum() else " " for letter in metric.lower()).split())
    return bool(words & HIGHER_IS_BETTER) - bool(words & LOWER_IS_BETTER)


def metric_names(runs: Sequence[ComparedRun]) -> list[str]:
    """The final metrics that any of the runs has: headlines first, then those that compare best."""
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    headlines = {run.headline for run in runs}
    return sorted(names, key=lambda name: (name not in headlines, *_rank(name)))


def curve_names(runs: Sequence[ComparedRun]) -> list[str]:
    """The metrics of which all runs, or else the most that share one, have a curve; those that compare best first."""
    names = dict.fromkeys(name for run in runs for row in run.rows for name in row if name not in NO_METRICS)
    owners = {name: sum(len(run.curve(name)[0]) > 1 for run in runs) for name in names}
    most = max(owners.values(), default=0)
    shared = [name for name in names if owners[name] == most > 0]
    return sorted(shared, key=_rank)


def _rank(metric: str) -> tuple[int, bool]:
    place = FAVOURITES.index(metric) if metric in FAVOURITES else len(FAVOURITES)
    return place, direction(metric) == 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
