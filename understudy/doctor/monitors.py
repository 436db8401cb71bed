"""What is watched while a training runs: cheap looks at each step's figures, and now and then at the weights."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import ClassVar

import torch
from torch import Tensor

from understudy.doctor.baselines import Figures, References
from understudy.doctor.checks import Check, Verdict
from understudy.training.learner import Learner
from understudy.training.schedules import rate_at

FIRST_STEPS = 20
"""After so many steps the figures for later runs are complete."""

Metrics = Mapping[str, float]


class Watcher(Check):
    """A check that sees a run go by, step after step."""

    def see(self, step: int, metrics: Metrics) -> None:
        """The figures of a step, counted from 1."""

    def verdict(self) -> Verdict:
        """What has been found so far."""
        raise NotImplementedError


class Finite(Watcher):
    """NaN or infinity in the loss or the gradient. From there the weights are NaN, so the training ends.

    How: loss and gradient norm of each step. Threshold: none may be NaN or infinite. Source: Micikevicius et al.,
    "Mixed Precision Training" (2018).
    """

    name: ClassVar[str] = "finite"
    causes: ClassVar[tuple[str, str]] = (
        "the learning rate is too high, or its warm-up too short",
        "a division by 0, or a logarithm or root of a number below 0, in the loss or a layer",
    )

    def __init__(self) -> None:
        self.found = ""

    def see(self, step: int, metrics: Metrics) -> None:
        """See `Watcher.see`."""
        wrong = [f"{name} {metrics[name]}" for name in ("loss", "grad_norm") if not math.isfinite(metrics[name])]
        if wrong and not self.found:
            self.found = f"{' and '.join(wrong)} at step {step}"

    def verdict(self) -> Verdict:
        """See `Watcher.verdict`."""
        return self.judge(not self.found, self.found or "all finite", "finite numbers")


class Spikes(Watcher):
    """Losses that jump up, and a loss that never comes back.

    How: each loss against the mean of the 64 before it. Threshold: one nat and six standard deviations above is a
    spike, which is noted; the training has diverged when 64 losses on average lie a nat above its first 20. Source:
    Chowdhery et al., "PaLM" (2022), section 5.1, on loss spikes; the thresholds are ours.
    """

    name: ClassVar[str] = "spikes"
    causes: ClassVar[tuple[str, str]] = (
        "the learning rate is too high for this model",
        "batches of another kind or scale (damaged or unshuffled data)",
    )
    WINDOW = 64

    def __init__(self) -> None:
        self.first: list[float] = []
        self.recent: deque[float] = deque(maxlen=self.WINDOW)
        self.spikes: list[int] = []
        self.diverged = ""

    def see(self, step: int, metrics: Metrics) -> None:
        """See `Watcher.see`."""
        loss = metrics["loss"]
        if len(self.recent) == self.WINDOW:
            mean = fmean(self.recent)
            if loss > mean + 1 and loss > mean + 6 * fmean((x - mean) ** 2 for x in self.recent) ** 0.5:
                self.spikes.append(step)
            if mean > fmean(self.first) + 1 and not self.diverged:
                self.diverged = f"mean loss {mean:.2f} at step {step}, {fmean(self.first):.2f} at the start"
        if len(self.first) < FIRST_STEPS:
            self.first.append(loss)
        self.recent.append(loss)

    def verdict(self) -> Verdict:
        """See `Watcher.verdict`."""
        if self.diverged:
            return self.judge(False, self.diverged, "a loss that falls")
        if self.spikes:
            return self.noted(f"{len(self.spikes)} spikes, the first at step {self.spikes[0]}", "no spikes")
        return self.judge(True, "no spikes", "no spikes")


class ScheduleFollowed(Watcher):
    """A learning rate that leaves its schedule during the run.

    How: each step's rate against the schedule's formula. Threshold: equal to 1e-6. Source: by definition
    (docs/pretrain.md).
    """

    name: ClassVar[str] = "schedule_followed"
    causes: ClassVar[tuple[str, str]] = (
        "the schedule is stepped more than once a step",
        "the number of steps done was not restored",
    )

    def __init__(self, learner: Learner):
        self.config = learner.config
        self.found = ""

    def see(self, step: int, metrics: Metrics) -> None:
        """See `Watcher.see`."""
        c = self.config
        expected = c.lr * rate_at(step - 1, c.steps, c.schedule, c.warmup, c.final_lr)
        if not self.found and not math.isclose(metrics["lr"], expected, rel_tol=1e-6, abs_tol=1e-15):
            self.found = f"{metrics['lr']:.3g} for {expected:.3g} at step {step}"

    def verdict(self) -> Verdict:
        """See `Watcher.verdict`."""
        return self.judge(not self.found, self.found or "as configured", "the configured rate")


class UpdateRatio(Watcher):
    """Steps far too large or far too small for the weights: a wrong rate, a wrong epsilon, weights of another scale.

    How: ‖Δw‖ / ‖w‖ of each matrix over steps 1, 10, 20 and then every 500th. Threshold: the median matrix between
    1e-8 and 0.5. Source: Karpathy, CS231n notes (2015), "ratio of weights:updates", which should be about 1e-3;
    earlier runs of the same kind narrow it (see `references`).
    """

    name: ClassVar[str] = "update_ratio"
    causes: ClassVar[tuple[str, str]] = (
        "the learning rate is off by orders of magnitude",
        "the weights are initialised at another scale, or the gradients are scaled",
    )
    LOW, HIGH = 1e-8, 0.5

    def __init__(self) -> None:
        self.before: dict[str, Tensor] = {}
        self.ratios: dict[int, float] = {}

    def is_due(self, step: int) -> bool:
        """Whether the weights are looked at over this step, counted from 1."""
        return step in (1, 10, FIRST_STEPS) or step % 500 == 0

    @torch.no_grad()
    def begin(self, step: int, learner: Learner) -> None:
        """Before the step."""
        if self.is_due(step):
            self.before = {name: p.detach().clone() for name, p in _matrices(learner).items()}

    @torch.no_grad()
    def end(self, step: int, learner: Learner) -> None:
        """After the step."""
        if not self.before:
            return
        after = _matrices(learner)
        ratios = [float((after[name] - w).norm() / w.norm()) for name, w in self.before.items() if bool(w.any())]
        # What LoRA multiplies with zeros at first stands still; where all else does too, that is found here.
        self.ratios[step] = median([ratio for ratio in ratios if ratio] or [0.0])
        self.before = {}

    def verdict(self) -> Verdict:
        """See `Watcher.verdict`."""
        wrong = [step for step, ratio in self.ratios.items() if not self.LOW <= ratio <= self.HIGH]
        step = wrong[0] if wrong else max(self.ratios, default=0)
        measured = f"{self.ratios[step]:.1e} at step {step}" if self.ratios else "nothing yet"
        return self.judge(not wrong, measured, f"{self.LOW:.0e} to {self.HIGH}")


def _matrices(learner: Learner) -> dict[str, Tensor]:
    return {name: p for name, p in learner.model.named_parameters() if p.requires_grad and p.dim() >= 2}


class Watch:
    """All watchers of a training, and the figures that later runs may compare themselves with.

    Around each step: `watch.before(); metrics = learner.step(batch); failed = watch.after(metrics)`.
    """

    def __init__(self, learner: Learner, earlier: Sequence[Figures] = (), failed_before: Sequence[str] = ()):
        self.learner = learner
        self.finite, self.ratio, self.references = Finite(), UpdateRatio(), References(earlier)
        self.watchers: list[Watcher] = [self.finite, Spikes(), ScheduleFollowed(learner), self.ratio]
        self.figures: dict[str, float] = {}
        """What is recorded of the first 20 steps, once they are done."""
        self._norms: list[float] = []
        self._first_loss = math.nan
        self._told = set(failed_before)

    def before(self) -> None:
        """Before each step of the learner."""
        self.ratio.begin(self.learner.steps_done + 1, self.learner)

    def after(self, metrics: Metrics) -> list[Verdict]:
        """After each step, with its figures; the checks that failed in it for the first time."""
        step = self.learner.steps_done
        self.ratio.end(step, self.learner)
        for watcher in self.watchers:
            watcher.see(step, metrics)
        self._note_figures(step, metrics)
        failed = [one for one in self.verdicts() if one.verdict == "failed" and one.name not in self._told]
        self._told |= {one.name for one in failed}
        return failed

    def verdicts(self) -> list[Verdict]:
        """What has been found so far."""
        found = [watcher.verdict() for watcher in self.watchers]
        if self.figures:
            return [*found, self.references.compare(self.figures)]
        return [*found, self.references.skipped(f"it takes the first {FIRST_STEPS} steps")]

    def _note_figures(self, step: int, metrics: Metrics) -> None:
        if step == 1:
            self._first_loss = metrics["loss"]
        if step == len(self._norms) + 1 <= FIRST_STEPS:  # else the run was taken up in the midst of them
            self._norms.append(metrics["grad_norm"])
            if len(self._norms) == FIRST_STEPS:
                ratio = self.ratio.ratios[FIRST_STEPS]
                self.figures = {"first_loss": self._first_loss, "grad_norm": median(self._norms), "update_ratio": ratio}
