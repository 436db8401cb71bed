"""Scripted experts for games of others."""

from collections.abc import Callable, Mapping

import numpy as np

from understudy.errors import ScenarioError
from understudy.games.env import Array, Env

POLE = np.array([0.1, 0.4, 1.5, 1.0])
"""How much position, speed, angle and angular speed push the cart to the right."""


class Balancer:
    """Balances the pole of CartPole by the sign of a weighted sum of what it sees."""

    def __init__(self, env: Env) -> None:
        pass

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes."""

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return 1, to the right, or 0 for each row."""
        return (observations @ POLE > 0).astype(np.int64)[:, None]


EXPERTS: Mapping[str, Callable[[Env], Balancer]] = {"gym:CartPole-v0": Balancer, "gym:CartPole-v1": Balancer}
"""By the game's name."""


def expert(env: Env) -> Balancer:
    """Return the expert for a game. Raises ScenarioError where there is none."""
    if env.name not in EXPERTS:
        raise ScenarioError(f"no script is an expert in {env.name}; there is one for {', '.join(EXPERTS)}")
    return EXPERTS[env.name](env)
