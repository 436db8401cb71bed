"""The statistics of seeds, held to SciPy and to simulation."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from understudy import statistics
from understudy.statistics import (
    Difference,
    half_sample_estimate,
    interquartile_mean,
    paired_difference,
    power,
    ratio_estimate,
    student_cdf,
    student_quantile,
    unpaired_difference,
)

DEGREES = (1, 1.3, 2, 3, 4, 7.5, 10, 30, 100, 1998)
figures = st.floats(-1e3, 1e3).map(lambda value: round(value, 6))
samples = st.lists(figures, min_size=2, max_size=12)
pairs = st.lists(st.tuples(figures, figures), min_size=2, max_size=12)


@pytest.mark.parametrize("degrees", DEGREES)
def test_students_t_agrees_with_scipy(degrees: float) -> None:
    for t in (-3.0, -0.5, 0.0, 1.0, 2.5, 8.0):
        assert student_cdf(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), abs=1e-9)
    for probability in (0.6, 0.9, 0.975, 0.999):
        expected = stats.t.ppf(probability, degrees)
        assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("degrees", DEGREES)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_power_agrees_with_the_noncentral_t_of_scipy(degrees: float, confidence: float) -> None:
    limit = stats.t.ppf((1 + confidence) / 2, degrees)
    for effect in (0.0, 0.5, 2.0, 4.0, 7.0):
        below = np.nan_to_num(stats.nct.cdf(-limit, degrees, effect))  # SciPy has nan for some that are all but 0
        expected = stats.nct.sf(limit, degrees, effect) + below
        assert power(effect, degrees, confidence) == pytest.approx(expected, abs=1e-8)


@given(st.lists(figures, min_size=1, max_size=40))
def test_the_interquartile_mean_is_the_trimmed_mean_of_scipy(values: list[float]) -> None:
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-9)
    assert min(values) - 1e-9 <= interquartile_mean(values) <= max(values) + 1e-9


@given(pairs)
def test_the_paired_interval_is_that_of_scipy(values: list[tuple[float, float]]) -> None:
    first, second = np.array(values).T
    found = paired_difference(first, second)
    if found.spread == 0:
        assert np.ptp(first - second) < 1e-6
        return
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-6)
    assert found.mean == pytest.approx(np.mean(first - second), abs=1e-9)


@pytest.mark.filterwarnings("ignore:Precision loss")  # SciPy's own, on samples that are nearly constant
@given(samples, samples)
def test_the_unpaired_interval_is_that_of_scipy(first: list[float], second: list[float]) -> None:
    found = unpaired_difference(first, second)
    if found.spread == 0:
        return
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-6)


@given(pairs)
def test_swapping_the_sides_negates_the_difference(values: list[tuple[float, float]]) -> None:
    first, second = np.array(values).T
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
    assert (one.detectable, one.more_seeds) == pytest.approx((other.detectable, other.more_seeds))
    scale = np.ptp(first - second)
    assert one.bootstrap_low == pytest.approx(-other.bootstrap_high, abs=0.05 * scale + 1e-9)


@given(pairs, st.sampled_from([0.001, 8.0, 1e6]), st.integers(-1000, 1000))
def test_units_do_not_matter(values: list[tuple[float, float]], scale: float, shift: int) -> None:
    first, second = np.array(values).T
    plain = paired_difference(first, second)
    scaled = paired_difference(scale * first + scale * shift, scale * second)
    names = ("mean", "low", "high", "bootstrap_low", "bootstrap_high")
    moved = [scale * (getattr(plain, name) + shift) for name in names]
    assert [getattr(scaled, name) for name in names] == pytest.approx(moved, rel=1e-6, abs=scale * 1e-6)
    assert scaled.detectable == pytest.approx(scale * plain.detectable, rel=1e-6, abs=scale * 1e-6)


@given(pairs)
def test_resampled_means_stay_within_the_data(values: list[tuple[float, float]]) -> None:
    differences = np.array(values) @ [1, -1]
    found = paired_difference(*np.array(values).T)
    assert differences.min() - 1e-9 <= found.bootstrap_low <= found.bootstrap_high <= differences.max() + 1e-9


@pytest.mark.parametrize("count", [3, 5, 12])
def test_the_intervals_cover_the_truth_as_often_as_they_say(count: int) -> None:
    random = np.random.default_rng(count)
    found = [paired_difference(random.normal(0.3, 2, count), np.zeros(count)) for _ in range(1000)]
    covered = np.mean([one.low <= 0.3 <= one.high for one in found])
    assert 0.93 < covered < 0.97  # the standard error of 1,000 tries is 0.7%
    # Neither interval alone, nor both together, names a difference that is not there more than once in twenty.
    nothing = [paired_difference(random.normal(0, 2, count), np.zeros(count)) for _ in range(1000)]
    assert np.mean([one.excludes_zero for one in nothing]) < 0.065
    bootstrap = np.mean([one.bootstrap_low <= 0.3 <= one.bootstrap_high for one in found])
    ceiling = {3: 0.75, 5: 0.92, 12: 0.95}[count]  # what the module says of it
    assert abs(bootstrap - ceiling) < 0.03


def test_unpaired_samples_of_unequal_spread_are_covered_too() -> None:
    random = np.random.default_rng(1)
    found = [unpaired_difference(random.normal(0, 1, 4), random.normal(0, 5, 8)) for _ in range(400)]
    assert 0.925 < np.mean([one.low <= 0 <= one.high for one in found]) < 0.975


def test_a_detectable_difference_is_detected_four_times_out_of_five() -> None:
    random = np.random.default_rng(2)
    error = 1 / math.sqrt(5)
    limit = student_quantile(0.975, 4)
    effect = next(effect for effect in np.arange(0, 9, 0.001) if power(effect, 4) >= 0.8) * error
    one = paired_difference(
        np.array([-1.2, -0.6, 0.0, 0.6, 1.2]) / np.std([-1.2, -0.6, 0, 0.6, 1.2], ddof=1), np.zeros(5)
    )
    assert one.detectable == pytest.approx(effect, abs=0.001)
    draws = random.normal(effect, 1, (4000, 5))
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / math.sqrt(5))
    assert np.mean(np.abs(t) > limit) == pytest.approx(0.8, abs=0.02)


def test_the_number_of_missing_seeds_is_that_of_scipy() -> None:
    differences = np.array([0.02, -0.01, 0.03, 0.0, 0.01])
    found = paired_difference(differences, np.zeros(5))
    assert not found.excludes_zero
    assert found.more_seeds is not None
    for seeds, enough in ((5 + found.more_seeds, True), (5 + found.more_seeds - 1, False)):
        effect = differences.mean() / differences.std(ddof=1) * math.sqrt(seeds)
        found_power = stats.nct.sf(stats.t.ppf(0.975, seeds - 1), seeds - 1, effect)
        assert bool(found_power >= 0.8) is enough


def test_a_difference_too_small_to_settle() -> None:
    values = np.array([1.0, -1.0, 1.0, -1.0])
    assert paired_difference(values, np.zeros(4)).more_seeds is None
    assert paired_difference(values + 0.01, np.zeros(4)).more_seeds is None


@pytest.mark.parametrize("difference", [paired_difference, unpaired_difference])
def test_one_seed_per_side_shows_no_spread(difference) -> None:
    found = difference([2.0], [1.0])
    assert (found.mean, found.count, found.more_seeds, found.excludes_zero) == (1.0, 1, None, False)
    assert all(map(math.isnan, astuple(found)[4:10]))


def test_no_spread_shows_nothing() -> None:
    found = paired_difference([1.1, 2.1, 3.1], [1.0, 2.0, 3.0])
    assert (found.spread, found.excludes_zero, found.more_seeds) == (0.0, False, None)


def test_pairing_finds_what_the_seeds_would_hide() -> None:
    seeds = np.array([0.0, 5.0, 10.0, 15.0])
    better = seeds + np.array([1.0, 1.1, 0.9, 1.05])
    assert paired_difference(better, seeds).excludes_zero
    assert not unpaired_difference(better, seeds).excludes_zero


def test_both_intervals_must_agree() -> None:
    assert Difference(1.0, 3, True, 0.95, 1.0, 0.1, 2.0, 0.1, 2.0).excludes_zero
    assert Difference(-1.0, 3, True, 0.95, 1.0, -2.0, -0.1, -2.0, -0.1).excludes_zero
    assert not Difference(1.0, 3, True, 0.95, 1.0, -0.1, 2.0, 0.1, 2.0).excludes_zero
    assert not Difference(1.0, 3, True, 0.95, 1.0, 0.1, 2.0, -0.1, 2.0).excludes_zero


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    values = [0.1, 0.4, 0.3, 0.2, 0.6]
    narrow, wide = (paired_difference(values, [0.0] * 5, confidence) for confidence in (0.95, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.bootstrap_low <= narrow.bootstrap_low < narrow.bootstrap_high <= wide.bootstrap_high


def test_a_ratio_of_equal_sizes_has_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 40)
    found = ratio_estimate(values * 7, np.full(40, 7))
    error = values.std(ddof=1) / math.sqrt(40)
    assert found.value == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(student_quantile(0.975, 39) * error, rel=0.03)


def test_the_bootstrap_draws_whole_conversations() -> None:
    """A hundred replies that all come from two conversations tell less than a hundred conversations."""
    hits = np.tile([0.0, 1.0], 50)
    alone = ratio_estimate(hits, np.ones(100))
    together = ratio_estimate([10.0, 8.0, 4.0, 2.0, 1.0], [10, 10, 10, 10, 10])
    assert together.high - together.low > 2 * (alone.high - alone.low)


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 40])
def test_the_true_ratio_lies_in_its_interval_19_times_out_of_20(count: int) -> None:
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        sizes = random.integers(1, 10, count)
        hits = random.binomial(sizes, random.beta(1, 3, count))  # conversations differ in how hard they are
        found = ratio_estimate(hits, sizes)
        covered += found.low <= 0.25 <= found.high
    assert 0.90 <= covered / 400 <= 0.98


def test_an_empty_sample_has_no_ratio_and_a_single_value_no_interval() -> None:
    assert math.isnan(ratio_estimate([], []).value)
    assert math.isnan(ratio_estimate([0.0], [0]).value)
    one = ratio_estimate([3.0, 0.0], [2, 0])
    assert (one.value, math.isnan(one.low), math.isnan(one.high)) == (1.5, True, True)
    assert math.isnan(half_sample_estimate(lambda kept: 1.0, 1).low)


@pytest.mark.parametrize("count", [7, 40])
def test_halves_of_a_mean_spread_as_the_mean_does(count: int) -> None:
    values = np.random.default_rng(4).exponential(1.0, count)
    found = half_sample_estimate(lambda kept: float(values[kept].mean()), count)
    error = values.std(ddof=1) / math.sqrt(count)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(student_quantile(0.975, count - 1) * error, rel=0.08)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_no_half_names_a_conversation_twice() -> None:
    def kept_once(kept: statistics.Indices) -> float:
        assert len(set(kept.tolist())) == len(kept)
        return float(len(kept))

    assert half_sample_estimate(kept_once, 9).value == 9


def test_drawing_in_parts_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, sizes = np.arange(20.0), np.arange(1, 21)
    whole = ratio_estimate(parts, sizes)
    monkeypatch.setattr(statistics, "DRAWN_AT_ONCE", 20 * 37)
    assert ratio_estimate(parts, sizes) == whole
