"""Whether a loss hangs on what it must not see, and on all that it may: by the gradient that reaches the inputs."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from understudy.data.packing import Batch
from understudy.doctor.checks import Check, Verdict
from understudy.doctor.probes import exact_twin, input_gradients, probe, twin, undivided
from understudy.training.experiment import Experiment

ROUNDING = 1e-6
"""Share of the largest gradient that counts as none where the true value is an exact zero."""
SHORTEST = 4
"""Positions of a row that these checks need."""


def _places(batch: Batch) -> list[tuple[int, int]]:
    """(row, step) of some losses: late in the last row, which joins two documents, and early in the first."""
    rows, length = batch.inputs_BT.shape
    return [(rows - 1, length * 3 // 4), (0, length // 3)]


def _relative(norm_BT: Tensor, seen_BT: np.ndarray) -> float:
    """The largest gradient among the places that `seen_BT` marks, as a share of the largest anywhere."""
    chosen = norm_BT[torch.from_numpy(seen_BT)]
    largest = float(norm_BT.max())
    return float(chosen.max()) / largest if len(chosen) and largest else 0.0


class _Leak(Check):
    """Looks for a gradient where there must be none."""

    def run(self, experiment: Experiment) -> Verdict:
        """See the subclasses."""
        batch = probe(experiment)
        if batch.inputs_BT.shape[1] < SHORTEST:
            return self.skipped("the context is too short")
        learner = twin(experiment.learner, micro_batch_size=0)
        worst = 0.0
        for rows in (batch, undivided(batch)):  # with resets and without, which is computed another way
            for row, step in _places(rows):
                norm_BT = input_gradients(learner, rows, row, step)
                worst = max(worst, _relative(norm_BT, self._forbidden(rows, row, step)), key=_nan_last)
        measured = f"{worst:.1e} of the largest gradient where there must be none"
        return self.judge(worst <= ROUNDING, measured, f"at most {ROUNDING:.0e}")

    def _forbidden(self, batch: Batch, row: int, step: int) -> np.ndarray:
        raise NotImplementedError


def _nan_last(value: float) -> float:
    return float("inf") if value != value else value


class LeakOverTime(_Leak):
    """A loss that sees the tokens after it: the model copies the answer and learns nothing.

    How: the gradient of the loss at one step with respect to the embeddings of the steps after it, in the number
    format of the training. Threshold: 1e-6 of the largest gradient; a causal mask gives exact zeros.
    Source: Karpathy, "A Recipe for Training Neural Networks" (2019), "use backprop to chart dependencies".
    """

    name: ClassVar[str] = "leak_over_time"
    causes: ClassVar[tuple[str, str]] = (
        "the causal mask is missing or off by one",
        "a layer mixes time steps (a convolution or norm over time, a state that runs backwards)",
    )

    def _forbidden(self, batch: Batch, row: int, step: int) -> np.ndarray:
        seen_BT = np.zeros(batch.inputs_BT.shape, dtype=bool)
        seen_BT[row, step + 1 :] = True
        return seen_BT


class LeakOverBatch(_Leak):
    """A loss that sees other rows of its batch: conversations mix, and results change with the batch size.

    How: the gradient of the loss in one row with respect to the embeddings of all other rows, in training mode.
    Threshold: 1e-6 of the largest gradient; rows that do not touch give exact zeros.
    Source: Karpathy, "A Recipe for Training Neural Networks" (2019), "use backprop to chart dependencies".
    """

    name: ClassVar[str] = "leak_over_batch"
    causes: ClassVar[tuple[str, str]] = (
        "a view or reshape that swaps the batch and time dimensions",
        "a statistic over the batch (batch norm, a mean over dim 0)",
    )

    def _forbidden(self, batch: Batch, row: int, step: int) -> np.ndarray:
        seen_BT = np.ones(batch.inputs_BT.shape, dtype=bool)
        seen_BT[row] = False
        return seen_BT


class LeakOverDocuments(_Leak):
    """A loss that sees the document before it in its packed row: state is carried from one conversation to the next.

    How: rows joined from two documents; the gradient of a loss in the second with respect to the embeddings of the
    first. Threshold: 1e-6 of the largest gradient; a reset gives exact zeros. Source: Krell et al., "Efficient
    Sequence Packing without Cross-contamination" (2021).
    """

    name: ClassVar[str] = "leak_over_documents"
    causes: ClassVar[tuple[str, str]] = (
        "the resets do not reach the model, or it ignores them",
        "the attention mask or the recurrent state ignores where a document begins",
    )

    def _forbidden(self, batch: Batch, row: int, step: int) -> np.ndarray:
        seen_BT = np.zeros(batch.inputs_BT.shape, dtype=bool)
        seen_BT[row, : _document_start(batch, row, step)] = True
        return seen_BT


class GradientReach(Check):
    """A loss that cannot learn from far back: state that is detached on the way, or a window narrower than meant.

    How: the gradient of a late loss with respect to every embedding since its document began. Threshold: at least 95%
    of them receive some, however small. Source: Karpathy, "A Recipe for Training Neural Networks" (2019), "use
    backprop to chart dependencies".
    """

    name: ClassVar[str] = "gradient_reach"
    causes: ClassVar[tuple[str, str]] = (
        "the state is detached (or computed without gradient) inside the row",
        "the attention window is narrower than the context, or a reset is set where no document begins",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        batch = undivided(probe(experiment))
        length = batch.inputs_BT.shape[1]
        if length < SHORTEST:
            return self.skipped("the context is too short")
        norm_BT = input_gradients(exact_twin(experiment.learner), batch, 0, length - 1)
        share = float((norm_BT[0] > 0).float().mean())
        return self.judge(share >= 0.95, f"{share:.0%} of the {length} inputs before a loss move it", "at least 95%")


def _document_start(batch: Batch, row: int, step: int) -> int:
    return int(np.flatnonzero(batch.reset_BT[row, : step + 1])[-1])
