"""A policy as one who decides in a game."""

from typing import Any

import numpy as np

from understudy.errors import ScenarioError
from understudy.games.env import Array, Env
from understudy.models.policy import Acted, Policy


class PolicyPlayer:
    """Decides by a policy, a `teams.Controller`. What a row is drawn depends on its seed, not on who plays beside it.

    Args:
        policy: decides.
        env: the game; the policy must see and do what its rows see and do.
        temperature: 1 draws actions with the policy's own probabilities, 0 takes the likeliest.
        seed: of the numbers drawn, beside the seed of each episode.

    Raises:
        ScenarioError: the policy sees or does something else.
    """

    def __init__(self, policy: Policy, env: Env, temperature: float = 1.0, seed: int = 0) -> None:
        check_fits(policy, env)
        self.policy, self.temperature, self.seed = policy, temperature, seed
        self.acted: Acted | None = None
        """What it did last, with probabilities and values; an entry per row that acted."""
        self._state: Any = policy.initial_state(env.rows)
        self._random: dict[int, np.random.Generator] = {}
        self._observations = np.zeros((env.rows, *env.observation.shape), env.observation.dtype)
        self._masks = np.ones((env.rows, sum(env.action.choices)), np.bool_)

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes at these rows, whose worlds have these seeds."""
        self._state = self.policy.forget(self._state, rows)
        for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True):
            self._random[row] = np.random.default_rng([self.seed, seed, row])

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return an action for each of these rows."""
        # All rows are stepped, as a state has them all; what the others would do is ignored, and forgotten at a reset.
        self._observations[rows], self._masks[rows] = observations, masks
        width = self.policy.policy.count
        draws = np.zeros((len(self._observations), width))
        if self.temperature:
            draws[rows] = [self._random[row].random(width) for row in rows.tolist()]
        acted = self.policy.act(self._observations, self._state, self._masks, draws, self.temperature)
        self._state = acted.state
        actions, log_probs, values = (part[rows] for part in acted[:3])
        self.acted = Acted(actions, log_probs, values, acted.state, acted.probabilities[rows])
        return self.acted.actions

    def follow(self, actions: Array) -> None:
        """Go on as if all rows had done these actions in the last step, and not what was drawn for them."""
        self._state = self.policy.having_done(self._state, actions)


def check_fits(policy: Policy, env: Env) -> None:
    """Raise ScenarioError unless the policy can see and do what the rows of a game see and do."""
    spec = policy.policy
    if spec.observation != env.observation.shape:
        raise ScenarioError(
            f"the policy sees {list(spec.observation)}, but {env.name} shows {list(env.observation.shape)}; "
            "play it with the options that it was trained with, such as its view"
        )
    if (spec.choices, spec.low, spec.high) != (env.action.choices, env.action.low, env.action.high):
        raise ScenarioError(f"the policy chooses from {policy.outputs}, which are not those of {env.name}")
