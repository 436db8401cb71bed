"""Whether a training step does what it should.

Shape suffixes: B batch rows, T time steps.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from understudy.console import and_more
from understudy.doctor import probes
from understudy.doctor.checks import Finding, check
from understudy.doctor.data import some_batches
from understudy.training.experiment import Experiment
from understudy.training.schedules import rate_at
from understudy.training.text import Text

# How far apart gradients may be: without those of the step before, at other masked targets, in micro-batches.
FRESH, SAME, ADDED = 1e-4, 1e-6, 1e-3
# How far a reported loss may be from torch's cross entropy, as a share of it.
LOSS = 1e-3


@check("the groups' rule leaves some parameters out", "a part of the model was replaced after the optimizer was made")
def optimizer_covers(model: nn.Module, optimizer: torch.optim.Optimizer) -> Finding:
    """Check that the optimizer's groups hold each trainable parameter of the model once, and nothing else.

    Source: Karpathy, minGPT (2020), `configure_optimizers`, which asserts the same.
    """
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    names = {id(p): name for name, p in model.named_parameters()}
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    wrong = {
        "missing": [names[one] for one in names if one in trainable and one not in held],
        "twice": [names.get(one, "another model's") for one in set(held) if held.count(one) > 1],
        "not trainable": [names.get(one, "another model's") for one in set(held) - trainable],
    }
    good = not any(wrong.values())
    return Finding(good, f"{len(held)} parameters, each once" if good else _listed(wrong), "every one once")


def _listed(wrong: dict[str, list[str]]) -> str:
    return "; ".join(f"{what}: {and_more(names, 4) or 'none'}" for what, names in wrong.items())


@check("requires_grad is off, or the output detached, by mistake", "the layer is not used by the loss, or has rate 0")
def parameters_move(experiment: Experiment) -> Finding:
    """Check that a step on real data changes each parameter that is to learn, and no frozen one.

    Each parameter that is to learn must have a gradient other than zero and change; each frozen one must stay, bit for
    bit. A second step is taken where one stood still: where weights begin as zeros, as LoRA's do, what they are
    multiplied with has no gradient in the first. Source: Karpathy, "A Recipe for Training Neural Networks" (2019).
    """
    learner = probes.clone(experiment.learner)
    learner.steps_done = 0  # at the end of a schedule the rate may be 0
    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    after = dict(learner.model.named_parameters())
    learning = before.keys() - experiment.frozen
    with_gradient: set[str] = set()
    for _ in range(2):
        gradients, _ = probes.step_gradients(learner, probes.with_question(probes.probe_batch(experiment), experiment))
        with_gradient |= {name for name, gradient in gradients.items() if bool(gradient.any())}
        if learning <= with_gradient:
            break
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    wrong = {
        "without gradient": [name for name in before if name in learning - with_gradient],
        "unmoved": [name for name in before if name in learning - moved],
        "frozen but moved": [name for name in before if name in experiment.frozen & moved],
    }
    good = not any(wrong.values())
    measured = f"{len(moved)} parameters move" if good else _listed(wrong)
    return Finding(good, measured, "all that are to learn, no other")


@check("zero_grad is not called, or not on all parameters", "a loss or graph is carried into the next step")
def gradients_fresh(experiment: Experiment) -> Finding:
    """Check that a step's gradient has nothing left in it from the step before: no zero_grad is forgotten.

    The gradient of a copy's second step is compared with that of another copy, which held no gradient before it.
    Source: Karpathy, "most common neural net mistakes" (2018), no. 3.
    """
    learner, batch = probes.float32_clone(experiment.learner), probes.probe_batch(experiment)
    # The second step's loss lies elsewhere, so that its gradient has another direction.
    later = replace(batch, weights_BT=np.zeros_like(batch.weights_BT))
    later.weights_BT[:, -1] = 1
    learner.step(batch)
    clean = probes.float32_clone(learner)
    clean.model.zero_grad()
    apart = probes.difference(probes.step_gradients(learner, later)[0], probes.step_gradients(clean, later)[0])
    return Finding(apart <= FRESH, f"{apart:.1e} of its size from the step's own gradient", f"at most {FRESH:.0e}")


@check("the loss does not use the weights, or replaces zeros", "the packing gives padding a weight")
def masked_tokens(experiment: Experiment, text: Text | None = None, thorough: bool = False) -> Finding:
    """Check that nothing is learned from masked tokens: padding and the user's words.

    Other targets where the weight is 0 must change neither loss nor gradients, and padding must have no weight. Source:
    by definition of a mask.
    """
    padding = 0
    if text is not None:
        some = some_batches(experiment.batches, thorough)
        padding = sum(int(((b.inputs_BT == text.pad) & (b.weights_BT != 0)).sum()) for b in some)
    batch = probes.probe_batch(experiment)
    batch.weights_BT[:, ::4] = 0  # so that a plain text has masked tokens too
    batch.weights_BT[0, 1] = 1
    changed = replace(batch, targets_BT=batch.targets_BT.copy())
    changed.targets_BT[batch.weights_BT == 0] = 0
    batch.targets_BT[batch.weights_BT == 0] = 1
    copies = (probes.float32_clone(experiment.learner) for _ in range(2))
    (first, one), (second, two) = map(probes.step_gradients, copies, (batch, changed))
    apart = max(probes.difference(first, second), abs(one["loss"] - two["loss"]) / abs(two["loss"]))
    measured = f"masked targets change the gradient by {apart:.1e}; {padding:,} positions of padding have weight"
    return Finding(apart <= SAME and padding == 0, measured, "no change, and none")


@check("the loss is a sum, or a mean over other tokens", "logits and targets are of different positions")
def loss_value(experiment: Experiment) -> Finding:
    """Check that the loss that a step reports is the weighted mean of torch's own cross entropy in float64.

    It is not where the reduction is another, targets are shifted, or weights are applied twice. Source: by definition
    (docs/algorithms.md).
    """
    learner, batch = probes.float32_clone(experiment.learner), probes.probe_batch(experiment)
    expected = float(np.average(probes.teacher_nll(learner, batch), weights=batch.weights_BT))
    loss = learner.step(batch)["loss"]
    good = abs(loss - expected) <= LOSS * abs(expected)
    return Finding(good, f"{loss:.4f} nats", f"{expected:.4f} by torch's cross entropy")


@check("each micro-batch's loss is a mean over its own tokens", "the sum is not divided, or divided twice")
def accumulation(experiment: Experiment) -> Finding:
    """Check that micro-batches add up to the batch, whatever number of targets each has.

    Rows with one target, some and all are learned from at once and one by one; gradients and losses must agree. Source:
    Unsloth and Hugging Face, "Fixing Gradient Accumulation" (2024).
    """
    batch = probes.probe_batch(experiment)
    rows, length = batch.weights_BT.shape
    batch.weights_BT[:] = 0
    for row in range(rows):
        batch.weights_BT[row, : 1 + (length - 1) * row // max(1, rows - 1)] = 1
    whole, one_by_one = (probes.float32_clone(experiment.learner, micro_batch_size=size) for size in (0, 1))
    (first, plain), (second, added) = probes.step_gradients(whole, batch), probes.step_gradients(one_by_one, batch)
    apart = max(probes.difference(second, first), abs(added["loss"] - plain["loss"]) / abs(plain["loss"]))
    return Finding(apart <= ADDED, f"{apart:.1e} apart, rows at once and one by one", f"at most {ADDED:.0e}")


@check(
    "the schedule is stepped more than once per step, or by micro-batches",
    "the schedule is made for another number of steps, or its rate does not reach every group",
)
def schedule(experiment: Experiment) -> Finding:
    """Check that the learning rate is the configured one at the start, at the peak, half-way and at the end.

    The rate that a step reports and those of the optimizer's groups must be what the schedule's formula gives, and each
    step must count as one. Source: by definition (docs/pretrain.md).
    """
    config = experiment.learner.config
    learner, batch = probes.clone(experiment.learner), probes.probe_batch(experiment, rows=2, length=8)
    corners = {0, config.warmup - 1, config.warmup, config.steps // 2, config.steps - 1}
    wrong: list[str] = []
    for step in sorted(corner for corner in corners if 0 <= corner < config.steps):
        learner.steps_done = step
        reported = learner.step(batch)["lr"]
        expected = config.lr * rate_at(step, config.steps, config.schedule, config.warmup, config.final_lr)
        rates = {reported, *(group["lr"] for group in learner.optimizer.param_groups)}
        if not all(is_configured_rate(rate, expected) for rate in rates):
            wrong.append(f"{', '.join(f'{rate:.3g}' for rate in sorted(rates))} for {expected:.3g} at step {step}")
        if learner.steps_done != step + 1:
            wrong.append(f"{learner.steps_done - step} steps counted for 1")
    return Finding(not wrong, "; ".join(wrong) or "as configured", "the configured rate, one step at a time")


def is_configured_rate(rate: float, expected: float) -> bool:
    """Return whether a learning rate is what the schedule's formula gives."""
    return math.isclose(rate, expected, rel_tol=1e-6, abs_tol=1e-15)
