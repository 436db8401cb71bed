"""Train a language model from scratch, on conversations or plain text."""

import time
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
import tyro

from understudy.config import in_range
from understudy.data.dataset import DataConfig, train_tokenizer
from understudy.data.packing import PackedBatches
from understudy.data.tokenizers import SPECIALS, Tokenizer, load_tokenizer
from understudy.doctor.checks import preserve_rng
from understudy.doctor.probes import clone
from understudy.errors import ConfigError
from understudy.models.device import pick_device
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.recipes.common import RunOptions, assemble, learn, load_recorded, record_data, waiting
from understudy.recipes.pace import AFTER, Plan, first_plan
from understudy.runs.run import Run
from understudy.tasks.smalltalk import Smalltalk
from understudy.training.distributed import DistInfo, rank_zero_first
from understudy.training.experiment import Experiment, LoopConfig
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import ImitationLoss

SMALLEST_VOCABULARY = 256 + len(SPECIALS)


@dataclass(frozen=True)
class Config:
    """Trains a language model from scratch on conversations or plain text.

    Without options: the built-in conversations and a small Transformer, about four minutes on two cores.
    """

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: Literal["bpe", "bytes"] = "bpe"
    """Byte-level BPE trained on the data, or plain bytes."""
    vocab_size: int = 1024
    """Size of the BPE vocabulary, special tokens included."""
    other_weight: float = 0.1
    """Weight of the loss on what is not the assistant's (1: all tokens alike; 0: replies only)."""
    model: CoreConfig = field(default_factory=CoreConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    minutes: float = 0
    """Take only as many of the steps as fit into these minutes (0: all)."""
    plan: Annotated[Plan, tyro.conf.Suppress] = ()
    """The numbers of steps that fitted, by the step from which each holds; recorded, so that a run can be repeated."""
    options: Annotated[RunOptions, tyro.conf.arg(name="run")] = field(default_factory=RunOptions)

    def validate(self, dist: DistInfo) -> "Config":
        """Return self. Raises UserError for what cannot work."""
        pick_device(self.options.device)
        self.model.resolved()
        self.learner.validate(dist)
        self.loop.validate()
        if self.tokenizer == "bpe" and self.vocab_size < SMALLEST_VOCABULARY:
            raise ConfigError(
                f"--vocab-size {self.vocab_size} is too small; bytes and special tokens take {SMALLEST_VOCABULARY}"
            )
        in_range("other_weight", self.other_weight, 0, 1)
        in_range("minutes", self.minutes, 0)
        if self.minutes and dist.size > 1:
            raise ConfigError("--minutes is for one process; leave it out, and give --steps")
        self.data.validate()
        return self


def main(config: Config, run: Run, dist: DistInfo) -> None:
    """Pretrain as `config` says, and record everything in `run`."""
    until = None
    if config.minutes and not config.plan:
        until = time.monotonic() + 60 * config.minutes
        run.say(f"this will take at most {config.minutes:g} minutes", style="dim")
    experiment = build(config, run, dist)

    # As many steps as fit, unless that was decided when the run began.
    learner, plan = experiment.learner, config.plan
    if until is not None:
        with waiting(run, "measuring how fast this machine learns"), preserve_rng(learner.device):
            plan = first_plan(clone(learner), experiment.batches, until, run, time.monotonic)
        run.update(config={"plan": plan})
    if plan:
        learner.config = replace(learner.config, steps=plan[0][1])
    learn(experiment, run, config.data.is_generated, plan, until and until - AFTER * 60 * config.minutes)


def build(config: Config, run: Run, dist: DistInfo) -> Experiment:
    """Return the experiment: the tokenizer, the data, a fresh model and its learner."""
    spec = config.model.resolved()

    # The tokenizer and the data, which are read once for both.
    record_data(run, config.data)
    with rank_zero_first(dist), config.data.files.kept_open():
        tokenizer = _tokenizer(config, run)
        dataset = load_recorded(run, config.data, tokenizer, spec.context, config.options.seed)

    # A fresh model.
    torch.manual_seed(run.seed("init"))
    model = LanguageModel(spec, tokenizer.vocab_size)
    rows = config.learner.batch_size, spec.context
    batches = PackedBatches(dataset.train, dataset.train_docs, *rows, run.seed("batches"), config.other_weight)
    learner = Learner(ImitationLoss(model), config.learner, pick_device(config.options.device), dist)
    return assemble(run, learner, batches, dataset, tokenizer, loop=config.loop)


def _tokenizer(config: Config, run: Run) -> Tokenizer:
    """Return the run's tokenizer, which is trained once: a resumed run and the other processes read it."""
    if not (run.folder / "tokenizer.json").exists():
        with waiting(run, f"making the tokenizer: {config.tokenizer}"):
            seed = config.options.seed
            tokenizer = train_tokenizer(config.tokenizer, config.vocab_size, config.data, seed, Smalltalk())
        tokenizer.save(run.folder)
    return load_tokenizer(run.folder)
