"""Texts as the subject of a training."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from understudy.data.dataset import Dataset
from understudy.data.packing import Batch
from understudy.data.tokenizers import Tokenizer
from understudy.models.language_model import LanguageModel
from understudy.training.evaluation import evaluate


@dataclass
class Text:
    """Documents and the tokenizer that made tokens of them; a `Subject`."""

    dataset: Dataset
    tokenizer: Tokenizer
    unit = "token"
    headline = "val_bpb"

    @property
    def kind(self) -> str:
        """Conversations ("chats") or plain text."""
        return self.dataset.kind

    @property
    def pad(self) -> int:
        """The token where a row is not full."""
        return self.dataset.train.meta.pad

    @property
    def summary(self) -> str:
        """What was read, left out and held out."""
        return self.dataset.summary

    def evaluate(self, model: LanguageModel, batches: Iterable[Batch], dtype: torch.dtype) -> dict[str, float]:
        """Return loss, perplexity and bits per byte, as `evaluation.evaluate` does."""
        return evaluate(model, batches, self.tokenizer, dtype)

    def told(self, figures: Mapping[str, float]) -> str:
        """Return the figures in a few words."""
        bits, perplexity = f"{figures['val_bpb']:.3f} bits per byte", f"perplexity {figures['val_perplexity']:.2f}"
        return f"{figures['val_loss']:.3f} nats per token, {bits}, {perplexity}"

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save(folder)
