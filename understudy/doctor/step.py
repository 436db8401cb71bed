"""Whether a step does what it should.

Shape suffixes: B batch rows, T time steps.
"""

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from understudy.data.packing import Batch
from understudy.doctor.checks import Check, Examination, Verdict
from understudy.doctor.data import some_batches
from understudy.doctor.probes import (
    difference,
    exact_twin,
    plain_nll,
    probe,
    step_gradients,
    twin,
    weighted_mean,
    with_question,
)
from understudy.training.experiment import Experiment
from understudy.training.schedules import rate_at

NAMED = 4
"""Parameters that a verdict names."""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (", ".join(names[:NAMED]) or "none") + more


class OptimizerCovers(Check):
    """Parameters that the optimizer does not know, knows twice, or that belong to another model.

    How: the optimizer's groups against the model's parameters. Threshold: each trainable one once, and no other.
    Source: Karpathy, minGPT (2020), `configure_optimizers`, which asserts the same.
    """

    name: ClassVar[str] = "optimizer_covers"
    causes: ClassVar[tuple[str, str]] = (
        "the groups are chosen by a rule that leaves some parameters out",
        "the model or a part of it was replaced after the optimizer was made",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        learner = experiment.learner
        held = [id(parameter) for group in learner.optimizer.param_groups for parameter in group["params"]]
        names = {id(p): name for name, p in learner.model.named_parameters()}
        trainable = {id(p) for p in learner.model.parameters() if p.requires_grad}
        missing = [names[one] for one in names if one in trainable and one not in held]
        twice = [names.get(one, "a stranger") for one in set(held) if held.count(one) > 1]
        strange = [names.get(one, "a stranger") for one in set(held) - trainable]
        measured = f"missing: {_listed(missing)}; twice: {_listed(twice)}; not trainable: {_listed(strange)}"
        good = not (missing or twice or strange)
        return self.judge(good, f"{len(held)} parameters, each once" if good else measured, "every one once")


class ParametersMove(Check):
    """Parameters that do not learn: frozen by mistake, cut off from the loss; and frozen ones that move all the same.

    How: a copy of the learner takes a step on real data, and a second one if something stood still: where weights
    begin as zeros, as LoRA's do, what they are multiplied with has no gradient before. Threshold: each parameter that
    is to learn has a gradient other than 0 and changes; each frozen one stays bit for bit. Source: Karpathy, "A
    Recipe for Training Neural Networks" (2019).
    """

    name: ClassVar[str] = "parameters_move"
    causes: ClassVar[tuple[str, str]] = (
        "requires_grad is off, or the output is detached, where nothing was to be frozen",
        "the layer is not used by the loss (or its learning rate is 0)",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        learner = twin(experiment.learner)
        learner.steps_done = 0  # at the end of a schedule the rate may be 0
        before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
        after = dict(learner.model.named_parameters())
        learning = before.keys() - experiment.frozen
        heard: set[str] = set()
        for _ in range(2):
            gradients, _ = step_gradients(learner, with_question(probe(experiment), experiment))
            heard |= {name for name, gradient in gradients.items() if bool(gradient.any())}
            if learning <= heard:
                break
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        still = [name for name in before if name in learning and name not in moved]
        deaf = [name for name in before if name in learning and name not in heard]
        loose = [name for name in before if name in experiment.frozen & moved]
        good = not (still or deaf or loose)
        measured = f"without gradient: {_listed(deaf)}; unmoved: {_listed(still)}; frozen but moved: {_listed(loose)}"
        return self.judge(
            good, f"{len(moved)} parameters move" if good else measured, "all that are to learn, no other"
        )


class GradientsFresh(Check):
    """Gradients of the step before that are still there: a forgotten zero_grad.

    How: the gradient of a copy's second step against that of another copy which holds no gradient before it; float32,
    no dropout, no clipping. Threshold: 1e-4 apart. Source: Karpathy, "most common neural net mistakes" (2018), no. 3.
    """

    name: ClassVar[str] = "gradients_fresh"
    causes: ClassVar[tuple[str, str]] = (
        "zero_grad is not called, or not on all parameters",
        "state of one step (a loss, a graph) is carried into the next",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        learner, batch = exact_twin(experiment.learner), probe(experiment)
        later = _rolled(batch)
        learner.step(batch)
        clean = exact_twin(learner)
        clean.optimizer.zero_grad(set_to_none=True)
        for parameter in clean.model.parameters():
            parameter.grad = None
        apart = difference(step_gradients(learner, later)[0], step_gradients(clean, later)[0])
        return self.judge(apart <= 1e-4, f"{apart:.1e} of its size from the step's own gradient", "at most 1e-4")


def _rolled(batch: Batch) -> Batch:
    """The rows with the loss at other places, for a gradient of another direction."""
    weights_BT = np.zeros_like(batch.weights_BT)
    weights_BT[:, -1] = 1
    return replace(batch, weights_BT=weights_BT)


class MaskedTokens(Check):
    """Loss on what is masked: padding or the user's words that are learned after all.

    How: targets of weight 0 are replaced by others, which must change neither loss nor gradients; and no padding has
    weight. Threshold: 1e-6 apart; no target. Source: by definition of a mask.
    """

    name: ClassVar[str] = "masked_tokens"
    causes: ClassVar[tuple[str, str]] = (
        "the loss does not use the weights, or replaces zeros",
        "the packing gives padding a weight",
    )

    def run(self, experiment: Examination) -> Verdict:
        """See the class."""
        pad = experiment.batches.store.meta.pad
        padding = sum(int(((b.inputs_BT == pad) & (b.weights_BT != 0)).sum()) for b in some_batches(experiment))
        batch = probe(experiment)
        batch.weights_BT[:, ::4] = 0  # so that there is something masked in a plain text too
        batch.weights_BT[0, 1] = 1
        other = (batch.targets_BT + 1) % experiment.tokenizer.vocab_size
        changed = replace(batch, targets_BT=np.where(batch.weights_BT == 0, other, batch.targets_BT))
        learner = exact_twin(experiment.learner)
        (first, one), (second, two) = (step_gradients(exact_twin(learner), rows) for rows in (batch, changed))
        apart = max(difference(first, second), abs(one["loss"] - two["loss"]) / abs(two["loss"]))
        measured = f"masked targets change the gradient by {apart:.1e}; {padding:,} places of padding have weight"
        return self.judge(apart <= 1e-6 and padding == 0, measured, "no change, and none")


class LossValue(Check):
    """A loss that is not what it is called: another reduction, a shift, a weight applied twice.

    How: the loss that a step reports against the weighted mean of torch's own cross entropy in float64. Threshold:
    0.1%. Source: by definition (docs/algorithms.md).
    """

    name: ClassVar[str] = "loss_value"
    causes: ClassVar[tuple[str, str]] = (
        "the loss is a sum or a mean over other tokens than those with weight",
        "logits and targets are not those of the same position",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        learner, batch = exact_twin(experiment.learner), probe(experiment)
        plain = weighted_mean(plain_nll(learner, batch, batch.targets_BT), batch.weights_BT)
        loss = learner.step(batch)["loss"]
        good = abs(loss - plain) <= 1e-3 * abs(plain)
        return self.judge(good, f"{loss:.4f} nats a token", f"{plain:.4f} by torch's cross entropy")


class Accumulation(Check):
    """Micro-batches that do not add up to the batch: unscaled, or each with a mean of its own.

    How: rows of very unequal numbers of targets, learned from at once and one by one; float32, no dropout, no
    clipping. Threshold: gradients 1e-3 apart, losses 0.1%. Source: Unsloth and Hugging Face, "Fixing Gradient
    Accumulation" (2024).
    """

    name: ClassVar[str] = "accumulation"
    causes: ClassVar[tuple[str, str]] = (
        "each micro-batch's loss is a mean over its own tokens",
        "the sum is not divided, or divided twice",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        batch = _uneven(probe(experiment))
        whole, one_by_one = (exact_twin(experiment.learner, micro_batch_size=size) for size in (0, 1))
        (first, plain), (second, added) = step_gradients(whole, batch), step_gradients(one_by_one, batch)
        apart = max(difference(second, first), abs(added["loss"] - plain["loss"]) / abs(plain["loss"]))
        return self.judge(apart <= 1e-3, f"{apart:.1e} apart, rows at once and one by one", "at most 1e-3")


def _uneven(batch: Batch) -> Batch:
    """The rows with weight on one target, on some, and on all."""
    rows, length = batch.weights_BT.shape
    weights_BT = np.zeros_like(batch.weights_BT)
    for row in range(rows):
        weights_BT[row, : 1 + (length - 1) * row // max(1, rows - 1)] = 1
    return replace(batch, weights_BT=weights_BT)


class ScheduleAsConfigured(Check):
    """A learning rate that is not the configured one: stepped twice, started late, never at its peak.

    How: copies of the learner take a step at the start, at the peak, half-way and at the end; the rate that they
    report and that the optimizer holds against the schedule's formula. Threshold: equal to 1e-6, and one step counted
    for each. Source: by definition (docs/pretrain.md).
    """

    name: ClassVar[str] = "schedule"
    causes: ClassVar[tuple[str, str]] = (
        "the schedule is stepped more than once a step, or by micro-batches",
        "the schedule is made for another number of steps, or its rate does not reach every group",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        config = experiment.learner.config
        learner, batch = twin(experiment.learner), probe(experiment, rows=2, length=8)
        places = {0, config.warmup - 1, config.warmup, config.steps // 2, config.steps - 1}
        wrong: list[str] = []
        for step in sorted(place for place in places if 0 <= place < config.steps):
            learner.steps_done = step
            reported = learner.step(batch)["lr"]
            expected = config.lr * rate_at(step, config.steps, config.schedule, config.warmup, config.final_lr)
            rates = {reported, *(group["lr"] for group in learner.optimizer.param_groups)}
            if not all(math.isclose(rate, expected, rel_tol=1e-6, abs_tol=1e-15) for rate in rates):
                wrong.append(f"{', '.join(f'{rate:.3g}' for rate in sorted(rates))} for {expected:.3g} at step {step}")
            if learner.steps_done != step + 1:
                wrong.append(f"{learner.steps_done - step} steps counted for 1")
        return self.judge(not wrong, "; ".join(wrong) or "as configured", "the configured rate, one step at a time")
