"""How well a model predicts conversations or text it has not learned from."""

import math
from collections.abc import Iterable

import numpy as np
import torch

from understudy.data.batches import Batch
from understudy.data.tokenizers import Tokenizer
from understudy.models.device import autocast
from understudy.models.language_model import LanguageModel, undisturbed
from understudy.training.learner import to_part
from understudy.training.losses import TokenLoss


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
    bytes_of_V = scored_bytes(tokenizer)
    objective = TokenLoss(model)
    nats, tokens, size = 0.0, 0, 0
    with undisturbed(model):
        for batch in batches:
            counted_BT = batch.weights_BT == 1.0
            inputs, targets, weights, reset = to_part(batch, 0, len(batch.inputs_BT), device)
            with autocast(device, dtype):
                nats += float(objective(inputs, targets, (weights == 1.0).float(), reset))
            tokens += int(counted_BT.sum())
            size += int(bytes_of_V[batch.targets_BT[counted_BT]].sum())
    loss = nats / max(1, tokens)
    return {"val_loss": loss, "val_bpb": nats / math.log(2) / max(1, size), "val_perplexity": math.exp(min(loss, 700))}
