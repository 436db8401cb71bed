"""Which of several settings is better by a metric, as far as their seeds can tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.errors import UserError, suggestion
from understudy.runs.compare.differences import MISSING, digits
from understudy.runs.compare.groups import Group
from understudy.runs.compare.runs import ComparedRun, direction, metric_names
from understudy.statistics import CONFIDENCE, Difference, interquartile_mean, paired_difference, unpaired_difference

SAMPLE_COLUMNS = ("seeds", "mean", "IQM", "std", "values")
CONTEST_COLUMNS = ("pair", "difference", "t interval", "bootstrap", "seeds", "detects")


@dataclass(frozen=True)
class Sample:
    """A metric in the runs of one group: a value for each seed. `missing`: the runs that have none."""

    group: str
    values: dict[Any, float]
    missing: tuple[str, ...]

    @property
    def finite(self) -> list[float]:
        """Without nan and infinities."""
        return [value for value in self.values.values() if math.isfinite(value)]

    @property
    def is_whole(self) -> bool:
        """Whether every run of the group has a finite value: what went astray must not drop out of a comparison."""
        return bool(self.values) and not self.missing and len(self.finite) == len(self.values)

    @property
    def mean(self) -> float:
        """Of the finite values."""
        return float(np.mean(self.finite)) if self.finite else math.nan

    @property
    def iqm(self) -> float:
        """Their interquartile mean."""
        return interquartile_mean(self.finite) if self.finite else math.nan

    @property
    def spread(self) -> float:
        """Their standard deviation; nan for fewer than two."""
        return float(np.std(self.finite, ddof=1)) if len(self.finite) > 1 else math.nan


@dataclass(frozen=True)
class Contest:
    """How the group with the best mean does against another."""

    best: str
    other: str
    difference: Difference


@dataclass(frozen=True)
class Verdict:
    """A metric over all groups. `winner` is empty where none can be named; `sentence` says how it stands."""

    metric: str
    samples: tuple[Sample, ...]
    contests: tuple[Contest, ...]
    winner: str
    sentence: str

    @property
    def constant(self) -> float | None:
        """The one value that every run has, if there is such a one."""
        values = {value for sample in self.samples for value in sample.values.values()}
        whole = all(sample.is_whole for sample in self.samples)
        return values.pop() if whole and len(values) == 1 else None


def verdicts(groups: Sequence[Group], metrics: Sequence[str] = ()) -> list[Verdict]:
    """A verdict for each metric: the named ones, or else the headlines and what all have and is known to be better low
    or high.
    """
    runs = [run for group in groups for run in group.runs]
    return [_verdict(metric, groups) for metric in (_checked(metrics, runs) if metrics else _common(runs))]


def _checked(metrics: Sequence[str], runs: Sequence[ComparedRun]) -> Sequence[str]:
    known = metric_names(runs)
    for metric in metrics:
        if metric not in known:
            there = f"; there are {', '.join(known[:12])}" if known else "; these runs have no metrics"
            raise UserError(f"--metric {metric}: no run here has it{suggestion(metric, known) or there}")
    return metrics


def _common(runs: Sequence[ComparedRun]) -> list[str]:
    headlines = {run.headline for run in runs}
    names = metric_names(runs)
    shared = [name for name in names if all(name in run.figures for run in runs)]
    chosen = [name for name in names if name in headlines or (name in shared and direction(name))]
    return chosen or shared or names


def _verdict(metric: str, groups: Sequence[Group]) -> Verdict:
    samples = [_sample(metric, group) for group in groups]
    whole = [sample for sample in samples if sample.is_whole]
    contests = _contests(whole, direction(metric) or 1)
    winner = ""
    if len(whole) == len(samples) and direction(metric) and all(one.difference.excludes_zero for one in contests):
        winner = contests[0].best
    return Verdict(metric, tuple(samples), tuple(contests), winner, _sentence(metric, samples, contests, winner))


def _sample(metric: str, group: Group) -> Sample:
    values: dict[Any, list[float]] = {}
    for run in group.runs:
        if metric in run.figures:
            values.setdefault(run.seed, []).append(run.figures[metric])
    missing = tuple(run.label for run in group.runs if metric not in run.figures)
    return Sample(group.name, {seed: float(np.mean(found)) for seed, found in values.items()}, missing)


def _contests(samples: Sequence[Sample], sign: int) -> list[Contest]:
    """The best against each other one.

    The best is chosen by looking at the data, so the confidence of each is raised as if every pair were compared
    (Bonferroni): all of them are right together as often as one interval alone would be.
    """
    if len(samples) < 2:
        return []
    best = max(samples, key=lambda sample: sign * sample.mean)
    pairs = len(samples) * (len(samples) - 1) // 2
    confidence = 1 - (1 - CONFIDENCE) / pairs
    others = [sample for sample in samples if sample is not best]
    return [Contest(best.group, other.group, _difference(best, other, confidence)) for other in others]


def _difference(best: Sample, other: Sample, confidence: float) -> Difference:
    """Paired by seed where at least two seeds, and half of the smaller sample's, stand in both."""
    shared = [seed for seed in best.values if seed in other.values]
    if len(shared) >= max(2, min(len(best.values), len(other.values)) / 2):
        first, second = ([sample.values[seed] for seed in shared] for sample in (best, other))
        return paired_difference(first, second, confidence)
    if min(len(best.values), len(other.values)) == 1 and shared:
        return paired_difference([best.values[shared[0]]], [other.values[shared[0]]], confidence)
    return unpaired_difference(list(best.values.values()), list(other.values.values()), confidence)


def _sentence(metric: str, samples: Sequence[Sample], contests: Sequence[Contest], winner: str) -> str:
    broken = [_astray(sample) for sample in samples if not sample.is_whole]
    if broken:
        return f"No winner can be named: {'; '.join(broken)}."
    counts = [len(sample.values) for sample in samples]
    if min(counts) == 1:
        who = "One seed each" if max(counts) == 1 else "One seed only on a side"
        return f"{who}: no winner can be named, as nothing tells how far chance goes. Run three seeds or more of each."
    if winner:
        return f"{winner} wins: its {metric} is better, by at least {_least(contests):.3g}."
    return " ".join(
        _standing(metric, one) for one in contests if not one.difference.excludes_zero or not direction(metric)
    )


def _least(contests: Sequence[Contest]) -> float:
    """What the winner is ahead by at the ends of the intervals that lie nearest to zero."""
    found = [contest.difference for contest in contests]
    return min(abs(end) for one in found for end in (one.low, one.high, one.bootstrap_low, one.bootstrap_high))


def _standing(metric: str, contest: Contest) -> str:
    found = contest.difference
    pair = f"{contest.best} and {contest.other}"
    if found.excludes_zero:
        return f"{contest.best} has the higher {metric} than {contest.other}; which is better, its name does not tell."
    if found.spread == 0:
        gap = "the same figure" if found.mean == 0 else f"a difference of exactly {found.mean:.4g}"
        return f"No winner between {pair}: every seed gives {gap}, so chance has no measure."
    return f"No winner between {pair}: the interval holds zero; {_missing_seeds(found.more_seeds)}."


def _missing_seeds(count: int | None) -> str:
    if count is None:
        return "a difference as small as this would take over 1,000 seeds of each to show"
    return f"about {count} more seed{'s' if count > 1 else ''} of each would show a difference of this size"


def _astray(sample: Sample) -> str:
    odd = [f"seed {seed} gave {value}" for seed, value in sample.values.items() if not math.isfinite(value)]
    odd += [f"{label} has no figure" for label in sample.missing]
    return f"in {sample.group}, {', '.join(odd) or 'no run has a figure'}"


def sample_cells(verdict: Verdict) -> list[tuple[str, ...]]:
    """A line for each group under `SAMPLE_COLUMNS`."""
    means, iqms = (digits([getattr(sample, name) for sample in verdict.samples]) for name in ("mean", "iqm"))
    lines: list[tuple[str, ...]] = []
    for sample, mean, iqm in zip(verdict.samples, means, iqms, strict=True):
        spread = MISSING if math.isnan(sample.spread) else f"{sample.spread:.3g}"
        values = "  ".join(digits(sorted(sample.values.values())))
        lines.append((sample.group, str(len(sample.values)), mean, iqm, spread, values))
    return lines


def contest_cells(verdict: Verdict) -> list[tuple[str, ...]]:
    """A line for each contest under `CONTEST_COLUMNS`; none where single seeds leave nothing to say."""
    return [_contest_cells(contest) for contest in verdict.contests if contest.difference.count > 1]


def level(verdict: Verdict) -> str:
    """What the intervals of a verdict's contests are, in a line."""
    confidence = verdict.contests[0].difference.confidence
    if len(verdict.contests) == 1:
        return f"intervals at {confidence:.0%}"
    return f"intervals at {confidence:.1%} each, so that those of all pairs together hold at {CONFIDENCE:.0%}"


def constants(verdicts: Sequence[Verdict]) -> str:
    """The metrics in which every run has the same value, in a line; nothing where there are none."""
    found = [f"{one.metric} {one.constant:.5g}" for one in verdicts if one.constant is not None]
    return f"the same in every run: {', '.join(found)}" if found else ""


def _contest_cells(contest: Contest) -> tuple[str, ...]:
    found = contest.difference
    return (
        f"{contest.best} vs {contest.other}",
        f"{found.mean:+.3g}",
        f"{found.low:+.3g} … {found.high:+.3g}",
        f"{found.bootstrap_low:+.3g} … {found.bootstrap_high:+.3g}",
        f"{found.count} pairs" if found.paired else f"{found.count} alone",
        f"{found.detectable:.3g}",
    )
