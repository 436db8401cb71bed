"""A player's policy: observation encoder, core, action heads and value.

Shape suffixes: B batch rows, T time steps, D width, N rows or chosen positions, A possibilities of all choices side by
side, C choices or real numbers that one action has.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from understudy.config import in_range
from understudy.console import counted
from understudy.models.draws import Moves, draw
from understudy.models.sequence_model import SequenceModel, exact, make_core
from understudy.models.spec import CoreConfig, CoreSpec

FARTHEST = 10.0
"""Standard deviations from its mean beyond which an observation is taken for this many."""
FLOOR = 0.1
"""Smallest standard deviation by which an input is divided, as a share of the largest: rarer things would count for too
much where they occur."""
IMAGE = 32
"""Height and width from which a grid is an image, which strides shrink."""
PIECE = 32
"""Steps of a row where there is no memory, so that the rows of a batch come from many games."""
STDS = (0.01, 2.0)
"""Smallest and largest standard deviation of real actions, as a share of half their range."""


@dataclass(frozen=True)
class PolicySpec:
    """A fully resolved policy: what it is built from and what a checkpoint records."""

    core: CoreSpec
    observation: tuple[int, ...]
    """Shape of what is seen: numbers, or a grid of channels, rows and columns; images have their channels last."""
    choices: tuple[int, ...] = ()
    """How many possibilities each choice has; empty for real numbers."""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    """Bounds of real numbers."""
    layers: int = 1
    """Of the encoder, after the convolutions of a grid."""
    last_action: bool = False
    """Whether it also sees what it did last: a 1 for each choice that was taken, or the numbers."""
    noise: float = 0.0
    """Standard deviations of the noise that is added to what is seen in training."""

    @property
    def count(self) -> int:
        """How many choices or numbers an action has."""
        return len(self.choices) or len(self.low)

    @property
    def seen(self) -> tuple[int, ...]:
        """Shape of what comes in: the observation, with the last action at its end or as planes of a grid."""
        if not self.last_action:
            return self.observation
        more = sum(self.choices) or len(self.low)
        *others, last = self.observation
        if len(self.observation) == 3 and not self.is_image:
            return (self.observation[0] + more, *self.observation[1:])
        return (*others, last + more)

    @property
    def is_image(self) -> bool:
        """Whether it is seen with channels last, and shrunk by strides."""
        return len(self.observation) == 3 and min(self.observation[:2]) >= IMAGE


@dataclass(frozen=True)
class PolicyConfig:
    """What plays: its core and its encoder."""

    core: Literal["lstm", "transformer", "none"] = "lstm"
    """Memory: an LSTM, a Transformer, or none, which decides by what it sees now."""
    width: int = 128
    """Width of encoder and core."""
    layers: int = 1
    """Layers of the core."""
    encoder_layers: int = 2
    """Layers of the encoder, after the convolutions where a grid or an image is seen."""
    heads: int = 4
    """Attention heads (Transformer only)."""
    context: int = 0
    """Most steps of a game that are learned from at once (0: whole games; without memory 32)."""
    dropout: float = 0.25
    """Share of activations dropped in training."""
    noise: float = 0.05
    """Noise added in training to what is seen, in its standard deviations."""

    def resolved(self, longest: int) -> CoreSpec:
        """Return the core for games of so many steps. Raises ConfigError for an impossible shape."""
        in_range("encoder_layers", self.encoder_layers, 1)
        in_range("noise", self.noise, 0, 1, below=True)
        in_range("context", self.context, 0)
        kind: Literal["lstm", "transformer"] = "transformer" if self.core == "transformer" else "lstm"
        context = self.context or (PIECE if self.core == "none" else longest)
        shape = dict(layers=self.layers, width=self.width, heads=self.heads, context=context, dropout=self.dropout)
        return replace(CoreConfig(core=kind, **shape).resolved(), core=self.core)  # type: ignore[arg-type]


class Remembering(NamedTuple):
    """The state of a policy that sees what it did last."""

    core: Any
    last_NA: Tensor


class Acted(NamedTuple):
    """What a policy did at a step, an entry per row, and its state after."""

    actions: NDArray[Any]
    """int64 [rows, choices], or float32 [rows, numbers]."""
    log_probs: NDArray[np.float32]
    """Of the actions, in nats."""
    values: NDArray[np.float32]
    state: Any
    probabilities: NDArray[np.float32]
    """[rows, A], the possibilities of each choice side by side; of real numbers their means and deviations."""


class Policy(SequenceModel):
    """Chooses actions from observations; carries what it remembers in a state, as every core does.

    >>> from understudy.models.spec import CoreConfig
    >>> core = CoreConfig(core="lstm", layers=1, width=8).resolved()
    >>> policy = Policy(PolicySpec(core, observation=(4,), choices=(2,))).eval()
    >>> acted = policy.act(np.zeros((3, 4), np.float32), policy.initial_state(3), np.ones((3, 2), bool))
    >>> acted.actions.shape, acted.log_probs.shape
    ((3, 1), (3,))
    """

    def __init__(self, spec: PolicySpec):
        super().__init__()
        self.policy, self.spec = spec, spec.core
        self.core = make_core(spec.core)
        width = spec.core.width
        self.observe = _Encoder(spec)
        self.action = nn.Linear(width, sum(spec.choices) or len(spec.low))
        self.value = nn.Linear(width, 1)
        for head in (self.action, self.value):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        self.log_std = None if spec.choices else nn.Parameter(torch.full((len(spec.low),), math.log(0.5)))
        # Actions without bounds are as they are; others are learned as shares of half their range.
        bounded = np.isfinite(np.subtract(spec.high, spec.low)) if spec.low else np.zeros(0, bool)
        low, high = (np.where(bounded, bound, sign) for bound, sign in ((spec.low, -1.0), (spec.high, 1.0)))
        self.middle: Tensor
        self.reach: Tensor
        self.register_buffer("middle", torch.tensor((high + low) / 2, dtype=torch.float32), persistent=False)
        self.register_buffer("reach", torch.tensor((high - low) / 2, dtype=torch.float32), persistent=False)
        # What the value head's 0 and 1 stand for, in the game's own rewards.
        self.value_mean: Tensor
        self.value_std: Tensor
        self.register_buffer("value_mean", torch.zeros(()))
        self.register_buffer("value_std", torch.ones(()))

    @property
    @override
    def encoder(self) -> nn.Module:
        return self.observe

    @override
    def initial_state(self, batch_size: int, max_len: int | None = None) -> Any:
        state = super().initial_state(batch_size, max_len)
        if not self.policy.last_action:
            return state
        return Remembering(state, self.action.weight.new_zeros(batch_size, self.action.out_features))

    @override
    def hidden(self, inputs_BT: Tensor, state: Any = None, reset_BT: Tensor | None = None) -> tuple[Tensor, Any]:
        # What was done last is among the inputs already.
        x_BTD = self.observe(inputs_BT)
        if self.core is None:
            return x_BTD, state
        if isinstance(state, Remembering):
            y_BTD, core = self.core(x_BTD, state.core, reset_BT)
            return y_BTD, state._replace(core=core)
        hidden: tuple[Tensor, Any] = self.core(x_BTD, state, reset_BT)
        return hidden

    @override
    def choices(self, hidden_ND: Tensor, masks_NA: Tensor | None = None) -> list[Tensor]:
        logits_NA = self.action(hidden_ND)
        if masks_NA is not None:
            # Not -inf: where nothing at all is allowed, such as in padding, that would give nan.
            logits_NA = logits_NA.masked_fill(~masks_NA, torch.finfo(logits_NA.dtype).min)
        return list(logits_NA.split(self.policy.choices, dim=-1))

    def normal(self, hidden_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of real actions, in the game's own units, [..., C] each."""
        assert self.log_std is not None
        std_C = exact(self.log_std).exp().clamp(*STDS) * self.reach
        return exact(self.action(hidden_ND)) * self.reach + self.middle, std_C

    def distribution(self, hidden_ND: Tensor, masks_NA: Tensor | None = None) -> Tensor:
        """Return log-probabilities of all possibilities, [..., A]; of real numbers means and deviations, [..., 2C]."""
        if self.log_std is not None:
            mean_NC, std_C = self.normal(hidden_ND)
            return torch.cat([mean_NC, std_C.expand_as(mean_NC)], dim=-1)
        heads = self.choices(hidden_ND, masks_NA)
        return torch.cat([exact(logits).log_softmax(-1) for logits in heads], dim=-1)

    def log_prob(self, distribution_NA: Tensor, actions_NC: Tensor) -> Tensor:
        """Return log p_N of actions under a `distribution`, in nats; of real numbers the logarithm of their density."""
        if self.log_std is not None:
            mean_NC, std_NC = distribution_NA.chunk(2, dim=-1)
            z_NC = (actions_NC - mean_NC) / std_NC
            return -(z_NC.square() / 2 + std_NC.log() + math.log(2 * math.pi) / 2).sum(-1)
        starts = actions_NC.new_tensor((0, *self.policy.choices[:-1])).cumsum(0)
        return distribution_NA.gather(-1, actions_NC + starts).sum(-1)

    def entropy(self, distribution_NA: Tensor) -> Tensor:
        """Return the entropy of a `distribution`, in nats, [N]."""
        if self.log_std is not None:
            return (distribution_NA.chunk(2, dim=-1)[1].log() + math.log(2 * math.pi * math.e) / 2).sum(-1)
        return -(distribution_NA.exp() * distribution_NA).sum(-1)

    def divergence(self, distribution_NA: Tensor, other_NA: Tensor) -> Tensor:
        """Return KL(distribution ‖ other), in nats, [N]."""
        if self.log_std is not None:
            mean_NC, std_NC = distribution_NA.chunk(2, dim=-1)
            to_NC, wide_NC = other_NA.chunk(2, dim=-1)
            apart_NC = (std_NC.square() + (mean_NC - to_NC).square()) / (2 * wide_NC.square())
            return ((wide_NC / std_NC).log() + apart_NC - 0.5).sum(-1)
        return (distribution_NA.exp() * (distribution_NA - other_NA)).sum(-1)

    def values(self, hidden_ND: Tensor) -> Tensor:
        """Return what is expected to be earned from here on, discounted, in the game's own rewards: [N]."""
        return exact(self.value(hidden_ND))[..., 0] * self.value_std + self.value_mean

    @torch.no_grad()
    def count_values_in(self, mean: float, std: float) -> None:
        """Have the value head's 0 and 1 stand for these rewards; its values stay as they were.

        Source: van Hasselt et al., "Learning values across many orders of magnitude" (2016), PopArt.
        """
        assert self.value.bias is not None
        self.value.weight.mul_(self.value_std / std)
        self.value.bias.mul_(self.value_std).add_(self.value_mean - mean).div_(std)
        self.value_mean.fill_(mean)
        self.value_std.fill_(std)

    @torch.inference_mode()
    def act(
        self,
        observations: NDArray[Any],
        state: Any,
        masks: NDArray[np.bool_] | None = None,
        draws: NDArray[np.floating[Any]] | None = None,
        temperature: float = 1.0,
        moves: Moves | None = None,
    ) -> Acted:
        """Choose an action for each row.

        Args:
            observations: [rows, *shape], as the game wrote them.
            state: of these rows, from `initial_state(rows)` or the last call; it may be overwritten.
            masks: [rows, A], what is allowed; None: everything.
            draws: [rows, C], numbers drawn evenly from 0 to 1 that decide what is chosen; None: torch draws them.
            temperature: divides the logits, or multiplies the deviations; 0 takes the likeliest actions.
            moves: of policies with one choice: a second temperature of all actions but the idle one.
        """
        device = self.action.weight.device
        state = self._with_room(state)
        draws_NC = torch.rand(len(observations), self.policy.count) if draws is None else torch.from_numpy(draws)
        draws_NC = draws_NC.to(device, torch.float32)
        x_N = torch.from_numpy(np.ascontiguousarray(observations)).to(device)
        if isinstance(state, Remembering):
            x_N = self._with_last(x_N, state.last_NA)
        hidden_N1D, state = self.hidden(x_N[:, None], state)
        hidden_ND = hidden_N1D[:, 0]
        masks_NA = None if masks is None or not self.policy.choices else torch.from_numpy(masks).to(device)
        shown_NA = self.distribution(hidden_ND, masks_NA)
        if self.log_std is not None:
            mean_NC, std_NC = shown_NA.chunk(2, dim=-1)
            normal_NC = torch.special.ndtri(draws_NC.clamp(1e-6, 1 - 1e-6))
            bounds = (torch.tensor(bound, device=device) for bound in (self.policy.low, self.policy.high))
            actions_NC = (mean_NC + temperature * std_NC * normal_NC).clamp(*bounds)
            log_prob_N = self.log_prob(shown_NA, actions_NC)
        else:
            drawn = zip(shown_NA.split(self.policy.choices, dim=-1), draws_NC.unbind(-1), strict=True)
            actions_NC = torch.stack([draw(logits, temperature, number, moves) for logits, number in drawn], dim=-1)
            log_prob_N = self.log_prob(shown_NA, actions_NC)
            shown_NA = shown_NA.exp()
        if isinstance(state, Remembering):
            state = state._replace(last_NA=self._shown_as(actions_NC).to(state.last_NA.dtype))
        value_N = self.values(hidden_ND)
        arrays = (x.cpu().numpy() for x in (actions_NC, log_prob_N, value_N, shown_NA))
        actions, log_probs, values, probabilities = arrays
        return Acted(actions, log_probs, values, state, probabilities)

    @torch.inference_mode()
    def expect(self, observations: NDArray[Any], state: Any) -> NDArray[np.float32]:
        """Return the values of what is seen after `state`, which stays as it is: float32 [rows]."""
        x_N = torch.from_numpy(np.ascontiguousarray(observations)).to(self.action.weight.device)
        if isinstance(state, Remembering):
            x_N = self._with_last(x_N, state.last_NA)
        hidden_N1D, _ = self.hidden(x_N[:, None], state)
        values: NDArray[np.float32] = self.values(hidden_N1D[:, 0]).cpu().numpy()
        return values

    @torch.inference_mode()
    def forget(self, state: Any, rows: NDArray[np.integer[Any]]) -> Any:
        """Return the state with these rows at a fresh start, as games have begun again; its tensors are changed."""
        if isinstance(state, Remembering):
            state.last_NA[torch.from_numpy(np.asarray(rows))] = 0
            return Remembering(self.forget(state.core, rows), state.last_NA)
        return state if state is None else state.empty_rows(torch.from_numpy(np.asarray(rows)))

    def rows_of(self, state: Any, rows: NDArray[np.integer[Any]]) -> Any:
        """Return the state of some rows, a copy."""
        if isinstance(state, Remembering):
            return Remembering(self.rows_of(state.core, rows), state.last_NA[torch.from_numpy(rows)])
        return state if state is None else state.rows(torch.from_numpy(rows))

    @torch.inference_mode()
    def with_rows(self, state: Any, rows: NDArray[np.integer[Any]], part: Any) -> Any:
        """Return the state with some rows replaced by those of `part`. Its tensors may be changed in place."""
        if isinstance(state, Remembering):
            state.last_NA[torch.from_numpy(rows)] = part.last_NA
            return Remembering(self.with_rows(state.core, rows, part.core), state.last_NA)
        return state if state is None else state.with_rows(torch.from_numpy(rows), part)

    def remembered(self, state: Any) -> dict[str, Tensor]:
        """Return the tensors of a state of an LSTM, or without memory, by name."""
        if isinstance(state, Remembering):
            return {"last": state.last_NA, **self.remembered(state.core)}
        return {} if state is None else {"h": state.h_LBD, "c": state.c_LBD}

    def seen(self, seen_BT: Tensor, actions_BTC: Tensor, state: Any, reset_BT: Tensor) -> tuple[Tensor, Any]:
        """Return hidden_BTD of the steps of a rollout, and the state after them.

        Args:
            seen_BT: observations [B, T, …].
            actions_BTC: what was done then.
            state: what the rows remember from before.
            reset_BT: where games begin, before which there is nothing to remember.
        """
        if not isinstance(state, Remembering):
            return self.hidden(seen_BT, state, reset_BT)
        done_BTA = self._shown_as(actions_BTC).to(state.last_NA.dtype)
        before_BTA = torch.cat([state.last_NA[:, None], done_BTA[:, :-1]], dim=1).masked_fill(reset_BT[..., None], 0)
        seen_BT = self._with_last(seen_BT.flatten(0, 1), before_BTA.flatten(0, 1)).unflatten(0, seen_BT.shape[:2])
        hidden_BTD, core = self.hidden(seen_BT, state.core, reset_BT)
        return hidden_BTD, Remembering(core, done_BTA[:, -1])

    def having_done(self, state: Any, actions: NDArray[Any]) -> Any:
        """Return the state of rows that did these actions last, [rows, C], whatever was drawn for them."""
        if not isinstance(state, Remembering):
            return state
        last_NA = self._shown_as(torch.from_numpy(actions).to(state.last_NA.device))
        return state._replace(last_NA=last_NA.to(state.last_NA.dtype))

    def _with_room(self, state: Any) -> Any:
        # A Transformer whose context is full starts afresh, as it did in training where a game was longer than that.
        if isinstance(state, Remembering):
            return state._replace(core=self._with_room(state.core))
        if state is None or state.max_len is None or state.longest < state.max_len:
            return state
        return state.empty_rows((state.length_B >= state.max_len).nonzero()[:, 0])

    def _with_last(self, seen_N: Tensor, last_NA: Tensor) -> Tensor:
        """Return what comes in: observations with the last action, as `games.demonstrations` makes them too."""
        last = last_NA.to(seen_N.dtype)
        if len(self.policy.observation) == 1:
            return torch.cat([seen_N, last], dim=-1)
        if self.policy.is_image:
            return torch.cat([seen_N, last[:, None, None].expand(*seen_N.shape[:3], -1)], dim=-1)
        return torch.cat([seen_N, last[:, :, None, None].expand(-1, -1, *seen_N.shape[2:])], dim=1)

    def _shown_as(self, actions_NC: Tensor) -> Tensor:
        if not self.policy.choices:
            return actions_NC
        heads = zip(actions_NC.unbind(-1), self.policy.choices, strict=True)
        return torch.cat([F.one_hot(taken, count) for taken, count in heads], dim=-1)

    @torch.no_grad()
    def standardise(self, mean: NDArray[Any], std: NDArray[Any]) -> None:
        """Have inputs of this mean and standard deviation, each of the shape of what is seen, count as 0 and 1."""
        std = np.where(std > 1e-6, np.maximum(std, FLOOR * std.max()), 1.0)
        self.observe.mean.copy_(torch.from_numpy(np.asarray(mean, np.float32)))
        self.observe.std.copy_(torch.from_numpy(np.asarray(std, np.float32)))

    @torch.no_grad()
    def soften(self, temperature: float) -> None:
        """Divide the logits of all choices by this from now on."""
        for parameter in self.action.parameters():
            parameter.div_(temperature)

    @property
    @override
    def outputs(self) -> str:
        if not self.policy.choices:
            return counted(len(self.policy.low), "real number")
        return " × ".join(str(count) for count in self.policy.choices) + " actions"

    @property
    @override
    def guessing(self) -> float | None:
        return sum(math.log(count) for count in self.policy.choices) if self.policy.choices else None

    @override
    def description(self) -> dict[str, Any]:
        return {"policy": asdict(self.policy)}


class GaussianNoise(nn.Dropout):
    """Adds noise of `p` standard deviations in training. It is a dropout, so what turns dropout off turns it off."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x + self.p * torch.randn_like(x) if self.training and self.p else x


class _Encoder(nn.Module):
    """Makes vectors of observations: x_BT… → x_BTD."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: PolicySpec):
        super().__init__()
        shape, width = spec.seen, spec.core.width
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))
        self.is_image = spec.is_image
        self.noise = GaussianNoise(spec.noise)
        if self.is_image:  # Mnih 2015, "Human-level control through deep reinforcement learning"
            sizes = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
            steps = [(nn.LazyConv2d(count, size, stride), nn.ReLU()) for count, size, stride in sizes]
        elif len(shape) == 3:  # Carroll 2019, its encoder of the kitchen's grid
            steps = [(nn.LazyConv2d(32, 3, padding=1), nn.ReLU()) for _ in range(2)]
        else:
            steps = []
        self.convolutions = nn.Sequential(*(layer for step in steps for layer in step), nn.Flatten())
        with torch.no_grad():
            sample = torch.zeros(1, *shape)
            inputs = self.convolutions(sample.movedim(-1, 1) if self.is_image else sample).shape[1]
        layers: list[nn.Module] = []
        for _ in range(spec.layers):
            layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(spec.core.dropout)]
            inputs = width
        self.layers = nn.Sequential(*layers)
        # He 2015, "Delving Deep into Rectifiers": what is seen keeps its size, and no unit begins dead by its bias.
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    @override
    def forward(self, seen_BT: Tensor) -> Tensor:
        dtype = self.mean.dtype
        x_BT = ((seen_BT.to(dtype) - self.mean) / self.std).clamp(-FARTHEST, FARTHEST)
        x_N = self.noise(x_BT).flatten(0, 1)
        x_N = self.convolutions(x_N.movedim(-1, 1) if self.is_image else x_N)
        encoded_BTD: Tensor = self.layers(x_N).unflatten(0, seen_BT.shape[:2])
        return encoded_BTD
