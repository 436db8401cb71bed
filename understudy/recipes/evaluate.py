"""Measure a trained model: how well it predicts, ranks and writes replies, and what it remembers."""

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from rich.table import Column, Table

from understudy.acting.sampling import SamplingConfig
from understudy.config import Files, RunName, child_seed, from_dict, in_range
from understudy.console import progress, table
from understudy.data.dataset import DataConfig, Dataset
from understudy.data.packing import PackedBatches
from understudy.errors import CheckpointError, ConfigError
from understudy.evaluation.figures import Figures, Spoken, conversations_of, loss_figures, mean_over, overlap
from understudy.evaluation.recall import recall
from understudy.evaluation.replies import CANDIDATES, Turn, hits, own_replies, turns_of
from understudy.models.device import Dtype, pick_device, pick_dtype
from understudy.recipes.common import load_recorded, record_data
from understudy.runs.record import Record, read_record
from understudy.runs.run import Run
from understudy.statistics import Estimate
from understudy.training.distributed import DistInfo
from understudy.training.evaluation import surprise
from understudy.training.loading import Loaded, load_model, pin, provenance, resolve

POOL = 2000
"""Conversations whose replies stand beside a true one as candidates, where there are so many."""
SAMPLES = 10


@dataclass(frozen=True)
class Config:
    """Measures a trained model on the validation split of its own run, or on other files; the result is a run too."""

    run: RunName
    """What to measure: a run (its id, a beginning of it, last, last:pretrain), a checkpoint's folder, or published
    weights (gpt1, gpt2, ..., or their folder)."""
    data: Files = ()
    """Files to measure on, each from end to end; without any, what the run held out."""
    conversations: int = 100
    """Conversations, drawn at random, in which replies are ranked and generated (0: none, loss alone)."""
    batch_size: int = 32
    """Rows computed at once."""
    dtype: Dtype = "float32"
    """Number format of matrix products: float32, bfloat16, or auto for the faster."""
    strict: bool = False
    """Stop at the first malformed line instead of leaving such lines out and counting them."""
    device: str = "auto"
    """Where to compute: auto (a CUDA GPU if there is one), cpu, cuda or cuda:0."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(max_tokens=128, sampling_seed=0))

    def validate(self, dist: DistInfo) -> "Config":
        """Return self with `run` pinned to a checkpoint. Raises UserError for what cannot work."""
        pick_device(self.device)
        self.sampling.checked()
        in_range("batch_size", self.batch_size, 1)
        in_range("conversations", self.conversations, 0)
        if dist.size > 1:
            raise ConfigError(f"{dist.size} processes are too many to measure; start eval without torchrun")
        config = replace(self, run=pin(self.run))
        if config.data:
            config.named.validate()
        return config

    @cached_property
    def named(self) -> DataConfig:
        """The files to measure on, where some are named."""
        return DataConfig(data=self.data, strict=self.strict)


def main(config: Config, run: Run, dist: DistInfo) -> None:
    """See `Config`."""
    device = pick_device(config.device)
    loaded = load_model(resolve(config.run), device)
    trained = read_record(loaded.folder.parent.parent)
    run.update(**provenance(config.run, loaded))
    seed = trained.data.get("seed", 0)
    data = config.named if config.data else _data_of(trained)
    corpus = _corpus(config, run, data, loaded, seed)
    figures = _losses(config, loaded, corpus, device)
    if data.is_generated:
        shares = recall(loaded.model, loaded.tokenizer, seed, "test")
        figures |= {f"right_{kind}": Estimate(share) for kind, share in shares.items()}
    talked: Figures = {}
    if config.conversations and corpus.kind == "chats" and loaded.state["progress"].get("kind") != "text":
        measured, talked = _replies(config, run, loaded, corpus)
        figures |= measured
    _finish(run, loaded, figures, talked)
    documents = f"{len(corpus.valid_docs):,} documents"
    of = config.run if trained.status == "broken" else f"{trained.id}, step {loaded.state['steps_done']}"
    run.console.print(_table(figures, talked, f"{of}, {documents}"))


def _corpus(config: Config, run: Run, data: DataConfig, loaded: Loaded, seed: int) -> Dataset:
    """The documents to measure on, as the corpus's validation documents."""
    record_data(run, data)
    corpus = load_recorded(run, data, loaded.tokenizer, loaded.model.context, seed, hold_out=not config.data)
    run.say(corpus.summary)
    if config.data and not data.is_generated:  # whatever was named is there to be measured on
        return replace(corpus, valid=corpus.train, valid_docs=corpus.train_docs)
    return corpus


def _losses(config: Config, loaded: Loaded, corpus: Dataset, device: torch.device) -> Figures:
    context = loaded.model.context
    batches = PackedBatches(corpus.valid, corpus.valid_docs, config.batch_size, context, seed=0, shuffle=False)
    found = surprise(loaded.model, batches, loaded.tokenizer, pick_dtype(config.dtype, device, loaded.model.spec))
    return loss_figures(found, corpus.valid, corpus.valid_docs, loaded.tokenizer)


def _replies(config: Config, run: Run, loaded: Loaded, corpus: Dataset) -> tuple[Figures, Figures]:
    """The figures of the model's replies and choices, and those that the true replies have."""
    model, tokenizer = loaded.model, loaded.tokenizer
    turns, pool = _turns(config, loaded, corpus)
    if not turns:
        run.say("no reply in these conversations: none was ranked or generated", style="yellow")
        return {}, {}
    run.say(f"{len(turns):,} replies of {len({turn.conversation for turn in turns}):,} conversations")
    with progress(run.console, "ranking", len(turns)) as bar:
        found = hits(model, turns, pool, child_seed(0, "candidates"), bar.advance)
    if found is None:
        run.say(f"hits@1 is left out: it takes {CANDIDATES - 1} other replies that are not alike", style="yellow")
    with progress(run.console, "talking", len(turns)) as bar:
        texts = own_replies(model, tokenizer, turns, config.sampling, bar.advance)
    for turn, text in list(zip(turns, texts, strict=True))[:SAMPLES]:
        run.sample(loaded.state["steps_done"], true=turn.text, model=text)
    earlier = [turn.earlier(tokenizer) for turn in turns]
    ranked: Figures = {} if found is None else {"hits_at_1": mean_over(turns, found)}
    figures = ranked | {"f1": overlap(turns, texts)} | Spoken(turns, texts, earlier).figures()
    return figures, Spoken(turns, [turn.text for turn in turns], earlier).figures()


def _turns(config: Config, loaded: Loaded, corpus: Dataset) -> tuple[list[Turn], list[Turn]]:
    """The replies of as many conversations as are measured, and those of all that candidates are drawn from."""
    of = conversations_of(corpus.valid, corpus.valid_docs)
    order = np.random.default_rng(child_seed(0, "conversations")).permutation(int(of.max()) + 1)
    drawn = set(order[: max(POOL, config.conversations)].tolist())
    documents = [
        (number, corpus.valid.document(int(doc)))
        for number, doc in zip(of.tolist(), corpus.valid_docs, strict=True)
        if number in drawn
    ]
    pool = turns_of(documents, loaded.tokenizer)
    chosen = set(order[: config.conversations].tolist())
    return [turn for turn in pool if turn.conversation in chosen], pool


def _data_of(trained: Record) -> DataConfig:
    """What a run learned from."""
    if trained.status == "broken":
        raise CheckpointError(f"{trained.folder} is no run's folder; name files to measure on with --data")
    return from_dict(DataConfig, trained.data["config"]["data"])


def _finish(run: Run, loaded: Loaded, figures: Figures, talked: Figures) -> None:
    """Put the figures into the run: all values, and beside them the intervals."""
    values = {name: found.value for name, found in figures.items()}
    values |= {f"true_{name}": found.value for name, found in talked.items()}
    intervals = {name: [found.low, found.high] for name, found in figures.items() if not math.isnan(found.low)}
    run.log(loaded.state["steps_done"], **values)
    run.finish(**values, intervals=intervals, headline=["bpb", values["bpb"]], checkpoint=str(loaded.folder))


NAMES = {
    "loss": "loss, nats a token",
    "bpb": "bits a byte",
    "perplexity": "perplexity, a token",
    "word_perplexity": "perplexity, a word",
    "hits_at_1": f"hits@1 of {CANDIDATES}",
    "f1": "F1",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "repetition": "repeat themselves",
    "repetition_earlier": "repeat earlier replies",
}
SHARES = ("hits_at_1", "repetition", "repetition_earlier")


def _table(figures: Figures, talked: Figures, title: str) -> Table:
    columns = "value", "95% interval", *(["true replies"] if talked else [])
    shown = table("figure", *(Column(column, justify="right") for column in columns), title=title)
    for name, found in figures.items():
        is_share = name in SHARES or name.startswith("right_")
        interval = "" if math.isnan(found.low) else f"{_shown(found.low, is_share)} to {_shown(found.high, is_share)}"
        row = [_shown(found.value, is_share), interval]
        row += [_shown(talked[name].value, is_share) if name in talked else ""] if talked else []
        shown.add_row(NAMES.get(name) or f"{name.removeprefix('right_')} questions right", *row)
    return shown


def _shown(value: float, is_share: bool) -> str:
    return f"{value:.1%}" if is_share else f"{value:.4f}"
