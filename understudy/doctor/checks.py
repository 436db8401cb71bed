"""What a check is: something that looks at a training set-up, leaves it as it was, and gives a verdict."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from understudy.training.experiment import Experiment

Outcome = Literal["ok", "failed", "skipped", "noted"]


@dataclass(frozen=True)
class Verdict:
    """What a check found, as run.json keeps it."""

    name: str
    verdict: Outcome
    measured: str
    """What was measured; of a skipped check, why it was skipped."""
    expected: str = ""
    causes: tuple[str, ...] = ()
    """The two likeliest causes, of a failed check."""

    def __str__(self) -> str:
        text = f"{self.name}: {self.measured}"
        if self.verdict == "failed":
            text += f"; expected {self.expected}. Likely: {', or '.join(self.causes)}"
        return text


@dataclass
class Examination(Experiment):
    """An experiment under examination, and how far to look."""

    thorough: bool = False
    """Whether to take the time to look at everything, instead of a sample."""
    process_states: Tensor | None = None
    """State of the random numbers of each process: [processes, bytes]."""


class Check:
    """One kind of silent bug. A subclass's docstring says what it catches, how, its threshold and its source."""

    name: ClassVar[str]
    causes: ClassVar[tuple[str, str]]
    about_start: ClassVar[bool] = False
    """Whether it asks about the weights that a run begins with, whatever became of them."""

    def run(self, experiment: Examination) -> Verdict:
        """Look at the set-up; learners and models are only to be changed in copies (see `probes.twin`)."""
        raise NotImplementedError

    def judge(self, good: bool, measured: str, expected: str) -> Verdict:
        """Ok or failed."""
        return Verdict(self.name, "ok" if good else "failed", measured, expected, () if good else self.causes)

    def noted(self, measured: str, expected: str = "") -> Verdict:
        """Nothing wrong, but worth knowing."""
        return Verdict(self.name, "noted", measured, expected)

    def skipped(self, why: str) -> Verdict:
        """Nothing to look at."""
        return Verdict(self.name, "skipped", why)


def run_checks(
    checks: Sequence[Check],
    experiment: Examination,
    seconds: float = float("inf"),
    begin: Callable[[Check], None] = lambda check: None,
) -> list[Verdict]:
    """Run the checks in turn; those that would begin after `seconds` are skipped. `begin` is told of each before."""
    began = time.perf_counter()
    verdicts = []
    for check in checks:
        begin(check)
        if time.perf_counter() - began > seconds:
            verdicts.append(
                check.skipped(f"the {seconds:g} seconds for checks were over; `understudy doctor` takes more")
            )
            continue
        with untouched(experiment.learner.device):
            verdicts.append(_run(check, experiment))
    return verdicts


def _run(check: Check, experiment: Examination) -> Verdict:
    """A set-up that is wrong enough makes a check stumble: that is a finding too, and must not end the training."""
    try:
        return check.run(experiment)
    except (MemoryError, torch.OutOfMemoryError, OSError) as error:
        return check.skipped(f"not enough memory or disk ({type(error).__name__})")
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        return check.judge(False, f"it stopped with {told[:300]}", "no error")


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Random numbers from a seed of their own; afterwards torch's, numpy's and Python's are where they were."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
