"""Which of several settings is better by a metric, as far as their seeds can tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.console import counted
from understudy.errors import UserError, suggestion
from understudy.runs.compare.differences import MISSING, digits
from understudy.runs.compare.groups import Group
from understudy.runs.compare.runs import direction, metric_names
from understudy.statistics import CONFIDENCE, Difference, interquartile_mean, paired_difference, unpaired_difference

GROUP_COLUMNS = ("seeds", "mean", "IQM", "std", "values")
PAIR_COLUMNS = ("pair", "difference", "t interval", "bootstrap", "seeds", "detects")


@dataclass(frozen=True)
class GroupStats:
    """A metric in the runs of one group: a value per seed. `missing`: the runs that have none."""

    group: str
    values: dict[Any, float]
    missing: tuple[str, ...]

    @classmethod
    def of(cls, metric: str, group: Group) -> "GroupStats":
        """Gather a metric by seed; several runs of one seed count once, by their mean."""
        values: dict[Any, list[float]] = {}
        for run in group.runs:
            if metric in run.figures:
                values.setdefault(run.seed, []).append(run.figures[metric])
        missing = tuple(run.label for run in group.runs if metric not in run.figures)
        return cls(group.name, {seed: float(np.mean(found)) for seed, found in values.items()}, missing)

    @property
    def finite(self) -> list[float]:
        """The values that are neither nan nor infinite."""
        return [value for value in self.values.values() if math.isfinite(value)]

    @property
    def is_complete(self) -> bool:
        """Whether every run of the group has a finite value. A mean without the runs that diverged would flatter it."""
        return bool(self.values) and not self.missing and len(self.finite) == len(self.values)

    @property
    def mean(self) -> float:
        """The mean of the finite values."""
        return float(np.mean(self.finite)) if self.finite else math.nan

    @property
    def iqm(self) -> float:
        """The interquartile mean of the finite values."""
        return interquartile_mean(self.finite) if self.finite else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation of the finite values; nan for fewer than two."""
        return float(np.std(self.finite, ddof=1)) if len(self.finite) > 1 else math.nan


@dataclass(frozen=True)
class PairwiseTest:
    """The difference between the group with the best mean and another."""

    best: str
    other: str
    difference: Difference

    @classmethod
    def of(cls, best: GroupStats, other: GroupStats, confidence: float) -> "PairwiseTest":
        """Pair by seed where two seeds or more, and half of the smaller group's, are in both; else compare as is."""
        shared = [seed for seed in best.values if seed in other.values]
        smaller = min(len(best.values), len(other.values))
        if len(shared) >= max(min(2, smaller), smaller / 2):
            first, second = ([stats.values[seed] for seed in shared] for stats in (best, other))
            return cls(best.group, other.group, paired_difference(first, second, confidence))
        first, second = list(best.values.values()), list(other.values.values())
        return cls(best.group, other.group, unpaired_difference(first, second, confidence))


@dataclass(frozen=True)
class MetricVerdict:
    """A metric over all groups. `winner` is empty where none can be named; `sentence` says what the seeds tell."""

    metric: str
    stats: tuple[GroupStats, ...]
    tests: tuple[PairwiseTest, ...]
    winner: str
    sentence: str

    @property
    def constant(self) -> float | None:
        """The value that every run has, where it is the same in all."""
        values = {value for stats in self.stats for value in stats.values.values()}
        complete = all(stats.is_complete for stats in self.stats)
        return values.pop() if complete and len(values) == 1 else None

    @property
    def level(self) -> str:
        """The confidence of the intervals, in a line."""
        confidence = self.tests[0].difference.confidence
        if len(self.tests) == 1:
            return f"intervals at {confidence:.0%}"
        return f"intervals at {confidence:.1%} each, so that those of all pairs together hold at {CONFIDENCE:.0%}"

    def group_cells(self) -> list[tuple[str, ...]]:
        """Return a row per group for a table with `GROUP_COLUMNS`."""
        means, iqms = digits([one.mean for one in self.stats]), digits([one.iqm for one in self.stats])
        lines: list[tuple[str, ...]] = []
        for stats, mean, iqm in zip(self.stats, means, iqms, strict=True):
            spread = MISSING if math.isnan(stats.spread) else f"{stats.spread:.3g}"
            values = "  ".join(digits(sorted(stats.values.values())))
            lines.append((stats.group, str(len(stats.values)), mean, iqm, spread, values))
        return lines

    def pair_cells(self) -> list[tuple[str, ...]]:
        """Return a row per pair for a table with `PAIR_COLUMNS`; none where single seeds leave nothing to say."""
        lines: list[tuple[str, ...]] = []
        for test in self.tests:
            found = test.difference
            if found.count > 1:
                interval = f"{found.low:+.3g} … {found.high:+.3g}"
                bootstrap = f"{found.bootstrap_low:+.3g} … {found.bootstrap_high:+.3g}"
                seeds = f"{found.count} {'pairs' if found.paired else 'alone'}"
                pair = f"{test.best} vs {test.other}"
                lines.append((pair, f"{found.mean:+.3g}", interval, bootstrap, seeds, f"{found.detectable:.3g}"))
        return lines


def verdicts(groups: Sequence[Group], metrics: Sequence[str] = ()) -> list[MetricVerdict]:
    """Return a verdict per metric.

    Without `metrics` these are the headlines, and the metrics that all runs have and whose better direction is known.
    Raises UserError for a metric that no run has.
    """
    # Metrics that were asked for must be there.
    runs = [run for group in groups for run in group.runs]
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


def verdict(metric: str, groups: Sequence[Group]) -> MetricVerdict:
    """Compare the group with the best mean of a metric with each other one."""
    all_stats = tuple(GroupStats.of(metric, group) for group in groups)
    complete = [stats for stats in all_stats if stats.is_complete]
    tests: list[PairwiseTest] = []
    if len(complete) > 1:
        best = max(complete, key=lambda stats: (direction(metric) or 1) * stats.mean)
        # The best is chosen by looking at the data, so each interval is as wide as if every pair were compared
        # (Bonferroni): all of them together hold as often as one interval alone would.
        pairs = len(complete) * (len(complete) - 1) // 2
        confidence = 1 - (1 - CONFIDENCE) / pairs
        tests = [PairwiseTest.of(best, other, confidence) for other in complete if other is not best]
    winner = ""
    if len(complete) == len(all_stats) and direction(metric) and all(one.difference.excludes_zero for one in tests):
        winner = tests[0].best
    return MetricVerdict(metric, all_stats, tuple(tests), winner, _sentence(metric, all_stats, tests, winner))


def constants(verdicts: Sequence[MetricVerdict]) -> str:
    """Name the metrics in which every run has the same value, in a line; empty where there are none."""
    found = [f"{one.metric} {one.constant:.5g}" for one in verdicts if one.constant is not None]
    return f"the same in every run: {', '.join(found)}" if found else ""


def _sentence(metric: str, groups: Sequence[GroupStats], tests: Sequence[PairwiseTest], winner: str) -> str:
    """Say what the seeds tell about a metric."""
    # A group without a figure for each of its runs cannot be judged.
    broken = []
    for stats in groups:
        if not stats.is_complete:
            odd = [f"seed {seed} gave {value}" for seed, value in stats.values.items() if not math.isfinite(value)]
            odd += [f"{label} has no figure" for label in stats.missing]
            broken.append(f"in {stats.group}, {', '.join(odd) or 'no run has a figure'}")
    if broken:
        return f"No winner can be named: {'; '.join(broken)}."

    # Nor can single seeds.
    counts = [len(stats.values) for stats in groups]
    if min(counts) == 1:
        who = "One seed each" if max(counts) == 1 else "One side has a single seed"
        return f"{who}: no winner can be named, as the size of chance is unknown. Run three or more seeds of each."
    if winner:
        # The ends of the intervals that lie nearest to zero tell how far ahead it is at least.
        found = [test.difference for test in tests]
        ends = [end for one in found for end in (one.low, one.high, one.bootstrap_low, one.bootstrap_high)]
        return f"{winner} wins: its {metric} is better, by at least {min(map(abs, ends)):.3g}."
    open_tests = [one for one in tests if not one.difference.excludes_zero or not direction(metric)]
    return " ".join(_no_winner(metric, test) for test in open_tests)


def _no_winner(metric: str, test: PairwiseTest) -> str:
    """Say why a pair has no winner, and how many more seeds would show a difference of the size seen."""
    found, pair = test.difference, f"{test.best} and {test.other}"
    if found.excludes_zero:
        return f"{test.best} has a higher {metric} than {test.other}; its name does not tell which is better."
    if found.spread == 0:
        gap = "the same figure" if found.mean == 0 else f"a difference of exactly {found.mean:.4g}"
        return f"No winner between {pair}: every seed gives {gap}, so chance cannot be measured."
    if found.more_seeds is None:
        needed = "it would take over 1,000 seeds of each to show a difference as small as this"
    else:
        needed = f"about {counted(found.more_seeds, 'more seed')} of each would show a difference of this size"
    return f"No winner between {pair}: the interval contains zero; {needed}."
