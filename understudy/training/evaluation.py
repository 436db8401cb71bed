"""How well a model predicts conversations or text it has not learned from."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy.data.packing import Batch, PackedBatches
from understudy.data.tokenizers import Tokenizer
from understudy.models.device import autocast
from understudy.models.language_model import LanguageModel, evaluating
from understudy.statistics import Floats, Indices
from understudy.training.objectives import TokenLoss, token_part

SCORED_AT_ONCE = 1024
"""Targets whose scores over the vocabulary are in memory together."""


def scored_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes that predicting each token accounts for, int64 [vocab]: its text's, and one for the end of a message.

    The end counts as the line break that would end the message in a plain file, so that figures compare across
    tokenizers: each predicts the same text with the same ends.
    """
    counts = tokenizer.token_bytes.astype(np.int64)
    counts[tokenizer.special["<|end|>"]] = 1
    return counts


def evaluate(
    model: LanguageModel, batches: Iterable[Batch], tokenizer: Tokenizer, dtype: torch.dtype = torch.float32
) -> dict[str, float]:
    """Loss (nats a token), perplexity (a token) and bits a byte over the targets whose weight is 1."""
    device = model.embedding.weight.device
    objective = TokenLoss(model)
    nats, tokens, size = 0.0, 0, 0
    with evaluating(model):
        for batch in batches:
            counted_BT = batch.weights_BT == 1.0
            inputs, targets, weights, reset = token_part(batch, range(len(batch)), device)
            with autocast(device, dtype):
                nats += float(objective(inputs, targets, (weights == 1.0).float(), reset))
            tokens += int(counted_BT.sum())
            size += _size(batch, counted_BT, tokenizer)
    loss = nats / max(1, tokens)
    return {"val_loss": loss, "val_bpb": nats / math.log(2) / max(1, size), "val_perplexity": math.exp(min(loss, 700))}


@dataclass(frozen=True)
class Surprise:
    """How hard each document of a store was to predict, counted over the targets whose weight is 1.

    Attributes:
        nats: float64 [documents], the sum of -log p.
        end_nats: float64 [documents], the part of it that fell on the ends of messages.
        tokens: int64 [documents], how many targets there were.
    """

    nats: Floats
    end_nats: Floats
    tokens: Indices


def surprise(
    model: LanguageModel, batches: PackedBatches, tokenizer: Tokenizer, dtype: torch.dtype = torch.float32
) -> Surprise:
    """What `evaluate` measures, document by document."""
    device = model.embedding.weight.device
    end, count = tokenizer.special["<|end|>"], len(batches.store)
    sums_3D = np.zeros((3, count))
    with evaluating(model):
        for batch, document_BT in zip(batches.eval_batches(), batches.eval_documents(), strict=True):
            counted_BT = batch.weights_BT == 1.0
            inputs, _, _, reset = token_part(batch, range(len(batch)), device)
            with autocast(device, dtype):
                hidden_BTD, _ = model.hidden(inputs, reset_BT=reset)
            targets_N, document_N = batch.targets_BT[counted_BT], document_BT[counted_BT]
            nats_N = _nats(model, hidden_BTD[torch.from_numpy(counted_BT).to(device)], targets_N, dtype)
            for row, of_N in enumerate((nats_N, nats_N * (targets_N == end), None)):
                sums_3D[row] += np.bincount(document_N, of_N, minlength=count)
    return Surprise(sums_3D[0], sums_3D[1], sums_3D[2].astype(np.int64))


def _nats(model: LanguageModel, hidden_ND: Tensor, targets_N: Indices, dtype: torch.dtype) -> Floats:
    """-log p of each target, a part of them at a time: the scores over a large vocabulary take gigabytes."""
    parts = []
    for start in range(0, len(targets_N), SCORED_AT_ONCE):
        part = slice(start, start + SCORED_AT_ONCE)
        with autocast(hidden_ND.device, dtype):
            logits_NV = model.logits(hidden_ND[part], float32=True)
        target_N = torch.from_numpy(targets_N[part]).to(hidden_ND.device)
        parts.append(torch.nn.functional.cross_entropy(logits_NV, target_N, reduction="none").double().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros(0)


def _size(batch: Batch, counted_BT: np.ndarray, tokenizer: Tokenizer) -> int:
    """Bytes of text that the counted targets account for."""
    targets_N = batch.targets_BT[counted_BT]
    if batch.sizes_BT is None:
        return int(scored_bytes(tokenizer)[targets_N].sum())
    return int(batch.sizes_BT[counted_BT].sum() + (targets_N == tokenizer.special["<|end|>"]).sum())
