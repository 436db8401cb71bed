"""A policy as one who decides in a game."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from understudy.errors import ScenarioError
from understudy.games.env import Array, Env
from understudy.models.draws import Moves
from understudy.models.policy import Acted, Policy


class PolicyPlayer:
    """Decides by a policy, a `teams.Controller`. What a row is drawn depends on its seed, not on who plays beside it.

    Args:
        policy: decides.
        env: the game; the policy must see and do what its rows see and do.
        temperature: 1 draws actions with the policy's own probabilities, 0 takes the likeliest.
        seed: of the numbers drawn, beside the seed of each episode.
        move_temperature: a second temperature of all actions but the idle one, which keeps its probability; of no
            effect in games that name no idle action or have other than one choice.

    Raises:
        ScenarioError: the policy sees or does something else.
    """

    def __init__(
        self, policy: Policy, env: Env, temperature: float = 1.0, seed: int = 0, move_temperature: float = 1.0
    ) -> None:
        check_fits(policy, env)
        self.policy, self.temperature, self.seed = policy, temperature, seed
        pausing = len(env.action.choices) == len(env.action.idle) == 1
        self.moves = Moves(int(env.action.idle[0]), move_temperature) if pausing and move_temperature != 1 else None
        self.acted: Acted | None = None
        """What it did last, with probabilities and values; an entry per row that acted."""
        self.state: Any = policy.initial_state(env.rows)
        """What it remembers, of all rows of the game."""
        self._rows, self._agents = env.rows, len(env.agents)
        self._key = np.zeros(env.rows, np.uint64)
        """Of the numbers drawn for each row's episode, and how many steps it has drawn for."""
        self._step = np.zeros(env.rows, np.uint64)

    @property
    def drawn(self) -> tuple[Array, Array]:
        """The key of each row's draws and how many steps it has drawn for: uint64 [rows] each."""
        return self._key, self._step

    def reset(self, rows: Array, seeds: Array) -> None:
        """Begin new episodes at these rows, whose worlds have these seeds."""
        self.state = self.policy.forget(self.state, rows)
        self._key[rows] = mixed(
            mixed(np.uint64(self.seed) + seeds.astype(np.uint64)) + (rows % self._agents).astype(np.uint64)
        )
        self._step[rows] = 0

    def act(self, rows: Array, observations: Array, masks: Array) -> Array:
        """Return an action for each of these rows."""
        part = self.policy.rows_of(self.state, rows) if len(rows) < self._rows else self.state
        self.acted = self.policy.act(observations, part, masks, self._draws(rows), self.temperature, self.moves)
        self.state = (
            self.policy.with_rows(self.state, rows, self.acted.state) if part is not self.state else self.acted.state
        )
        return self.acted.actions

    def _draws(self, rows: Array) -> Array:
        """Return the next numbers drawn evenly from 0 to 1 for each of these rows: [rows, choices]."""
        width = self.policy.policy.count
        step = self._step[rows, None] * np.uint64(width) + np.arange(width, dtype=np.uint64)
        self._step[rows] += np.uint64(1)
        return (mixed(self._key[rows, None] + step) >> np.uint64(11)) * 2.0**-53

    def snapshot(self) -> dict[str, Array]:
        """Return what it remembers of all rows, and how far each has drawn."""
        remembered = {name: x.cpu().numpy() for name, x in self.policy.remembered(self.state).items()}
        return {"draws": np.stack([self._key, self._step]), **remembered}

    @torch.inference_mode()
    def restore(self, kept: Mapping[str, Array]) -> None:
        """Go on from a snapshot."""
        self._key[:], self._step[:] = kept["draws"]
        for name, x in self.policy.remembered(self.state).items():
            x.copy_(torch.from_numpy(kept[name]))

    def follow(self, actions: Array) -> None:
        """Go on as if all rows had done these actions in the last step, and not what was drawn for them."""
        self.state = self.policy.having_done(self.state, actions)


def mixed(numbers: Array) -> Array:
    """Return other numbers, uint64, whose bits all depend on all bits of these (Steele 2014, SplitMix64)."""
    numbers = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


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
