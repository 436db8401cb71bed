"""Small batches of a run's own data, copies of its learner, and what can be measured with them.

Shape suffixes: B batch rows, T time steps, D width, V vocabulary.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.data.packing import Batch, Batches, NextReplyQuestion
from understudy.models.device import autocast
from understudy.models.policy import Policy
from understudy.models.sequence_model import SequenceModel
from understudy.training.distributed import DistInfo
from understudy.training.experiment import Experiment
from understudy.training.learner import Learner
from understudy.training.objectives import ImitationLoss, ImitationPart

# Rows of a small batch, and at most how many positions each of them has.
ROWS, LENGTH = 4, 64
# How many batches to search for rows with something to learn.
MOST_BATCHES = 64


def clone(learner: Learner, **changes: Any) -> Learner:
    """Return a copy of the learner to experiment with: one process, not compiled, with `changes` to its config."""
    made = object.__new__(type(learner))
    made.__dict__.update(copy.deepcopy({**vars(learner), "wrapped": learner.objective, "dist": DistInfo()}))
    made.config = replace(made.config, compile=False, **changes)
    return made


def float32_clone(learner: Learner, **changes: Any) -> Learner:
    """Return a copy whose gradients can be compared: in float32 or finer; no dropout, clipping or micro-batches."""
    made = clone(learner, **{"clip": 0.0, "micro_batch_size": 0, **changes})
    made.dtype = torch.float32
    made.model.set_dropout(0.0)
    return made


def imitation_loss(learner: Learner) -> ImitationLoss:
    """Return the token loss among the objectives of the learner."""
    return next(module for module in learner.objective.modules() if isinstance(module, ImitationLoss))


def imitation_parts(learner: Learner, batch: Batch) -> Sequence[ImitationPart]:
    """Return what the learner hands to the token loss, a part per micro-batch."""
    (term,) = imitation_loss(learner).terms(batch, learner.micro_batches(batch), learner.device)
    return term.parts


def probe_batch(experiment: Experiment, rows: int = ROWS, length: int = LENGTH) -> Batch:
    """Return a small batch of the run's own data, with much to learn in it.

    Each row is a piece of one of the run's rows. In the later half of the rows a second piece follows half-way.
    """
    length = min(length, experiment.batches.context)
    pieces = _pieces_with_weight(experiment.batches, rows + rows // 2, length)

    def joined(array: np.ndarray) -> np.ndarray:
        batch, half = array[:rows].copy(), length // 2
        if half:
            batch[rows - rows // 2 :, half:] = array[rows:, : length - half]
        return batch

    return map_arrays(joined, pieces)


def _pieces_with_weight(batches: Batches, count: int, length: int) -> Batch:
    """Return pieces of the first batches' rows, those with most weight first; each starts a document."""
    found: list[Batch] = []
    heavy = 0
    for step in range(MOST_BATCHES):
        batch = batches.batch(step)
        # Where does each row's heaviest piece start?
        sums = np.pad(batch.weights_BT.cumsum(axis=1, dtype=np.float64), ((0, 0), (1, 0)))
        starts = np.arange(0, batch.weights_BT.shape[1] - length + 1, max(1, length // 2))
        starts_B = starts[(sums[:, starts + length] - sums[:, starts]).argmax(axis=1)]

        row_B1, columns = np.arange(len(batch))[:, None], starts_B[:, None] + np.arange(length)
        piece = map_arrays(lambda x, places=(row_B1, columns): x[places], batch)
        piece.reset_BT[:, 0] = True
        found.append(piece)
        heavy += int((piece.weights_BT.sum(axis=1) > 0).sum())
        if heavy >= count:
            break
    every = map_arrays(lambda *arrays: np.concatenate(arrays), *found)
    order = np.argsort(-every.weights_BT.sum(axis=1), kind="stable")
    order = np.resize(order, max(count, len(order)))[:count]  # the same again where there are too few
    return map_arrays(lambda x: x[order], every)


def with_question(batch: Batch, experiment: Experiment) -> Batch:
    """Return the batch with a question for the next-reply head, if the experiment's batches ask any."""
    some = [asked.candidates for asked in experiment.batches.batch(0).questions[:1]]
    questions = tuple(NextReplyQuestion(0, tuple(ids[-LENGTH:] for ids in each)) for each in some)
    return replace(batch, questions=questions)


def one_document_per_row(batch: Batch) -> Batch:
    """Return the batch with each row taken as a single document."""
    reset_BT = np.zeros_like(batch.reset_BT)
    reset_BT[:, 0] = True
    return replace(batch, reset_BT=reset_BT)


def shuffled(batch: Batch) -> Batch:
    """Return the batch with its inputs in random order."""
    rows, length = batch.weights_BT.shape
    flat = batch.inputs_BT.reshape(rows * length, *batch.inputs_BT.shape[2:])
    return replace(batch, inputs_BT=np.random.default_rng(0).permutation(flat).reshape(batch.inputs_BT.shape))


def map_arrays(function: Callable[..., np.ndarray], *batches: Batch) -> Batch:
    """Return a batch whose arrays are `function` of those of the batches; without questions."""
    names = ("inputs_BT", "targets_BT", "weights_BT", "reset_BT")
    inputs, targets, weights, reset = (function(*(getattr(batch, name) for batch in batches)) for name in names)
    masks = [batch.masks_BTA for batch in batches if batch.masks_BTA is not None]
    return Batch(inputs, targets, weights, reset, masks_BTA=function(*masks) if masks else None)


def input_gradients(learner: Learner, batch: Batch, row: int, step: int) -> Tensor:
    """Return norm_BT: the norm of the gradient of the loss at one position with respect to each input as encoded."""
    weights_BT = np.zeros_like(batch.weights_BT)
    weights_BT[row, step] = 1.0
    part = imitation_parts(learner, replace(batch, weights_BT=weights_BT))[0]
    taken: list[Tensor] = []

    def take(module: nn.Module, inputs: Any, embedded_BTD: Tensor) -> Tensor:
        taken.append(embedded_BTD.detach().requires_grad_())
        return taken[-1]

    with learner.model.encoder.register_forward_hook(take):
        with autocast(learner.device, learner.dtype):
            loss = imitation_loss(learner)(*part)
        loss.backward()
    norms = [x.grad.norm(dim=-1) for x in taken if x.grad is not None]
    return torch.stack(norms).sum(dim=0).cpu() if norms else torch.zeros(batch.weights_BT.shape)


def step_gradients(learner: Learner, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Take a step. Returns the gradients that the optimizer was given, by parameter, and the step's metrics."""
    given: dict[str, Tensor] = {}

    def note(*_: Any) -> None:
        held = {name: parameter.grad for name, parameter in learner.model.named_parameters()}
        given.update({name: grad.detach().clone() for name, grad in held.items() if grad is not None})

    with learner.optimizer.register_step_pre_hook(note):
        return given, learner.step(batch)


@torch.no_grad()
def difference(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Return ‖a − b‖ / ‖b‖ over all tensors together. A tensor that only one side has counts as 0 on the other."""
    none = torch.zeros(())
    pairs = [(first.get(name, none), second.get(name, none)) for name in first.keys() | second.keys()]
    distance = sum(float((a.double() - b.double()).square().sum()) for a, b in pairs)
    size = sum(float(b.double().square().sum()) for _, b in pairs)
    return (distance / size) ** 0.5 if size else float("inf") if distance else 0.0


@torch.no_grad()
def teacher_nll(learner: Learner, batch: Batch) -> np.ndarray:
    """Return −log p_BT of the targets by torch's own cross entropy in float64, to compare the training's loss with."""
    model, masks = learner.model, batch.masks_BTA
    arrays = batch.inputs_BT, batch.targets_BT, batch.reset_BT
    inputs_BT, targets_BT, reset_BT = (torch.from_numpy(x).to(learner.device) for x in arrays)
    hidden_BTD, _ = model.hidden(inputs_BT, reset_BT=reset_BT)
    if model.guessing is None:
        return -model.log_prob(model.distribution(hidden_BTD), targets_BT).double().cpu().numpy()
    masks_NA = None if masks is None else torch.from_numpy(masks).to(learner.device).flatten(0, 1)
    targets_NC = targets_BT.reshape(batch.weights_BT.size, -1)
    heads = zip(model.choices(hidden_BTD.flatten(0, 1), masks_NA), targets_NC.unbind(1), strict=True)
    nll = sum(F.cross_entropy(logits.double(), targets, reduction="none") for logits, targets in heads)
    assert isinstance(nll, Tensor)
    return nll.view(batch.weights_BT.shape).cpu().numpy()


def answers(model: SequenceModel, hidden_BTD: Tensor) -> Tensor:
    """Return what a model says for hidden vectors: the logits of its choices, or the means of real numbers."""
    if isinstance(model, Policy):
        return model.action(hidden_BTD)
    return model.choices(hidden_BTD)[0]
