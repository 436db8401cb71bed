"""Go on training a model on conversations."""

from dataclasses import dataclass, field

from understudy.data.corpus import DataConfig, prepare, source_files
from understudy.lab.errors import ConfigError
from understudy.lab.run import Run
from understudy.models.device import pick_device
from understudy.recipes.learning import Options, cache_folder, learn
from understudy.training.checkpoint import load_model, locate
from understudy.training.distributed import World, main_first
from understudy.training.learner import LearnerConfig
from understudy.training.loop import LoopConfig


@dataclass(frozen=True)
class Config:
    """Fine-tunes a trained model on conversations: only the assistant's replies carry loss."""

    base: str = "last"
    """What to start from: a run (its id, a beginning of it, last, last:pretrain) or a checkpoint's folder."""
    data: DataConfig = field(default_factory=DataConfig)
    dropout: float = 0.0
    """Share of activations dropped in training."""
    learner: LearnerConfig = field(
        default_factory=lambda: LearnerConfig(steps=500, lr=3e-4, schedule="linear", warmup=20, final_lr=0.0)
    )
    loop: LoopConfig = field(default_factory=LoopConfig)
    options: Options = field(default_factory=Options)


def main(config: Config, run: Run, world: World) -> None:
    """See `Config`."""
    device = pick_device(config.options.device)
    # A resumed run must not look for "last" again: by now it is the last one itself.
    base = load_model(locate(run.record["outcome"].get("base") or config.base))
    run.finish(base=str(base.folder))
    run.update(parents=[base.folder.parent.parent.name])
    for path in source_files(config.data):
        run.add_data(path)
    with main_first(world):
        corpus = prepare(config.data, base.tokenizer, base.model.context, config.options.seed, cache_folder(run))
    if corpus.kind != "chats":
        raise ConfigError(f"--data {' '.join(config.data.data)} is plain text; fine-tuning takes conversations")
    model = base.model
    model.set_dropout(config.dropout)
    learner = config.learner.checked(world)
    learn(run, world, model, base.tokenizer, corpus, config.data, learner, config.loop, 0.0, device)
