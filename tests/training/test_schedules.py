import itertools

import pytest

from understudy.training.schedules import Schedule, rate_at

KINDS: tuple[Schedule, ...] = ("cosine", "linear", "constant", "wsd")


def rates(schedule: Schedule, steps: int = 100, warmup: int = 10, final: float = 0.1) -> list[float]:
    return [rate_at(step, steps, schedule, warmup, final) for step in range(steps)]


@pytest.mark.parametrize("schedule", KINDS)
def test_warm_up_is_linear_and_reaches_the_peak(schedule: Schedule) -> None:
    assert rates(schedule)[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates(schedule)[10] == pytest.approx(1.0)
    assert rates(schedule, warmup=0)[0] == pytest.approx(1.0)


@pytest.mark.parametrize("schedule", KINDS)
def test_after_warm_up_the_rate_never_rises_and_stays_above_the_final_one(schedule: Schedule) -> None:
    after = rates(schedule)[10:]
    assert all(earlier >= later for earlier, later in itertools.pairwise(after))
    assert min(after) >= 0.1


def test_each_kind_at_the_middle_and_the_end() -> None:
    middle = {kind: rate_at(55, 100, kind, warmup=10, final=0.1) for kind in KINDS}
    assert middle == pytest.approx({"cosine": 0.55, "linear": 0.55, "constant": 1.0, "wsd": 1.0})
    # What the next step would have had: the last one stands just above it.
    end = {kind: rate_at(100, 100, kind, warmup=10, final=0.1) for kind in KINDS}
    assert end == pytest.approx({"cosine": 0.1, "linear": 0.1, "constant": 1.0, "wsd": 0.1})


def test_the_cosine_falls_slowly_at_first_and_the_line_evenly() -> None:
    quarter = 10 + 90 / 4
    assert rate_at(quarter, 100, "cosine", 10, 0.0) == pytest.approx(0.5 * (1 + 0.5**0.5))  # type: ignore[arg-type]
    assert rate_at(quarter, 100, "linear", 10, 0.0) == pytest.approx(0.75)  # type: ignore[arg-type]


def test_wsd_is_constant_and_then_falls_over_its_last_fifth() -> None:
    wsd = rates("wsd", final=0.0)
    assert wsd[10:81] == pytest.approx([1.0] * 71)
    assert wsd[80:] == pytest.approx([1 - step / 20 for step in range(20)])


@pytest.mark.parametrize("schedule", KINDS)
@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 1), (2, 50), (50, 50)])
def test_short_runs_have_rates_too(schedule: Schedule, steps: int, warmup: int) -> None:
    assert all(0 < rate <= 1 for rate in rates(schedule, steps, warmup))
