"""Training tokens a second: ours against a plain nanoGPT-style loop and transformers' GPT-2, the same architecture.

    python benchmarks/train_speed.py [--quick]        needs the extra `bench` (transformers)

Every contender trains a GPT-2 block (pre-LN, learned positions, biases, tanh GELU) on the same batches, in a process of
its own, in turn with the others. The peers run in float32, their usual format on a CPU; bfloat16 counts as ours only
where the loss after equal tokens is within 0.5% of float32's. The limit is the measured rate of a matrix product over
6 N + 12 L D T operations per token.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from statistics import mean, median
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from report import Maker, contend, finish, matrix_rate, race, racers, table
from torch import Tensor, nn

from understudy.data.packing import Batch
from understudy.models.device import prepare_process
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.tasks.smalltalk import generate
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import ImitationLoss

VOCABULARY = 512
PEERS = "plain nanoGPT-style loop, float32", "transformers GPT2LMHeadModel, float32"


@dataclass(frozen=True)
class Size:
    """A model and its batch, those of the figures in shared use: nanoGPT's small CPU set-ups."""

    name: str
    layers: int
    width: int
    heads: int
    context: int
    batch: int = 12


SIZES = {
    size.name: size
    for size in (
        Size("1M", layers=4, width=128, heads=4, context=64),
        Size("10M", layers=6, width=384, heads=6, context=128),
    )
}


class PlainBlock(nn.Module):
    """A GPT-2 block as everyone writes it."""

    def __init__(self, size: Size):
        super().__init__()
        d = size.width
        self.heads = size.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc, self.out = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (
            part.view(b, t, self.heads, d // self.heads).transpose(1, 2) for part in self.qkv(self.ln_1(x)).split(d, 2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).contiguous().view(b, t, d))
        return x + self.out(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class PlainGPT(nn.Module):
    """The whole of it, with a tied head."""

    def __init__(self, size: Size):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, size.width)
        self.positions = nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(PlainBlock(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(inputs) + self.positions(torch.arange(inputs.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))


def batches(size: Size, number: int = 16) -> list[Batch]:
    """Built-in conversations as bytes, cut anywhere: real text, every position a target."""
    text = "\n".join(message.content for talk in generate(1500, 0, "train") for message in talk.conversation.messages)
    ids = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)
    span = size.batch * size.context
    assert len(ids) > number * span
    shape = (size.batch, size.context)
    return [
        Batch(
            ids[i * span : (i + 1) * span].reshape(shape),
            ids[i * span + 1 : (i + 1) * span + 1].reshape(shape),
            np.ones(shape, dtype=np.float32),
            np.zeros(shape, dtype=np.bool_),
        )
        for i in range(number)
    ]


def peer_step(loss_of: Callable[[Tensor, Tensor], Tensor], model: nn.Module, data: list[Batch]) -> Callable[[], float]:
    """nanoGPT's loop: forward, backward, clip, AdamW, the loss read."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    pairs = [(torch.from_numpy(b.inputs_BT), torch.from_numpy(b.targets_BT)) for b in data]
    steps = count()

    def step() -> float:
        loss = loss_of(*pairs[next(steps) % len(pairs)])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def our_step(size: Size, data: list[Batch], dtype: str) -> Callable[[], float]:
    """A step of our learner, its bookkeeping included."""
    torch.manual_seed(0)
    shape = CoreConfig(block="gpt2", layers=size.layers, width=size.width, heads=size.heads, context=size.context)
    model = LanguageModel(shape.resolved(), VOCABULARY)
    config = LearnerConfig(batch_size=size.batch, lr=1e-3, beta2=0.95, schedule="constant", warmup=20, dtype=dtype)
    learner, steps = Learner(ImitationLoss(model), config, torch.device("cpu")), count()
    return lambda: learner.step(data[next(steps) % len(data)])["loss"]


def transformers_step(size: Size, data: list[Batch]) -> Callable[[], float]:
    """transformers' GPT2LMHeadModel in the same loop."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=size.context, n_embd=size.width, n_layer=size.layers, n_head=size.heads,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    model.train()

    def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
        logits = model(inputs).logits
        return F.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))

    return peer_step(loss_of, model, data)


def loss_gap(size: Size, steps: int) -> float:
    """How far bfloat16's loss lies from float32's after equal tokens, as a share (mean of the last quarter)."""
    data = batches(size)
    ends = {}
    for dtype in ("float32", "bfloat16"):
        step = our_step(size, data, dtype)
        ends[dtype] = mean([step() for _ in range(steps)][-steps // 4 :])
    return abs(ends["bfloat16"] / ends["float32"] - 1)


def trainer(make: Callable[[Size, list[Batch]], Callable[[], float]], size: Size) -> Callable[..., float]:
    """Make a contender of a step: of `steps` steps, the median's tokens per second."""
    prepare_process()
    step = make(size, batches(size))

    def run(steps: int) -> float:
        seconds = []
        for _ in range(steps):
            began = perf_counter()
            step()
            seconds.append(perf_counter() - began)
        return size.batch * size.context / median(seconds)

    return run


def plain_step(size: Size, data: list[Batch]) -> Callable[[], float]:
    """Make a step of the plain loop."""
    model = PlainGPT(size)
    return peer_step(model, model, data)


def limit(size: str, dtype: str) -> Callable[..., float]:
    """Make the contender that only multiplies: tokens per second if a step were nothing but its products."""
    shape = SIZES[size]
    parameters = sum(p.numel() for p in PlainGPT(shape).parameters())
    operations = 6 * parameters + 12 * shape.layers * shape.width * shape.context
    return lambda steps: matrix_rate(getattr(torch, dtype)) / operations


TRAINERS: dict[str, Maker] = {
    "ours_training": lambda size, dtype: trainer(lambda s, data: our_step(s, data, dtype), SIZES[size]),
    "plain": lambda size: trainer(plain_step, SIZES[size]),
    "transformers_training": lambda size: trainer(transformers_step, SIZES[size]),
    "limit": limit,
}


def measure(size: Size, rounds: int, steps: int) -> dict[str, float]:
    """Return the tokens per second of all contenders and limits, and print the table."""
    contenders = {
        "plain nanoGPT-style loop, float32": ("plain", {"size": size.name}),
        "transformers GPT2LMHeadModel, float32": ("transformers_training", {"size": size.name}),
        "ours, float32": ("ours_training", {"size": size.name, "dtype": "float32"}),
        "ours, bfloat16": ("ours_training", {"size": size.name, "dtype": "bfloat16"}),
        "limit, float32 products": ("limit", {"size": size.name, "dtype": "float32"}),
        "limit, bfloat16 products": ("limit", {"size": size.name, "dtype": "bfloat16"}),
    }
    with racers(contenders) as started:
        speed = {name: median(results) for name, results in race(started, rounds, steps=steps).items()}
    best_peer = max(speed[name] for name in PEERS if name in speed)
    rows = [[name, f"{value:,.0f}", f"{value / best_peer:.2f}×"] for name, value in speed.items()]
    table(f"{size.name}: batch {size.batch} × {size.context}", ["", "tokens/s", "of the best peer"], rows)
    return speed


def main() -> None:
    contend(TRAINERS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about a minute")
    quick = parser.parse_args().quick
    for size in SIZES.values():
        speed = measure(size, rounds=2 if quick else 7, steps=4 if quick else 12)
        gap = loss_gap(size, 16 if quick else 120)
        verdict = "it counts" if gap <= 0.005 else "it does not count"
        print(f"bfloat16's loss after equal tokens is {gap:.2%} from float32's: {verdict}")
        for dtype in ("float32", "bfloat16"):
            share = speed[f"ours, {dtype}"] / speed[f"limit, {dtype} products"]
            print(f"ours reaches {share:.0%} of what its {dtype} products alone would take")
        peers = {name: speed[name] for name in PEERS if name in speed}
        counted = max(speed["ours, float32"], speed["ours, bfloat16"] if gap <= 0.005 else 0)
        most = max(speed["limit, float32 products"], speed["limit, bfloat16 products"])
        finish(f"train_{size.name}", "tokens/s", counted, peers, most, counted / max(peers.values()), 1.5)
        exact, most = speed["ours, float32"], speed["limit, float32 products"]
        finish(f"train_{size.name}_float32", "tokens/s", exact, peers, most, exact / max(peers.values()), 1.05)


if __name__ == "__main__":
    main()
