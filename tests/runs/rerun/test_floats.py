from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.runs.journal import Journal
from understudy.runs.rerun.floats import compare_bits, compare_outcomes, same_bits


def folder_with(path: Path, losses: list[float], weights: tuple[str, ...] = ()) -> Path:
    path.mkdir()
    journal = Journal(path / "metrics.jsonl")
    for step, loss in enumerate(losses):
        journal.log(step, loss=loss, tokens_per_s=hash(path))
    for step, name in enumerate(weights):
        Journal(path / "checkpoints.jsonl").append({"step": step, "sha256": name})
    return path


def test_equal_runs(tmp_path: Path) -> None:
    losses = [0.1 + 0.2, float("nan"), float("inf"), -0.0]
    like = compare_bits(folder_with(tmp_path / "a", losses, ("x",)), folder_with(tmp_path / "b", losses, ("x",)))
    assert (like.lines, like.checkpoints, like.difference, like.last_step) == (4, 1, None, 3)


@pytest.mark.parametrize(("losses", "said"), [
    ([1.0, 0.30000000000000004, 3.0], "step 1: loss was 0.3, and is 0.30000000000000004 now"),
    ([1.0, 0.3, -3.0], "step 2: loss was 3.0, and is -3.0 now"),
    ([1.0, 0.3], "step 2: loss was logged, and is not logged now"),
    ([1.0, 0.3, 3.0, 4.0], "step 3: loss was not logged, and is logged now"),
])  # fmt: skip
def test_the_first_difference_is_named(losses: list[float], said: str, tmp_path: Path) -> None:
    like = compare_bits(folder_with(tmp_path / "a", [1.0, 0.3, 3.0]), folder_with(tmp_path / "b", losses))
    assert str(like.difference) == said


def test_a_run_that_is_not_at_its_end(tmp_path: Path) -> None:
    whole, part = folder_with(tmp_path / "a", [1.0, 2.0, 3.0], ("x", "y")), folder_with(tmp_path / "b", [1.0], ("x",))
    assert compare_bits(whole, part, partial=True).difference is None
    assert compare_bits(whole, part, until=0).difference is None
    assert compare_bits(whole, part).difference is not None


def test_weights(tmp_path: Path) -> None:
    like = compare_bits(
        folder_with(tmp_path / "a", [1.0, 2.0], ("x", "y")), folder_with(tmp_path / "b", [1.0, 2.0], ("x", "z"))
    )
    assert str(like.difference) == "step 1: sha256 of the weights was y, and is z now"


def test_outcomes() -> None:
    then = {"loss": 1.0, "seconds": 3.0, "checkpoint": "/a", "headline": ["loss", 1.0]}
    assert compare_outcomes(then, then | {"seconds": 4.0, "checkpoint": "/b"}) is None
    assert str(compare_outcomes(then, then | {"loss": 2.0})) == "the outcome: loss was 1.0, and is 2.0 now"


@given(st.floats(), st.floats())
def test_floats_are_the_same_when_their_bits_are(a: float, b: float) -> None:
    assert same_bits(a, a)
    assert same_bits(a, b) == (repr(a) == repr(b))
