"""Measure a trained model: how well it predicts, ranks and writes replies, and what it remembers."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from rich.table import Column, Table

from understudy.acting.sampling import SamplingConfig
from understudy.config import Files, RunName, child_seed, from_dict, in_range
from understudy.console import progress, table
from understudy.data.dataset import DataConfig, Dataset
from understudy.data.packing import PackedBatches
from understudy.errors import CheckpointError, ConfigError
from understudy.evaluation.figures import Figures, conversations_of, loss_figures, mean_over, overlap, variety
from understudy.evaluation.recall import recall
from understudy.evaluation.replies import CANDIDATES, hits, own_replies, turns_of
from understudy.models.device import Dtype, pick_device, pick_dtype
from understudy.recipes.common import load_recorded, record_data
from understudy.runs.record import read_record
from understudy.runs.run import Run
from understudy.statistics import Estimate
from understudy.training.distributed import DistInfo
from understudy.training.evaluation import document_losses
from understudy.training.loading import Loaded, load_model, pin, provenance, resolve

POOL = 2000
"""Conversations from which the candidates beside a true reply are drawn, at most."""
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
            DataConfig(data=self.data, strict=self.strict).validate()
        return config


def main(config: Config, run: Run, dist: DistInfo) -> None:
    """Measure a model as `config` says, record the figures in `run` and print them."""
    device = pick_device(config.device)
    loaded = load_model(resolve(config.run), device)
    model, tokenizer = loaded.model, loaded.tokenizer
    trained = read_record(loaded.folder.parent.parent)
    run.update(**provenance(config.run, loaded))

    # The documents to measure on: the files that are named, from end to end, or what the model's run held out.
    if not config.data and trained.status == "broken":
        raise CheckpointError(f"{trained.folder} is not a run's folder; name files to measure on with --data")
    named = DataConfig(data=config.data, strict=config.strict)
    data = named if config.data else from_dict(DataConfig, trained.data["config"]["data"])
    seed = trained.data.get("seed", 0)
    record_data(run, data)
    dataset = load_recorded(run, data, tokenizer, model.context, seed, hold_out=not config.data)
    run.say(dataset.summary)
    if config.data and not data.is_generated:
        dataset = replace(dataset, valid=dataset.train, valid_docs=dataset.train_docs)
    documents, indices = dataset.valid, dataset.valid_docs

    # How well it predicts.
    batches = PackedBatches(documents, indices, config.batch_size, model.context, seed=None)
    losses = document_losses(model, batches, tokenizer, pick_dtype(config.dtype, device, model.spec))
    figures = loss_figures(losses, documents, indices, tokenizer)

    # What it remembers, where questions are known.
    if data.is_generated:
        shares = recall(model, tokenizer, seed, "test")
        figures |= {f"right_{kind}": Estimate(share) for kind, share in shares.items()}

    # How well it ranks and writes replies.
    true_figures: Figures = {}
    if config.conversations and dataset.kind == "chats" and loaded.state["progress"].get("kind") != "text":
        reply_figures, true_figures = _measure_replies(config, run, loaded, dataset)
        figures |= reply_figures

    # Record all values, and the intervals beside them.
    values = {name: found.value for name, found in figures.items()}
    values |= {f"true_{name}": found.value for name, found in true_figures.items()}
    intervals = {name: [found.low, found.high] for name, found in figures.items() if not math.isnan(found.low)}
    run.log(loaded.state["steps_done"], **values)
    run.finish(**values, intervals=intervals, headline=["bpb", values["bpb"]], checkpoint=str(loaded.folder))
    of = config.run if trained.status == "broken" else f"{trained.id}, step {loaded.state['steps_done']}"
    run.console.print(_table(figures, true_figures, f"{of}, {len(indices):,} documents"))


def _measure_replies(config: Config, run: Run, loaded: Loaded, dataset: Dataset) -> tuple[Figures, Figures]:
    """Return the figures of the model's own replies and rankings, and those of the true replies."""
    model, tokenizer = loaded.model, loaded.tokenizer

    # Replies of the conversations to measure, and of those that other candidates are drawn from.
    of = conversations_of(dataset.valid, dataset.valid_docs)
    order = np.random.default_rng(child_seed(0, "conversations")).permutation(int(of.max()) + 1)
    drawn = set(order[: max(POOL, config.conversations)].tolist())
    documents = [
        (number, dataset.valid.document(int(doc)))
        for number, doc in zip(of.tolist(), dataset.valid_docs, strict=True)
        if number in drawn
    ]
    pool = turns_of(documents, tokenizer)
    chosen = set(order[: config.conversations].tolist())
    turns = [turn for turn in pool if turn.conversation in chosen]
    if not turns:
        run.say("these conversations hold no reply: none was ranked or generated", style="yellow")
        return {}, {}
    run.say(f"{len(turns):,} replies of {len({turn.conversation for turn in turns}):,} conversations")

    # Rank the true reply among others.
    figures: Figures = {}
    with progress(run.console, "ranking", len(turns)) as bar:
        found = hits(model, turns, pool, child_seed(0, "candidates"), bar.advance)
    if found is None:
        run.say(f"hits@1 is left out: it takes {CANDIDATES - 1} other replies that are not alike", style="yellow")
    else:
        figures["hits_at_1"] = mean_over(turns, found)

    # Write replies, and compare them with the true ones.
    with progress(run.console, "talking", len(turns)) as bar:
        texts = own_replies(model, tokenizer, [turn.prompt for turn in turns], config.sampling, bar.advance)
    for turn, text in list(zip(turns, texts, strict=True))[:SAMPLES]:
        run.sample(loaded.state["steps_done"], true=turn.text, model=text)
    earlier = [turn.earlier(tokenizer) for turn in turns]
    figures |= {"f1": overlap(turns, texts)} | variety(turns, texts, earlier)
    return figures, variety(turns, [turn.text for turn in turns], earlier)


NAMES = {
    "loss": "loss, nats per token",
    "bpb": "bits per byte",
    "perplexity": "perplexity per token",
    "word_perplexity": "perplexity per word",
    "hits_at_1": f"hits@1 of {CANDIDATES}",
    "f1": "F1",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "repetition": "repeat themselves",
    "repetition_earlier": "repeat earlier replies",
}
SHARES = ("hits_at_1", "repetition", "repetition_earlier")


def _table(figures: Figures, true_figures: Figures, title: str) -> Table:
    def shown(name: str, value: float) -> str:
        return f"{value:.1%}" if name in SHARES or name.startswith("right_") else f"{value:.4f}"

    columns = "value", "95% interval", *(["true replies"] if true_figures else [])
    found = table("figure", *(Column(column, justify="right") for column in columns), title=title)
    for name, one in figures.items():
        row = [shown(name, one.value)]
        row += ["" if math.isnan(one.low) else f"{shown(name, one.low)} to {shown(name, one.high)}"]
        row += [shown(name, true_figures[name].value)] if name in true_figures else []
        found.add_row(NAMES.get(name) or f"{name.removeprefix('right_')} questions right", *row)
    return found
