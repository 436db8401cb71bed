"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) of a policy that may remember.

Shape suffixes: B rows, T steps of a segment, N chosen steps, C choices or numbers of an action, A possibilities of all
choices side by side, D width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from understudy.config import in_range
from understudy.models.policy import Policy
from understudy.models.sequence_model import exact
from understudy.training.objectives import Objective, Term

ARRAYS = ("_BT", "_BTC", "_BTA")
FIGURES = ("policy_loss", "value_loss", "entropy", "kl", "clipped", "anchor_kl")


@dataclass(frozen=True)
class PPOConfig:
    """How a policy learns from what it played."""

    gamma: float = 0.99
    """Discount of a reward per step that it lies ahead."""
    gae_lambda: float = 0.95
    """How far advantages look ahead before they trust the values: 0 one step, 1 to the end (GAE's λ)."""
    clip_ratio: float = 0.2
    """How far the probability of what was done may move in an iteration before it is clipped."""
    epochs: int = 2
    """How often each step that was played is learned from."""
    value_coef: float = 0.5
    """Weight of the value's loss, which counts in standard deviations of the returns."""
    entropy: float = 0.01
    """Weight of the entropy bonus at the start, per nat."""
    final_entropy: float = 0.0
    """Its weight at the end; it falls linearly."""
    kl_stop: float = 0.03
    """Nats from the policy that played beyond which an iteration takes no further step (0: none)."""
    anchor: float = 0.0
    """Weight of the divergence from the policy that it began with, at the start, per nat."""
    final_anchor: float = 0.0
    """Its weight at the end; it falls linearly."""
    value_warmup: int = 0
    """Iterations in which the value alone learns, and the policy stays as it is."""

    def validate(self) -> None:
        """Raise ConfigError for a number that is out of range."""
        in_range("gamma", self.gamma, 0, 1)
        in_range("gae_lambda", self.gae_lambda, 0, 1)
        in_range("clip_ratio", self.clip_ratio, 0, 1, above=True)
        in_range("epochs", self.epochs, 1)
        for name in ("value_coef", "entropy", "final_entropy", "kl_stop", "anchor", "final_anchor", "value_warmup"):
            in_range(name, getattr(self, name), 0)


@dataclass(frozen=True)
class Segments:
    """What a policy played, to learn from: the data of one iteration, as arrays; or part of it, as tensors."""

    inputs_BT: Any
    """What was seen, [B, T, …]."""
    actions_BTC: Any
    log_probs_BT: Any
    """Of the actions, by the policy that did them."""
    advantages_BT: Any
    """Of mean 0 and deviation 1 over the whole batch."""
    returns_BT: Any
    """What the value should have said, in the game's own rewards."""
    weights_BT: Any
    """1 where the policy decided, else 0."""
    reset_BT: Any
    """Where an episode begins."""
    masks_BTA: Any
    state: Any = None
    """What each row remembered before its first step."""
    anchor_BTA: Any = None
    """Log-probabilities by the policy to stay near to; of real numbers its means and deviations."""
    entropy: float = 0.0
    """Weights of this iteration."""
    anchor: float = 0.0
    learns: bool = True
    """Whether the policy learns, and not the value alone."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the playing itself gave away."""

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.inputs_BT)

    def take(self, rows: NDArray[np.integer[Any]] | slice, policy: Policy) -> "Segments":
        """Return some rows; of a slice the same memory, not a copy."""
        numbers = np.arange(len(self))[rows]
        return replace(self.mapped(lambda array: array[rows]), state=policy.rows_of(self.state, numbers))

    def mapped(self, function: Callable[[Any], Any]) -> "Segments":
        """Return the same with a function of each array."""
        arrays: dict[str, Any] = {
            one.name: getattr(self, one.name) for one in fields(self) if one.name.endswith(ARRAYS)
        }
        made: dict[str, Any] = {name: None if x is None else function(x) for name, x in arrays.items()}
        return replace(self, **made)


class Played(Protocol):
    """What advantages are estimated from; all [T, R], but values [T + 1, R], the last ones after the last step."""

    rewards: NDArray[np.float32]
    values: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_values: NDArray[np.float32]
    """Of the last observation of an episode, where `truncated`."""


def advantages(played: Played, gamma: float, lam: float) -> NDArray[np.float32]:
    """Return generalised advantage estimates [T, R] (Schulman et al. 2016, arXiv 1506.02438, equation 16).

    δₜ = rₜ + γ V(sₜ₊₁) − V(sₜ) and Âₜ = δₜ + γ λ Âₜ₊₁. Nothing follows the end of an episode: where the game itself
    ended, V(sₜ₊₁) is 0; where it was cut short, it is the value of the episode's last observation.
    """
    from understudy.training.advantage_kernels import estimate

    found = np.empty_like(played.rewards)
    arrays = played.rewards, played.values, played.terminated, played.truncated, played.final_values
    estimate(*arrays, np.float32(gamma), np.float32(lam), found)
    return found


class PPOLoss(Objective):
    """The clipped surrogate, the value's squared error, an entropy bonus, and the divergence from an anchor.

    Args:
        policy: learns.
        config: of the loss.
        batch_size: segments of an optimizer step.
        seed: of their order.
    """

    falls = False

    def __init__(self, policy: Policy, config: PPOConfig, batch_size: int, seed: int) -> None:
        super().__init__(policy)
        self.config, self.batch_size, self.seed = config, batch_size, seed
        self.iteration = 0
        """Of the batch that is learned from; with the seed it decides the order of rows."""

    @override
    def passes(self, batch: Segments, last: Mapping[str, float]) -> Iterator[Segments]:
        """Yield minibatches, `epochs` times all rows, until the policy has gone too far from the one that played."""
        rows = np.flatnonzero(batch.weights_BT.any(1))
        random = np.random.default_rng([self.seed, self.iteration])
        count = max(1, round(len(rows) / self.batch_size))
        for _ in range(self.config.epochs):
            order = random.permutation(rows)
            for part in np.array_split(order, count):
                yield batch.take(part, self.model)
                if self.config.kl_stop and last["kl"] > self.config.kl_stop:
                    return

    @override
    def figures(self, batch: Segments) -> Mapping[str, float]:
        return batch.figures

    @override
    def terms(self, batch: Segments, micro_batches: Sequence[range], device: torch.device) -> list[Term]:
        weight = float(batch.weights_BT.sum(dtype=np.float64))
        cuts = [slice(rows.start, rows.stop) for rows in micro_batches if len(rows)]
        parts = [(tensors(batch.take(cut, self.model), device),) for cut in cuts]
        return [Term("loss", weight, parts, also=FIGURES)]

    @override
    def forward(self, part: "Segments") -> Tensor:
        """Return the sums over the steps of the loss and of FIGURES, in nats and deviations of the returns."""
        policy: Policy = self.model
        hidden_BTD, _ = policy.seen(part.inputs_BT, part.actions_BTC, part.state, part.reset_BT)
        hidden_ND, weights_N = hidden_BTD.flatten(0, 1), part.weights_BT.flatten()
        if not part.learns:
            hidden_ND = hidden_ND.detach()
        masks_NA = None if part.masks_BTA is None else part.masks_BTA.flatten(0, 1)
        actions_NC = part.actions_BTC.flatten(0, 1)
        old_N, advantages_N, returns_N = (x.flatten() for x in (part.log_probs_BT, part.advantages_BT, part.returns_BT))
        anchor_NA = None if part.anchor_BTA is None else part.anchor_BTA.flatten(0, 1)

        value_N = exact(policy.value(hidden_ND))[:, 0]
        target_N = (returns_N - policy.value_mean) / policy.value_std
        value_loss_N = (value_N - target_N).square() / 2

        distribution_NA = policy.distribution(hidden_ND, masks_NA)
        log_prob_N, entropy_N = policy.log_prob(distribution_NA, actions_NC), policy.entropy(distribution_NA)
        anchor_N = torch.zeros_like(entropy_N) if anchor_NA is None else policy.divergence(distribution_NA, anchor_NA)
        ratio_N = (log_prob_N - old_N).exp()
        clip = self.config.clip_ratio
        clipped_N = ratio_N.clamp(1 - clip, 1 + clip)
        policy_loss_N = -torch.minimum(ratio_N * advantages_N, clipped_N * advantages_N)
        # Schulman 2020, "Approximating KL divergence", k3: never below 0, and of less variance than −log ratio
        kl_N = (ratio_N - 1 - (log_prob_N - old_N)).detach()
        outside_N = (ratio_N.detach() - 1).abs() > clip

        loss_N = self.config.value_coef * value_loss_N
        if part.learns:
            loss_N = loss_N + policy_loss_N - part.entropy * entropy_N + part.anchor * anchor_N
        columns = (loss_N, policy_loss_N, value_loss_N, entropy_N, kl_N, outside_N, anchor_N)
        return torch.stack([(column * weights_N).sum() for column in columns])


def tensors(part: Segments, device: torch.device) -> Segments:
    """Return segments whose arrays are tensors on the device."""
    return part.mapped(lambda array: torch.from_numpy(np.ascontiguousarray(array)).to(device))
