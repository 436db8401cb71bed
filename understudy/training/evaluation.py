"""How well a model predicts documents that it has not learned from.

Shape suffixes: B batch rows, T time steps, N counted targets, D documents of a store (of hidden vectors: width), V
vocabulary.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from understudy.data.packing import Batch, PackedBatches
from understudy.data.tokenizers import Tokenizer
from understudy.models.device import autocast
from understudy.models.language_model import LanguageModel, evaluating
from understudy.statistics import Floats
from understudy.training.objectives import ImitationLoss, imitation_part

SCORED_AT_ONCE = 1024
"""Targets whose logits are in memory together: over a large vocabulary those of a whole batch take gigabytes."""


def scored_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """Return the bytes of text that predicting each token accounts for, int64 [vocab]; the end of a message has one.

    The end counts as the line break that would end the message in a plain file, so that figures compare across
    tokenizers: each predicts the same text with the same ends.
    """
    counts = tokenizer.token_bytes.astype(np.int64)
    counts[tokenizer.special["<|end|>"]] = 1
    return counts


def evaluate(
    model: LanguageModel, batches: Iterable[Batch], tokenizer: Tokenizer, dtype: torch.dtype = torch.float32
) -> dict[str, float]:
    """Return loss (nats per token), perplexity and bits per byte over the targets whose weight is 1."""
    device = model.embedding.weight.device
    objective, bytes_V = ImitationLoss(model), scored_bytes(tokenizer)
    nats, tokens, size = 0.0, 0, 0
    with evaluating(model):
        for batch in batches:
            counted_BT = batch.weights_BT == 1.0
            inputs, targets, weights, reset, *_ = imitation_part(batch, range(len(batch)), device)
            with autocast(device, dtype):
                nats += float(objective(inputs, targets, (weights == 1.0).float(), reset))
            tokens += int(counted_BT.sum())
            # The bytes of a target are those of its token, but where the store says otherwise.
            targets_N = batch.targets_BT[counted_BT]
            if batch.sizes_BT is None:
                size += int(bytes_V[targets_N].sum())
            else:
                size += int(batch.sizes_BT[counted_BT].sum() + (targets_N == tokenizer.special["<|end|>"]).sum())
    loss = nats / max(1, tokens)
    return {"val_loss": loss, "val_bpb": nats / math.log(2) / max(1, size), "val_perplexity": math.exp(min(loss, 700))}


class DocumentLoss(NamedTuple):
    """Negative log-likelihood of each document of a store, over the targets whose weight is 1; float64 [documents]."""

    nats: Floats
    """The sum of -log p."""
    end_nats: Floats
    """The part of it that fell on the ends of messages."""
    tokens: Floats
    """How many targets there were."""


def document_losses(
    model: LanguageModel, batches: PackedBatches, tokenizer: Tokenizer, dtype: torch.dtype = torch.float32
) -> DocumentLoss:
    """Return the losses that `evaluate` averages, per document."""
    device = model.embedding.weight.device
    end, count = tokenizer.special["<|end|>"], len(batches.store)
    sums_3D = np.zeros((3, count))
    with evaluating(model):
        for batch, document_BT in zip(batches.eval_batches(), batches.eval_documents(), strict=True):
            counted_BT = batch.weights_BT == 1.0
            inputs, _, _, reset, *_ = imitation_part(batch, range(len(batch)), device)
            with autocast(device, dtype):
                hidden_BTD, _ = model.hidden(inputs, reset_BT=reset)
            targets_N, document_N = batch.targets_BT[counted_BT], document_BT[counted_BT]
            hidden_ND = hidden_BTD[torch.from_numpy(counted_BT).to(device)]
            parts = [np.zeros(0)]
            for start in range(0, len(targets_N), SCORED_AT_ONCE):
                part = slice(start, start + SCORED_AT_ONCE)
                with autocast(device, dtype):
                    logits_NV = model.logits(hidden_ND[part], float32=True)
                nats = F.cross_entropy(logits_NV, torch.from_numpy(targets_N[part]).to(device), reduction="none")
                parts.append(nats.double().cpu().numpy())
            nats_N = np.concatenate(parts)
            for row, of_N in enumerate((nats_N, nats_N * (targets_N == end), None)):
                sums_3D[row] += np.bincount(document_N, of_N, minlength=count)
    return DocumentLoss(*sums_3D)
