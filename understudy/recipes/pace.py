"""Keeping a training to the time that was said: as many steps as fit, fewer or more where the machine's speed changes.

What is decided is recorded in the run's configuration as a plan, pairs of a step and how many steps there are from then
on. So a resumed or repeated run takes the same steps, with the same rates, whatever its own clock says.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from understudy.data.packing import Batches
from understudy.errors import ReplannedError
from understudy.runs.run import Recorder
from understudy.training.experiment import Experiment
from understudy.training.learner import Learner
from understudy.training.loop import Monitors, train

Plan = tuple[tuple[int, int], ...]
Clock = Callable[[], float]

BESIDE = 0.2
"""Share of the time for what is beside the steps: checks, evaluations, the questions at the end, and a reserve."""
AFTER = 0.1
"""Share of the time for what follows the last step."""
LOOKS, WINDOW = 40, 5
"""How often the clock is looked at, and over how many of these looks the speed is measured."""
LEAST = 0.03
"""Share of the steps that are taken however late it is: the rate falls in them."""
WORTH = 1.25
"""How many times as many steps must fit for the plan to grow, and only in its first half, while the rate is high."""


def first_plan(probe: Learner, batches: Batches, until: float, run: Recorder, clock: Clock) -> Plan:
    """Return the plan of as many steps as fit until then, at most those configured, and say how long they take.

    `probe` is a learner like the one to come: it takes a few steps that are measured, and is not used again.
    """
    most, times = probe.config.steps, list[float]()
    while len(times) < 4 or (sum(times) < 4.0 and len(times) < 40):
        began = clock()
        probe.step(batches.batch(len(times)))
        times.append(clock() - began)
    # The first steps prepare what the others find ready.
    pace = sum(times[2:]) / len(times[2:])
    left = until - clock()
    steps = max(1, min(most, int((1 - BESIDE) * left / pace)))
    minutes = math.ceil(min(left, steps * pace / (1 - BESIDE)) / 30) / 2
    fit = "all" if steps == most else f"{steps:,} of"
    run.say(f"{fit} {most:,} steps fit: the training takes about {minutes:g} minutes on this machine")
    return ((0, steps),)


class Pace:
    """Monitors of a training that also follow its plan and, where the time runs short, change it.

    Args:
        monitors: what else watches the steps.
        learner: takes the steps.
        plan: what was decided before; the training is to follow it.
        until: when the clock has to be at the end; None leaves the plan as it is.
        most: how many steps there may be.
    """

    def __init__(
        self, monitors: Monitors, learner: Learner, plan: Plan, until: float | None, most: int, clock: Clock
    ) -> None:
        self.monitors, self.learner, self.until, self.most, self.clock = monitors, learner, until, most, clock
        self.plan = dict(plan)
        self._looks = deque[tuple[int, float]](maxlen=WINDOW + 1)

    def before_step(self) -> None:
        """Look at the clock. Raises ReplannedError where the plan says so or the time runs short."""
        done, steps = self.learner.steps_done, self.learner.config.steps
        if (planned := self.plan.get(done, steps)) != steps:
            raise ReplannedError(planned)
        if self.until is not None and done % max(1, steps // LOOKS) == 0:
            now = self.clock()
            if len(self._looks) == self._looks.maxlen or (self._looks and done > steps // 2):
                earlier, then = self._looks[0]
                self._replan(done, steps, (now - then) / (done - earlier), self.until - now)
            self._looks.append((done, now))
        self.monitors.before_step()

    def _replan(self, done: int, steps: int, pace: float, left: float) -> None:
        """Raise ReplannedError where steps of `pace` seconds would not end in time, or leave much of it."""
        fit = done + max(int(0.9 * left / pace), math.ceil(LEAST * steps))
        too_many = pace * (steps - done) > left and fit < steps
        too_few = done < steps // 2 and min(fit, self.most) > WORTH * steps
        if too_many or too_few:
            self.plan[done] = min(fit, self.most)
            self._looks.clear()
            raise ReplannedError(self.plan[done])

    def after_step(self, metrics: Mapping[str, float]) -> None:
        """Pass on to the other monitors."""
        self.monitors.after_step(metrics)


def train_at_pace(experiment: Experiment, run: Recorder, pace: Pace) -> dict[str, float]:
    """Train as `training.loop.train` does, with as many steps as the pace says."""
    learner = experiment.learner
    # Where a resumed run stands, the last decision before it holds.
    for step, steps in sorted(pace.plan.items()):
        if step <= learner.steps_done:
            learner.config = replace(learner.config, steps=steps)
    while True:
        try:
            return train(experiment, run, pace)
        except ReplannedError as change:
            was, learner.config = learner.config.steps, replace(learner.config, steps=change.steps)
            run.update(config={"plan": sorted(pace.plan.items())})
            if pace.until is not None:
                run.say(
                    f"the machine has become {'slower' if change.steps < was else 'faster'}: {change.steps:,} steps "
                    f"instead of {was:,}, to end in time",
                    style="yellow",
                )
