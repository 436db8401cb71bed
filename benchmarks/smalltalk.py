"""The built-in conversations: what a Transformer, an LSTM of its size and an n-gram model remember and predict.

    python benchmarks/smalltalk.py [--quick]

Both cores are trained by the recipe of `make chat` (as runs of their own, in a temporary folder); questions and names
are those of the test split, which no training saw. The n-gram model interpolates orders 1 to 6 (Witten & Bell 1991).
"""

import argparse
import math
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from report import finish, table

from understudy.data.chat_template import render, render_prompt
from understudy.data.packing import PackedBatches
from understudy.data.token_store import build_store
from understudy.data.tokenizers import Tokenizer
from understudy.evaluation.recall import answers, shares_right
from understudy.models.spec import CoreConfig
from understudy.recipes import pretrain
from understudy.recipes.launch import launch
from understudy.tasks.smalltalk import SmallTalk, generate
from understudy.training.evaluation import evaluate, scored_bytes
from understudy.training.loading import load_model

ORDER = 6
# What the Transformer is to get right of each kind; "scripts": recall questions with an answer that is not ASCII.
TARGETS = {"recall": 0.95, "scripts": 0.9, "who": 0.85, "yes_no": 0.85, "count": 0.75, "compare": 0.75}


class NGram:
    """Token n-grams, each order interpolated with the one below by how many kinds of token follow."""

    def __init__(self, documents: Sequence[list[int]], vocab_size: int):
        self.vocab_size = vocab_size
        self.follows: dict[tuple[int, ...], dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for ids in documents:
            for end in range(1, len(ids)):
                for order in range(min(ORDER, end + 1)):
                    self.follows[tuple(ids[end - order : end])][ids[end]] += 1

    def probability(self, context: Sequence[int], token: int) -> float:
        """p(token | the last ORDER - 1 tokens)."""
        p = 1 / self.vocab_size
        for order in range(min(ORDER, len(context) + 1)):
            follows = self.follows.get(tuple(context[len(context) - order :]))
            if follows is None:
                break
            total, kinds = sum(follows.values()), len(follows)
            p = (follows.get(token, 0) + kinds * p) / (total + kinds)
        return p

    def reply(self, prompt: list[int], end: int, most: int = 48) -> list[int]:
        """The likeliest next token of the longest known context, again and again."""
        ids: list[int] = []
        while len(ids) < most:
            said = [*prompt, *ids][-ORDER + 1 :]
            known = next(c for start in range(len(said) + 1) if (c := tuple(said[start:])) in self.follows)
            token = max(self.follows[known], key=self.follows[known].__getitem__)
            if token == end:
                break
            ids.append(token)
        return ids


def ngram_row(tokenizer: Tokenizer, trained_on: int, held_out: Sequence[SmallTalk]) -> tuple[dict[str, float], float]:
    """Shares right and bits a byte of the n-gram model."""
    train = [render(talk.conversation, tokenizer).ids.tolist() for talk in generate(trained_on, 0, "train")]
    model, end = NGram(train, tokenizer.vocab_size), tokenizer.special["<|end|>"]
    answered = []
    nats, size, bytes_of = 0.0, 0, scored_bytes(tokenizer)
    for talk in held_out:
        for question in talk.questions:
            prompt = render_prompt(talk.conversation.messages[: question.index], tokenizer)
            answered.append((question, tokenizer.decode(model.reply(prompt, end))))
        rendered = render(talk.conversation, tokenizer)
        ids = rendered.ids.tolist()
        for position in rendered.loss_mask.nonzero()[0].tolist():
            nats -= math.log(model.probability(ids[:position][-ORDER + 1 :], ids[position]))
            size += int(bytes_of[ids[position]])
    return shares_right(answered), nats / math.log(2) / size


def core_row(core: str, quick: bool, held_out: Sequence[SmallTalk]) -> tuple[dict[str, float], float, Path]:
    """Train by the recipe of `make chat`; shares right and bits a byte of the held-out conversations."""
    config = pretrain.Config(model=CoreConfig(core=core))  # type: ignore[arg-type]
    if quick:
        learner = replace(config.learner, steps=60)
        config = replace(config, learner=learner, data=replace(config.data, smalltalk_conversations=1000))
    folder = launch("pretrain", pretrain.main, config, [])
    loaded = load_model(folder)
    documents = [render(talk.conversation, loaded.tokenizer) for talk in held_out]
    store = build_store(folder / "test", documents, loaded.tokenizer)
    batches = PackedBatches(store, np.arange(len(store)), 8, loaded.model.context, seed=None)
    bits = evaluate(loaded.model, batches.eval_batches(), loaded.tokenizer)["val_bpb"]
    return shares_right(answers(loaded.model, loaded.tokenizer, held_out, most=10_000)), bits, folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="train hardly at all: shows that it works")
    quick = parser.parse_args().quick
    held_out = list(generate(10 if quick else 600, 1, "test"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["UNDERSTUDY_RUNS"] = folder
        results = {}
        for core in ("transformer", "lstm"):
            right, bits, run = core_row(core, quick, held_out)
            results[core] = (right, bits)
        tokenizer = load_model(run).tokenizer
        results[f"{ORDER}-gram"] = ngram_row(tokenizer, 1000 if quick else 8000, held_out)
    asked = Counter(question.kind for talk in held_out for question in talk.questions)
    asked["scripts"] = sum(
        question.kind == "recall" and not question.answer.isascii() for talk in held_out for question in talk.questions
    )
    kinds = sorted({kind for right, _ in results.values() for kind in right})
    rows = [
        [name, f"{bits:.3f}", *(f"{right.get(kind, float('nan')):.1%}" for kind in kinds)]
        for name, (right, bits) in results.items()
    ]
    rows.append(["target", "", *(f"{TARGETS[kind]:.0%}" if kind in TARGETS else "" for kind in kinds)])
    table(
        "held-out conversations: bits a byte, share of questions answered right",
        ["", "bits a byte", *(f"{kind} ({asked[kind]})" for kind in kinds)],
        rows,
    )
    recall = {name: right["recall"] for name, (right, _) in results.items()}
    ours = recall.pop("transformer")
    right = results["transformer"][0]
    ratio = min(right.get(kind, 0.0) / target for kind, target in TARGETS.items())
    finish(
        "smalltalk",
        "share of recall questions right; ratio of all kinds' least to its target",
        ours,
        recall,
        1.0,
        ratio,
        1.0,
    )


if __name__ == "__main__":
    main()
