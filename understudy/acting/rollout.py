"""Rollouts: a policy plays in many worlds at once, and what it saw, did and earned is taken down in segments.

A segment is a fixed number of steps of a row; episodes begin and end within it. The next one goes on where this one
ends: games, memories and opponents stay as they are.

Shape suffixes: T steps of a segment, R rows (agents of all worlds), C choices or numbers of an action, A possibilities
of all choices side by side.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from understudy.acting.player import PolicyPlayer
from understudy.config import child_seed
from understudy.games.env import Array, Buffers
from understudy.games.teams import LATEST, Teams
from understudy.models.policy import Policy


@dataclass
class Trajectories:
    """What happened in a segment. Arrays have the steps first, as the game wrote them."""

    observations: Array
    """[T, R, …]: before each step."""
    masks: Array
    """bool [T, R, A]: what was allowed."""
    actions: Array
    """[T, R, C]."""
    log_probs: Array
    """float32 [T, R]: of the actions, by the policy that chose them; 0 where another decided."""
    values: Array
    """float32 [T + 1, R]: what the policy expected before each step, and after the last."""
    rewards: Array
    """float32 [T, R]."""
    terminated: Array
    """bool [T, R]: the game itself ended with this step."""
    truncated: Array
    """bool [T, R]: it was cut short with this step."""
    final_values: Array
    """float32 [T, R]: what the policy expected of the last observation of an episode that was cut short; else 0."""
    begins: Array
    """bool [T, R]: an episode begins with this step."""
    decided: Array
    """bool [T, R]: the policy decided here, and the row's episode had not ended yet."""
    state: Any
    """What the policy remembered before the first step, of all rows."""


@dataclass
class Games:
    """Episodes that have ended."""

    controls: Array
    """Who decided, per agent: names, [games, agents]."""
    returns: Array
    """What each agent earned: [games, agents]."""
    lengths: Array
    """Steps of each."""

    @classmethod
    def joined(cls, parts: Sequence["Games"], agents: int) -> "Games":
        """Return the games of all parts."""
        none = cls(np.zeros((0, agents), object), np.zeros((0, agents)), np.zeros(0, np.int64))
        columns = zip(*(vars(one).values() for one in (none, *parts)), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


class Rollout:
    """Plays segment after segment.

    Args:
        policy: decides wherever the scenario says `latest`; it is read at each call, and so may learn in between.
        teams: the game, and who else decides in it.
        length: steps of a segment.
        seed: of episodes and of the numbers drawn.
    """

    def __init__(self, policy: Policy, teams: Teams, length: int, seed: int) -> None:
        self.policy, self.teams, self.length = policy, teams, length
        env = teams.env
        self.player = PolicyPlayer(policy, env, seed=child_seed(seed, "draws"))
        teams.add(LATEST, self.player)
        self.games = Games.joined((), len(env.agents))
        """Those that ended in the last segment."""
        self._seeds = np.random.default_rng(child_seed(seed, "episodes"))
        self._now = Buffers.of(env)
        """What is seen before the next step."""
        self._begins = np.ones(env.rows, bool)
        self._ended = np.zeros(env.rows, bool)
        self._earned = np.zeros(env.rows)
        self._age = np.zeros(env.worlds, np.int64)
        self._seed = np.zeros(env.worlds, np.int64)
        self._past: list[Array] = []
        """What was done in earlier segments, as far back as episodes reach that are still played."""
        self._begin(self._now, np.ones(env.worlds, bool))

    def play(self) -> Trajectories:
        """Play a segment. Returns arrays of its own, which later calls leave alone."""
        env, steps, rows = self.teams.env, self.length, np.arange(self.teams.env.rows)
        every, final, ended = Buffers.of(env, steps + 1), self._now.final_observations, list[Games]()
        every.observations[0], every.masks[0] = self._now.observations, self._now.masks
        begins, decided = np.zeros((2, steps, env.rows), bool)
        log_probs, final_values = np.zeros((2, steps, env.rows), np.float32)
        values = np.zeros((steps + 1, env.rows), np.float32)
        actions = np.zeros((steps, env.rows, env.action.width), env.action.dtype)
        state = self.policy.rows_of(self.player.state, rows)
        for step in range(steps):
            now, later = every.at(step), replace(every.at(step + 1), final_observations=final)
            begins[step], self._begins[:] = self._begins, False
            mine = self.teams.rows(LATEST)
            actions[step] = self.teams.decide(now)
            if len(mine):
                assert self.player.acted is not None
                decided[step, mine] = ~self._ended[mine]
                log_probs[step, mine], values[step, mine] = self.player.acted.log_probs, self.player.acted.values
            self.teams.step(actions[step], later)
            self._earned += later.rewards
            self._age += 1
            # Cut short: a value of what would have come is still due.
            cut = np.flatnonzero(later.truncated & decided[step])
            if len(cut):
                final_values[step, cut] = self._expected(final, cut)
            self._ended = later.terminated | later.truncated
            over = later.over(env)
            if over.any():
                ended.append(self._finished(over))
                self._begin(later, over)
        self._now = replace(every.at(steps), final_observations=final)
        values[steps] = self._expected(self._now.observations, rows)
        self.games = Games.joined(ended, len(env.agents))
        self._past = [*self._past, actions]
        while len(self._past) > 1 and sum(map(len, self._past[1:])) >= self._age.max():
            self._past.pop(0)
        return Trajectories(
            every.observations[:steps], every.masks[:steps], actions, log_probs, values, every.rewards[1:],
            every.terminated[1:], every.truncated[1:], final_values, begins, decided, state,
        )  # fmt: skip

    def _expected(self, observations: Array, rows: Array) -> Array:
        state = self.policy.rows_of(self.player.state, rows)
        return self.policy.expect(observations[rows], state)

    def _finished(self, over: Array) -> Games:
        worlds = self.teams.env.worlds
        earned = self._earned.reshape(worlds, -1)[over]
        return Games(self.teams.controls[over], earned.copy(), self._age[over])

    def _begin(self, out: Buffers, chosen: Array) -> None:
        """Begin new episodes in the chosen worlds."""
        agents = len(self.teams.env.agents)
        self._seed[chosen] = self._seeds.integers(1, 2**31, int(chosen.sum()))
        self._age[chosen] = 0
        rows = np.repeat(chosen, agents)
        self._begins[rows], self._ended[rows], self._earned[rows] = True, False, 0
        self.teams.reset(self._seed, out, chosen)

    def snapshot(self) -> dict[str, Array]:
        """Return all that the next segments depend on, beside the weights and what opponents remember."""
        env, oldest = self.teams.env, int(self._age.max())
        past = self._past or [np.zeros((0, env.rows, env.action.width), env.action.dtype)]
        random = json.dumps(self._seeds.bit_generator.state).encode()
        return {
            "seed": self._seed.copy(),
            "age": self._age.copy(),
            "past": np.concatenate(past)[sum(map(len, past)) - oldest :],
            "random": np.frombuffer(random, np.uint8),
        }

    def restore(self, kept: Mapping[str, Array], controls: Array) -> None:
        """Go on from a snapshot: games are played again up to where they stood, with who sat where [worlds, agents]."""
        self._seeds.bit_generator.state = json.loads(kept["random"].tobytes())
        self._seed[:], self._age[:], past = kept["seed"], kept["age"], kept["past"]
        self._begins[:], self._ended[:], self._earned[:] = np.repeat(self._age == 0, len(controls[0])), False, 0
        for step in range(len(past) + 1):
            beginning = self._age == len(past) - step
            if beginning.any():
                self._earned[np.repeat(beginning, len(controls[0]))] = 0
                self.teams.reset(self._seed, self._now, beginning, controls)
            if step < len(past):
                self.teams.decide(self._now)  # so that scripts know where they are
                self.teams.step(past[step], self._now)
                self._earned += self._now.rewards
        self._ended = self._now.terminated | self._now.truncated
        self._ended[np.repeat(self._age == 0, len(controls[0]))] = False
        self._past = [past] if len(past) else []
