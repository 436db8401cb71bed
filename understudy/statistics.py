"""Statistics of a few seeds: means, confidence intervals of a difference, and how many seeds would settle it.

And the confidence interval of a measurement on a sample of conversations (`ratio_estimate`, `half_sample_estimate`).

A difference has two intervals, and counts as shown only if both exclude zero:

- Student's t interval (with Welch's degrees of freedom for unpaired seeds). Its coverage is exact for normal
  differences, however few there are: 95.0% in simulation at 2, 3, 5 and 20 pairs.
- The expanded percentile bootstrap of Hesterberg (2015), "What Teachers Should Know About the Bootstrap", The American
  Statistician 69(4): percentiles are moved outwards until, for normal data, they agree with the t interval. Unlike t
  it follows the skew of the data. But resampled means never leave the range of the data, so no bootstrap of this kind
  can cover more than 1 - 2^(1-n) of n symmetric differences: 75% at 3 seeds, where the plain percentile bootstrap
  covers 75%, BCa 70%, and t 95%. At 5 seeds: plain 84%, BCa 84%, expanded 92%. This is why t stands beside it.

Power is computed from the noncentral t distribution (Cohen, 1988). Pure functions over NumPy.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
POWER = 0.8  # at which a difference counts as detectable
RESAMPLES = 10_000  # of the bootstrap
HALVES = 1000
MOST_SEEDS = 1000
# Random indices in memory at a time. Another number draws the same ones.
DRAWN_AT_ONCE = 1 << 22
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """How far the mean of one sample lies above that of another, with its confidence intervals.

    `count` is the number of pairs or, if not `paired`, the size of the smaller sample. `spread` is the standard
    deviation of the differences. `low` to `high` is the t interval and `bootstrap_low` to `bootstrap_high` that of the
    bootstrap, both at `confidence`. All of these are nan for fewer than two values per side.
    """

    mean: float
    count: int
    paired: bool
    confidence: float
    spread: float = math.nan
    low: float = math.nan
    high: float = math.nan
    bootstrap_low: float = math.nan
    bootstrap_high: float = math.nan
    detectable: float = math.nan
    """The smallest true difference that this number of seeds would show four times out of five."""
    more_seeds: int | None = None
    """How many more seeds per side would show a difference of this size four times out of five.

    None above 1,000 seeds, and when the seeds give no spread to tell it from.
    """

    @property
    def excludes_zero(self) -> bool:
        """Whether both intervals lie on one side of zero. False if the seeds show no spread at all."""
        if not self.spread > 0:
            return False
        return min(self.low, self.bootstrap_low) > 0 or max(self.high, self.bootstrap_high) < 0


@dataclass(frozen=True)
class Estimate:
    """A figure measured on a sample, and its 95% confidence interval; nan where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def map(self, function: Callable[[float], float]) -> "Estimate":
        """Return the estimate of an increasing function of the figure.

        >>> Estimate(2.0, 1.0, 3.0).map(lambda x: x * 10)
        Estimate(value=20.0, low=10.0, high=30.0)
        """
        return Estimate(function(self.value), function(self.low), function(self.high))


def ratio_estimate(parts: ArrayLike, sizes: ArrayLike) -> Estimate:
    """Estimate Σ parts / Σ sizes, such as nats per token, from a sample of conversations.

    The bootstrap draws whole conversations, because what is said within one is correlated (Davison & Hinkley, 1997,
    "Bootstrap Methods and their Application", section 3.8), and takes expanded percentiles (Hesterberg 2015), as above.

    Args:
        parts: the numerator of each conversation, of shape (conversations,).
        sizes: its denominator, of the same shape. Conversations of size 0 are left out.

    Returns:
        The ratio and its interval. The interval is nan for fewer than two conversations, and so is the ratio for none.

    >>> found = ratio_estimate([30.0, 10.0, 24.0, 16.0], [10, 5, 10, 5])
    >>> round(found.value, 3), round(found.low, 2), round(found.high, 2)
    (2.667, 2.0, 3.2)
    """
    sample_NK = np.stack([np.asarray(parts, dtype=np.float64), np.asarray(sizes, dtype=np.float64)], axis=1)
    sample_NK = sample_NK[sample_NK[:, 1] > 0]
    count = len(sample_NK)
    if not count:
        return Estimate(math.nan)
    value = float(sample_NK[:, 0].sum() / sample_NK[:, 1].sum())
    if count < 2:
        return Estimate(value)
    # Resampling pairs of (part, size) keeps each conversation whole.
    resampled = _resampled_means(sample_NK, np.random.default_rng(0))
    reach = student_quantile((1 + CONFIDENCE) / 2, count - 1) / math.sqrt(count)
    return Estimate(value, *_expanded_percentiles([sample_NK], [1.0], resampled[:, 0] / resampled[:, 1], reach))


def half_sample_estimate(statistic: Callable[[Indices], float], count: int) -> Estimate:
    """Estimate a figure of `count` conversations, with an interval from its spread over random halves of them.

    For figures that count distinct things, such as words. The bootstrap would take some conversations twice, as no new
    sample does, and find too few. A half holds each conversation at most once, and the variance over halves is that of
    the whole, as for any delete-d jackknife with d = n / 2 (Shao & Wu, 1989, "A general theory for jackknife variance
    estimation").

    Args:
        statistic: returns the figure of the conversations at the given indices, which are distinct.
        count: how many conversations there are.

    Returns:
        The figure and its interval, which is nan for fewer than two conversations.

    >>> values = np.array([1.0, 2.0, 4.0, 5.0, 6.0, 9.0])
    >>> found = half_sample_estimate(lambda kept: float(values[kept].mean()), 6)
    >>> round(found.value, 2), round(found.high - found.value, 1)  # t with 5 degrees of freedom gives 3.0
    (4.5, 3.0)
    """
    value, kept = statistic(np.arange(count)), count // 2
    if not kept:
        return Estimate(value)
    random = np.random.default_rng(0)
    halves = [statistic(random.permutation(count)[:kept]) for _ in range(HALVES)]
    # The delete-d jackknife scales the variance over its samples by kept / deleted.
    error = math.sqrt(kept / (count - kept)) * float(np.std(halves))
    reach = student_quantile((1 + CONFIDENCE) / 2, count - 1) * error
    return Estimate(value, value - reach, value + reach)


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean without the lowest and the highest quarter, each rounded down; below four values the plain mean.

    Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice": as robust to an
    outlying seed as the median, and statistically more efficient.

    >>> interquartile_mean([1.0, 2.0, 3.0, 100.0])
    2.5
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float = CONFIDENCE) -> Difference:
    """Return the mean of `first - second`, where entry i of both comes from the same seed.

    >>> found = paired_difference([1.0, 1.2, 1.1, 1.3], [0.8, 0.9, 0.9, 1.0])
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3), found.excludes_zero
    (0.25, 0.158, 0.342, True)
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return _difference([differences], confidence)


def unpaired_difference(first: ArrayLike, second: ArrayLike, confidence: float = CONFIDENCE) -> Difference:
    """Return the mean of `first` minus that of `second`, for samples of independent seeds.

    Welch, B. L. (1947), "The generalization of 'Student's' problem when several different population variances are
    involved".
    """
    return _difference([np.asarray(sample, dtype=np.float64) for sample in (first, second)], confidence)


def student_cdf(t: float, degrees: float) -> float:
    """Return the probability that Student's t with `degrees` degrees of freedom lies below `t`.

    >>> round(student_cdf(2.0, 4), 4)
    0.9419
    """
    scale, weights = _chi(degrees)
    return float(weights @ _normal_cdf(t * scale))


@cache
def student_quantile(probability: float, degrees: float) -> float:
    """Return the value below which Student's t lies with this probability, which is above one half.

    >>> round(student_quantile(0.975, 4), 3)
    2.776
    """
    return _smallest(lambda t: student_cdf(t, degrees) >= probability)


def power(effect: float, degrees: float, confidence: float = CONFIDENCE) -> float:
    """Return how often a two-sided t test finds a true difference of `effect` standard errors.

    >>> round(power(0.0, 4), 3), round(power(4.0, 4), 3)
    (0.05, 0.843)
    """
    limit = student_quantile((1 + confidence) / 2, degrees)
    scale, weights = _chi(degrees)
    return float(weights @ (_normal_cdf(effect - limit * scale) + _normal_cdf(-effect - limit * scale)))


def _difference(samples: Sequence[Floats], confidence: float) -> Difference:
    """Return the difference from one sample of paired differences, or from two unpaired samples."""
    first, *others = samples
    mean = float(first.mean() - sum(sample.mean() for sample in others))
    found = Difference(mean, min(map(len, samples)), not others, confidence)
    if found.count < 2:
        return found
    variances = [float(np.var(sample, ddof=1)) for sample in samples]
    error = math.sqrt(sum(variance / len(sample) for variance, sample in zip(variances, samples, strict=True)))
    # Below this the spread is zero but for rounding.
    if not error > 1e-12 * max(map(float, map(np.max, map(np.abs, samples)))):
        return Difference(mean, found.count, found.paired, confidence, 0.0, mean, mean, mean, mean, 0.0)
    random = np.random.default_rng(0)
    resampled = _resampled_means(first, random) - sum(_resampled_means(sample, random) for sample in others)
    degrees = _degrees(variances, [len(sample) for sample in samples])
    reach = student_quantile((1 + confidence) / 2, degrees) * error
    low, high = _expanded_percentiles(samples, variances, resampled, reach)
    return replace(
        found,
        spread=math.sqrt(sum(variances)),
        low=mean - reach,
        high=mean + reach,
        bootstrap_low=low,
        bootstrap_high=high,
        detectable=error * _detectable(degrees, confidence),
        more_seeds=_more_seeds(abs(mean), variances, found.count, confidence),
    )


def _degrees(variances: Sequence[float], counts: Sequence[int]) -> float:
    """Return the Welch-Satterthwaite degrees of freedom; n - 1 for one sample."""
    parts = [variance / count for variance, count in zip(variances, counts, strict=True)]
    return sum(parts) ** 2 / sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))


def _resampled_means(sample: Floats, random: np.random.Generator) -> Floats:
    """Return the means of RESAMPLES samples drawn with replacement, each of the size of `sample`."""
    count = len(sample)
    # Drawn in parts, to save memory.
    at_once = max(1, DRAWN_AT_ONCE // count)
    parts = [min(at_once, RESAMPLES - done) for done in range(0, RESAMPLES, at_once)]
    return np.concatenate([sample[random.integers(0, count, (part, count))].mean(axis=1) for part in parts])


def _expanded_percentiles(
    samples: Sequence[Floats], variances: Sequence[float], resampled: Floats, reach: float
) -> tuple[float, float]:
    """Return the percentiles of the resampled means that, if these are normal, lie `reach` from their center."""
    counts = [len(sample) for sample in samples]
    error = math.sqrt(sum(v / n * (n - 1) / n for v, n in zip(variances, counts, strict=True)))
    tail = float(_normal_cdf(-reach / error))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


@cache
def _detectable(degrees: float, confidence: float) -> float:
    """Return the smallest effect, in standard errors, that is found with a power of POWER."""
    return _smallest(lambda effect: power(effect, degrees, confidence) >= POWER)


def _more_seeds(mean: float, variances: Sequence[float], count: int, confidence: float) -> int | None:
    """Return how many more seeds per side would show a true difference `mean` with a power of POWER, or None."""

    def is_enough(seeds: int) -> bool:
        degrees = _degrees(variances, [seeds] * len(variances))
        return power(mean / math.sqrt(sum(variances) / seeds), degrees, confidence) >= POWER

    # Power rises with the number of seeds, so bisect.
    enough = bisect_left(range(MOST_SEEDS + 1), True, lo=2, key=is_enough)
    return max(1, enough - count) if enough <= MOST_SEEDS else None


@cache
def _chi(degrees: float) -> tuple[Floats, Floats]:
    """Return points and weights to average over sqrt(chi-squared / degrees), by which Student's t is scaled."""
    # The trapezoidal rule in the logarithm, which converges exponentially fast here.
    # Beyond these ends the density is negligible.
    logarithm = np.linspace(-40 / degrees - 5 / math.sqrt(degrees), min(3.0, 9 / math.sqrt(degrees)), 401)
    density = degrees * logarithm - degrees / 2 * np.exp(2 * logarithm)
    weights = np.exp(density - density.max())
    return np.exp(logarithm), weights / weights.sum()


_normal_cdf = np.vectorize(lambda value: (1 + math.erf(value / math.sqrt(2))) / 2, otypes=[np.float64])


def _smallest(is_enough: Callable[[float], bool]) -> float:
    """Return the smallest positive number that is enough, to twelve digits. All larger ones must be enough too."""
    # Bracket it, then bisect.
    high = 1.0
    while not is_enough(high):
        high *= 2
    low = 0.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
