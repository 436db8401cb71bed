"""Which checks run by themselves when a training starts, and how their verdicts are kept and told."""

import time
from collections.abc import Sequence

from torch import Tensor

from understudy.doctor.checks import Check, Examination, Verdict, run_checks, untouched
from understudy.doctor.data import DataComplete, DocumentStarts, LabelAlignment, RandomStreams, ReplyMask
from understudy.doctor.leaks import GradientReach, LeakOverBatch, LeakOverDocuments, LeakOverTime
from understudy.doctor.model import CachedLogits, DeadUnits, InitialLoss, InputsMatter, TiedWeights
from understudy.doctor.overlap import TrainValidOverlap
from understudy.doctor.probes import probe, twin
from understudy.doctor.resume import EvaluationLeavesNoTrace, OverfitOneBatch, ResumeEquivalence
from understudy.doctor.step import (
    Accumulation,
    GradientsFresh,
    LossValue,
    MaskedTokens,
    OptimizerCovers,
    ParametersMove,
    ScheduleAsConfigured,
)
from understudy.runs.run import Run
from understudy.training.experiment import Experiment

SECONDS = 4.0
"""No check begins later than this in a run of minutes: they may take 3% of three, and the last one takes a while."""
SHARE = 0.01
"""Of a longer run the checks may take so much of its time, as two steps on a small batch foretell it."""

# In the order of what they find for the time they take: where the model is large, the last ones are left out.
START: tuple[Check, ...] = (
    OptimizerCovers(),
    DataComplete(),
    DocumentStarts(),
    ReplyMask(),
    RandomStreams(),
    InitialLoss(),
    LabelAlignment(),
    LossValue(),
    MaskedTokens(),
    LeakOverTime(),
    LeakOverBatch(),
    LeakOverDocuments(),
    ParametersMove(),
    TiedWeights(),
    GradientReach(),
    GradientsFresh(),
    Accumulation(),
    ScheduleAsConfigured(),
    EvaluationLeavesNoTrace(),
    DeadUnits(),
    InputsMatter(),
    CachedLogits(),
    TrainValidOverlap(),
    ResumeEquivalence(),
)
AT_LENGTH: tuple[Check, ...] = (*START, OverfitOneBatch())
"""What `understudy doctor` runs; it adds some that sample, and the watchers of the first steps."""


def check_start(experiment: Experiment, run: Run, process_states: Tensor | None = None) -> None:
    """Run the checks of a training that is about to start; their verdicts go to its record and its console.

    `process_states` [processes, bytes] are the states of the random numbers of each process.

    What fails is told, and the training goes on: whether a finding matters is for people to say.
    """
    began = time.perf_counter()
    examination = Examination(**vars(experiment), process_states=process_states)
    verdicts = run_checks(START, examination, max(SECONDS, SHARE * _seconds_of_training(experiment)))
    run.update(check_seconds=round(time.perf_counter() - began, 3))
    keep(verdicts, run)
    tell(verdicts, run)


def _seconds_of_training(experiment: Experiment) -> float:
    """About how long the training will take."""
    with untouched(experiment.learner.device):
        learner, batch = twin(experiment.learner, micro_batch_size=0), probe(experiment)
        learner.step(batch)  # the first one takes longer
        began = time.perf_counter()
        learner.step(batch)
        seconds = time.perf_counter() - began
    positions = experiment.learner.config.steps * experiment.batches.batch_size * experiment.batches.context
    return seconds * positions / batch.inputs_BT.size / experiment.learner.world.size


def keep(verdicts: Sequence[Verdict], run: Run) -> None:
    """Put verdicts into run.json in place of those of the same names; what failed once stays failed."""
    kept = {check["name"]: check for check in run.record["checks"]}
    for verdict in verdicts:
        if kept.get(verdict.name, {}).get("verdict") != "failed":
            kept[verdict.name] = vars(verdict)
    run.update(checks=list(kept.values()))


def tell(verdicts: Sequence[Verdict], run: Run) -> None:
    """One line, and one more for each check that failed."""
    counts = {kind: sum(one.verdict == kind for one in verdicts) for kind in ("ok", "failed", "noted", "skipped")}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    run.say(f"checks: {told}", style="bold red" if counts["failed"] else "dim")
    for one in verdicts:
        if one.verdict == "failed":
            run.say(f"check {one}", style="red")
