"""Train a language model from scratch, on conversations or plain text."""

from dataclasses import dataclass, field
from typing import Literal

import torch

from understudy.config import in_range
from understudy.data.dataset import DataConfig, load_dataset, train_tokenizer
from understudy.data.tokenizers import SPECIALS, Tokenizer, load_tokenizer
from understudy.errors import ConfigError
from understudy.models.device import pick_device
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.recipes.learning import Lesson, Options, RunOptions, cache_folder, learn, record_data, working
from understudy.runs.run import Run
from understudy.tasks.smalltalk import Smalltalk
from understudy.training.distributed import World, main_first
from understudy.training.experiment import LoopConfig
from understudy.training.learner import LearnerConfig

LEAST = 256 + len(SPECIALS)


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
    options: RunOptions = field(default_factory=Options)

    def checked(self, world: World) -> "Config":
        """Itself, or a UserError that names what cannot work."""
        pick_device(self.options.device)
        self.model.resolved()
        self.learner.checked(world)
        self.loop.checked()
        if self.tokenizer == "bpe" and self.vocab_size < LEAST:
            raise ConfigError(f"--vocab-size {self.vocab_size} is too small; bytes and special tokens take {LEAST}")
        in_range("other_weight", self.other_weight, 0, 1)
        self.data.validate()
        return self


def main(config: Config, run: Run, world: World) -> None:
    """See `Config`."""
    learn(run, world, prepare_lesson(config, run, world))


def prepare_lesson(config: Config, run: Run, world: World) -> Lesson:
    """The tokenizer, the data and a fresh model."""
    device = pick_device(config.options.device)
    spec = config.model.resolved()
    record_data(run, config.data)
    with main_first(world), config.data.files.kept_open():  # for the tokenizer and the dataset
        tokenizer = _tokenizer(config, run)
        with working(run, f"preparing {' '.join(config.data.data)}"):
            corpus = load_dataset(
                config.data, tokenizer, spec.context, config.options.seed, cache_folder(run), Smalltalk()
            )
    torch.manual_seed(run.seed("init"))
    model = LanguageModel(spec, tokenizer.vocab_size)
    return Lesson(
        model, tokenizer, corpus, config.data, config.learner, config.loop, config.other_weight, device, fresh=True
    )


def _tokenizer(config: Config, run: Run) -> Tokenizer:
    """The run's tokenizer: trained when it begins, read again when it goes on."""
    if not (run.folder / "tokenizer.json").exists():
        with working(run, f"making the tokenizer: {config.tokenizer}"):
            tokenizer = train_tokenizer(
                config.tokenizer, config.vocab_size, config.data, config.options.seed, Smalltalk()
            )
        tokenizer.save(run.folder)
    return load_tokenizer(run.folder)
