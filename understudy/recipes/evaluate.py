"""Measure a trained model: bits a byte and perplexity, and what it remembers."""

from dataclasses import dataclass, replace

from rich.table import Table

from understudy.acting.recall import answers, shares_right
from understudy.data.batches import PackedBatches
from understudy.data.corpus import DataConfig, data_kind, is_smalltalk, prepare
from understudy.data.smalltalk import generate
from understudy.lab.config import child_seed, from_dict
from understudy.lab.errors import CheckpointError, ConfigError
from understudy.lab.options import Files, RunName
from understudy.lab.run import Run
from understudy.lab.store import Record, read_record
from understudy.models.device import Dtype, pick_device, pick_dtype
from understudy.recipes.learning import RECALL_CONVERSATIONS, cache_folder, parents, record_data, working
from understudy.training.checkpoint import find_checkpoint, load_model, locate
from understudy.training.distributed import World
from understudy.training.evaluation import evaluate


@dataclass(frozen=True)
class Config:
    """Measures a trained model on the validation split of its own run, or on other files; the result is a run too."""

    run: RunName
    """What to measure: a run (its id, a beginning of it, last, last:pretrain) or a checkpoint's folder."""
    data: Files = ()
    """Files to measure on, each from end to end; without any, what the run held out."""
    batch_size: int = 32
    """Rows computed at once."""
    dtype: Dtype = "float32"
    """Number format of matrix products: float32, bfloat16, or auto for the faster."""
    strict: bool = False
    """Stop at the first malformed line instead of leaving such lines out and counting them."""
    device: str = "auto"
    """Where to compute: auto (a CUDA GPU if there is one), cpu, cuda or cuda:0."""

    def checked(self, world: World) -> "Config":
        """Itself with a checkpoint for `run`, or a UserError that names what cannot work."""
        pick_device(self.device)
        if self.batch_size < 1:
            raise ConfigError(f"--batch-size {self.batch_size} is out of range; expected 1 or more")
        if world.size > 1:
            raise ConfigError(f"{world.size} processes are too many to measure; start eval without torchrun")
        if self.data:
            data_kind(DataConfig(data=self.data))
        return replace(self, run=str(find_checkpoint(locate(self.run))))


def main(config: Config, run: Run, world: World) -> None:
    """See `Config`."""
    device = pick_device(config.device)
    loaded = load_model(locate(config.run), device)
    trained = read_record(loaded.folder.parent.parent)
    run.update(parents=parents(loaded))
    seed = trained.data.get("seed", 0)
    data = DataConfig(data=config.data, strict=config.strict) if config.data else _data_of(trained)
    record_data(run, data)
    with working(run, f"preparing {' '.join(data.data)}"):
        corpus = prepare(
            data, loaded.tokenizer, loaded.model.context, seed, cache_folder(run), hold_out=not config.data
        )
    run.say(corpus.summary)
    if config.data and not is_smalltalk(data):  # whatever was named is there to be measured on
        corpus = replace(corpus, valid=corpus.train, valid_docs=corpus.train_docs)
    batches = PackedBatches(
        corpus.valid, corpus.valid_docs, config.batch_size, loaded.model.context, seed=0, shuffle=False
    )
    dtype = pick_dtype(config.dtype, device, loaded.model.spec)
    figures = evaluate(loaded.model, batches.eval_batches(), loaded.tokenizer, dtype)
    figures = {name.removeprefix("val_"): value for name, value in figures.items()}
    if is_smalltalk(data):
        talks = list(generate(RECALL_CONVERSATIONS, child_seed(seed, "recall"), "test"))
        shares = shares_right(answers(loaded.model, loaded.tokenizer, talks))
        figures |= {f"right_{kind}": share for kind, share in shares.items()}
    run.log(loaded.state["steps_done"], **figures)
    run.finish(**figures, headline=["bpb", figures["bpb"]], checkpoint=str(loaded.folder))
    run.console.print(
        _table(figures, f"{trained.id}, step {loaded.state['steps_done']}, {len(corpus.valid_docs):,} documents")
    )


def _data_of(trained: Record) -> DataConfig:
    """What a run learned from."""
    if trained.status == "broken":
        raise CheckpointError(f"{trained.folder} is no run's folder; name files to measure on with --data")
    return from_dict(DataConfig, trained.data["config"]["data"])


UNITS = {"loss": "loss, nats a token", "bpb": "bits a byte", "perplexity": "perplexity, a token"}


def _table(figures: dict[str, float], title: str) -> Table:
    table = Table("figure", title=title, title_justify="left")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        if name.startswith("right_"):
            table.add_row(f"{name.removeprefix('right_')} questions right", f"{value:.1%}")
        else:
            table.add_row(UNITS[name], f"{value:.4f}")
    return table
