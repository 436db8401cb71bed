"""Baselines on made-up steps whose best predictions are known."""

import math

import numpy as np
import pytest

from understudy.data.packing import Batch
from understudy.evaluation.baselines import Steps, commonest, logistic_regression, repeat_last


def steps(seed: int, repeats: float = 0.0, follows: bool = False, rows: int = 6, length: int = 400) -> Steps:
    """Actions drawn by (0.2, 0.5, 0.3), repeated with a probability, or following from what is seen."""
    draw = np.random.default_rng(seed)
    seen = draw.normal(size=(rows, length, 4)).astype(np.float32)
    actions = draw.choice(3, p=(0.2, 0.5, 0.3), size=(rows, length))
    for step in range(1, length):
        again = draw.random(rows) < repeats
        actions[again, step] = actions[again, step - 1]
    if follows:
        actions = (seen[..., :3] * 3).argmax(-1)
    weights, reset = np.ones((rows, length), np.float32), np.zeros((rows, length), bool)
    weights[0, length // 2 :] = 0
    reset[:, 0] = True
    return Steps([Batch(seen, actions[..., None], weights, reset)])


def test_the_commonest_action_has_the_nats_of_the_frequencies() -> None:
    found = commonest(steps(0), steps(1), steps(2), 3)
    entropy = -sum(p * math.log(p) for p in (0.2, 0.5, 0.3))
    assert found.nats.mean() == pytest.approx(entropy, abs=0.03)
    assert found.right.mean() == pytest.approx(0.5, abs=0.04)
    assert len(found.nats) == 6 * 400 - 200
    assert set(found.row) == set(range(6))


def test_repeating_finds_how_often_people_do() -> None:
    found = repeat_last(steps(0, 0.6), steps(1, 0.6), steps(2, 0.6), 3)
    frequencies = np.array([0.2, 0.5, 0.3])
    again = 0.6 + 0.4 * frequencies
    expected = -(frequencies * (again * np.log(again))).sum()
    expected -= sum(p * sum(0.4 * q * math.log(0.4 * q) for j, q in enumerate(frequencies) if j != i)
                    for i, p in enumerate(frequencies))  # fmt: skip
    assert found.nats.mean() == pytest.approx(expected, abs=0.04)
    assert found.right.mean() == pytest.approx(0.6 + 0.4 * (frequencies**2).sum(), abs=0.04)
    assert found.nats.mean() < commonest(steps(0, 0.6), steps(1, 0.6), steps(2, 0.6), 3).nats.mean() - 0.1


def test_a_logistic_regression_learns_what_is_linear() -> None:
    found = logistic_regression(steps(0, follows=True), steps(1, follows=True), steps(2, follows=True), 3)
    assert found.right.mean() > 0.95
    chance = logistic_regression(steps(0), steps(1), steps(2), 3)
    assert chance.nats.mean() == pytest.approx(commonest(steps(0), steps(1), steps(2), 3).nats.mean(), abs=0.02)
