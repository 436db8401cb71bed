"""Learning-rate schedules: pure functions of the step, as a share of the peak rate."""

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant", "wsd"]


def rate_at(step: int, steps: int, schedule: Schedule, warmup: int, final: float, decay_share: float = 0.2) -> float:
    """Return the share of the peak rate at `step` (0-based) of `steps`.

    Linear warm-up over `warmup` steps, then: cosine (Loshchilov & Hutter 2017) or linear decay to `final`, constant,
    or WSD (Hu 2024): constant, then linear decay over the last `decay_share` of all steps.

    >>> [round(rate_at(s, 10, "linear", warmup=2, final=0.0), 3) for s in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.125]
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    if schedule == "wsd":
        decay_steps = max(1, round(decay_share * steps))
        progress = max(0.0, (step - (steps - decay_steps)) / decay_steps)
    else:
        progress = (step - warmup) / max(1, steps - warmup)
    progress = min(1.0, progress)
    left = 0.5 * (1 + math.cos(math.pi * progress)) if schedule == "cosine" else 1 - progress
    return final + (1 - final) * left
