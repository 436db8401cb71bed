"""Whether evaluating, resuming and learning by heart work: what takes a few steps, or a disk."""

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from understudy.doctor.checks import Check, Examination, Verdict
from understudy.doctor.model import shuffled
from understudy.doctor.probes import (
    LENGTH,
    ROWS,
    arrays_of,
    batch_of,
    difference,
    exact_twin,
    plain_nll,
    probe,
    twin,
    undivided,
    weighted_mean,
)
from understudy.training import checkpoint, evaluation
from understudy.training.experiment import Experiment
from understudy.training.learner import Learner

LARGE = 10_000_000
"""Parameters from which a checkpoint is too much for the start of a training."""
BY_HEART = 100
"""Steps in which a batch must be learned by heart."""


class EvaluationLeavesNoTrace(Check):
    """An evaluation that disturbs the training, or is disturbed by it: dropout left on in it, or left off after it.

    How: a copy is evaluated twice on the same rows, with half of its activations to be dropped in training; the mode
    of all modules is noted meanwhile. Threshold: evaluation mode throughout, equal figures, and afterwards the mode,
    weights, gradients and random numbers of before. Source: Karpathy, "most common neural net mistakes" (2018), no.
    2.
    """

    name: ClassVar[str] = "evaluation"
    causes: ClassVar[tuple[str, str]] = (
        "model.eval() is missing before, or model.train() after",
        "the evaluation draws random numbers, or learns",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        learner = twin(experiment.learner)
        model = learner.model.train()
        model.set_dropout(0.5)
        modes: list[bool] = []

        def note(*_: Any) -> None:
            modes.append(any(module.training for module in model.modules()))

        batch = next(experiment.validation.eval_batches())
        length = min(LENGTH, batch.inputs_BT.shape[1])
        rows = batch_of(x[:ROWS, :length] for x in arrays_of(batch))
        before = torch.get_rng_state(), {name: x.clone() for name, x in model.state_dict().items()}
        handle = model.embedding.register_forward_pre_hook(note)
        figures = [evaluation.evaluate(model, [rows], experiment.tokenizer, learner.dtype) for _ in range(2)]
        handle.remove()
        changed = {
            "in training mode": any(modes),
            "figures that differ": figures[0] != figures[1],
            "training mode off afterwards": not all(module.training for module in model.modules()),
            "random numbers drawn": not torch.equal(torch.get_rng_state(), before[0]),
            "weights changed": any(not torch.equal(x, before[1][name]) for name, x in model.state_dict().items()),
            "gradients left": any(parameter.grad is not None for parameter in model.parameters()),
        }
        found = [what for what, is_so in changed.items() if is_so]
        return self.judge(not found, ", ".join(found) or "no trace", "evaluation mode meanwhile, and no trace after")


class ResumeEquivalence(Check):
    """A resumed run that is another one: a checkpoint that forgets the optimizer, the random numbers or the step.

    How: a copy takes two steps with dropout, saves, and takes two more; another copy, with other random numbers,
    restores what was saved and takes those two. Threshold: learned weights, losses and random numbers equal bit for
    bit; on a GPU, which adds in any order, 1e-3 apart. Source: by definition (docs/pretrain.md, "Stopping and
    resuming").
    """

    name: ClassVar[str] = "resume"
    causes: ClassVar[tuple[str, str]] = (
        "the state of the random numbers is not saved, or not restored",
        "the optimizer's moments or the number of steps are not restored",
    )

    def run(self, experiment: Examination) -> Verdict:
        """See the class."""
        if experiment.learner.model.parameter_count() > LARGE and not experiment.thorough:
            return self.skipped("the checkpoint of so large a model takes long to write; `understudy doctor` does it")
        steady, again = twin(experiment.learner), twin(experiment.learner)
        batch = probe(experiment)
        for learner in (steady, again):
            learner.model.set_dropout(0.2)
        for _ in range(2):
            steady.step(batch)
        with tempfile.TemporaryDirectory() as place:
            folder = checkpoint.save_checkpoint(Path(place), steady, experiment.tokenizer)
            losses = [steady.step(batch)["loss"] for _ in range(2)]
            state = torch.get_rng_state()
            torch.manual_seed(1)
            checkpoint.restore(again, folder)
        resumed = [again.step(batch)["loss"] for _ in range(2)]
        apart = max(
            difference(_learned(again), _learned(steady)),
            *(abs(one - other) / other for one, other in zip(losses, resumed, strict=True)),
        )
        allowed = 0.0 if steady.device.type == "cpu" else 1e-3
        wrong = {
            f"weights or losses ({apart:.1e} apart)": not apart <= allowed,
            "random numbers": not torch.equal(torch.get_rng_state(), state),
            "steps": again.steps_done != steady.steps_done,
        }
        found = [what for what, is_so in wrong.items() if is_so]
        return self.judge(not found, f"different: {', '.join(found)}" if found else "equal", f"{allowed:g} apart")


def _learned(learner: Learner) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in learner.model.named_parameters() if parameter.requires_grad}


class OverfitOneBatch(Check):
    """A set-up that cannot learn at all: something between the data and the weights is broken.

    How: a copy learns two short rows for 100 steps at a constant rate of 0.003, without dropout; then the inputs are
    shuffled. Threshold: the loss falls by half (by a tenth where weights are frozen), or below 0.1 nats;
    shuffled inputs cost 10% more. Source: Karpathy,
    "A Recipe for Training Neural Networks" (2019), "overfit one batch" and "input-independent baseline".
    """

    name: ClassVar[str] = "overfit_one_batch"
    about_start: ClassVar[bool] = True
    causes: ClassVar[tuple[str, str]] = (
        "the gradient does not reach the weights, or with the wrong sign",
        "the targets cannot be told from the inputs (they are shifted, shuffled or of another row)",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        config = dict(schedule="constant", warmup=0, lr=3e-3, steps=10**6, clip=1.0)
        learner = exact_twin(experiment.learner, **config)
        batch = undivided(probe(experiment, rows=2, length=32))
        losses = [learner.step(batch)["loss"] for _ in range(BY_HEART)]
        real, wrong = (
            weighted_mean(plain_nll(learner, x, batch.targets_BT), batch.weights_BT) for x in (batch, shuffled(batch))
        )
        measured = (
            f"from {losses[0]:.2f} to {real:.2f} nats a token in {BY_HEART} steps, {wrong:.2f} with shuffled inputs"
        )
        part = 0.9 if experiment.frozen else 0.5
        good = real < max(0.1, part * losses[0]) and wrong > 1.1 * real
        return self.judge(good, measured, f"at most {part:.0%} of it, and 10% more when shuffled")
