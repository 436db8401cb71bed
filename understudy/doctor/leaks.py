"""Whether a loss depends on what it must not see, and on all that it may: by the gradient that reaches the inputs."""

from collections.abc import Callable

import numpy as np
import torch

from understudy.doctor.checks import Finding, check
from understudy.doctor.probes import clone, float32_clone, input_gradients, one_document_per_row, probe_batch
from understudy.training.experiment import Experiment

# Share of the largest gradient that counts as none. Where nothing leaks, the gradient is exactly zero.
ROUNDING = 1e-6
# Share of the inputs before a loss that must receive a gradient.
REACHED = 0.95
# Positions of a row that these checks need.
SHORTEST = 4


@check("the causal mask is missing or off by one", "a layer mixes time steps (convolution, norm, backwards state)")
def leak_over_time(experiment: Experiment) -> Finding:
    """Check that no loss sees the tokens after it, from which the model would copy the answer and learn nothing.

    The gradient of the loss at one step with respect to the embeddings of later steps must be zero. Source: Karpathy,
    "A Recipe for Training Neural Networks" (2019), "use backprop to chart dependencies".
    """
    return _leak(experiment, lambda row_BT, step_BT, row, step, start: (row_BT == row) & (step_BT > step))


@check("a view or reshape swaps batch and time", "a statistic over the batch (batch norm, a mean over dim 0)")
def leak_over_batch(experiment: Experiment) -> Finding:
    """Check that no loss sees other rows of its batch, which would mix conversations.

    The gradient of the loss in one row with respect to the embeddings of all other rows, in training mode, must be
    zero. Source: Karpathy, "A Recipe for Training Neural Networks" (2019), "use backprop to chart dependencies".
    """
    return _leak(experiment, lambda row_BT, step_BT, row, step, start: row_BT != row)


@check("the resets do not reach the model, or it ignores them", "attention or state ignores where a document begins")
def leak_over_documents(experiment: Experiment) -> Finding:
    """Check that no loss sees the document before its own in a packed row.

    In rows of two documents, the gradient of a loss in the second with respect to the first must be zero. Source: Krell
    et al., "Efficient Sequence Packing without Cross-contamination" (2021).
    """
    return _leak(experiment, lambda row_BT, step_BT, row, step, start: (row_BT == row) & (step_BT < start))


def _leak(experiment: Experiment, forbidden: Callable[..., np.ndarray]) -> Finding:
    """Compare the gradient at forbidden inputs with the largest one, for some losses.

    `forbidden` says which inputs a loss must not see, given the row and the step of each input, and the row, the step
    and the start of the document of the loss.
    """
    batch = probe_batch(experiment)
    rows, length = batch.weights_BT.shape
    if length < SHORTEST:
        return Finding("skipped", "the context is too short")
    learner = clone(experiment.learner, micro_batch_size=0)
    shares = []
    # Without resets, too: the model computes rows of one document in another way.
    for some in (batch, one_document_per_row(batch)):
        # Late in the last row, which joins two documents, and early in the first.
        for row, step in ((rows - 1, length * 3 // 4), (0, length // 3)):
            norm_BT = input_gradients(learner, some, row, step)
            start = int(np.flatnonzero(some.reset_BT[row, : step + 1])[-1])
            chosen = norm_BT[torch.from_numpy(forbidden(*np.indices(norm_BT.shape), row, step, start))]
            largest = float(norm_BT.max())
            shares.append(float(chosen.max()) / largest if len(chosen) and largest else 0.0)
    worst = max(shares, key=lambda share: float("inf") if share != share else share)  # NaN is the worst
    measured = f"{worst:.1e} of the largest gradient where there must be none"
    return Finding(worst <= ROUNDING, measured, f"at most {ROUNDING:.0e}")


@check("the state is detached inside the row", "the window is narrower than the context, or a reset is misplaced")
def gradient_reach(experiment: Experiment) -> Finding:
    """Check that a loss can learn from far back: no state is detached on the way, and no window is too narrow.

    A late loss must give a gradient, however small, to nearly every embedding since its document began. Source:
    Karpathy, "A Recipe for Training Neural Networks" (2019), "use backprop to chart dependencies".
    """
    batch = one_document_per_row(probe_batch(experiment))
    length = batch.inputs_BT.shape[1]
    if length < SHORTEST:
        return Finding("skipped", "the context is too short")
    if experiment.learner.model.core is None:
        return Finding("skipped", "a policy without a core sees one step")
    norm_BT = input_gradients(float32_clone(experiment.learner), batch, 0, length - 1)
    share = float((norm_BT[0] > 0).float().mean())
    measured = f"{share:.0%} of the {length} inputs before a loss receive a gradient from it"
    return Finding(share >= REACHED, measured, f"at least {REACHED:.0%}")
