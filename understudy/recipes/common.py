"""What recipes have in common: the options of a recorded run, its data, and its outcome."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import tyro

from understudy.acting.samples import sample_talk
from understudy.console import progress
from understudy.data.dataset import DataConfig, Dataset, load_dataset
from understudy.data.packing import PackedBatches
from understudy.data.tokenizers import Tokenizer
from understudy.doctor.baselines import read_baselines
from understudy.doctor.monitors import TrainingMonitors
from understudy.doctor.start import check_start
from understudy.evaluation.recall import recall
from understudy.recipes.pace import Pace, Plan, train_at_pace
from understudy.runs.run import Run
from understudy.tasks.smalltalk import Smalltalk
from understudy.training.experiment import Experiment
from understudy.training.learner import Learner
from understudy.training.loop import begin
from understudy.training.text import Text

SAMPLES = 2


@dataclass(frozen=True)
class RunOptions:
    """Options of every training run."""

    seed: int = 0
    """Seed of everything random: each generator gets its own from it."""
    device: str = "auto"
    """Where to compute: auto (a CUDA GPU if there is one), cpu, cuda or cuda:0."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """Go on with this run (its id, or last) from its last checkpoint, with the options it was started with."""
    tracking: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """Stream the record to an MLflow store too: sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE, http://HOST."""


@contextmanager
def waiting(run: Run, what: str) -> Iterator[None]:
    """Say what may take a while, and show a spinner meanwhile."""
    run.say(what, style="dim")
    with progress(run.console, ""):
        yield


def record_data(run: Run, data: DataConfig) -> None:
    """Record the fingerprints of the data files. Says so where a resumed run finds one changed."""
    before = {entry["path"]: entry["sha256"] for entry in run.record["data"]}
    for file in dict.fromkeys((*data.files.train, *data.files.valid)):
        now = run.add_data(file.path, file.fingerprint)
        if before.get(now["path"], now["sha256"]) != now["sha256"]:
            run.say(f"{file.path} has changed since this run began: it goes on with other data", style="yellow")


def load_recorded(
    run: Run, data: DataConfig, tokenizer: Tokenizer, context: int, seed: int, hold_out: bool = True
) -> Dataset:
    """Load the dataset of a run; its token stores are cached beside the runs."""
    cache = run.folder.parent / "cache"
    with waiting(run, f"preparing {' '.join(data.data)}"):
        return load_dataset(data, tokenizer, context, seed, cache, Smalltalk(), hold_out)


def assemble(
    run: Run, learner: Learner, batches: PackedBatches, dataset: Dataset, tokenizer: Tokenizer, **more: Any
) -> Experiment:
    """Return the experiment of these parts: it validates on rows of the batches' size, and shows what the model says.

    `more` are other fields of an experiment.
    """
    rows = batches.batch_size, batches.context
    validation = PackedBatches(dataset.valid, dataset.valid_docs, *rows, seed=None)
    documents = [dataset.valid.document(int(index)) for index in dataset.valid_docs[:SAMPLES]]
    more["sample"] = partial(sample_talk, learner.model, tokenizer, documents, dataset.kind)
    return Experiment(learner, batches, validation, Text(dataset, tokenizer), run.seed("dropout"), **more)


def train_recorded(experiment: Experiment, run: Run, plan: Plan = (), until: float | None = None) -> dict[str, float]:
    """Begin or resume, look for silent bugs, train, and return the figures of the last evaluation (see `learn`)."""
    learner = experiment.learner
    begin(experiment, run)
    check_start(experiment, run)
    earlier = read_baselines(run.folder.parent, run.record)
    monitors = TrainingMonitors(learner, run, earlier)
    most = run.config["learner"]["steps"] if until is not None else learner.config.steps
    return train_at_pace(experiment, run, Pace(monitors, learner, plan, until, most, time.monotonic))


def learn(experiment: Experiment, run: Run, asks: bool, plan: Plan = (), until: float | None = None) -> None:
    """Train and record the outcome.

    Args:
        experiment: what is trained.
        run: the record.
        asks: whether to measure what the model remembers of the built-in conversations at the end.
        plan: the numbers of steps that were decided on before (see `pace`).
        until: when the last step has to be done, by `time.monotonic`.
    """
    learner = experiment.learner
    figures = train_recorded(experiment, run, plan, until)

    # The outcome, which the first process records.
    if not learner.dist.is_main:
        return
    headline = [experiment.subject.headline, figures[experiment.subject.headline]]
    if asks:
        assert isinstance(experiment.subject, Text)
        shares = recall(learner.model, experiment.subject.tokenizer, run.record["seed"], "valid")
        run.say("right answers: " + ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items()))
        right = {f"right_{kind}": share for kind, share in shares.items()}
        run.log(learner.steps_done, **right)
        figures = {**figures, **right}
        headline = ["recall", right["right_recall"]]
    run.finish(**figures, headline=headline, steps=learner.steps_done, kind=experiment.subject.kind)
