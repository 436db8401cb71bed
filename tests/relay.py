"""A small game with all that a rollout must get right: masks, and agents whose games end apart; and who plays it."""

from typing import Any

import numpy as np
import torch

from understudy.games.env import Action, Array, Buffers, Env, Observation
from understudy.models.policy import Policy, PolicyConfig, PolicySpec

LENGTHS = ((2, 12), (9, 13))
"""Each agent's game takes at least so many steps, and fewer than so many."""


class Relay(Env):
    """Two runners, each of whom ends on a step of its own: the first by the rules, the second for want of time."""

    def __init__(self, worlds: int) -> None:
        agents = ("first", "second")
        super().__init__("test/relay", "1", worlds, agents, Observation((4,)), Action(choices=(3, 2)))
        self.seeds, self.age = np.zeros(worlds, np.int64), np.zeros(worlds, np.int64)
        self.ends = np.zeros((worlds, 2), np.int64)

    def _reset(self, seeds: Array, out: Buffers, chosen: Array) -> None:
        self.seeds[chosen], self.age[chosen] = seeds[chosen], 0
        for world in np.flatnonzero(chosen):
            self.ends[world] = np.random.default_rng(seeds[world]).integers(*np.transpose(LENGTHS))
            self._show(world, out)

    def _step(self, actions: Array, out: Buffers) -> None:
        for world in range(self.worlds):
            running = [agent for agent in (0, 1) if self.age[world] < self.ends[world, agent]]
            self.age[world] += 1
            out.rewards[2 * world : 2 * world + 2] = 0
            self._show(world, out)
            for agent in (0, 1):
                row, over = 2 * world + agent, self.age[world] >= self.ends[world, agent]
                out.terminated[row], out.truncated[row] = over and agent == 0, over and agent == 1
                if agent in running:
                    out.rewards[row] = self._draw(world, agent).normal() + actions[row, 0]
                if over:
                    out.final_observations[row] = out.observations[row]

    def _show(self, world: int, out: Buffers) -> None:
        for agent in (0, 1):
            row, random = 2 * world + agent, self._draw(world, agent)
            out.observations[row] = random.normal(size=4)
            mask = random.random(5) < 0.6
            mask[random.integers(3)] = mask[3 + random.integers(2)] = True
            out.masks[row] = mask

    def _draw(self, world: int, agent: int) -> Any:
        return np.random.default_rng([self.seeds[world], min(self.age[world], self.ends[world, agent]), agent])


def make_policy(env: Env, core: Any = "lstm", last_action: bool = False, seed: int = 0) -> Policy:
    """A policy with marked likings, and values that count in units of their own."""
    torch.manual_seed(seed)
    shape = PolicyConfig(core, width=32, dropout=0.0).resolved(16)
    action = env.action.choices, env.action.low, env.action.high
    policy = Policy(PolicySpec(shape, env.observation.shape, *action, last_action=last_action)).eval()
    with torch.no_grad():
        policy.action.weight.normal_(0, 0.3)
        policy.value.weight.normal_()
    policy.count_values_in(2.0, 3.0)
    return policy
