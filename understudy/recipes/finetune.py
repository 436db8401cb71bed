"""Go on training a model on conversations."""

from dataclasses import dataclass, field, replace

import torch

from understudy.data.corpus import DataConfig, data_kind, prepare
from understudy.lab.errors import ConfigError
from understudy.lab.options import RunName
from understudy.lab.run import Run
from understudy.models.cores import check_dropout
from understudy.models.device import pick_device
from understudy.models.lora import adapt, check_lora
from understudy.recipes.learning import Lesson, Options, RunOptions, cache_folder, learn, parents, record_data, working
from understudy.training.checkpoint import lasting, list_checkpoints, load_model, locate, provenance, spec_of
from understudy.training.distributed import World, main_first
from understudy.training.learner import LearnerConfig
from understudy.training.loop import LoopConfig


@dataclass(frozen=True)
class Config:
    """Fine-tunes a trained model on conversations: only the assistant's replies carry loss."""

    base: RunName = "last"
    """What to start from: a run (its id, a beginning of it, last, last:pretrain), a checkpoint's folder, or published
    weights: gpt1, gpt2, gpt2-medium, gpt2-large, gpt2-xl, or a folder in transformers' format."""
    data: DataConfig = field(default_factory=DataConfig)
    dropout: float = 0.0
    """Share of activations dropped in training."""
    lora: int = 0
    """Rank of the LoRA factors to learn in place of the weights (0: all weights learn): far less memory."""
    learner: LearnerConfig = field(
        default_factory=lambda: LearnerConfig(
            steps=500, batch_size=8, lr=3e-4, schedule="linear", warmup=20, final_lr=0.0
        )
    )
    loop: LoopConfig = field(default_factory=LoopConfig)
    options: RunOptions = field(default_factory=Options)

    def checked(self, world: World) -> "Config":
        """Itself with the base's checkpoint for `base`, or a UserError that names what cannot work."""
        pick_device(self.options.device)
        check_dropout(self.dropout)
        self.learner.checked(world)
        self.loop.checked()
        if data_kind(self.data) != "chats":
            raise ConfigError(f"--data {' '.join(self.data.data)} is plain text; fine-tuning takes conversations")
        # Found once and for all: when the run is resumed, "last" would be the run itself.
        base = lasting(self.base)
        check_lora(self.lora, spec_of(locate(base)))
        return replace(self, base=base)


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
        corpus = prepare(config.data, base.tokenizer, base.model.context, config.options.seed, cache_folder(run))
    model = base.model
    model.set_dropout(config.dropout)
    torch.manual_seed(run.seed("new weights"))
    frozen = adapt(model, config.lora) if config.lora else frozenset()
    return Lesson(
        model,
        base.tokenizer,
        corpus,
        config.data,
        config.learner,
        config.loop,
        other_weight=0.0,
        device=device,
        fresh=False,
        frozen=frozen,
    )
