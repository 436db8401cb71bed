"""Small batches of a run's own data, copies of its learner, and what can be measured with them.

Shape suffixes: B batch rows, T time steps, D width, V vocabulary.
"""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.data.packing import Batch, PackedBatches, Question
from understudy.models.device import autocast
from understudy.training.distributed import World
from understudy.training.experiment import Experiment
from understudy.training.learner import Learner
from understudy.training.objectives import TokenLoss, TokenPart

ROWS = 4
"""Rows of a small batch."""
LENGTH = 64
"""Positions of its rows, at most."""
MOST_BATCHES = 64
"""How far into the data to look for rows with something to learn."""


def twin(learner: Learner, **changes: Any) -> Learner:
    """A copy of the learner to try things with: alone in the world, not compiled, with `changes` to its config."""
    made = object.__new__(type(learner))
    made.__dict__.update(copy.deepcopy({**vars(learner), "wrapped": learner.objective, "world": World()}))
    made.config = replace(made.config, compile=False, **changes)
    return made


def exact_twin(learner: Learner, **changes: Any) -> Learner:
    """A copy whose gradients can be compared: float32 (or finer weights' own), no dropout, no clipping, no parts."""
    made = twin(learner, **{"clip": 0.0, "micro_batch_size": 0, **changes})
    made.dtype = torch.float32
    made.model.set_dropout(0.0)
    return made


def token_loss(learner: Learner) -> TokenLoss:
    """Return the token loss among the objectives of the learner."""
    return next(module for module in learner.objective.modules() if isinstance(module, TokenLoss))


def token_parts(learner: Learner, batch: Batch) -> list[TokenPart]:
    """Return what the learner hands to the token loss, a part per micro-batch."""
    (term,) = token_loss(learner).terms(batch, learner.micro_batches(batch), learner.device)
    return term.parts


def probe(experiment: Experiment, rows: int = ROWS, length: int = LENGTH) -> Batch:
    """A small batch: pieces of rows that hold much to learn; the later half of its rows joins two documents each."""
    length = min(length, experiment.batches.context)
    pieces = _pieces_with_weight(experiment.batches, rows + rows // 2, length)
    batch = _rows(pieces, slice(0, rows))
    joined, half = slice(rows - rows // 2, rows), length // 2
    if not half:
        return batch
    for name in ("inputs_BT", "targets_BT", "weights_BT", "reset_BT"):
        getattr(batch, name)[joined, half:] = getattr(pieces, name)[rows:, : length - half]
    return batch


def with_question(batch: Batch, experiment: Experiment) -> Batch:
    """The same with a question for the next-reply head, if the batches ask any, its candidates cut to `length`."""
    some = experiment.batches.batch(0).questions[:1]
    return replace(
        batch,
        questions=tuple(Question(0, tuple(ids[-LENGTH:] for ids in question.candidates)) for question in some),
    )


def undivided(batch: Batch) -> Batch:
    """The same rows, each taken as one document."""
    reset_BT = np.zeros_like(batch.reset_BT)
    reset_BT[:, 0] = True
    return replace(batch, reset_BT=reset_BT)


def _pieces_with_weight(batches: PackedBatches, count: int, length: int) -> Batch:
    """Of the first batches' rows the pieces with most weight, heaviest first; each starts afresh."""
    found: list[Batch] = []
    heavy = 0
    for step in range(MOST_BATCHES):
        batch = batches.batch(step)
        starts_B = _heaviest(batch.weights_BT, length)
        found.append(_cut(batch, starts_B, length))
        heavy += int((found[-1].weights_BT.sum(axis=1) > 0).sum())
        if heavy >= count:
            break
    every = batch_of(np.concatenate(arrays) for arrays in zip(*map(arrays_of, found), strict=True))
    order = np.argsort(-every.weights_BT.sum(axis=1), kind="stable")
    order = np.resize(order, max(count, len(order)))[:count]  # the same again where there are too few
    return _rows(every, order)


def _heaviest(weights_BT: np.ndarray, length: int) -> np.ndarray:
    """Where each row's heaviest piece starts."""
    sums = np.pad(weights_BT.cumsum(axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    starts = np.arange(0, weights_BT.shape[1] - length + 1, max(1, length // 2))
    return starts[(sums[:, starts + length] - sums[:, starts]).argmax(axis=1)]


def _cut(batch: Batch, starts_B: np.ndarray, length: int) -> Batch:
    columns = starts_B[:, None] + np.arange(length)
    cut = batch_of(np.take_along_axis(array, columns, axis=1) for array in arrays_of(batch))
    cut.reset_BT[:, 0] = True
    return cut


def _rows(batch: Batch, rows: Any) -> Batch:
    return batch_of(array[rows].copy() for array in arrays_of(batch))


def batch_of(arrays: Iterable[Any]) -> Batch:
    """The batch that says this position by position."""
    inputs_BT, targets_BT, weights_BT, reset_BT = arrays
    return Batch(inputs_BT, targets_BT, weights_BT, reset_BT)


def arrays_of(batch: Batch) -> tuple[Any, ...]:
    """What a batch says position by position."""
    return batch.inputs_BT, batch.targets_BT, batch.weights_BT, batch.reset_BT


def input_gradients(learner: Learner, batch: Batch, row: int, step: int) -> Tensor:
    """norm_BT of the gradient of the loss at one place with respect to the embedding of each input."""
    weights_BT = np.zeros_like(batch.weights_BT)
    weights_BT[row, step] = 1.0
    part = token_parts(learner, replace(batch, weights_BT=weights_BT))[0]
    taken: list[Tensor] = []

    def take(module: nn.Module, inputs: Any, embedded_BTD: Tensor) -> Tensor:
        taken.append(embedded_BTD.detach().requires_grad_())
        return taken[-1]

    handle = learner.model.embedding.register_forward_hook(take)
    try:
        with autocast(learner.device, learner.dtype):
            loss = token_loss(learner)(*part)
        loss.backward()
    finally:
        handle.remove()
    norms = [x.grad.norm(dim=-1) for x in taken if x.grad is not None]
    return torch.stack(norms).sum(dim=0).cpu() if norms else torch.zeros(batch.inputs_BT.shape)


def step_gradients(learner: Learner, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Take a step: the gradients that the optimizer was given, by name, and the step's figures."""
    given: dict[str, Tensor] = {}

    def note(*_: Any) -> None:
        for name, parameter in learner.model.named_parameters():
            if parameter.grad is not None:
                given[name] = parameter.grad.detach().clone()

    handle = learner.optimizer.register_step_pre_hook(note)
    metrics = learner.step(batch)
    handle.remove()
    return given, metrics


@torch.no_grad()
def difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """‖a − b‖ / ‖b‖ over all tensors together; those that only one side has count in full."""
    names = first.keys() | second.keys()
    pairs = [(first.get(name), second.get(name)) for name in names]
    apart = sum(_squared(a, b) for a, b in pairs)
    size = sum(_squared(None, b) for _, b in pairs)
    return (apart / size) ** 0.5 if size else float("inf") if apart else 0.0


def _squared(a: Tensor | None, b: Tensor | None) -> float:
    if a is None or b is None:
        one = b if a is None else a
        return 0.0 if one is None else float(one.double().square().sum())
    return float((a.double() - b.double()).square().sum())


@torch.no_grad()
def plain_nll(learner: Learner, batch: Batch, targets_BT: np.ndarray) -> np.ndarray:
    """−log p_BT of the targets, by torch's own cross entropy, in float64: what the training's loss is held against."""
    inputs_BT, reset_BT = (torch.from_numpy(x).to(learner.device) for x in (batch.inputs_BT, batch.reset_BT))
    logits_BTV, _ = learner.model(inputs_BT, reset_BT=reset_BT)
    targets = torch.from_numpy(targets_BT).to(learner.device)
    nll = F.cross_entropy(logits_BTV.double().flatten(0, 1), targets.flatten(), reduction="none")
    return nll.view(targets.shape).cpu().numpy()


def weighted_mean(values_BT: np.ndarray, weights_BT: np.ndarray) -> float:
    """Σ w · x / Σ w."""
    return float((values_BT * weights_BT).sum(dtype=np.float64) / weights_BT.sum(dtype=np.float64))
