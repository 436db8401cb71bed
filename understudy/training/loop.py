"""The training loop: begin or resume, then step, record, look for silent bugs, evaluate, show samples, save."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from signal import SIGINT, SIGTERM
from typing import Protocol

import torch

from understudy.console import counted, on_signals, progress
from understudy.runs.record import list_checkpoints
from understudy.runs.run import Recorder
from understudy.training.checkpoint import restore, save_checkpoint
from understudy.training.distributed import all_reduce_sum
from understudy.training.experiment import Experiment


class Monitors(Protocol):
    """What watches the steps of a training, such as `doctor.monitors.TrainingMonitors`."""

    def before_step(self) -> None:
        """Look at the learner before its next step."""

    def after_step(self, metrics: Mapping[str, float]) -> None:
        """Look at the learner and at the metrics of the step it took. Raises DivergedError to end the training."""


def begin(experiment: Experiment, recorder: Recorder) -> None:
    """Record what is about to be trained, seed this process, and resume from the run's last checkpoint, if any."""
    learner, batches = experiment.learner, experiment.batches
    model, steps = learner.model, learner.config.steps
    subject = experiment.subject
    count, learned = model.parameter_count(), model.parameter_count(learned=True)
    recorder.update(
        model={**model.description(), "parameters": count, "learned_parameters": learned},
        compute={"device": str(learner.device), "dtype": str(learner.dtype), "threads": torch.get_num_threads()},
        processes=learner.dist.size,
    )
    # Say what there is to learn from, and how much of it the steps take.
    recorder.say(subject.summary)
    targets = steps * batches.targets_per_epoch // batches.batches_per_epoch
    recorder.say(
        f"{model.spec.core} of {count:,} parameters{f', of which {learned:,} learn' if learned < count else ''}, "
        f"{model.outputs}, {str(learner.dtype).removeprefix('torch.')} on {learner.device}; "
        f"{steps:,} steps, {targets:,} {subject.unit}s, "
        f"{steps / batches.batches_per_epoch:.1f} epochs"
    )

    # The random numbers of a resumed run come from its checkpoint.
    experiment.seed_process(learner.dist.rank)
    if checkpoints := list_checkpoints(recorder.folder):
        threads = restore(learner, checkpoints[-1])["threads"]
        recorder.say(f"resuming after step {learner.steps_done}")
        if threads != torch.get_num_threads():
            recorder.say(
                f"this run began with {counted(threads, 'thread')} and now has {torch.get_num_threads()}, so its last "
                f"digits may differ from those of an uninterrupted run; OMP_NUM_THREADS={threads} keeps them equal",
                style="yellow",
            )


def train(experiment: Experiment, recorder: Recorder, monitors: Monitors) -> dict[str, float]:
    """Train until all steps are done, and return the figures of the last evaluation.

    Ctrl-C or SIGTERM finishes the current step, saves a checkpoint and raises KeyboardInterrupt. A second one does not
    wait for the step.

    Raises:
        DivergedError: a loss or gradient is not finite; that step is not saved.
    """
    learner, loop, is_main = experiment.learner, experiment.loop, experiment.learner.dist.is_main
    steps, figures = learner.config.steps, dict[str, float]()
    with progress(recorder.console, "learning", steps) as bar, _stop_requested() as stop:
        bar.update(completed=learner.steps_done)
        while learner.steps_done < steps:
            # Take one optimizer step, and record it.
            began = time.perf_counter()
            batch = experiment.batches.batch(learner.steps_done)
            monitors.before_step()
            metrics = learner.step(batch)
            speed = int((batch.weights_BT > 0).sum()) / (time.perf_counter() - began)
            step, last = learner.steps_done, learner.steps_done == steps
            recorder.log(step, **metrics)

            # Look for silent bugs. A training that cannot recover ends here, before it is saved.
            monitors.after_step(metrics)

            # Once in a while, and after the last step: evaluate and show samples. The first process does both.
            if is_main and (last or _is_due(step, loop.eval_every)):
                figures = _evaluate(experiment, recorder, speed)
            if is_main and loop.sample_every and (last or _is_due(step, loop.sample_every)):
                for lines in experiment.sample():
                    recorder.sample(step, **lines)
                    recorder.say("\n".join(f"    {name}: {text}" for name, text in lines.items()), style="dim")

            # Once in a while, after the last step and when a signal asks to stop: save a checkpoint.
            # A signal reaches the processes at different moments, and all must stop after the same step.
            stopping = all_reduce_sum(float(stop()), learner.dist, learner.device) > 0
            if last or stopping or _is_due(step, loop.save_every):
                kind = experiment.subject.kind
                checkpoint = save_checkpoint(recorder.folder, learner, experiment.subject, kind=kind)
                recorder.checkpoint(step, checkpoint / "model.safetensors")

            headline, unit = experiment.subject.headline, experiment.subject.unit
            validated = f" · {headline} {figures[headline]:.3f}" if figures else ""
            bar.update(completed=step, figures=f"loss {metrics['loss']:.3f}{validated} · {speed:,.0f} {unit}s/s")
            if stopping and not last:
                raise KeyboardInterrupt(f"stopped after step {step}")

    # A run that was killed after its last step is resumed only to be evaluated.
    return figures if figures or not is_main else _evaluate(experiment, recorder)


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _evaluate(experiment: Experiment, recorder: Recorder, speed: float | None = None) -> dict[str, float]:
    """Measure the model on what is held out, and record and print the figures."""
    learner, subject = experiment.learner, experiment.subject
    figures = subject.evaluate(learner.model, experiment.validation.eval_batches(), learner.dtype)
    recorder.log(learner.steps_done, **figures)
    speed_told = f"; {speed:,.0f} {subject.unit}s/s" if speed else ""
    recorder.say(f"step {learner.steps_done}: validation {subject.told(figures)}{speed_told}")
    return figures


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C or SIGTERM has come; the second one raises KeyboardInterrupt.

    A signal in the middle of a step would leave the weights half changed, so the loop asks between steps.
    """
    asked: list[int] = []

    def ask(number: int) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    with on_signals(ask, SIGINT, SIGTERM):
        yield lambda: bool(asked)
