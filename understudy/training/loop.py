"""The training loop: begin or resume, then step, record, look for silent bugs, evaluate, show samples, save."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from signal import SIGINT, SIGTERM
from typing import Protocol

import torch

from understudy.console import counted, on_signals, progress
from understudy.runs.record import list_checkpoints
from understudy.runs.run import Recorder
from understudy.training.checkpoint import restore, save_checkpoint
from understudy.training.distributed import all_reduce_sum
from understudy.training.evaluation import evaluate
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
    count, learned = model.parameter_count(), model.parameter_count(learned=True)
    sizes = {"vocab_size": model.vocab_size, "parameters": count, "learned_parameters": learned}
    recorder.update(
        model={"spec": asdict(model.spec), **sizes},
        compute={"device": str(learner.device), "dtype": str(learner.dtype), "threads": torch.get_num_threads()},
        processes=learner.dist.size,
    )
    # Say what there is to learn from, and how much of it the steps take.
    recorder.say(experiment.dataset.summary)
    tokens = steps * batches.tokens_per_epoch // batches.batches_per_epoch
    recorder.say(
        f"{model.spec.core} of {count:,} parameters{f', of which {learned:,} learn' if learned < count else ''}, "
        f"vocabulary {model.vocab_size:,}, {str(learner.dtype).removeprefix('torch.')} on {learner.device}; "
        f"{steps:,} steps, {tokens:,} tokens, "
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
                kind = experiment.dataset.kind
                checkpoint = save_checkpoint(recorder.folder, learner, experiment.tokenizer, kind=kind)
                recorder.checkpoint(step, checkpoint / "model.safetensors")

            bits = f" · {figures['val_bpb']:.3f} bits per byte" if figures else ""
            bar.update(completed=step, figures=f"loss {metrics['loss']:.3f}{bits} · {speed:,.0f} tokens/s")
            if stopping and not last:
                raise KeyboardInterrupt(f"stopped after step {step}")

    # A run that was killed after its last step is resumed only to be evaluated.
    return figures if figures or not is_main else _evaluate(experiment, recorder)


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _evaluate(experiment: Experiment, recorder: Recorder, speed: float | None = None) -> dict[str, float]:
    """Measure the model on the validation documents, and record and print the figures."""
    learner = experiment.learner
    figures = evaluate(learner.model, experiment.validation.eval_batches(), experiment.tokenizer, learner.dtype)
    recorder.log(learner.steps_done, **figures)
    recorder.say(
        f"step {learner.steps_done}: validation {figures['val_loss']:.3f} nats per token, "
        f"{figures['val_bpb']:.3f} bits per byte, perplexity {figures['val_perplexity']:.2f}"
        + (f"; {speed:,.0f} tokens/s" if speed else "")
    )
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
