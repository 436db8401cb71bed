"""Advantages of what was done in a rollout, in one pass over memory.

Shape suffixes: T steps of a segment, R rows.
"""
# mypy: allow-untyped-defs

import numpy as np

from understudy.compiled import compiled


@compiled
def estimate(rewards, values, terminated, truncated, final_values, gamma, lam, advantages):
    """Write generalised advantages [T, R]; see `training.ppo.advantages`."""
    steps, rows = rewards.shape
    for step in range(steps - 1, -1, -1):
        for row in range(rows):
            ended = terminated[step, row] or truncated[step, row]
            ahead = values[step + 1, row]
            if truncated[step, row]:
                ahead = final_values[step, row]
            if terminated[step, row]:
                ahead = np.float32(0)
            gain = rewards[step, row] + gamma * ahead - values[step, row]
            if not ended and step + 1 < steps:
                gain += gamma * lam * advantages[step + 1, row]
            advantages[step, row] = gain
