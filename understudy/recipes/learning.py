"""What pretraining and fine-tuning share: one model, one corpus, the loop, and the figures at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from understudy.acting.samples import sample_talk
from understudy.config import child_seed
from understudy.console import progress
from understudy.data.dataset import DataConfig, Dataset
from understudy.data.next_reply import ChoiceBatches
from understudy.data.packing import PackedBatches
from understudy.data.tokenizers import Tokenizer
from understudy.doctor.baselines import read_baselines
from understudy.doctor.monitors import TrainingMonitors
from understudy.doctor.start import check_start
from understudy.evaluation.recall import answers, shares_right
from understudy.models.language_model import LanguageModel
from understudy.runs.run import Run
from understudy.tasks.smalltalk import generate
from understudy.training.checkpoint import Loaded, list_checkpoints, restore
from understudy.training.distributed import World, everyones
from understudy.training.experiment import Experiment, LoopConfig
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.loop import train
from understudy.training.objectives import imitation

RECALL_CONVERSATIONS = 150
SAMPLES = 2


@dataclass(frozen=True)
class Options:
    """Options of every training run."""

    seed: int = 0
    """Seed of everything random: each generator gets its own from it."""
    device: str = "auto"
    """Where to compute: auto (a CUDA GPU if there is one), cpu, cuda or cuda:0."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """Go on with this run (its id, or last) from its last checkpoint, with the options it was started with."""
    tracking: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """Stream the record to an MLflow store too: sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE, http://HOST."""


RunOptions = Annotated[Options, tyro.conf.arg(name="run")]  # the title over these options in a help


def cache_folder(run: Run) -> Path:
    """Where token stores are kept between runs."""
    return run.folder.parent / "cache"


def record_data(run: Run, data: DataConfig) -> None:
    """Record the fingerprints of the files that are read; say so where a resumed run finds one changed."""
    before = {entry["path"]: entry["sha256"] for entry in run.record["data"]}
    for file in dict.fromkeys((*data.files.train, *data.files.valid)):
        now = run.add_data(file.path, file.fingerprint)
        if before.get(now["path"], now["sha256"]) != now["sha256"]:
            run.say(f"{file.path} has changed since this run began: it goes on with other data", style="yellow")


def parents(loaded: Loaded) -> list[str]:
    """The run that a model comes from, if it comes from one."""
    folder = loaded.folder.parent.parent
    return [folder.name] if (folder / "run.json").exists() else []


@contextmanager
def working(run: Run, what: str) -> Iterator[None]:
    """Say what may take a while, and show on a terminal that it goes on."""
    run.say(what, style="dim")
    with progress(run.console, ""):
        yield


@dataclass(frozen=True)
class Lesson:
    """What a training run is made of: a model, what it learns from, and how."""

    model: LanguageModel
    tokenizer: Tokenizer
    corpus: Dataset
    data: DataConfig
    learner: LearnerConfig
    loop: LoopConfig
    other_weight: float
    device: torch.device
    fresh: bool
    """Whether the weights are as they were initialised."""
    frozen: frozenset[str] = frozenset()
    """Names of the parameters that are not to learn."""
    candidates: int = 0
    """Replies to find the true one among; 0: that is not learned."""
    epochs: float = 0.0
    """Passes over the data, in place of the learner's steps; 0: those."""


def set_up(lesson: Lesson, run: Run, world: World) -> Experiment:
    """The learner and its batches, as the run will use them."""
    model, corpus, config = lesson.model, lesson.corpus, lesson.learner
    batches = _batches(lesson, run)
    if lesson.epochs:
        config = replace(config, steps=max(1, round(lesson.epochs * batches.batches_per_epoch)))
    learner = Learner(imitation(model), config, lesson.device, world)
    valid = PackedBatches(corpus.valid, corpus.valid_docs, config.batch_size, model.context, seed=0, shuffle=False)
    seed = run.seed("dropout")
    return Experiment(
        learner,
        batches,
        valid,
        corpus,
        lesson.tokenizer,
        lambda rank: seed_process(seed, rank),
        lesson.loop,
        lesson.fresh,
        lesson.frozen,
    )


def _batches(lesson: Lesson, run: Run) -> PackedBatches:
    corpus, size, context = lesson.corpus, lesson.learner.batch_size, lesson.model.context
    what = corpus.train, corpus.train_docs, size, context, run.seed("batches"), lesson.other_weight
    return ChoiceBatches(*what, candidates=lesson.candidates) if lesson.candidates else PackedBatches(*what)


def seed_process(seed: int, rank: int) -> None:
    """Seed the random numbers of a step: each process drops other activations."""
    torch.manual_seed(seed + rank)


def learn(run: Run, world: World, lesson: Lesson) -> None:
    """Train `lesson.model` on its corpus and put the outcome into the run."""
    experiment = set_up(lesson, run, world)
    learner, corpus = experiment.learner, lesson.corpus
    _describe(run, experiment, lesson, world)
    experiment.seed_process(world.rank)
    _take_up(run, learner)
    _check(run, experiment, world)
    documents = [corpus.valid.document(int(index)) for index in corpus.valid_docs[:SAMPLES]]
    experiment.sample = lambda: sample_talk(lesson.model, lesson.tokenizer, documents, corpus.kind)
    figures = train(experiment, run, TrainingMonitors(learner, run, read_baselines(run.folder.parent, run.record)))
    if not world.is_main:
        return
    headline = ["val_bpb", figures["val_bpb"]]
    if lesson.data.is_generated:
        figures |= _right_answers(run, learner, lesson.tokenizer)
        headline = ["recall", figures["right_recall"]]
    run.finish(**figures, headline=headline, steps=learner.steps_done, kind=corpus.kind)


def _describe(run: Run, experiment: Experiment, lesson: Lesson, world: World) -> None:
    """Record and say what is about to be trained."""
    model, batches, config, dtype = (
        lesson.model,
        experiment.batches,
        experiment.learner.config,
        experiment.learner.dtype,
    )
    count, learned = model.parameter_count(), model.parameter_count(learned=True)
    run.update(
        model={
            "spec": asdict(model.spec),
            "vocab_size": model.vocab_size,
            "parameters": count,
            "learned_parameters": learned,
        },
        compute={"device": str(lesson.device), "dtype": str(dtype), "threads": torch.get_num_threads()},
        processes=world.size,
    )
    run.say(lesson.corpus.summary)
    tokens = config.steps * batches.tokens_per_epoch // batches.batches_per_epoch
    run.say(
        f"{model.spec.core} of {count:,} parameters{f', of which {learned:,} learn' if learned < count else ''}, "
        f"vocabulary {model.vocab_size:,}, "
        f"{str(dtype).removeprefix('torch.')} on {lesson.device}; {config.steps:,} steps, {tokens:,} tokens, "
        f"{config.steps / batches.batches_per_epoch:.1f} epochs"
    )


def _check(run: Run, experiment: Experiment, world: World) -> None:
    """Look for silent bugs before the first step; a run that goes on was looked at when it began."""
    if experiment.learner.steps_done:
        return
    states = everyones(torch.get_rng_state(), world)
    if world.is_main:
        check_start(experiment, run, states)


def _take_up(run: Run, learner: Learner) -> None:
    """Go on from the run's last checkpoint, if there is one."""
    checkpoints = list_checkpoints(run.folder)
    if not checkpoints:
        return
    threads = restore(learner, checkpoints[-1])["threads"]
    run.say(f"going on after step {learner.steps_done}")
    if threads != torch.get_num_threads():
        run.say(
            f"this run had {threads} threads and now has {torch.get_num_threads()}: its floats will differ in the "
            f"last digits from those of a run that nothing stopped; OMP_NUM_THREADS={threads} keeps them equal",
            style="yellow",
        )


def _right_answers(run: Run, learner: Learner, tokenizer: Tokenizer) -> dict[str, float]:
    """Ask what held-out built-in conversations ask; the share of right answers by kind, logged and said."""
    talks = list(generate(RECALL_CONVERSATIONS, child_seed(run.record["seed"], "recall"), "valid"))
    shares = shares_right(answers(learner.model, tokenizer, talks))
    run.say("right answers: " + ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items()))
    figures = {f"right_{kind}": share for kind, share in shares.items()}
    run.log(learner.steps_done, **figures)
    return figures
