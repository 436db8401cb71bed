"""Rollouts as compiled code, wherever game and policies are native: see `rollout_kernels.py`.

Games are the kitchen, seen as features, and the lane. Policies see numbers, make one choice at a step, and remember by
an LSTM or not at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.games.env import Array, Env
from understudy.games.kitchen.env import Kitchen
from understudy.games.lane.env import Lane
from understudy.games.sharing import Sharing
from understudy.models.draws import Moves
from understudy.models.policy import Policy, Remembering
from understudy.native import policy_kernels as pk
from understudy.native import rollout_kernels as kernels

Native = tuple[Callable[..., int], Callable[[int], tuple[Any, ...]], Sharing]
"""The function that plays a game, what it is given of the worlds from a number on, and how these are shared out."""


def _kitchens(env: Kitchen) -> Native | None:
    if env.observation.dtype != "float32":
        return None
    every = np.ones(env.worlds, bool)

    def state(low: int) -> tuple[Any, ...]:
        return env.kitchens, env.kitchen.tables, env.horizon, float(env.shaping), every

    return kernels.play_kitchens, state, env.sharing


def _lanes(env: Lane) -> Native:
    return kernels.play_lanes, lambda low: (env.lanes, env.rules, env.notes[low], float(env.shaping)), env.sharing


GAMES: dict[type[Env], Callable[[Any], Native | None]] = {Kitchen: _kitchens, Lane: _lanes}


def native_game(env: Env) -> Native | None:
    """Return how a game is played by compiled code; None where it is not."""
    return GAMES[type(env)](env) if type(env) in GAMES else None


def fits(policy: Policy) -> bool:
    """Return whether a policy's step is there as compiled code."""
    spec = policy.policy
    numbers = len(spec.observation) == 1 and len(spec.choices) == 1
    return (
        numbers and spec.core.core != "transformer" and spec.core.width % pk.LANES == 0
        and next(policy.parameters()).device.type == "cpu"
    )  # fmt: skip


@dataclass
class Plan:
    """A policy as the kernels read it: `refresh` copies its weights; what it remembers is changed in place."""

    numbers: Array = field(default_factory=lambda: np.zeros(pk.PLAN, np.int64))
    held: list[Any] = field(default_factory=list)
    """The arrays behind the addresses."""
    room: int = 0
    """Floats that a row takes on its way through the network."""

    def refresh(self, policy: Policy, state: Any, keys: Array, steps: Array, moves: Moves | None) -> None:
        """Take over the weights of a policy, what a player remembers of all rows, and how it draws."""
        spec, self.held = policy.policy, []
        width, actions = spec.core.width, spec.choices[0]
        core = policy.core.rnn.num_layers if policy.core is not None else 0
        head = -(-(actions + 1) // pk.LANES) * pk.LANES
        last = state.last_NA if isinstance(state, Remembering) else torch.zeros(0)
        inner = state.core if isinstance(state, Remembering) else state
        seen = spec.observation[0]
        self.room = 3 * max(width, seen + actions + pk.LANES) + 4 * width + head
        sizes = (
            seen,
            actions if len(last) else 0,
            width,
            spec.layers,
            core,
            actions,
            head,
            len(keys),
            moves.idle if moves else -1,
        )
        self.numbers[: len(sizes)] = sizes

        encoder = [module for module in policy.observe.layers if isinstance(module, torch.nn.Linear)]
        layers = [self._at(x) for one in encoder for x in (one.weight.t(), one.bias)]
        lstm = []
        for layer in range(core):
            rnn = policy.core.rnn
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            enter, again, bias, bias_2 = (getattr(rnn, f"{name}_l{layer}") for name in names)
            lstm += [self._at(enter.t()), self._at(again.t()), self._at(bias + bias_2)]
        weight, bias = torch.zeros(width, head), torch.zeros(head)
        for module, columns in ((policy.action, slice(0, actions)), (policy.value, slice(actions, actions + 1))):
            weight[:, columns], bias[columns] = module.weight.t(), module.bias
        sharpness = 1 / moves.temperature if moves else 1.0
        addresses = {
            pk.MEAN: self._at(policy.observe.mean),
            pk.SCALE: self._at(policy.observe.std),
            pk.ENCODER: self._at(torch.tensor(layers)),
            pk.LSTM: self._at(torch.tensor(lstm, dtype=torch.int64)),
            pk.HEAD_W: self._at(weight),
            pk.HEAD_B: self._at(bias),
            pk.NUMBERS: self._at(torch.stack([policy.value_mean, policy.value_std, torch.tensor(sharpness)])),
            pk.H: 0 if inner is None else inner.h_LBD.data_ptr(),
            pk.C: 0 if inner is None else inner.c_LBD.data_ptr(),
            pk.LASTS: last.data_ptr(),
            pk.KEYS: keys.ctypes.data,
            pk.STEPS: steps.ctypes.data,
        }
        for column, address in addresses.items():
            self.numbers[column] = address

    def _at(self, x: Tensor) -> int:
        x = x.detach().contiguous().clone()
        self.held.append(x)
        return x.data_ptr()


def play(
    game: Native,
    taken: pk.Taken,
    plans: Sequence[Plan],
    players: Array,
    seeds: Array,
    again: Callable[[int, Array], None] | None,
) -> None:
    """Play a whole segment.

    Args:
        game: what is played.
        taken: where what happens is written.
        plans: of those who decide, in the order of the numbers in `taken.who`.
        players: int64, the seed of the numbers that each of them draws.
        seeds: uint64 [worlds, 2], a key for each world and the number of its episode.
        again: begins new episodes in the chosen worlds before a step; None: they begin by the seeds alone.
    """
    function, state, sharing = game
    steps, agents = len(taken.rewards), taken.agents
    numbers = np.stack([plan.numbers for plan in plans])
    room = [np.zeros(pk.BLOCK * max(plan.room for plan in plans), np.float32) for _ in sharing.cuts]
    at = dict.fromkeys(sharing.cuts, 0)

    def share(low: int, high: int) -> None:
        if at[low, high] < steps:
            rows, number = np.zeros(pk.BLOCK, np.int64), sharing.cuts.index((low, high))
            at[low, high] = function(
                state(low), taken, numbers, players, seeds, again is None, at[low, high], low * agents, high * agents,
                rows, room[number].ctypes.data,
            )  # fmt: skip

    while min(at.values()) < steps:
        before = dict(at)
        sharing.call(share)
        for (low, high), step in at.items():
            if again is not None and before[low, high] < step:
                over = taken.lengths[step - 1] != 0
                over[:low], over[high:] = False, False
                if over.any():
                    again(step, over)
