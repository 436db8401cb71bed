"""The learner: one objective, one optimizer, one step at a time."""

from collections.abc import Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from understudy.config import in_range
from understudy.errors import ConfigError
from understudy.models.device import Dtype, autocast, pick_dtype
from understudy.models.transformer import Transformer
from understudy.training.distributed import DistInfo, all_reduce_sum
from understudy.training.objectives import Objective, Term
from understudy.training.schedules import Schedule, rate_at
from understudy.training.shares import run_shares


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

    def validate(self, dist: DistInfo) -> None:
        """Raise ConfigError for a number that is out of range or does not fit the processes."""
        in_range("steps", self.steps, 1)
        in_range("batch_size", self.batch_size, 1)
        in_range("micro_batch_size", self.micro_batch_size, 0)
        in_range("lr", self.lr, 1e-12, 1e3)
        in_range("warmup", self.warmup, 0)
        in_range("final_lr", self.final_lr, 0, 1)
        in_range("weight_decay", self.weight_decay, 0, 1e3)
        in_range("beta1", self.beta1, 0, 1, below=True)
        in_range("beta2", self.beta2, 0, 1, below=True)
        in_range("clip", self.clip, 0)
        fits = -(-self.batch_size // dist.size) * dist.size
        if self.batch_size != fits:
            raise ConfigError(f"--batch-size {self.batch_size} does not divide among {dist.size} processes; try {fits}")


class Learner:
    """AdamW (Loshchilov & Hutter 2019) on an objective, over micro-batches and processes."""

    def __init__(self, objective: Objective, config: LearnerConfig, device: torch.device, dist: DistInfo | None = None):
        self.dist = dist or DistInfo()
        config.validate(self.dist)
        self.config = config
        self.objective, self.device = objective.to(device), device
        self.model = objective.model
        if isinstance(self.model.core, Transformer):
            self.model.core.checkpoint_activations = config.checkpoint_activations
        elif config.checkpoint_activations:
            raise ConfigError("--checkpoint-activations takes a Transformer, and this is none; leave it out")
        self.dtype = pick_dtype(config.dtype, device, self.model.spec)
        self.optimizer = make_optimizer(self.model, config)
        self.wrapped: nn.Module = torch.compile(objective) if config.compile else objective  # type: ignore[assignment]
        """The objective as it is computed: compiled, and synchronised between processes, where that is asked for."""
        if self.dist.size > 1:
            ids = [device.index] if device.type == "cuda" else None
            self.wrapped = DistributedDataParallel(self.wrapped, device_ids=ids)
        self.steps_done = 0

    def step(self, batch: Sized) -> dict[str, float]:
        """Learn from this process's share of a batch, in as many optimizer steps as the objective takes: mostly one.

        Returns the objective's means before each (the "loss" in nats per target), the rate and the gradient's norm;
        of several optimizer steps their means.
        """
        self.model.train()

        # The rate of this step.
        config = self.config
        share = rate_at(self.steps_done, config.steps, config.schedule, config.warmup, config.final_lr)
        rate = config.lr * share
        for group in self.optimizer.param_groups:
            group["lr"] = rate

        told: list[dict[str, float]] = []
        last: dict[str, float] = {}
        for part in self.objective.passes(batch, last):
            told.append(self._update(part))
            last.update(told[-1])
        self.steps_done += 1
        means = {name: fmean(one[name] for one in told) for name in last}
        return {**means, **self.objective.figures(batch), "lr": rate}

    def _update(self, batch: Sized) -> dict[str, float]:
        """Take one optimizer step, and return the means before it with the gradient's norm."""
        shares = self.shares
        terms = self.objective.terms(batch, self.micro_batches(batch, shares), self.device)

        # Add up the gradients of all parts.
        means = {term.name: torch.zeros(len(term.also) + 1, device=self.device) for term in terms}
        parts = [(term, part) for term in terms for part in term.parts]
        for first in range(0, len(parts), shares):
            some = parts[first : first + shares]
            final = first + len(some) == len(parts)
            for (term, _), mean in zip(some, self._add_gradients(some, final), strict=True):
                means[term.name] += mean

        # Clip and step.
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip or float("inf"))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        names = [name for term in terms for name in (term.name, *term.also)]
        values = torch.cat(list(means.values())).tolist()
        metrics = {name: all_reduce_sum(x, self.dist, self.device) for name, x in zip(names, values, strict=True)}
        return {**metrics, "grad_norm": float(norm)}

    @property
    def shares(self) -> int:
        """In how many parts a micro-batch is computed at the same time, on threads of their own.

        Dropout draws its random numbers in the order of the operations, so a model with it is computed in one part.
        """
        rows = self.config.micro_batch_size or self.config.batch_size // self.dist.size
        drops = any(isinstance(part, nn.Dropout) and part.p > 0 for part in self.model.modules())
        whole = self.wrapped is not self.objective or self.device.type != "cpu" or drops
        return 1 if whole else min(torch.get_num_threads(), rows)

    def micro_batches(self, batch: Sized, shares: int = 1) -> list[range]:
        """Return this process's rows of the batch, cut into micro-batches and each of these into `shares`."""
        share = len(batch) // self.dist.size
        first = self.dist.rank * share
        size = -(-(self.config.micro_batch_size or share) // shares)
        return [range(row, min(row + size, first + share)) for row in range(first, first + share, size)]

    def _add_gradients(self, parts: Sequence[tuple[Term, tuple[Any, ...]]], last: bool) -> list[Tensor]:
        """Add the gradients of parts that are computed at the same time, and return their shares of the means."""

        def scaled(term: Term, part: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
            assert term.weight > 0, "a batch without a single target"
            # What autocast has rounded once is another thread's too, with the gradients that flow through it.
            with autocast(self.device, self.dtype, cache_enabled=len(parts) == 1):
                mean = self.wrapped(*part) / term.weight
            loss = mean[0] if term.also else mean
            # DistributedDataParallel averages over processes, where the sum is meant.
            return mean.detach(), loss * (self.dist.size * term.scale)

        if len(parts) == 1:
            # All-reduce gradients only after the last part.
            waiting = None if last else self.wrapped
            with waiting.no_sync() if isinstance(waiting, DistributedDataParallel) else nullcontext():
                mean, loss = scaled(*parts[0])
                loss.backward()
            return [mean]

        learned = [parameter for parameter in self.model.parameters() if parameter.requires_grad]

        def share(term: Term, part: tuple[Any, ...]) -> tuple[Tensor, Sequence[Tensor | None]]:
            mean, loss = scaled(term, part)
            return mean, torch.autograd.grad(loss, learned, allow_unused=True)

        computed = run_shares([partial(share, *part) for part in parts])
        # In the order of the parts, whoever was first: sums of floats depend on it.
        for _, gradients in computed:
            held = set[int]()
            for parameter, gradient in zip(learned, gradients, strict=True):
                if gradient is None:
                    continue
                if parameter.grad is not None:
                    parameter.grad.add_(gradient)
                else:
                    # Autograd gives parameters that are added up, such as an LSTM's biases, one tensor between them.
                    parameter.grad = gradient.clone() if gradient.data_ptr() in held else gradient
                held.add(gradient.data_ptr())
        return [mean for mean, _ in computed]


def make_optimizer(model: nn.Module, config: LearnerConfig) -> torch.optim.AdamW:
    """Return AdamW that decays matrices, but not gains and biases; each parameter is in exactly one group."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=1e-8, fused=True)
