"""The training loop: steps, records, evaluations and checkpoints, with a progress bar."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from understudy.doctor.monitors import FIRST_STEPS, Watch
from understudy.doctor.start import keep
from understudy.errors import DivergedError
from understudy.runs.run import Run
from understudy.training.checkpoint import save_checkpoint
from understudy.training.distributed import total
from understudy.training.evaluation import evaluate
from understudy.training.experiment import Experiment


def train(
    experiment: Experiment, run: Run, watch: Watch, sample: Callable[[], list[dict[str, str]]]
) -> dict[str, float]:
    """Learn until all steps are done; the last evaluation's figures.

    Ctrl-C (or SIGTERM) ends the step at hand, saves a checkpoint and goes on as KeyboardInterrupt; a second one does
    not wait. `sample` gives some of the model's talk and must leave random numbers alone.

    Raises:
        DivergedError: a loss or gradient is no finite number; there is no checkpoint of that step.
    """
    learner, config = experiment.learner, experiment.loop
    steps, figures, is_main = learner.config.steps, {}, learner.world.is_main
    with _progress(run, steps) as progress, _stop_requested() as stop:
        task = progress.add_task("", total=steps, completed=learner.steps_done, figures="")
        while learner.steps_done < steps:
            began = time.perf_counter()
            batch = experiment.batches.batch(learner.steps_done)
            watch.before()
            metrics = learner.step(batch)
            speed = int((batch.weights_BT > 0).sum()) / (time.perf_counter() - began)
            step = learner.steps_done
            run.log(step, **metrics)
            last = step == steps
            _look(watch, metrics, run, step == FIRST_STEPS or last)
            if is_main and (last or _due(step, config.eval_every)):
                figures = _evaluate(experiment, run, speed)
            if is_main and (last or _due(step, config.sample_every)) and config.sample_every:
                _sample(sample, step, run)
            # A signal reaches the processes at different moments, and all must stop after the same step.
            stopping = total(float(stop()), learner.world, learner.device) > 0
            if last or stopping or _due(step, config.save_every):
                saved = save_checkpoint(run.folder, learner, experiment.tokenizer, kind=experiment.dataset.kind)
                run.checkpoint(step, saved / "model.safetensors")
            progress.update(task, completed=step, figures=_bar_text(metrics["loss"], figures, speed))
            if stopping and not last:
                raise KeyboardInterrupt(f"stopped after step {step}")
    if is_main and not figures:  # a run that was killed after its last step
        figures = _evaluate(experiment, run)
    return figures


def _look(watch: Watch, metrics: dict[str, float], run: Run, due: bool) -> None:
    """Tell what the step's figures give away, and end a training that is past hope."""
    failed = watch.after(metrics)
    if failed or due:
        keep(watch.verdicts(), run)
        run.update(check_figures=watch.figures)
    for verdict in failed:
        run.say(f"check {verdict}", style="red")
    if watch.finite.found:
        raise DivergedError(
            f"{watch.finite.found}: no later step can mend the weights; expected finite numbers; try a lower --lr, "
            f"a longer --warmup or --dtype float32, or look closer with: understudy doctor {run.id}"
        )


def _evaluate(experiment: Experiment, run: Run, speed: float | None = None) -> dict[str, float]:
    learner = experiment.learner
    figures = evaluate(learner.model, experiment.validation.eval_batches(), experiment.tokenizer, learner.dtype)
    run.log(learner.steps_done, **figures)
    run.say(
        f"step {learner.steps_done}: validation {figures['val_loss']:.3f} nats a token, "
        f"{figures['val_bpb']:.3f} bits a byte, perplexity {figures['val_perplexity']:.2f}"
        + (f"; {speed:,.0f} tokens/s" if speed else "")
    )
    return figures


def _sample(sample: Callable[[], list[dict[str, str]]], step: int, run: Run) -> None:
    for lines in sample():
        run.sample(step, **lines)
        run.say("\n".join(f"    {speaker}: {text}" for speaker, text in lines.items()), style="dim")


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _bar_text(loss: float, figures: dict[str, float], speed: float) -> str:
    bits = f" · {figures['val_bpb']:.3f} bits a byte" if figures else ""
    return f"loss {loss:.3f}{bits} · {speed:,.0f} tokens/s"


def _progress(run: Run, steps: int) -> Progress:
    return Progress(
        TextColumn("learning"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TextColumn("· left"),
        TimeRemainingColumn(),
        console=run.console,
        disable=not run.console.is_terminal,
        transient=True,
    )


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """A question to ask between steps: a signal in the middle of one would leave the weights half changed."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
