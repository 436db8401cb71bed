"""Checks that watch a training: cheap looks at each step's metrics, and now and then at the weights."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor, nn

from understudy.doctor.baselines import FIRST_STEPS, Baseline, references
from understudy.doctor.checks import Finding, Verdict, check, record_verdicts
from understudy.doctor.step import is_configured_rate
from understudy.errors import DivergedError
from understudy.runs.run import Recorder
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.schedules import rate_at

# How many losses before a step tell what it should have.
WINDOW = 64
# A loss that jumps: this far above the mean of the window, in nats per token and in standard deviations.
NATS, DEVIATIONS = 1.0, 6
# Of the update-to-weight ratio. It should be about 1e-3; earlier runs narrow it (see `baselines`).
SMALLEST, LARGEST = 1e-8, 0.5
# Of self-play: share of the returns' variance that values tell, and share of its first entropy that a policy keeps.
TOLD, KEPT = 0.05, 0.02

Metrics = Mapping[str, float]


class LossHistory:
    """What is remembered of the losses: the first ones, the last ones, and the steps at which they jumped."""

    def __init__(self) -> None:
        self.first: list[float] = []
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self.mean = math.nan
        """Of the window before the last step; NaN while it is not full."""
        self.jumps: list[int] = []

    def add(self, step: int, loss: float) -> None:
        """Add the loss of a step."""
        if len(self.recent) == WINDOW:
            mean = self.mean = fmean(self.recent)
            if loss > mean + NATS and loss > mean + DEVIATIONS * fmean((x - mean) ** 2 for x in self.recent) ** 0.5:
                self.jumps.append(step)
        if len(self.first) < FIRST_STEPS:
            self.first.append(loss)
        self.recent.append(loss)


class UpdateHistory:
    """‖Δw‖ / ‖w‖ of the median matrix over some steps: 1, 10, 20 and then every 500th."""

    def __init__(self) -> None:
        self.ratios: dict[int, float] = {}
        self._before: dict[str, Tensor] = {}

    @torch.no_grad()
    def before(self, step: int, model: nn.Module) -> None:
        """Remember the weights before a step, counted from 1, if it is one of those."""
        if step in (1, 10, FIRST_STEPS) or step % 500 == 0:
            learned = {name: p for name, p in model.named_parameters() if p.requires_grad and p.dim() >= 2}
            self._before = {name: p.detach().clone() for name, p in learned.items()}

    @torch.no_grad()
    def after(self, step: int, model: nn.Module) -> None:
        """Measure how far the step moved the weights, if they were remembered."""
        if self._before:
            now = dict(model.named_parameters())
            ratios = [float((now[name] - w).norm() / w.norm()) for name, w in self._before.items() if bool(w.any())]
            # What LoRA multiplies with zeros stands still at first. Where all else does too, the ratio is 0.
            self.ratios[step] = median([ratio for ratio in ratios if ratio] or [0.0])
            self._before = {}


class PlayHistory:
    """What is remembered of self-play: the entropies of the first and the last iteration, and how good values were."""

    def __init__(self) -> None:
        self.explained: deque[float] = deque(maxlen=FIRST_STEPS)
        """Share of the returns' variance that the values told, of the last iterations."""
        self.first_entropy = self.entropy = math.nan

    def add(self, metrics: Metrics) -> None:
        """Add what an iteration told."""
        if "explained_variance" in metrics:
            self.explained.append(metrics["explained_variance"])
            self.entropy = metrics["entropy"]
            if math.isnan(self.first_entropy):
                self.first_entropy = self.entropy


@check("the learning rate is too high, or its warm-up too short", "a division by 0, or a logarithm or root below 0")
def finite(step: int, metrics: Metrics) -> Finding:
    """Check that loss and gradient are finite. From a step where they are not, the weights are NaN.

    Source: Micikevicius et al., "Mixed Precision Training" (2018).
    """
    wrong = [f"{name} {metrics[name]}" for name in ("loss", "grad_norm") if not math.isfinite(metrics[name])]
    return Finding(not wrong, f"{' and '.join(wrong)} at step {step}" if wrong else "all finite", "finite numbers")


@check("the learning rate is too high for this model", "batches of another kind or scale (damaged, unshuffled)")
def spikes(step: int, losses: LossHistory) -> Finding:
    """Check that the loss does not stay far above its first values, and note where it jumped.

    Source: Chowdhery et al., "PaLM" (2022), section 5.1, on loss spikes; the thresholds are ours.
    """
    if losses.first and losses.mean > (first := fmean(losses.first)) + NATS:
        measured = f"mean loss {losses.mean:.2f} at step {step}, {first:.2f} at the start"
        return Finding(False, measured, "a loss that falls")
    if losses.jumps:
        return Finding("noted", f"{len(losses.jumps)} spikes, the first at step {losses.jumps[0]}", "no spikes")
    return Finding(True, "no spikes", "no spikes")


@check("the schedule is stepped more than once per step", "the number of steps done was not restored")
def schedule_followed(step: int, metrics: Metrics, config: LearnerConfig) -> Finding:
    """Check that each step's learning rate is what the schedule's formula gives.

    Source: by definition (docs/pretrain.md).
    """
    expected = config.lr * rate_at(step - 1, config.steps, config.schedule, config.warmup, config.final_lr)
    good = is_configured_rate(metrics["lr"], expected)
    measured = "as configured" if good else f"{metrics['lr']:.3g} for {expected:.3g} at step {step}"
    return Finding(good, measured, "the configured rate")


@check("the learning rate is off by orders of magnitude", "weights are initialised, or gradients scaled, wrongly")
def update_ratio(updates: UpdateHistory) -> Finding:
    """Check that steps are neither far too large nor far too small for the weights.

    They are with a wrong rate, a wrong epsilon, or weights of another scale. Source: Karpathy, CS231n notes (2015),
    "ratio of weights:updates".
    """
    wrong = [step for step, ratio in updates.ratios.items() if not SMALLEST <= ratio <= LARGEST]
    step = wrong[0] if wrong else max(updates.ratios, default=0)
    measured = f"{updates.ratios[step]:.1e} at step {step}" if updates.ratios else "nothing yet"
    return Finding(not wrong, measured, f"{SMALLEST:.0e} to {LARGEST}")


@check("the value's weight or rate is too low for it to learn", "what is earned does not depend on what is seen")
def value_explains(play: PlayHistory) -> Finding:
    """Note values that, over the last 20 iterations, tell no more of the returns than their mean does.

    Then advantages are but returns, and the policy learns slowly. Source: Schulman, "Nuts and Bolts of Deep RL
    Research" (2016), on explained variance.
    """
    if len(play.explained) < FIRST_STEPS:
        return Finding(True, "too early to tell", f"more than {TOLD:.0%} of the variance")
    measured = (
        f"values tell {fmean(play.explained):.0%} of the returns' variance over the last {FIRST_STEPS} iterations"
    )
    return Finding(True if fmean(play.explained) > TOLD else "noted", measured, f"more than {TOLD:.0%}")


@check("the entropy bonus is too low, or falls too soon", "the learning rate is too high, or one action is always best")
def entropy_kept(play: PlayHistory) -> Finding:
    """Note a policy that hardly ever tries anything any more, and so learns nothing new.

    Source: Schulman, "Nuts and Bolts of Deep RL Research" (2016), on premature drops of entropy.
    """
    if math.isnan(play.entropy) or play.first_entropy <= 0:
        return Finding(True, "of real numbers, or too early to tell", f"{KEPT:.0%} of the first")
    share = play.entropy / play.first_entropy
    measured = f"{play.entropy:.3f} nats, {share:.0%} of the first"
    return Finding(True if share > KEPT else "noted", measured, f"{KEPT:.0%} of the first")


# Those that expect the loss to fall, and those that ask about self-play.
OF_LOSSES, OF_PLAY = (spikes, references), (value_explains, entropy_kept)
MONITORS = (finite, spikes, schedule_followed, update_ratio, *OF_PLAY, references)


class TrainingMonitors:
    """All checks that watch a training, and the baseline that later runs are compared with.

    Around each step: `monitors.before_step(); metrics = learner.step(batch); monitors.after_step(metrics)`.

    Args:
        learner: what is trained.
        recorder: gets the verdicts, and a line for each check that fails for the first time.
        earlier: the baselines of earlier runs.
    """

    def __init__(self, learner: Learner, recorder: Recorder, earlier: Sequence[Baseline] = ()):
        self.learner, self.recorder = learner, recorder
        self.losses, self.updates, self.play = LossHistory(), UpdateHistory(), PlayHistory()
        self.baseline: dict[str, float] = {}
        """What is recorded of the first 20 steps, once they are done."""
        self._program: dict[str, Any] = {"losses": self.losses, "updates": self.updates, "play": self.play}
        self._program |= {"baseline": self.baseline, "earlier": earlier}
        self._failed: dict[str, Verdict] = {}
        self._reported = {entry["name"] for entry in recorder.record["checks"] if entry["verdict"] == "failed"}
        self._norms: list[float] = []

    def before_step(self) -> None:
        """Look at the weights before a step of the learner."""
        self.updates.before(self.learner.steps_done + 1, self.learner.model)

    def after_step(self, metrics: Metrics) -> None:
        """Look at what a step of the learner returned, and record what that gives away.

        Raises:
            DivergedError: the loss or the gradient is not finite, so no later step can repair the weights.
        """
        step, config = self.learner.steps_done, self.learner.config
        self.updates.after(step, self.learner.model)
        self.losses.add(step, metrics["loss"])
        self.play.add(metrics)
        # The number of steps may have changed since the last one.
        self._program |= {"step": step, "metrics": metrics, "config": config}
        if step == len(self._norms) + 1 <= FIRST_STEPS:  # else the run was resumed after some of them
            self._norms.append(metrics["grad_norm"])
            if len(self._norms) == FIRST_STEPS:
                first_loss, ratio = self.losses.first[0], self.updates.ratios[FIRST_STEPS]
                self.baseline.update(first_loss=first_loss, grad_norm=median(self._norms), update_ratio=ratio)
        verdicts = self.verdicts()

        failed = [one for one in verdicts if one.verdict == "failed" and one.name not in self._reported]
        self._reported |= {one.name for one in failed}
        if failed or step in (FIRST_STEPS, config.steps):
            record_verdicts(verdicts, self.recorder)
            self.recorder.update(check_figures=self.baseline)
        for verdict in failed:
            self.recorder.say(f"check {verdict}", style="red")
        if broken := self._failed.get("finite"):
            raise DivergedError(
                f"{broken.measured}: no later step can repair the weights; expected finite numbers; try a lower --lr, "
                f"a longer --warmup or --dtype float32, or look closer with: understudy doctor {self.recorder.id}"
            )

    def verdicts(self) -> list[Verdict]:
        """Return what has been found so far. A check that failed once stays failed, as it was then."""
        others = OF_PLAY if self.learner.objective.falls else OF_LOSSES
        asked = [one for one in MONITORS if one not in others]
        found = [self._failed.get(one.name) or one.examine(self._program) for one in asked]
        self._failed = {one.name: one for one in found if one.verdict == "failed"}
        return found
