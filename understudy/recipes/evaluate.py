"""Measure a trained model: bits a byte and perplexity, and what it remembers."""

from dataclasses import dataclass, field, replace

from rich.table import Table

from understudy.acting.recall import answers, shares_right
from understudy.data.batches import PackedBatches
from understudy.data.corpus import Corpus, DataConfig, is_smalltalk, prepare, source_files
from understudy.data.smalltalk import generate
from understudy.lab.config import child_seed, from_dict
from understudy.lab.errors import CheckpointError
from understudy.lab.run import Run
from understudy.lab.store import read_record
from understudy.models.device import Dtype, pick_device, pick_dtype
from understudy.recipes.learning import RECALL_CONVERSATIONS, Options, cache_folder
from understudy.training.checkpoint import Loaded, load_model, locate
from understudy.training.distributed import World
from understudy.training.evaluation import evaluate


@dataclass(frozen=True)
class Config:
    """Measures a trained model on the validation split of its own run, or on other files; the result is a run too."""

    run: str
    """What to measure: a run (its id, a beginning of it, last, last:pretrain) or a checkpoint's folder."""
    data: tuple[str, ...] = ()
    """Files to measure on, all of them; without any, what the run held out."""
    batch_size: int = 32
    """Rows computed at once."""
    dtype: Dtype = "float32"
    """Number format of matrix products: float32, bfloat16, or auto for the faster."""
    strict: bool = False
    """Stop at the first malformed line."""
    options: Options = field(default_factory=Options)


def main(config: Config, run: Run, world: World) -> None:
    """See `Config`."""
    device = pick_device(config.options.device)
    loaded = load_model(locate(config.run), device)
    trained = read_record(loaded.folder.parent.parent)
    run.update(parents=[trained.id])
    if config.data:
        data = DataConfig(data=config.data, strict=config.strict)
        corpus = _all_of(data, loaded, run)
    else:
        if trained.status == "broken":
            raise CheckpointError(f"{loaded.folder} lies in no run's folder; name files to measure on with --data")
        data = from_dict(DataConfig, trained.data["config"]["data"])
        corpus = prepare(data, loaded.tokenizer, loaded.model.context, trained.data["seed"], cache_folder(run))
    batches = PackedBatches(
        corpus.valid, corpus.valid_docs, config.batch_size, loaded.model.context, seed=0, shuffle=False
    )
    dtype = pick_dtype(config.dtype, device, loaded.model.spec.width)
    figures = evaluate(loaded.model, batches.eval_batches(), loaded.tokenizer, dtype)
    figures = {name.removeprefix("val_"): value for name, value in figures.items()}
    if is_smalltalk(data):
        talks = list(generate(RECALL_CONVERSATIONS, child_seed(trained.data["seed"], "recall"), "test"))
        shares = shares_right(answers(loaded.model, loaded.tokenizer, talks))
        figures |= {f"right_{kind}": share for kind, share in shares.items()}
    run.log(loaded.state["steps_done"], **figures)
    run.finish(**figures, headline=["bpb", figures["bpb"]], checkpoint=str(loaded.folder))
    run.console.print(
        _table(figures, f"{trained.id}, step {loaded.state['steps_done']}, {len(corpus.valid_docs):,} documents")
    )


def _all_of(data: DataConfig, loaded: Loaded, run: Run) -> Corpus:
    """Every document of the named files counts as held out."""
    for path in source_files(data):
        run.add_data(path)
    corpus = prepare(data, loaded.tokenizer, loaded.model.context, 0, cache_folder(run), hold_out=False)
    return replace(corpus, valid=corpus.train, valid_docs=corpus.train_docs)


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
