"""Go on training a model on conversations."""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from understudy.config import RunName, in_range
from understudy.data.dataset import DataConfig, load_dataset
from understudy.errors import ConfigError, UserError
from understudy.models.device import pick_device
from understudy.models.lora import adapt, check_lora
from understudy.models.pretrained.folder import is_pretrained
from understudy.models.pretrained.hub import published
from understudy.models.spec import CoreSpec, check_dropout
from understudy.recipes.learning import Lesson, Options, RunOptions, cache_folder, learn, parents, record_data, working
from understudy.runs.run import Run
from understudy.tasks.smalltalk import Smalltalk
from understudy.training.checkpoint import (
    Loaded,
    find_checkpoint,
    lasting,
    list_checkpoints,
    load_model,
    locate,
    provenance,
    speakers_of,
    spec_of,
)
from understudy.training.distributed import World, main_first
from understudy.training.experiment import LoopConfig
from understudy.training.learner import LearnerConfig

SPEAKERS = ("<|system|>", "<|user|>", "<|assistant|>")
MOST_CANDIDATES = 100
LORA_RATE = 10
"""LoRA learns best at about ten times the rate of full fine-tuning (Schulman 2025, "LoRA Without Regret")."""

OWN = LearnerConfig(steps=500, batch_size=8, lr=3e-4, schedule="linear", warmup=20, final_lr=0.0)
PUBLISHED = LearnerConfig(
    steps=500,
    batch_size=8,  # rows of about four conversations: the paper's 32
    micro_batch_size=2,
    lr=6.25e-5,
    schedule="linear",
    warmup=0,
    final_lr=0.0,
    weight_decay=0.0,
    beta2=0.999,
    clip=1.0,
)
"""TransferTransfo's (Wolf 2019, and its published code)."""


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
    options: RunOptions = field(default_factory=Options)

    def checked(self, world: World) -> "Config":
        """Itself with the base's checkpoint for `base`, or a UserError that names what cannot work."""
        pick_device(self.options.device)
        check_dropout(self.dropout)
        self.learner.checked(world)
        self.loop.checked()
        self.data.validate()
        if self.data.files.kind != "chats":
            raise ConfigError(f"--data {' '.join(self.data.data)} is plain text; fine-tuning takes conversations")
        # Found once and for all: when the run is resumed, "last" would be the run itself.
        base = lasting(self.base)
        self._check_model(spec_of(locate(base)))
        return replace(self, base=base)

    def _check_model(self, spec: CoreSpec) -> None:
        check_lora(self.lora, spec)
        if self.token_types and spec.core != "transformer":
            raise ConfigError("--token-types takes a Transformer, and this base is an LSTM; leave it out")
        if self.candidates not in (0, *range(2, MOST_CANDIDATES + 1)):
            raise ConfigError(f"--candidates {self.candidates} is out of range; expected 0, or 2 to {MOST_CANDIDATES}")
        in_range("epochs", self.epochs, 0)


def defaults(arguments: Sequence[str]) -> Config:
    """What holds for all that a command line does not say: it hangs on the base, on LoRA, and on --steps.

    >>> defaults(["--base", "gpt1"]).learner.lr, defaults(["--base", "gpt1", "--lora", "8"]).learner.lr
    (6.25e-05, 0.000625)
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("base", "lora", "steps", "resume"):
        parser.add_argument(f"--{name}", nargs="?")
    given, _ = parser.parse_known_args(arguments)
    if given.resume:  # it goes on with what was recorded
        return Config()
    config = Config()
    if _is_published(given.base or config.base):
        epochs = 0.0 if given.steps else 1.0
        config = replace(config, dropout=0.1, token_types=True, epochs=epochs, learner=PUBLISHED)
    if given.lora not in (None, "0"):
        config = replace(config, learner=replace(config.learner, lr=LORA_RATE * config.learner.lr))
    return config


def _is_published(base: str) -> bool:
    """Whether these are published weights, or were fine-tuned from such, as the types of their tokens tell."""
    if published(base):
        return True
    try:
        folder = find_checkpoint(locate(base))
        return is_pretrained(folder) or bool(speakers_of(folder))
    except UserError:  # told when the configuration is checked
        return False


def main(config: Config, run: Run, world: World) -> None:
    """See `Config`."""
    learn(run, world, prepare_lesson(config, run, world))


def prepare_lesson(config: Config, run: Run, world: World) -> Lesson:
    """The base model, or what became of it before the run was interrupted, and the data."""
    device = pick_device(config.options.device)
    done = list_checkpoints(run.folder)
    base = load_model(done[-1] if done else locate(config.base))
    if not done:
        run.update(parents=parents(base), **provenance(config.base, base))
    record_data(run, config.data)
    with main_first(world), working(run, f"preparing {' '.join(config.data.data)}"):
        corpus = load_dataset(
            config.data, base.tokenizer, base.model.context, config.options.seed, cache_folder(run), Smalltalk()
        )
    frozen = _fit_out(base, config, run)
    return Lesson(
        base.model,
        base.tokenizer,
        corpus,
        config.data,
        config.learner,
        config.loop,
        other_weight=0.0,
        device=device,
        fresh=False,
        frozen=frozen,
        candidates=config.candidates,
        epochs=config.epochs,
    )


def _fit_out(base: Loaded, config: Config, run: Run) -> frozenset[str]:
    """Give the model what it is to learn with; the names of the parameters that rest."""
    model = base.model
    model.set_dropout(config.dropout)
    model.speakers = tuple(base.tokenizer.special[name] for name in SPEAKERS) if config.token_types else ()
    if config.candidates or config.lora:
        torch.manual_seed(run.seed("new weights"))
    if (model.choice is not None) != (config.candidates > 0):
        model.set_choice_head(config.candidates > 0)
    return adapt(model, config.lora) if config.lora else frozenset()
