"""What a training run is made of, in one object: recipes build it, the loop trains it, the doctor examines it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from understudy.config import in_range
from understudy.data.packing import Batch, Batches
from understudy.training.learner import Learner


@dataclass(frozen=True)
class LoopConfig:
    """When to evaluate, to save and to show samples."""

    eval_every: int = 500
    """Steps between evaluations on the validation split (0: only at the end)."""
    save_every: int = 500
    """Steps between checkpoints (0: only at the end)."""
    sample_every: int = 500
    """Steps between samples of the model's talk (0: none)."""

    def validate(self) -> None:
        """Raise ConfigError for a number that is out of range."""
        for name, value in vars(self).items():
            in_range(name, value, 0)


class Subject(Protocol):
    """What a training is about, beside the weights: texts with their tokenizer, or a game with its recordings."""

    unit: str
    """What a target is: "token" or "action"."""

    @property
    def headline(self) -> str:
        """The figure by which runs are compared."""

    @property
    def kind(self) -> str:
        """What was learned from, such as "chats"; checkpoints keep it."""

    @property
    def summary(self) -> str:
        """What was read, left out and held out, in a few lines."""

    def evaluate(self, model: Any, batches: Iterable[Batch], dtype: torch.dtype) -> dict[str, float]:
        """Return the figures of a model on held-out batches."""

    def told(self, figures: Mapping[str, float]) -> str:
        """Return the figures in a few words."""

    def save(self, folder: Path) -> None:
        """Write beside a checkpoint's weights what the model cannot be used without."""


@dataclass
class Experiment:
    """All that a training run is about to use, or has used."""

    learner: Learner
    batches: Batches
    validation: Batches
    subject: Subject
    dropout_seed: int
    """Seed of the random numbers of the steps."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    fresh: bool = True
    """Whether the weights are as they were initialised."""
    frozen: frozenset[str] = frozenset()
    """Names of the parameters that do not learn."""
    sample: Callable[[], list[dict[str, str]]] = list
    """Returns some of what the model says or does, to show while it trains. Must leave random numbers alone."""

    def seed_process(self, rank: int) -> None:
        """Seed torch's random numbers as the process of that rank does before its first step."""
        torch.manual_seed(self.dropout_seed + rank)  # so that each process drops other activations
