"""A small GPT-1, pretrained on plain text and fine-tuned on conversations: in full and with LoRA, over several seeds.

    python benchmarks/gpt1_finetune.py [--data FOLDER] [--quick]

FOLDER holds train.jsonl and valid.jsonl (or .jsonl.gz), conversations of people: by default the Self-dialogue Corpus
(Fainberg 2018) where it lies beside the checkout. The model has GPT-1's blocks and 10M parameters. It learns the
training conversations as plain text, without roles, then as a chatbot does, in three ways: all weights, LoRA, and all
weights with next-reply classification. `eval` measures it on the validation conversations before and after. Chance
finds the true reply among 20 once in 20 times. Runs go where they always do, so UNDERSTUDY_RUNS may name another place.
Without --quick about 40 minutes on two cores.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from report import finish, table

from understudy import cli
from understudy.data.conversations import conversation_to_json, read_conversations
from understudy.data.files import Report
from understudy.models.device import prepare_process
from understudy.runs.find import list_runs, runs_folder

FIGURES = {"loss": "loss", "hits_at_1": "hits@1", "f1": "F1", "distinct_2": "distinct-2"}
CHANCE = 1 / 20
RARELY = ("--sample-every", "0", "--eval-every", "0")


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    train: int
    """Conversations to learn from."""
    valid: int
    """Conversations to measure on."""
    pretrain: tuple[str, ...]
    ways: dict[str, tuple[str, ...]]
    """Options of each way to fine-tune."""
    conversations: int
    """Of those to measure on, the ones in which replies are ranked and generated."""
    seeds: tuple[int, ...]


WAYS = {
    "full": ("--lr", "5e-4", "--steps", "100"),
    "LoRA": ("--lr", "5e-3", "--steps", "100", "--lora", "8"),
    "full, 4 candidates": ("--lr", "5e-4", "--steps", "90", "--candidates", "4"),
}
FULL = Scale(
    train=22_077,
    valid=300,
    pretrain=("--size", "base", "--vocab-size", "4096", "--steps", "1200", "--batch-size", "8", "--warmup", "50"),
    ways={way: (*options, "--batch-size", "8", "--warmup", "10") for way, options in WAYS.items()},
    conversations=40,
    seeds=(0, 1, 2),
)
QUICK = Scale(
    train=300,
    valid=20,
    pretrain=("--size", "tiny", "--vocab-size", "512", "--steps", "10", "--batch-size", "4", "--warmup", "5"),
    ways={way: (*options, "--batch-size", "4", "--warmup", "2", "--steps", "3") for way, options in WAYS.items()},
    conversations=2,
    seeds=(0,),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/self-dialogues"))
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute")
    given = parser.parse_args()
    prepare_process()
    scale = QUICK if given.quick else FULL
    began = time.perf_counter()
    train = prepare(given.data, "train.jsonl", scale.train)
    valid = prepare(given.data, "valid.jsonl", scale.valid)
    texts = "--data", str(train.with_suffix(".txt")), "--valid", str(valid.with_suffix(".txt"))
    base = understudy("pretrain", *texts, *RARELY, "--block", "gpt1", "--lr", "1e-3", *scale.pretrain)
    tuning = ("finetune", "--base", base, "--data", str(train), "--valid", str(valid), *RARELY, "--token-types")
    # A step at a rate of nothing: the same weights, as a chatbot to be measured.
    runs = {"before": [understudy(*tuning, "--steps", "1", "--lr", "1e-12", "--warmup", "0")]}
    for way, options in scale.ways.items():
        runs[way] = [understudy(*tuning, *options, "--seed", str(seed)) for seed in scale.seeds]
    measured = {
        way: [outcome(understudy("eval", run, "--data", str(valid), "--conversations", str(scale.conversations)))
              for run in made]
        for way, made in runs.items()
    }  # fmt: skip
    tell(base, runs, measured, time.perf_counter() - began)


def prepare(folder: Path, name: str, most: int) -> Path:
    """The first conversations of a file, in a file beside the runs; and beside that their text, a line a message."""
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)
    if path is None:
        sys.exit(f"no {name} or {name}.gz in {folder.absolute()}; name the folder with conversations: --data FOLDER")
    chats = runs_folder() / "cache" / f"gpt1_finetune-{most}-{name}"
    chats.parent.mkdir(parents=True, exist_ok=True)
    with chats.open("w", encoding="utf-8") as lines, chats.with_suffix(".txt").open("w", encoding="utf-8") as text:
        for conversation in islice(read_conversations([path], Report()), most):
            lines.write(conversation_to_json(conversation) + "\n")
            text.write("".join(f"{message.content}\n" for message in conversation.messages) + "<|endoftext|>\n")
    return chats


def understudy(*words: str) -> str:
    """Run a command line of this package; the id of the run that it made."""
    if code := cli.main(words):
        sys.exit(code)
    return list_runs()[-1].id


def outcome(run: str) -> dict[str, Any]:
    """The figures that a run ended with."""
    (record,) = (record for record in list_runs() if record.id == run)
    return {**record.data["outcome"], "id": run}


def tell(base: str, runs: dict[str, list[str]], measured: dict[str, list[dict[str, Any]]], seconds: float) -> None:
    rows = [[way, *(spread([one[name] for one in found]) for name in FIGURES)] for way, found in measured.items()]
    table(f"from {base}, {seconds / 60:.0f} minutes", ["", *FIGURES.values()], rows)
    for way, made in runs.items():
        print(f"{way}: {' '.join(made)}")
    hits = {way: fmean(one["hits_at_1"] for one in found) for way, found in measured.items()}
    before = {"before": hits.pop("before")}
    for way, share in hits.items():
        finish(f"gpt1_finetune, {way}", "hits@1 of 20", share, before, None, share / CHANCE, 3.0)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
