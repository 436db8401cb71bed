"""Which checks run by themselves when a training starts."""

import time
from typing import Any

import torch

from understudy.doctor.checks import preserve_rng, print_verdicts, record_verdicts, run_checks
from understudy.doctor.data import data_complete, document_starts, label_alignment, random_streams, reply_mask
from understudy.doctor.leaks import gradient_reach, leak_over_batch, leak_over_documents, leak_over_time
from understudy.doctor.model import cached_logits, dead_units, initial_loss, inputs_matter, tied_weights
from understudy.doctor.overlap import train_valid_overlap
from understudy.doctor.probes import clone, probe_batch
from understudy.doctor.resume import evaluation, overfit_one_batch, resume
from understudy.doctor.sampling import cached_generation, sampling_temperature
from understudy.doctor.step import (
    accumulation,
    gradients_fresh,
    loss_value,
    masked_tokens,
    optimizer_covers,
    parameters_move,
    schedule,
)
from understudy.runs.run import Recorder
from understudy.training.distributed import all_gather
from understudy.training.experiment import Experiment

SECONDS = 4.0
"""Processor time after which no other check begins, in a run of minutes: 3% of three, with the last check's."""
SHARE = 0.01
"""Share of a longer run's processor time after which no other check begins."""

# The most useful for their time first: where the model is large, the last ones are left out.
START_CHECKS = (
    optimizer_covers,
    data_complete,
    document_starts,
    reply_mask,
    random_streams,
    initial_loss,
    label_alignment,
    loss_value,
    masked_tokens,
    leak_over_time,
    leak_over_batch,
    leak_over_documents,
    parameters_move,
    tied_weights,
    gradient_reach,
    gradients_fresh,
    accumulation,
    schedule,
    evaluation,
    dead_units,
    inputs_matter,
    cached_logits,
    train_valid_overlap,
    resume,
)
ALL_CHECKS = (*START_CHECKS, overfit_one_batch, sampling_temperature, cached_generation)
"""What `understudy doctor` runs; it adds the monitors of the first steps."""


def program_of(experiment: Experiment, **others: Any) -> dict[str, Any]:
    """Return what there is to examine of an experiment, by the names that checks ask for."""
    learner = experiment.learner
    parts = {"model": learner.model, "optimizer": learner.optimizer, "device": learner.device}
    return {"experiment": experiment, **parts, **others}


def check_start(experiment: Experiment, recorder: Recorder) -> None:
    """Run the checks of a training that is about to start, and record and print their verdicts.

    A check that fails does not end the training: whether the finding matters is for people to decide. A resumed run
    was checked when it began. All processes must call this; the first one checks.

    Args:
        experiment: what is about to be trained; it is left as it was.
        recorder: gets the verdicts and the seconds that the checks took.
    """
    learner = experiment.learner
    if learner.steps_done:
        return
    process_states = all_gather(torch.get_rng_state(), learner.dist)
    if not learner.dist.is_main:
        return
    began = time.perf_counter()
    budget = max(SECONDS, SHARE * _seconds_of_training(experiment))
    verdicts = run_checks(START_CHECKS, program_of(experiment, process_states=process_states), budget)
    recorder.update(check_seconds=round(time.perf_counter() - began, 3))
    record_verdicts(verdicts, recorder)
    print_verdicts(verdicts, recorder)


def _seconds_of_training(experiment: Experiment) -> float:
    """Estimate the processor time of this thread that the training takes, from two steps on a small batch."""
    learner, batches = experiment.learner, experiment.batches
    with preserve_rng(learner.device):
        copied, batch = clone(learner, micro_batch_size=0), probe_batch(experiment)
        copied.step(batch)  # the first step takes longer
        began = time.thread_time()
        copied.step(batch)
        seconds = time.thread_time() - began
    positions = learner.config.steps * batches.batch_size * batches.context
    return seconds * positions / batch.inputs_BT.size / learner.dist.size
