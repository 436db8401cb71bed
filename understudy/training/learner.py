"""The learner: one model, one optimizer, one step at a time."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from understudy.data.next_reply import Layout, lay_out
from understudy.data.packing import Batch, Question
from understudy.errors import ConfigError
from understudy.models.device import Dtype, autocast, pick_dtype
from understudy.models.language_model import LanguageModel
from understudy.models.transformer import Transformer
from understudy.training.distributed import World, total
from understudy.training.objectives import Choices, DialogueLoss, TokenLoss
from understudy.training.schedules import Schedule, rate_at

TOKENS_WEIGHT = 2.0
"""Weight of the token losses beside next-reply classification (Wolf 2019)."""

RANGES = (  # the least and the most that each number may be
    ("steps", 1, math.inf),
    ("batch_size", 1, math.inf),
    ("micro_batch_size", 0, math.inf),
    ("lr", 1e-12, 1e3),
    ("warmup", 0, math.inf),
    ("final_lr", 0, 1),
    ("weight_decay", 0, 1e3),
    ("beta1", 0, 1 - 1e-9),
    ("beta2", 0, 1 - 1e-9),
    ("clip", 0, math.inf),
)


@dataclass(frozen=True)
class LearnerConfig:
    """How the weights learn."""

    steps: int = 4800
    """Optimizer steps."""
    batch_size: int = 2
    """Rows of one context length in an optimizer step, over all processes."""
    micro_batch_size: int = 0
    """Rows computed at once (0: all of a process's share); the result is the same, only memory differs."""
    lr: float = 6e-3
    """Peak learning rate of AdamW."""
    schedule: Schedule = "cosine"
    """How the rate falls after warm-up: cosine, linear, constant or wsd (constant, then a linear end)."""
    warmup: int = 60
    """Steps over which the rate rises linearly."""
    final_lr: float = 0.02
    """Rate at the end, as a share of the peak."""
    weight_decay: float = 0.1
    """Decoupled weight decay, on matrices only."""
    beta1: float = 0.9
    """AdamW's decay of the mean gradient."""
    beta2: float = 0.998
    """AdamW's decay of the mean squared gradient."""
    clip: float = 1.0
    """Largest norm of the gradient (0: no clipping)."""
    dtype: Dtype = "auto"
    """Number format of matrix products: auto is bfloat16 where the hardware multiplies it faster, else float32."""
    checkpoint_activations: bool = False
    """Compute each block once more in the backward pass instead of keeping its activations: less memory, slower."""
    compile: bool = False
    """Compile the model with torch.compile: a slow start, then faster steps on small models and on GPUs."""

    def checked(self, world: World) -> "LearnerConfig":
        """Itself, or a ConfigError that names the number that cannot work."""
        for name, low, high in RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                option = "--" + name.replace("_", "-")
                expected = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
                raise ConfigError(f"{option} {value} is out of range; expected {expected}")
        if self.batch_size % world.size:
            raise ConfigError(
                f"--batch-size {self.batch_size} does not divide among {world.size} processes; "
                f"try {-(-self.batch_size // world.size) * world.size}"
            )
        return self


Part = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""inputs_BT, targets_BT, weights_BT and reset_BT of some rows, on the device."""


def to_part(batch: Batch, start: int, end: int, device: torch.device) -> Part:
    """Rows `start` to `end` as tensors; resets are None where each row is one document, which needs no mask."""
    reset_BT = batch.reset_BT[start:end]
    arrays = (batch.inputs_BT, batch.targets_BT, batch.weights_BT)
    inputs, targets, weights = (torch.from_numpy(array[start:end]).to(device) for array in arrays)
    return inputs, targets, weights, torch.from_numpy(reset_BT).to(device) if reset_BT[:, 1:].any() else None


def to_choices(questions: Sequence[Question], context: int, device: torch.device) -> Choices:
    """The candidates of some questions as tensors.

    Where there is none, one token that nothing is asked about: each process needs a gradient for each parameter.
    """
    none = Layout(np.zeros((1, 1), np.int64), np.ones((1, 1), np.bool_), np.zeros((0, 1), np.int64))
    ids, reset, last = (
        torch.from_numpy(array).to(device) for array in (lay_out(questions, context) if questions else none)
    )
    return Choices(ids, reset if bool(reset[:, 1:].any()) else None, last)


class Learner:
    """AdamW (Loshchilov & Hutter 2019) on the weighted mean of the token losses.

    Where the model has a next-reply head, on twice that and the mean loss of the batch's questions.

    The mean is taken over the weights of the whole batch, known before its first part is computed: so micro-batches
    and processes with unequal numbers of tokens give the gradient of the one large batch.
    """

    def __init__(self, model: LanguageModel, config: LearnerConfig, device: torch.device, world: World | None = None):
        self.world = world or World()
        self.config = config.checked(self.world)
        self.model, self.device = model.to(device), device
        if isinstance(model.core, Transformer):
            model.core.checkpoint_activations = config.checkpoint_activations
        elif config.checkpoint_activations:
            raise ConfigError("--checkpoint-activations takes a Transformer, and this is an LSTM; leave it out")
        self.dtype = pick_dtype(config.dtype, device, model.spec)
        self.optimizer = make_optimizer(model, config)
        loss = TokenLoss if model.choice is None else DialogueLoss
        self.objective: nn.Module = loss(model, select=not config.compile)
        if config.compile:
            self.objective = torch.compile(self.objective)  # type: ignore[assignment]
        if self.world.size > 1:
            ids = [device.index] if device.type == "cuda" else None
            self.objective = DistributedDataParallel(self.objective, device_ids=ids)
        self.steps_done = 0

    def step(self, batch: Batch) -> dict[str, float]:
        """Learn from the batch (all processes': each takes its share); loss in nats a token, before the step."""
        self.model.train()
        parts = self.parts(batch)
        weight = float(batch.weights_BT.sum(dtype=np.float64))
        assert weight > 0, "a batch without a single target"
        rate = self.config.lr * self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = {"loss": self._backward(parts, weight)}
        if self.model.choice is not None:
            losses["choice_loss"] = self._backward_choices(batch)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip or float("inf"))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        named = {name: total(loss, self.world, self.device) for name, loss in losses.items()}
        return {**named, "lr": rate, "grad_norm": float(norm)}

    def _backward(self, parts: Sequence[Part], weight: float) -> float:
        """Add up the gradients of all parts; this process's share of the mean loss."""
        loss = torch.zeros((), device=self.device)
        scale = self.world.size * (1.0 if self.model.choice is None else TOKENS_WEIGHT)
        for index, part in enumerate(parts):
            with self._sync_if(index == len(parts) - 1 and self.model.choice is None):
                with autocast(self.device, self.dtype):
                    part_loss = self.objective(*part) / weight
                # DDP averages over processes, where the sum is meant.
                (part_loss * scale).backward()
            loss += part_loss.detach()
        return float(loss)

    def _backward_choices(self, batch: Batch) -> float:
        """The same for next-reply classification, which comes second."""
        loss = torch.zeros((), device=self.device)
        parts = self._rows(batch)
        for index, rows in enumerate(parts):
            asked = [question for question in batch.questions if question.row in rows]
            choices = to_choices(asked, self.model.context, self.device)
            with self._sync_if(index == len(parts) - 1):
                with autocast(self.device, self.dtype):
                    part_loss = self.objective(choices=choices) / max(1, len(batch.questions))
                (part_loss * self.world.size).backward()
            loss += part_loss.detach()
        return float(loss)

    def parts(self, batch: Batch) -> list[Part]:
        """This process's rows of the batch, in micro-batches."""
        return [to_part(batch, rows.start, rows.stop, self.device) for rows in self._rows(batch)]

    def _rows(self, batch: Batch) -> list[range]:
        share = len(batch.inputs_BT) // self.world.size
        first = self.world.rank * share
        size = self.config.micro_batch_size or share
        return [range(row, min(row + size, first + share)) for row in range(first, first + share, size)]

    def _sync_if(self, last: bool) -> AbstractContextManager[None]:
        """Processes need to agree on gradients only once a step."""
        if isinstance(self.objective, DistributedDataParallel) and not last:
            return self.objective.no_sync()
        return nullcontext()

    def _rate(self) -> float:
        c = self.config
        return rate_at(self.steps_done, c.steps, c.schedule, c.warmup, c.final_lr)


def make_optimizer(model: nn.Module, config: LearnerConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices and leaves gains and biases alone; each parameter stands in exactly one group."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=1e-8, fused=True)
