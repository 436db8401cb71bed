"""Which of several settings is better by a metric, as far as their seeds can tell."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.console import counted
from understudy.errors import UserError, suggestion
from understudy.runs.compare.differences import MISSING, digits
from understudy.runs.compare.groups import Groups
from understudy.runs.compare.runs import ComparedRun, direction, metric_names
from understudy.statistics import CONFIDENCE, Difference, interquartile_mean, paired_difference, unpaired_difference

GROUP_COLUMNS = ("seeds", "mean", "IQM", "std", "values")
PAIR_COLUMNS = ("pair", "difference", "t interval", "bootstrap", "seeds", "detects")


@dataclass(frozen=True)
class GroupStats:
    """A metric in the runs of one group: a value per seed. `missing`: the labels of the runs that have none."""

    values: Mapping[Any, float]
    missing: tuple[str, ...]

    @classmethod
    def of(cls, metric: str, runs: Sequence[ComparedRun]) -> "GroupStats":
        """Gather a metric by seed; several runs of one seed count once, by their mean."""
        values: dict[Any, list[float]] = {}
        for run in runs:
            if metric in run.figures:
                values.setdefault(run.record.seed, []).append(run.figures[metric])
        missing = tuple(run.label for run in runs if metric not in run.figures)
        return cls({seed: float(np.mean(found)) for seed, found in values.items()}, missing)

    @property
    def finite(self) -> dict[Any, float]:
        """The values that are neither nan nor infinite, by seed."""
        return {seed: value for seed, value in self.values.items() if math.isfinite(value)}

    @property
    def is_complete(self) -> bool:
        """Whether every run of the group has a finite value. A mean without the runs that diverged would flatter it."""
        return bool(self.values) and not self.missing and len(self.finite) == len(self.values)

    @property
    def mean(self) -> float:
        """The mean of the finite values."""
        return float(np.mean(list(self.finite.values()))) if self.finite else math.nan

    def difference(self, other: "GroupStats", confidence: float) -> Difference:
        """Pair by seed where two seeds or more, and half of the smaller group's, are in both; else compare as is."""
        shared = [seed for seed in self.values if seed in other.values]
        smaller = min(len(self.values), len(other.values))
        if len(shared) >= max(min(2, smaller), smaller / 2):
            first, second = ([stats.values[seed] for seed in shared] for stats in (self, other))
            return paired_difference(first, second, confidence)
        return unpaired_difference(list(self.values.values()), list(other.values.values()), confidence)


@dataclass(frozen=True)
class MetricVerdict:
    """A metric over all groups, by name; and how the one with the best mean differs from each other complete one."""

    metric: str
    stats: Mapping[str, GroupStats]
    best: str
    differences: Mapping[str, Difference]

    @property
    def winner(self) -> str:
        """The best group, if it is better than all others beyond chance; else empty."""
        complete = all(stats.is_complete for stats in self.stats.values())
        is_clear = all(found.excludes_zero for found in self.differences.values())
        return self.best if complete and direction(self.metric) and is_clear else ""

    @property
    def constant(self) -> float | None:
        """The value that every run has, where it is the same in all."""
        values = {value for stats in self.stats.values() for value in stats.values.values()}
        complete = all(stats.is_complete for stats in self.stats.values())
        return values.pop() if complete and len(values) == 1 else None

    @property
    def level(self) -> str:
        """The confidence of the intervals, in a line."""
        confidence = next(iter(self.differences.values())).confidence
        if len(self.differences) == 1:
            return f"intervals at {confidence:.0%}"
        return f"intervals at {confidence:.1%} each, so that those of all pairs together hold at {CONFIDENCE:.0%}"

    @property
    def sentence(self) -> str:
        """What the seeds tell about the metric."""
        # A group without a figure for each of its runs cannot be judged.
        broken = []
        for group, stats in self.stats.items():
            if not stats.is_complete:
                odd = [f"seed {seed} gave {stats.values[seed]}" for seed in stats.values if seed not in stats.finite]
                odd += [f"{label} has no figure" for label in stats.missing]
                broken.append(f"in {group}, {', '.join(odd) or 'no run has a figure'}")
        if broken:
            return f"No winner can be named: {'; '.join(broken)}."

        # Nor can single seeds.
        counts = [len(stats.values) for stats in self.stats.values()]
        if min(counts) == 1:
            who = "One seed each" if max(counts) == 1 else "One side has a single seed"
            return f"{who}: no winner can be named, as the size of chance is unknown. Run three or more seeds of each."
        if self.winner:
            # The ends of the intervals that lie nearest to zero tell how far ahead it is at least.
            found = self.differences.values()
            ends = [end for one in found for end in (one.low, one.high, one.bootstrap_low, one.bootstrap_high)]
            return f"{self.winner} wins: its {self.metric} is better, by at least {min(map(abs, ends)):.3g}."
        return " ".join(self._open_pairs())

    def _open_pairs(self) -> Iterator[str]:
        """Say why a pair has no winner, and how many more seeds would show a difference of the size seen."""
        for other, found in self.differences.items():
            if found.excludes_zero:
                if not direction(self.metric):
                    higher = f"{self.best} has a higher {self.metric} than {other}"
                    yield f"{higher}; its name does not tell which is better."
                continue
            needed = "it would take over 1,000 seeds of each to show a difference as small as this"
            if found.more_seeds is not None:
                needed = f"about {counted(found.more_seeds, 'more seed')} of each would show a difference of this size"
            why = f"the interval contains zero; {needed}"
            if found.spread == 0:
                gap = "the same figure" if found.mean == 0 else f"a difference of exactly {found.mean:.4g}"
                why = f"every seed gives {gap}, so chance cannot be measured"
            yield f"No winner between {self.best} and {other}: {why}."

    def group_cells(self) -> list[tuple[str, ...]]:
        """Return a row per group for a table with `GROUP_COLUMNS`."""
        samples = [list(stats.finite.values()) for stats in self.stats.values()]
        means = digits([stats.mean for stats in self.stats.values()])
        iqms = digits([interquartile_mean(values) if values else math.nan for values in samples])
        spreads = [f"{np.std(values, ddof=1):.3g}" if len(values) > 1 else MISSING for values in samples]
        counts = [str(len(stats.values)) for stats in self.stats.values()]
        texts = ["  ".join(digits(sorted(stats.values.values()))) for stats in self.stats.values()]
        return list(zip(self.stats, counts, means, iqms, spreads, texts, strict=True))

    def pair_cells(self) -> list[tuple[str, ...]]:
        """Return a row per pair for a table with `PAIR_COLUMNS`; none where single seeds leave nothing to say."""
        return [
            (
                f"{self.best} vs {other}",
                f"{found.mean:+.3g}",
                f"{found.low:+.3g} … {found.high:+.3g}",
                f"{found.bootstrap_low:+.3g} … {found.bootstrap_high:+.3g}",
                f"{found.count} {'pairs' if found.paired else 'alone'}",
                f"{found.detectable:.3g}",
            )
            for other, found in self.differences.items()
            if found.count > 1
        ]


def verdicts(groups: Groups, metrics: Sequence[str] = ()) -> list[MetricVerdict]:
    """Return a verdict per metric.

    Without `metrics` these are the headlines, and the metrics that all runs have and whose better direction is known.
    Raises UserError for a metric that no run has.
    """
    # Metrics that were asked for must be there.
    runs = [run for group in groups.values() for run in group]
    known = metric_names(runs)
    for metric in metrics:
        if metric not in known:
            there = f"; there are {', '.join(known[:12])}" if known else "; these runs have no metrics"
            raise UserError(f"--metric {metric}: no run here has it{suggestion(metric, known) or there}")
    if not metrics:
        headlines = {run.headline for run in runs}
        shared = [name for name in known if all(name in run.figures for run in runs)]
        telling = [name for name in known if name in headlines or (name in shared and direction(name))]
        metrics = telling or shared or known
    return [verdict(metric, groups) for metric in metrics]


def verdict(metric: str, groups: Groups) -> MetricVerdict:
    """Compare the group with the best mean of a metric with each other one."""
    stats = {name: GroupStats.of(metric, runs) for name, runs in groups.items()}
    complete = {name: one for name, one in stats.items() if one.is_complete}
    if len(complete) < 2:
        return MetricVerdict(metric, stats, "", {})
    best = max(complete, key=lambda name: (direction(metric) or 1) * complete[name].mean)
    # The best is chosen by looking at the data, so each interval is as wide as if every pair were compared
    # (Bonferroni): all of them together hold as often as one interval alone would.
    confidence = 1 - (1 - CONFIDENCE) / math.comb(len(complete), 2)
    others = {name: complete[best].difference(one, confidence) for name, one in complete.items() if name != best}
    return MetricVerdict(metric, stats, best, others)


def constants(verdicts: Sequence[MetricVerdict]) -> str:
    """Name the metrics in which every run has the same value, in a line; empty where there are none."""
    found = [f"{one.metric} {one.constant:.5g}" for one in verdicts if one.constant is not None]
    return f"the same in every run: {', '.join(found)}" if found else ""
