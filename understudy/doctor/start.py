"""Which checks run by themselves when a training starts."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import torch

from understudy.doctor import data, leaks, model, overlap, play, ppo, rehearsal, resume, sampling, step
from understudy.doctor.checks import Check, Outcome, preserve_rng, record_verdicts, run_checks
from understudy.doctor.probes import clone, probe_batch
from understudy.runs.run import Recorder
from understudy.training.distributed import all_gather
from understudy.training.experiment import Experiment
from understudy.training.ppo import PPOLoss
from understudy.training.text import Text

# Processor time after which no other check begins, in a run of minutes: 3% of three, with the last check's.
SECONDS = 4.0
# Share of a longer run's processor time after which no other check begins.
SHARE = 0.01

# The most useful for their time first: where the model is large, the last ones are left out.
_PARTS = (step.optimizer_covers, data.data_complete, data.document_starts, data.reply_mask, data.random_streams)
_LOSS = (model.initial_loss, data.label_alignment, step.loss_value, step.masked_tokens)
_LEAKS = (leaks.leak_over_time, leaks.leak_over_batch, leaks.leak_over_documents)
_GRADIENTS = (step.parameters_move, model.tied_weights, leaks.gradient_reach, step.gradients_fresh, step.accumulation)
_OTHERS = (step.schedule, resume.evaluation, model.dead_units, model.inputs_matter, model.cached_logits)
_GAMES = (play.actions_taken, play.observations_change, play.action_alignment, play.masked_actions)
_PLAYED = (play.state_forgotten, play.games_shared)
_REHEARSED = (rehearsal.worlds_differ, rehearsal.played_step_by_step, rehearsal.games_replay)
_ENDS = (rehearsal.final_observation, rehearsal.state_at_segments, rehearsal.opponents_stay, rehearsal.actions_drawn)
_PPO = (ppo.first_minibatch, ppo.policy_loss, ppo.old_log_probabilities, ppo.advantage_estimates)
_LEARNS_FROM_PLAY = (*_PPO, *_REHEARSED, *_ENDS, rehearsal.play_changes)
_LARGE = (overlap.train_valid_overlap, resume.resume)
_FIRST = (*_PARTS, *_LEARNS_FROM_PLAY, *_GAMES, *_LOSS, *_PLAYED)
START_CHECKS: tuple[Check, ...] = (*_FIRST, *_LEAKS, *_GRADIENTS, *_OTHERS, *_LARGE)
# What `understudy doctor` runs; it adds the monitors of the first steps.
ALL_CHECKS = (*START_CHECKS, resume.overfit_one_batch, sampling.sampling_temperature, sampling.cached_generation)


def program_of(experiment: Experiment, **others: Any) -> dict[str, Any]:
    """Return what there is to examine of an experiment, by the names that checks ask for."""
    learner = experiment.learner
    parts = {"model": learner.model, "optimizer": learner.optimizer, "device": learner.device, **others}
    if isinstance(learner.objective, PPOLoss):
        return {"rehearsal": experiment, **parts}
    kind = "text" if isinstance(experiment.subject, Text) else "play"
    return {"experiment": experiment, kind: experiment.subject, **parts}


def fitting(checks: Sequence[Check], experiment: Experiment) -> tuple[Check, ...]:
    """Return those of the checks that ask about what is learned here: texts, recorded games or games of its own."""
    there = program_of(experiment)
    others = [kind for kind in ("experiment", "text", "play", "rehearsal") if kind not in there]
    return tuple(one for one in checks if all(one.needs.get(kind, True) for kind in others))


def check_start(experiment: Experiment, recorder: Recorder) -> None:
    """Run the checks of a training that is about to start; record and print their verdicts, and how long they took.

    A check that fails does not end the training: you decide whether the finding matters. A resumed run
    was checked when it began. All processes must call this; the first one checks.
    """
    learner, batches = experiment.learner, experiment.batches
    if learner.steps_done:
        return
    process_states = all_gather(torch.get_rng_state(), learner.dist)
    if not learner.dist.is_main:
        return
    began = time.perf_counter()
    # Two steps on a small batch tell how much processor time the training takes; the first one takes longer.
    with preserve_rng(learner.device):
        if isinstance(learner.objective, PPOLoss):
            with rehearsal.small(experiment) as one:
                copied, batch = one.learner, one.batch(0)
        else:
            copied, batch = clone(learner, micro_batch_size=0), probe_batch(experiment)
        copied.step(batch)
        before = time.thread_time()
        copied.step(batch)
        per_position = (time.thread_time() - before) / batch.weights_BT.size
    positions = learner.config.steps * batches.batch_size * batches.context / learner.dist.size

    program = program_of(experiment, process_states=process_states)
    verdicts = run_checks(
        fitting(START_CHECKS, experiment), program, seconds=max(SECONDS, SHARE * per_position * positions)
    )
    recorder.update(check_seconds=round(time.perf_counter() - began, 3))
    record_verdicts(verdicts, recorder)

    # How many had which verdict, and a line for each that failed
    counts = Counter(one.verdict for one in verdicts)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in get_args(Outcome) if counts[kind])
    recorder.say(f"checks: {told}", style="bold red" if counts["failed"] else "dim")
    for one in verdicts:
        if one.verdict == "failed":
            recorder.say(f"check {one}", style="red")
