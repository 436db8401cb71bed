"""Go on training a model on conversations."""

from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
import tyro

from understudy.config import RunName, in_range
from understudy.data.dataset import DataConfig
from understudy.data.next_reply import NextReply
from understudy.data.packing import PackedBatches
from understudy.errors import ConfigError, UserError
from understudy.models.device import pick_device
from understudy.models.lora import adapt, check_lora
from understudy.models.pretrained.folder import is_pretrained
from understudy.models.pretrained.hub import published
from understudy.models.spec import CoreSpec, check_dropout
from understudy.recipes.common import RunOptions, assemble, learn, load_recorded, record_data
from understudy.runs.record import list_checkpoints
from understudy.runs.run import Run
from understudy.training.distributed import DistInfo, rank_zero_first
from understudy.training.experiment import Experiment, LoopConfig
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.loading import describe, latest_checkpoint, load_model, pin, provenance, resolve
from understudy.training.objectives import imitation

SPEAKERS = ("<|system|>", "<|user|>", "<|assistant|>")
MOST_CANDIDATES = 100
LORA_RATE = 10
"""LoRA learns best at about ten times the rate of full fine-tuning (Schulman 2025, "LoRA Without Regret")."""

OWN = LearnerConfig(steps=500, batch_size=8, lr=3e-4, schedule="linear", warmup=20, final_lr=0.0)
PUBLISHED = replace(OWN, micro_batch_size=2, lr=6.25e-5, warmup=0, weight_decay=0.0, beta2=0.999, clip=1.0)
"""TransferTransfo's (Wolf 2019, and its published code); 8 rows of about four conversations are the paper's 32."""


@dataclass(frozen=True)
class Config:
    """Fine-tunes a trained model on conversations: only the assistant's replies carry loss.

    The defaults are those for models of this package. For published weights, and for what was fine-tuned from them,
    they are TransferTransfo's (Wolf 2019): `understudy finetune --base gpt1 --help` shows them.
    """

    base: RunName = "last"
    """What to start from: a run (its id, a beginning of it, last, last:pretrain), a checkpoint's folder, or published
    weights: gpt1, gpt2, gpt2-medium, gpt2-large, gpt2-xl, or a folder in transformers' format."""
    data: DataConfig = field(default_factory=DataConfig)
    dropout: float = 0.0
    """Share of activations dropped in training."""
    lora: int = 0
    """Rank of the LoRA factors to learn in place of the weights (0: all weights learn): less memory, ten times --lr."""
    token_types: bool = False
    """Add to each token's vector that of who speaks."""
    candidates: int = 0
    """Replies to find the true one among, which is learned too (0: not): costs about as many times the time."""
    epochs: float = 0.0
    """Passes over the data, instead of --steps (0: --steps)."""
    learner: LearnerConfig = OWN
    loop: LoopConfig = field(default_factory=LoopConfig)
    options: Annotated[RunOptions, tyro.conf.arg(name="run")] = field(default_factory=RunOptions)

    def validate(self, dist: DistInfo) -> "Config":
        """Return self with the base pinned to a checkpoint. Raises UserError for what cannot work."""
        pick_device(self.options.device)
        check_dropout(self.dropout)
        self.learner.validate(dist)
        self.loop.validate()
        self.data.validate()
        if self.data.files.kind != "chats":
            raise ConfigError(f"--data {' '.join(self.data.data)} is plain text; fine-tuning takes conversations")
        # Resolved once and for all: when the run is resumed, "last" would be the run itself.
        base = pin(self.base)
        spec = CoreSpec(**describe(latest_checkpoint(resolve(base)))["spec"])
        check_lora(self.lora, spec)
        if self.token_types and spec.core != "transformer":
            raise ConfigError("--token-types takes a Transformer, and this base is an LSTM; leave it out")
        if self.candidates not in (0, *range(2, MOST_CANDIDATES + 1)):
            raise ConfigError(f"--candidates {self.candidates} is out of range; expected 0, or 2 to {MOST_CANDIDATES}")
        in_range("epochs", self.epochs, 0)
        return replace(self, base=base)


@dataclass(frozen=True)
class Basis:
    """The options that the defaults of all others depend on."""

    base: str = "last"
    lora: int = 0
    steps: int | None = None
    resume: str | None = None


def preset(basis: Basis) -> Config:
    """Return the defaults for a base model, for LoRA or not, and for --steps given or not.

    >>> preset(Basis(base="gpt1")).learner.lr, preset(Basis(base="gpt1", lora=8)).learner.lr
    (6.25e-05, 0.000625)
    """
    config = Config()
    # A resumed run takes its options from its record, and none from the command line.
    if basis.resume:
        return config
    if _is_published(basis.base):
        epochs = 1.0 if basis.steps is None else 0.0
        config = replace(config, dropout=0.1, token_types=True, epochs=epochs, learner=PUBLISHED)
    if basis.lora:
        config = replace(config, learner=replace(config.learner, lr=LORA_RATE * config.learner.lr))
    return config


def _is_published(base: str) -> bool:
    """Whether these are published weights or were fine-tuned from such, as their token types reveal."""
    if published(base):
        return True
    try:
        folder = latest_checkpoint(resolve(base))
        return is_pretrained(folder) or bool(describe(folder)["speakers"])
    except UserError:  # which is shown when the configuration is validated
        return False


def main(config: Config, run: Run, dist: DistInfo) -> None:
    """Fine-tune as `config` says, and record everything in `run`."""
    learn(build(config, run, dist), run, asks=config.data.is_generated)


def build(config: Config, run: Run, dist: DistInfo) -> Experiment:
    """Return the experiment: the base model with what it is to learn, the data and the learner."""
    # The base model, or the last checkpoint of this run where it is resumed.
    checkpoints = list_checkpoints(run.folder)
    base = load_model(checkpoints[-1] if checkpoints else resolve(config.base))
    model, tokenizer = base.model, base.tokenizer
    if not checkpoints:
        run.update(**provenance(config.base, base))

    # The data.
    record_data(run, config.data)
    with rank_zero_first(dist):
        dataset = load_recorded(run, config.data, tokenizer, model.context, config.options.seed)

    # What the model is to learn with: dropout, token types, a next-reply head, LoRA.
    model.set_dropout(config.dropout)
    model.speakers = tuple(tokenizer.special[name] for name in SPEAKERS) if config.token_types else ()
    if config.candidates or config.lora:
        torch.manual_seed(run.seed("new weights"))
    if (model.choice is not None) != (config.candidates > 0):
        model.set_next_reply_head(config.candidates > 0)
    frozen = adapt(model, config.lora) if config.lora else frozenset[str]()

    # The batches, and the learner's steps where they are given as passes over the data.
    seed, rows = run.seed("batches"), (config.learner.batch_size, model.context)
    questions = None
    if config.candidates:
        questions = NextReply(dataset.train, dataset.train_docs, model.context, seed, config.candidates).questions
    batches = PackedBatches(dataset.train, dataset.train_docs, *rows, seed, ask=questions)
    steps = max(1, round(config.epochs * batches.batches_per_epoch)) if config.epochs else config.learner.steps
    learner = Learner(imitation(model), replace(config.learner, steps=steps), pick_device(config.options.device), dist)
    return assemble(run, learner, batches, dataset, tokenizer, loop=config.loop, fresh=False, frozen=frozen)
