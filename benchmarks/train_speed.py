"""Training tokens a second: ours against a plain nanoGPT-style loop and transformers' GPT-2, the same architecture.

    python benchmarks/train_speed.py [--quick]        needs the extra `bench` (transformers)

Every contender trains a GPT-2 block (pre-LN, learned positions, biases, tanh GELU) on the same batches. The peers run
in float32, their usual format on a CPU; bfloat16 counts as ours only where the loss after equal tokens is within 0.5%
of float32's. The limit is the measured rate of a matrix product over 6 N + 12 L D T operations a token.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from report import finish, matrix_rate, side_by_side, table
from torch import Tensor, nn

from understudy.data.packing import Batch
from understudy.models.device import prepare_process
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.tasks.smalltalk import generate
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import TokenLoss

VOCABULARY = 512


@dataclass(frozen=True)
class Size:
    """A model and its batch, those of the figures in shared use: nanoGPT's small CPU set-ups."""

    name: str
    layers: int
    width: int
    heads: int
    context: int
    batch: int = 12


SIZES = (
    Size("1M", layers=4, width=128, heads=4, context=64),
    Size("10M", layers=6, width=384, heads=6, context=128),
)


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
    learner, steps = Learner(TokenLoss(model), config, torch.device("cpu")), count()
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


def measure(size: Size, rounds: int, steps: int) -> tuple[float, dict[str, float], float]:
    """Ours, the peers' tokens a second, and the limit; the table printed."""
    data = batches(size)
    plain = PlainGPT(size)
    seconds = side_by_side(
        {
            "plain nanoGPT-style loop, float32": peer_step(plain, plain, data),
            "transformers GPT2LMHeadModel, float32": transformers_step(size, data),
            "ours, float32": our_step(size, data, "float32"),
            "ours, bfloat16": our_step(size, data, "bfloat16"),
        },
        rounds,
        warm_up=3,
    )
    speed = {name: size.batch * size.context / value for name, value in seconds.items()}
    ours = {name: value for name, value in speed.items() if name.startswith("ours")}
    peers = {name: value for name, value in speed.items() if not name.startswith("ours")}
    best_peer = max(peers.values())
    gap = loss_gap(size, steps)
    counted = max(ours.values()) if gap <= 0.005 else ours["ours, float32"]
    parameters = sum(p.numel() for p in plain.parameters())
    operations = 6 * parameters + 12 * size.layers * size.width * size.context
    limits = {dtype: matrix_rate(dtype) / operations for dtype in (torch.float32, torch.bfloat16)}
    rows = [[name, f"{value:,.0f}", f"{value / best_peer:.2f}×"] for name, value in speed.items()]
    rows += [
        [f"limit, {str(dtype)[6:]} products", f"{value:,.0f}", f"{value / best_peer:.2f}×"]
        for dtype, value in limits.items()
    ]
    table(
        f"{size.name}: {parameters:,} parameters, batch {size.batch} × {size.context}",
        ["", "tokens/s", "of the best peer"],
        rows,
    )
    verdict = "it counts" if gap <= 0.005 else "it does not count"
    print(f"bfloat16's loss after {steps} steps is {gap:.2%} from float32's: {verdict}\n")
    return counted, peers, max(limits.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under a minute")
    quick = parser.parse_args().quick
    prepare_process()
    ratios, figures = [], {}
    for size in SIZES:
        ours, peers, limit = measure(size, rounds=6 if quick else 25, steps=16 if quick else 120)
        ratios.append(ours / max(peers.values()))
        figures = {"ours": ours, "peers": peers, "limit": limit}
    print("ratio to the best peer: " + ", ".join(f"{s.name} {r:.2f}×" for s, r in zip(SIZES, ratios, strict=True)))
    finish("train_speed", "tokens/s at 10M; ratio: the worse of 1M and 10M", **figures, ratio=min(ratios), target=1.2)


if __name__ == "__main__":
    main()
