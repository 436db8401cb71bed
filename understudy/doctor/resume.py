"""Whether evaluating, resuming and overfitting work: what takes some steps, or a disk."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from understudy.doctor import probes
from understudy.doctor.checks import Finding, check
from understudy.training import checkpoint
from understudy.training.experiment import Experiment

# Parameters from which writing a checkpoint takes too long at the start of a training.
LARGE = 10_000_000
# How far apart resumed weights and losses may be on a GPU, which adds in any order.
GPU = 1e-3
# Steps in which a batch must be overfitted.
STEPS = 100
# Share of its first loss that a batch may keep; where weights are frozen; nats per token that suffice in any case.
FALLEN, FALLEN_FROZEN, LEARNED = 0.5, 0.9, 0.1
# How much more shuffled inputs must cost.
COSTLIER = 1.1


@check("model.eval() is missing before, or model.train() after", "the evaluation draws random numbers, or learns")
def evaluation(experiment: Experiment) -> Finding:
    """Check that an evaluation neither disturbs the training nor is disturbed by it.

    A copy, with half of its activations dropped in training, is evaluated twice on the same rows. All modules must be
    in evaluation mode meanwhile and both losses equal; afterwards mode, weights, gradients and random numbers must be
    those of before. Source: Karpathy, "most common neural net mistakes" (2018), no. 2.
    """
    learner = probes.clone(experiment.learner)
    model = learner.model.train()
    model.set_dropout(0.5)
    modes: list[bool] = []
    batch = next(experiment.validation.eval_batches())
    rows = probes.map_arrays(lambda x: x[: probes.ROWS, : probes.LENGTH].copy(), batch)
    state, weights = torch.get_rng_state(), {name: x.clone() for name, x in model.state_dict().items()}
    parts = list(model.modules())
    with model.encoder.register_forward_pre_hook(lambda *_: modes.append(any(part.training for part in parts))):
        first, second = (experiment.subject.evaluate(model, [rows], learner.dtype) for _ in range(2))
    traces = {
        "in training mode": any(modes),
        "losses that differ": first != second,
        "training mode off afterwards": not all(part.training for part in parts),
        "random numbers drawn": not torch.equal(torch.get_rng_state(), state),
        "weights changed": any(not torch.equal(x, weights[name]) for name, x in model.state_dict().items()),
        "gradients left": any(parameter.grad is not None for parameter in model.parameters()),
    }
    found = [what for what, is_so in traces.items() if is_so]
    return Finding(not found, ", ".join(found) or "no trace", "evaluation mode meanwhile, and no trace after")


@check("random numbers are not saved, or not restored", "the optimizer's moments or the step are not restored")
def resume(experiment: Experiment, thorough: bool = False) -> Finding:
    """Check that a resumed run equals an uninterrupted one: a checkpoint holds optimizer, random numbers and step.

    A copy takes two steps with dropout, saves, and takes two more. Another copy, with other random numbers, restores
    what was saved and takes those two. Weights, losses and random numbers must be equal, bit for bit. Source: by
    definition (docs/pretrain.md, "Stopping and resuming").
    """
    if experiment.learner.model.parameter_count() > LARGE and not thorough:
        return Finding("skipped", "a checkpoint of this size takes long to write; `understudy doctor` does it")
    steady, again = probes.clone(experiment.learner), probes.clone(experiment.learner)
    batch = probes.probe_batch(experiment)
    for learner in (steady, again):
        learner.model.set_dropout(0.2)
    for _ in range(2):
        steady.step(batch)
    with tempfile.TemporaryDirectory() as place:
        folder = checkpoint.save_checkpoint(Path(place), steady, experiment.subject)
        losses = [steady.step(batch)["loss"] for _ in range(2)]
        state = torch.get_rng_state()
        torch.manual_seed(1)
        checkpoint.restore(again, folder)
    resumed = [again.step(batch)["loss"] for _ in range(2)]
    weights, expected = ({n: p for n, p in x.model.named_parameters() if p.requires_grad} for x in (again, steady))
    losses_apart = (abs(one - other) / other for one, other in zip(losses, resumed, strict=True))
    apart = max(probes.difference(weights, expected), *losses_apart)
    allowed = 0.0 if steady.device.type == "cpu" else GPU
    wrong = {
        f"weights or losses ({apart:.1e} apart)": not apart <= allowed,
        "random numbers": not torch.equal(torch.get_rng_state(), state),
        "steps": again.steps_done != steady.steps_done,
    }
    found = [what for what, is_so in wrong.items() if is_so]
    return Finding(not found, f"different: {', '.join(found)}" if found else "equal", f"{allowed:g} apart")


@check(
    "the gradient does not reach the weights, or with the wrong sign",
    "the targets cannot be predicted from the inputs (they are shifted, shuffled or of another row)",
    about_start=True,
)
def overfit_one_batch(experiment: Experiment) -> Finding:
    """Check that the set-up can learn at all: two short rows, at a constant rate, without dropout.

    Their loss must fall, and shuffled inputs must then cost more. A set-up that cannot do that is broken somewhere
    between the data and the weights. Source: Karpathy, "A Recipe for Training Neural Networks" (2019), "overfit one
    batch" and "input-independent baseline".
    """
    config = dict(schedule="constant", warmup=0, lr=3e-3, steps=10**6, clip=1.0)
    learner = probes.float32_clone(experiment.learner, **config)
    batch = probes.one_document_per_row(probes.probe_batch(experiment, rows=2, length=32))
    losses = [learner.step(batch)["loss"] for _ in range(STEPS)]
    inputs = batch, probes.shuffled(batch)
    real, wrong = (float(np.average(probes.teacher_nll(learner, x), weights=batch.weights_BT)) for x in inputs)
    measured = f"from {losses[0]:.2f} to {real:.2f} nats in {STEPS} steps, {wrong:.2f} with shuffled inputs"
    kept = FALLEN_FROZEN if experiment.frozen else FALLEN
    good = real < max(LEARNED, kept * losses[0]) and wrong > COSTLIER * real
    return Finding(good, measured, f"at most {kept:.0%} of it, and 10% more with shuffled inputs")
