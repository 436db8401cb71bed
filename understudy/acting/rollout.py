"""Rollouts: a policy plays in many worlds at once, and what it saw, did and earned is taken down in segments.

A segment is a fixed number of steps of a row; episodes begin and end within it. The next one goes on where this one
ends: games, memories and opponents stay as they are.

Shape suffixes: T steps of a segment, R rows (agents of all worlds), C choices or numbers of an action, A possibilities
of all choices side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.acting.player import PolicyPlayer, mixed
from understudy.config import child_seed
from understudy.games.env import Array, Buffers
from understudy.games.teams import LATEST, Controller, Teams
from understudy.models.policy import Policy
from understudy.native.policy_kernels import Taken
from understudy.native.roll import Native, Plan, fits, native_game, play


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
        keys = mixed(np.uint64(child_seed(seed, "episodes")) + np.arange(env.worlds, dtype=np.uint64))
        self._seeds = np.stack([keys, np.zeros_like(keys)], axis=1)
        """A key for each world, and the number of its episode: together they give the episode's seed."""
        self._game, self._plans = native_game(env), dict[str, Plan]()
        self._now = Buffers.of(env)
        """What is seen before the next step."""
        self._begins = np.ones(env.rows, bool)
        self._ended = np.zeros(env.rows, bool)
        self._earned = np.zeros(env.rows)
        self._age = np.zeros(env.worlds, np.int64)
        self._none = np.zeros((0, env.rows, env.action.width), env.action.dtype)
        # Games of one length would else all be at the same step, and a segment show that part of them alone.
        self.cuts = np.zeros_like(self._age)
        """The step after which the first episode of each world is cut short by hand; 0 once it is over."""
        if (horizon := getattr(env, "horizon", 0)) and env.worlds > 1:
            self.cuts[:] = np.random.default_rng(child_seed(seed, "cuts")).integers(1, horizon + 1, env.worlds)
        self._seats = np.zeros((0, env.worlds, len(env.agents)), np.int64)
        self._past: list[Array] = []
        """What was done in earlier segments, as far back as episodes reach that are still played."""
        self._begin(self._now, np.ones(env.worlds, bool))

    @property
    def seeds(self) -> Array:
        """The seed of the episode that each world is in."""
        return (mixed(self._seeds.sum(1)) >> np.uint64(33)).astype(np.int64)

    def play(self) -> Trajectories:
        """Play a segment. Returns arrays of its own, which later calls leave alone."""
        env, steps = self.teams.env, self.length
        every, rows = Buffers.of(env, steps + 1), np.arange(env.rows)
        every.observations[0], every.masks[0] = self._now.observations, self._now.masks
        sides, spirits = self.teams.memberships()
        taken = Taken(
            observations=every.observations,
            masks=every.masks,
            actions=np.zeros((steps, env.rows, env.action.width), env.action.dtype),
            log_probs=np.zeros((steps, env.rows), np.float32),
            values=np.zeros((steps + 1, env.rows), np.float32),
            rewards=every.rewards[1:],
            terminated=every.terminated[1:],
            truncated=every.truncated[1:],
            final_values=np.zeros((steps, env.rows), np.float32),
            begins=np.zeros((steps, env.rows), bool),
            decided=np.zeros((steps, env.rows), bool),
            earned=np.zeros((steps, env.rows)),
            lengths=np.zeros((steps, env.worlds), np.int64),
            who=self.teams.deciders(),
            latest=self.teams.number(LATEST),
            ended=self._ended,
            fresh=self._begins,
            so_far=self._earned,
            ages=self._age,
            cuts=self.cuts,
            agents=len(env.agents),
            sides=sides,
            spirits=spirits,
        )
        self._seats = np.full((steps, env.worlds, len(env.agents)), taken.latest)
        state = self.policy.rows_of(self.player.state, rows)
        players = [player for _, player in self.teams.players()]
        if self._game is not None and not self.teams.shares_sight and all(map(is_native, players)):
            self._play_natively(self._game, taken, every)
        else:
            for step in range(steps):
                self._step(taken, every, step)
        self._now = every.at(steps)
        taken.values[steps] = self._expected(self._now.observations, rows)

        over = taken.lengths > 0
        earned = taken.earned.reshape(steps, env.worlds, -1)
        self.games = Games(self.teams.names_of(self._seats[over]), earned[over], taken.lengths[over])
        self._past = [*self._past, taken.actions]
        while len(self._past) > 1 and sum(map(len, self._past[1:])) >= self._age.max():
            self._past.pop(0)
        arrays: Any = {name: array for name, array in taken._asdict().items() if name in Trajectories.__annotations__}
        arrays |= {name: array[:steps] for name, array in arrays.items() if name in ("observations", "masks")}
        return Trajectories(**arrays, state=state)

    def _step(self, taken: Taken, every: Buffers, step: int) -> None:
        env, now, later = self.teams.env, every.at(step), every.at(step + 1)
        taken.begins[step], self._begins[:] = self._begins, False
        mine = self.teams.rows(LATEST)
        taken.actions[step] = self.teams.decide(now)
        if len(mine):
            assert self.player.acted is not None
            taken.decided[step, mine] = ~self._ended[mine]
            taken.log_probs[step, mine] = self.player.acted.log_probs
            taken.values[step, mine] = self.player.acted.values
        self.teams.step(taken.actions[step], later)
        self._earned += later.rewards
        self._age += 1
        by_hand = self._age == self.cuts
        later.truncated |= np.repeat(by_hand, len(env.agents)) & ~later.terminated
        # Cut short: a value of what would have come is still due.
        cut = np.flatnonzero(later.truncated & taken.decided[step])
        if len(cut):
            taken.final_values[step, cut] = self._expected(later.observations, cut)
        np.logical_or(later.terminated, later.truncated, out=self._ended)
        over = later.over(env)
        if over.any():
            taken.lengths[step, over] = np.where(by_hand, -self._age, self._age)[over]
            self.cuts[over] = 0
            taken.earned[step] = self._earned
            self._begin(later, over, step)

    def _play_natively(self, game: Native, taken: Taken, every: Buffers) -> None:
        plans, seeds = [], []
        for control, player in self.teams.players():
            assert isinstance(player, PolicyPlayer)
            plans.append(self._plans.setdefault(control, Plan()))
            plans[-1].refresh(player.policy, player.state, *player.drawn, player.moves)
            seeds.append(player.seed)

        def again(step: int, over: Array) -> None:
            self._begin(every.at(step), over, step - 1)
            taken.who[:] = self.teams.deciders()

        play(game, taken, plans, np.array(seeds), self._seeds, None if self.teams.uniform else again)

    def _expected(self, observations: Array, rows: Array) -> Array:
        state = self.policy.rows_of(self.player.state, rows)
        return self.policy.expect(observations[rows], state)

    def _begin(self, out: Buffers, chosen: Array, step: int = -1) -> None:
        """Begin new episodes in the chosen worlds, whose last ones ended with a step of this segment."""
        agents = len(self.teams.env.agents)
        if step >= 0:
            self._seats[step, chosen] = self.teams.deciders().reshape(-1, agents)[chosen]
        self._seeds[chosen, 1] += np.uint64(1)
        self._age[chosen] = 0
        rows = np.repeat(chosen, agents)
        self._begins[rows], self._ended[rows], self._earned[rows] = True, False, 0
        self.teams.reset(self.seeds, out, chosen)

    def snapshot(self) -> dict[str, Array]:
        """Return all that the next segments depend on, beside the weights and what opponents remember."""
        past, oldest = np.concatenate([self._none, *self._past]), int(self._age.max())
        now = {"episode": self._seeds[:, 1], "age": self._age, "earned": self._earned, "cuts": self.cuts}
        return {**{name: array.copy() for name, array in now.items()}, "past": past[len(past) - oldest :]}

    def restore(self, kept: Mapping[str, Array], controls: Array) -> None:
        """Go on from a snapshot: games are played again up to where they stood, with who sat where [worlds, agents]."""
        self._seeds[:, 1], self._age[:], self.cuts[:] = kept["episode"], kept["age"], kept["cuts"]
        # As it counted then: the weight of shaped rewards changes
        self._earned[:], past = kept["earned"], kept["past"]
        new, seeds = np.repeat(self._age == 0, len(controls[0])), self.seeds
        for step in range(len(past) + 1):
            beginning = self._age == len(past) - step
            if beginning.any():
                self.teams.reset(seeds, self._now, beginning, controls)
            if step < len(past):
                self.teams.decide(self._now)  # so that scripts know where they are
                self.teams.step(past[step], self._now)
        self._begins[:], self._ended[:] = new, (self._now.terminated | self._now.truncated) & ~new
        self._past = [past]


def is_native(player: Controller | None) -> bool:
    """Return whether a player's decisions are there as compiled code."""
    return isinstance(player, PolicyPlayer) and player.temperature == 1 and fits(player.policy)
