"""Trainings that keep to the time said."""

import json
import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.conftest import TINY, Understudy, after_step, last_run, metrics_of, record_of, weights_of
from understudy.data.packing import Batch
from understudy.errors import ReplannedError, UserError
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.recipes import pretrain
from understudy.recipes.pace import LEAST, Pace, first_plan
from understudy.runs.journal import series
from understudy.training.distributed import DistInfo
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import ImitationLoss

STEPS = 200


class Watch:
    """A clock that each look moves on, as the work between two looks would."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Nobody:
    """Watches no step."""

    def before_step(self) -> None: ...

    def after_step(self, metrics: Any) -> None: ...


@pytest.fixture
def learner() -> Learner:
    model = LanguageModel(CoreConfig(size="tiny", layers=1, width=16, heads=2, context=16).resolved(), 262)
    return Learner(ImitationLoss(model), LearnerConfig(steps=STEPS), torch.device("cpu"))


def pass_by(pace: Pace, watch: Watch, seconds: Any) -> int:
    """Take the steps of the pace's learner, each in so many seconds by its number; the number of steps taken."""
    learner = pace.learner
    while learner.steps_done < learner.config.steps:
        try:
            pace.before_step()
        except ReplannedError as change:
            learner.config = replace(learner.config, steps=change.steps)
            continue
        watch.now += seconds(learner.steps_done)
        learner.steps_done += 1
    return learner.steps_done


def test_a_machine_that_stays_as_fast_takes_all_steps(learner: Learner) -> None:
    watch = Watch()
    pace = Pace(Nobody(), learner, ((0, STEPS),), watch.now + 1.1 * STEPS, STEPS, watch)
    assert pass_by(pace, watch, lambda step: 1.0) == STEPS
    assert pace.plan == {0: STEPS}


@pytest.mark.parametrize("slow_from", [0, 30, 100, 150, 190])
@pytest.mark.parametrize("slower", [1.5, 3.0])
def test_a_machine_that_becomes_slower_takes_fewer_steps_and_ends_in_time(
    learner: Learner, slow_from: int, slower: float
) -> None:
    watch = Watch()
    until = watch.now + 1.2 * STEPS
    pace = Pace(Nobody(), learner, ((0, STEPS),), until, STEPS, watch)
    taken = pass_by(pace, watch, lambda step: slower if step >= slow_from else 1.0)
    assert taken == max(pace.plan.items())[1]
    assert watch.now <= until + slower * math.ceil(LEAST * STEPS)
    if watch.now < until:
        assert taken == STEPS or watch.now > until - 0.15 * 1.2 * STEPS, "steps were given away"


def test_a_machine_that_becomes_faster_takes_more_steps(learner: Learner) -> None:
    watch = Watch()
    until = watch.now + 200.0
    learner.config = replace(learner.config, steps=60)
    pace = Pace(Nobody(), learner, ((0, 60),), until, STEPS, watch)
    taken = pass_by(pace, watch, lambda step: 3.0 if step < 12 else 1.0)
    assert 130 < taken <= STEPS
    assert until - 0.2 * 200 < watch.now <= until


def test_what_was_decided_is_followed_whatever_the_clock_says(learner: Learner) -> None:
    watch = Watch()
    pace = Pace(Nobody(), learner, ((0, STEPS), (60, 150), (100, 120)), None, STEPS, watch)
    assert pass_by(pace, watch, lambda step: 100.0) == 120


def test_the_first_plan_takes_what_fits(learner: Learner) -> None:
    said: list[str] = []
    watch = Watch()

    class Steps:
        def batch(self, step: int) -> Batch:
            watch.now += 10.0 if step < 2 else 0.5  # the first steps are slower
            ids, one = np.ones((2, 16), np.int64), np.ones((2, 16), np.float32)
            return Batch(ids, ids, one, ids == 0)

    class Said:
        def say(self, line: str, style: str = "") -> None:
            said.append(line)

    many = first_plan(learner, Steps(), watch.now + 10_000, Said(), watch)  # type: ignore[arg-type]
    assert many == ((0, STEPS),)
    assert said[-1] == "all 200 steps fit: the training takes about 2.5 minutes on this machine"
    ((_, few),) = first_plan(learner, Steps(), watch.now + 100, Said(), watch)  # type: ignore[arg-type]
    assert 60 < few < 160
    assert f"{few:,} of 200 steps fit" in said[-1]


def run_with_plan(here: Path, understudy: Understudy, plan: list[list[int]]) -> int:
    """A run whose record says that the number of steps was changed."""
    options = ["--data", "talk.jsonl", *TINY, "--steps", 40, "--save-every", 5, "--eval-every", 20, "--dropout", 0.2]
    assert understudy("pretrain", *options[:-2], "--steps", 1) == 0
    config = record_of(last_run())["config"]
    config["learner"]["steps"], config["plan"] = 40, plan
    (here / "config.json").write_text(json.dumps(config))
    return understudy("pretrain", "--config", here / "config.json")


def test_a_changed_number_of_steps_is_repeated_and_resumed_bit_for_bit(here: Path, understudy: Understudy) -> None:
    assert run_with_plan(here, understudy, [[0, 30], [12, 20]]) == 0
    whole = last_run()
    steps, rates = series(metrics_of(whole), "lr")
    assert steps == list(range(1, 21))
    assert rates[12] < 0.8 * rates[11], "from then on the rate is that of fewer steps"
    assert record_of(whole)["outcome"]["steps"] == 20
    assert not [check for check in record_of(whole)["checks"] if check["verdict"] == "failed"]
    for stopped in (8, 12, 16):
        with after_step(stopped, lambda: signal.raise_signal(signal.SIGINT)):
            assert run_with_plan(here, understudy, [[0, 30], [12, 20]]) == 130
        assert understudy("pretrain", "--resume", "last") == 0
        assert last_run() != whole
        assert metrics_of(last_run()) == metrics_of(whole)
        assert weights_of(last_run()) == weights_of(whole)


def test_minutes_decide_the_steps_and_the_record_says_which(understudy: Understudy, capsys: Any) -> None:
    options = ["--data", "talk.jsonl", *TINY, "--steps", 30, "--warmup", 2]
    assert understudy("pretrain", *options, "--minutes", 60) == 0
    assert record_of(last_run())["config"]["plan"] == [[0, 30]]
    assert "all 30 steps fit" in capsys.readouterr().out
    alike = weights_of(last_run())
    assert understudy("pretrain", *options) == 0
    assert weights_of(last_run()) == alike, "to measure changes nothing"


def test_minutes_are_for_one_process() -> None:
    with pytest.raises(UserError, match="--minutes is for one process"):
        pretrain.Config(minutes=1).validate(DistInfo(size=2))
