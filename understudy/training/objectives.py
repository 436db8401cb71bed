"""Objectives: what a learner lowers, given as sums over parts of a batch.

Shape suffixes: B batch rows, T time steps, N chosen positions, V vocabulary; of next-reply classification: Q questions,
C candidates, R rows, D width.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from understudy.data.next_reply import PackedCandidates, pack_candidates
from understudy.data.packing import Batch, NextReplyQuestion
from understudy.models.language_model import LanguageModel
from understudy.models.policy import Policy

TOKENS_WEIGHT = 2.0
"""Weight of the loss of tokens beside next-reply classification (Wolf 2019)."""

ImitationPart = tuple[Tensor, Tensor, Tensor, Tensor | None, *tuple[Tensor, ...]]
"""inputs_BT, targets_BT, weights_BT and reset_BT of some rows, on the device; and masks_BTA where there are some."""


class Term(NamedTuple):
    """One mean that an objective consists of: a sum over the whole batch, divided by its weight."""

    name: str
    """The mean's name among the metrics."""
    weight: float
    """What the sum is divided by: the weight of the whole batch, of all processes together."""
    parts: Sequence[tuple[Any, ...]]
    """Arguments of `Objective.forward` for each micro-batch of this process."""
    scale: float = 1.0
    """Factor of the mean in the objective."""
    also: tuple[str, ...] = ()
    """Names of further means, which are told but not lowered: `forward` then returns a vector, its loss first."""


class Objective(nn.Module):
    """What a learner lowers: the sum over its terms of scale · Σ forward(*part) / weight.

    It is a module, so that DistributedDataParallel and torch.compile can wrap it. The learner knows the weight of the
    whole batch before it computes the first part, so micro-batches and processes with unequal numbers of targets give
    the gradient of the one large batch.
    """

    falls = True
    """Whether a training that goes well lowers it; else its value says little."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def terms(self, batch: Any, micro_batches: Sequence[range], device: torch.device) -> list[Term]:
        """Return the terms, each with a part per range of rows: those of the batch that this process computes."""
        raise NotImplementedError

    def forward(self, *part: Any) -> Tensor:
        """Return the sum of the losses of a part."""
        raise NotImplementedError

    def passes(self, batch: Any, last: Mapping[str, float]) -> Iterator[Any]:
        """Yield what optimizer steps are taken on, one after another; `last` holds the means of the step before."""
        yield batch

    def figures(self, batch: Any) -> Mapping[str, float]:
        """Return what a batch itself gives away, to be told with the means."""
        return {}


class ImitationLoss(Objective):
    """The loss of imitation: −log p of a teacher's choices, where they have weight.

    A choice is the next token of a text, or what a player did; where an action consists of several choices or real
    numbers, their log-probabilities or densities are added up.
    """

    @override
    def terms(self, batch: Batch, micro_batches: Sequence[range], device: torch.device) -> list[Term]:
        parts = [imitation_part(batch, rows, device) for rows in micro_batches]
        return [Term("loss", float(batch.weights_BT.sum(dtype=np.float64)), parts)]

    @override
    def forward(
        self,
        inputs_BT: Tensor,
        targets_BT: Tensor,
        weights_BT: Tensor,
        reset_BT: Tensor | None,
        masks_BTA: Tensor | None = None,
    ) -> Tensor:
        """Return the weighted sum of the losses, in nats (see `weighted_nll`)."""
        hidden_BTD, _ = self.model.hidden(inputs_BT, reset_BT=reset_BT)
        hidden_ND, targets_N, weights_N = hidden_BTD.flatten(0, 1), targets_BT.flatten(0, 1), weights_BT.flatten()
        masks_NA = None if masks_BTA is None else masks_BTA.flatten(0, 1)
        # Scoring only positions with weight is less work, but its shapes vary, for which torch.compile would recompile.
        if not torch.compiler.is_compiling() and not bool(weights_N.all()):
            chosen_N = weights_N.nonzero().squeeze(1)
            hidden_ND, targets_N, weights_N = hidden_ND[chosen_N], targets_N[chosen_N], weights_N[chosen_N]
            masks_NA = None if masks_NA is None else masks_NA[chosen_N]
        if isinstance(self.model, Policy) and self.model.log_std is not None:
            return -(weights_N * self.model.log_prob(self.model.distribution(hidden_ND), targets_N)).sum()
        heads = self.model.choices(hidden_ND, masks_NA)
        targets = [targets_N] if targets_N.dim() == 1 else targets_N.unbind(1)
        nlls = [weighted_nll(logits, one, weights_N) for logits, one in zip(heads, targets, strict=True)]
        return torch.stack(nlls).sum() if len(nlls) > 1 else nlls[0]


def imitation_part(batch: Batch, rows: range, device: torch.device) -> ImitationPart:
    """Return rows of a batch as tensors; resets are None where each row is one document, which needs no mask."""
    chosen = slice(rows.start, rows.stop)
    reset_BT = batch.reset_BT[chosen]
    arrays = (batch.inputs_BT, batch.targets_BT, batch.weights_BT)
    inputs, targets, weights = (torch.from_numpy(array[chosen]).to(device) for array in arrays)
    reset = torch.from_numpy(reset_BT).to(device) if reset_BT[:, 1:].any() else None
    if batch.masks_BTA is None:
        return inputs, targets, weights, reset
    return inputs, targets, weights, reset, torch.from_numpy(batch.masks_BTA[chosen]).to(device)


class _WeightedNLLFunction(torch.autograd.Function):
    # A backward pass of its own takes half the memory traffic of autograd's, for the same numbers.

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
        exact = torch.promote_types(logits_NV.dtype, torch.float32)
        p_NV = logits_NV.softmax(dim=-1, dtype=exact)
        p_N1 = p_NV.gather(1, targets_N[:, None])
        # Below float32's smallest number the probability is 0; its logarithm stays finite.
        nll_N = -p_N1.squeeze(1).clamp_min(torch.finfo(exact).tiny).log()
        if logits_NV.requires_grad:
            gradient_NV = p_NV.scatter_(1, targets_N[:, None], p_N1 - 1).mul_(weights_N[:, None])
            ctx.save_for_backward(gradient_NV.to(logits_NV.dtype))
        return (nll_N * weights_N).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV * gradients[0].to(gradient_NV.dtype), None, None


def weighted_nll(logits_NV: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    """Return Σ w · −log softmax(logits)[target], in nats: a sum, so that parts add up to the whole.

    Probabilities below the smallest normal float32 count as that number (87 nats).

    >>> weighted_nll(torch.zeros(2, 4), torch.tensor([1, 3]), torch.tensor([1.0, 0.5]))  # 1.5 ln 4
    tensor(2.0794)
    """
    loss: Tensor = _WeightedNLLFunction.apply(logits_NV, targets_N, weights_N)
    return loss


class NextReplyLoss(Objective):
    """Next-reply classification: find the true reply among others (Wolf 2019, "TransferTransfo")."""

    @override
    def terms(self, batch: Batch, micro_batches: Sequence[range], device: torch.device) -> list[Term]:
        asked = [[question for question in batch.questions if question.row in rows] for rows in micro_batches]
        parts = [next_reply_part(some, self.model.context, device) for some in asked]
        return [Term("choice_loss", max(1, len(batch.questions)), parts)]

    @override
    def forward(self, ids_RT: Tensor, reset_RT: Tensor | None, last_QC: Tensor) -> Tensor:
        """Return Σ over the questions of -log softmax(scores)[true], in nats; the true candidate comes first."""
        head = self.model.choice
        assert head is not None, "the model has no next-reply head"
        hidden_RTD, _ = self.model.hidden(ids_RT, reset_BT=reset_RT)
        logits_RT = head(hidden_RTD)[..., 0]
        logits_RT = logits_RT.to(torch.promote_types(logits_RT.dtype, torch.float32))
        logits_QC = logits_RT.flatten()[last_QC]
        nats = F.cross_entropy(logits_QC, logits_QC.new_zeros(len(logits_QC), dtype=torch.long), reduction="sum")
        # Keeps every parameter in the graph without questions, as DistributedDataParallel requires.
        return nats + 0.0 * logits_RT.sum()


def next_reply_part(
    questions: Sequence[NextReplyQuestion], context: int, device: torch.device
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return the candidates of some questions as tensors: ids_RT, reset_RT (None where none matters) and last_QC.

    Without questions they are those of a single token.
    """
    no_questions = PackedCandidates(np.zeros((1, 1), np.int64), np.ones((1, 1), np.bool_), np.zeros((0, 1), np.int64))
    packed = pack_candidates(questions, context) if questions else no_questions
    ids_RT, reset_RT, last_QC = (torch.from_numpy(array).to(device) for array in packed)
    return ids_RT, reset_RT if bool(reset_RT[:, 1:].any()) else None, last_QC


class WeightedSum(Objective):
    """Several objectives of one model at once, each times a weight."""

    def __init__(self, *weighted: tuple[float, Objective]):
        super().__init__(weighted[0][1].model)
        self.weights = [weight for weight, _ in weighted]
        self.objectives: Any = nn.ModuleList(objective for _, objective in weighted)

    @override
    def terms(self, batch: Any, micro_batches: Sequence[range], device: torch.device) -> list[Term]:
        return [
            Term(name, total, [(number, *part) for part in parts], weight * scale, also)
            for number, (weight, objective) in enumerate(zip(self.weights, self.objectives, strict=True))
            for name, total, parts, scale, also in objective.terms(batch, micro_batches, device)
        ]

    @override
    def forward(self, number: int, *part: Any) -> Tensor:
        """Return the sum of the losses of a part of objective `number`."""
        loss: Tensor = self.objectives[number](*part)
        return loss


def imitation(model: LanguageModel) -> Objective:
    """Return a language model's objective: imitation, and next-reply classification where there is a head for it."""
    tokens = ImitationLoss(model)
    return tokens if model.choice is None else WeightedSum((TOKENS_WEIGHT, tokens), (1.0, NextReplyLoss(model)))
