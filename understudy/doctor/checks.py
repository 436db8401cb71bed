"""What a check is: a function that looks at a program, leaves it as it was, and returns what it found.

    @check("the likeliest cause", "the second likeliest")
    def optimizer_covers(model: nn.Module, optimizer: Optimizer) -> Finding:
        \"""Check that the optimizer holds each trainable parameter exactly once. ... Source: ...\"""

A check asks for what it needs by the names of its parameters, and is skipped where a program lacks one of them. So
`optimizer_covers` examines any program with a model and an optimizer, while others ask for a whole `experiment`.
"""

import inspect
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from understudy.runs.run import Recorder

Outcome = Literal["ok", "failed", "noted", "skipped"]


class Finding(NamedTuple):
    """What a check returns."""

    outcome: bool | Literal["noted", "skipped"]
    """Whether all is well; noted: it is, but this is worth knowing; skipped: there is nothing to look at."""
    measured: str
    """What was measured; of a skipped check, the reason."""
    expected: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a check found, as run.json keeps it."""

    name: str
    verdict: Outcome
    measured: str
    expected: str = ""
    causes: tuple[str, ...] = ()
    """The two likeliest causes, of a failed check."""

    def __str__(self) -> str:
        more = f"; expected {self.expected}. Likely: {', or '.join(self.causes)}" if self.verdict == "failed" else ""
        return f"{self.name}: {self.measured}{more}"


@dataclass(frozen=True)
class Check:
    """One kind of silent bug. The function's docstring says what the check finds, how, and where it comes from."""

    function: Callable[..., Finding]
    causes: tuple[str, str]
    """What is most likely wrong where the check fails, the likeliest first."""
    about_start: bool = False
    """Whether it asks about the weights that a run begins with, whatever became of them."""

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.__name__

    @cached_property
    def needs(self) -> dict[str, bool]:
        """The parts of a program that it asks for, and whether it can do without them."""
        # Read once: the checks that watch a training are called at each step.
        parameters = inspect.signature(self.function).parameters.values()
        return {parameter.name: parameter.default is not parameter.empty for parameter in parameters}

    def examine(self, program: Mapping[str, Any]) -> Verdict:
        """Call the function with those parts of the program that it asks for, and return its verdict."""
        given = {name: program[name] for name in self.needs if name in program}
        if missing := [name for name, optional in self.needs.items() if not optional and name not in given]:
            return Verdict(self.name, "skipped", f"it needs {' and '.join(missing)}")
        try:
            finding = self.function(**given)
        except (MemoryError, torch.OutOfMemoryError, OSError) as error:
            return Verdict(self.name, "skipped", f"not enough memory or disk ({type(error).__name__})")
        except Exception as error:
            # A set-up that is wrong enough makes a check raise. That is a finding too, and must not end the training.
            told = " ".join(f"{type(error).__name__}: {error}".split())
            finding = Finding(False, f"it stopped with {told[:300]}", "no error")
        outcome, measured, expected = finding
        verdict: Outcome = outcome if isinstance(outcome, str) else "ok" if outcome else "failed"
        return Verdict(self.name, verdict, measured, expected, self.causes if verdict == "failed" else ())


def check(likeliest: str, second: str, *, about_start: bool = False) -> Callable[[Callable[..., Finding]], Check]:
    """Make a function a check; the two texts name what is most likely wrong where it fails."""
    return lambda function: Check(function, (likeliest, second), about_start)


def run_checks(
    checks: Sequence[Check],
    program: Mapping[str, Any],
    seconds: float = float("inf"),
    begin: Callable[[str], None] = lambda name: None,
) -> list[Verdict]:
    """Run the checks in turn and return their verdicts.

    Args:
        checks: what to run, the most useful first.
        program: what there is to examine, by the names that checks ask for.
        seconds: processor time of this thread after which no other check begins; the rest is skipped. Unlike the
            time of day it hardly depends on what else the machine does.
        begin: told each check's name before its turn.
    """
    began = time.thread_time()
    verdicts = []
    for one in checks:
        begin(one.name)
        if time.thread_time() - began > seconds:
            reason = f"the {seconds:g} seconds of processor time for checks were used up; `understudy doctor` runs it"
            verdicts.append(Verdict(one.name, "skipped", reason))
            continue
        with preserve_rng(program.get("device")):
            verdicts.append(one.examine(program))
    return verdicts


@contextmanager
def preserve_rng(device: torch.device | None = None) -> Iterator[None]:
    """Seed torch for the block, and put the random states of torch, numpy and Python back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device and device.type == "cuda" else []):
        torch.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def record_verdicts(verdicts: Sequence[Verdict], run: Recorder) -> None:
    """Put verdicts into run.json in place of earlier ones of the same names. A failure is never replaced."""
    recorded = {entry["name"]: entry for entry in run.record["checks"]}
    for verdict in verdicts:
        if recorded.get(verdict.name, {}).get("verdict") != "failed":
            recorded[verdict.name] = vars(verdict)
    run.update(checks=list(recorded.values()))
