"""From logits to a token: pure functions of logits_BV (B rows, V vocabulary).

They act in the order of the usual libraries: repetition penalty, banned tokens, temperature, top-k, top-p, min-p.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from understudy.config import Texts, in_range
from understudy.errors import ConfigError, DivergedError

FEW = 128, 2048
"""How many of the likeliest tokens top-p looks at before it sorts all, which takes milliseconds."""
SUMMED = 256
"""How many probabilities are summed at a time to find a token."""
COLDEST = 1e-6
"""Temperatures above 0 and below this count as this: logits divided by less would not be finite."""


@dataclass(frozen=True)
class SamplingConfig:
    """How the tokens of a reply are sampled, and where it ends."""

    temperature: float = 0.8
    """Above 1 more adventurous, below 1 more careful; 0 takes the likeliest token each time (greedy)."""
    top_k: int = 0
    """Draw only from this many likeliest tokens (0: from all)."""
    top_p: float = 1.0
    """Draw only from the smallest set of likeliest tokens that together have this probability."""
    min_p: float = 0.0
    """Draw only from tokens at least this share as likely as the likeliest."""
    repetition_penalty: float = 1.0
    """Make tokens that were already said less likely: logits divided (or, below 0, multiplied) by this."""
    no_repeat_ngram: int = 0
    """Never say this many tokens in a row a second time within a reply (0: no limit)."""
    max_tokens: int = 256
    """Longest reply in tokens."""
    stop: Texts = ()
    """Texts at which a reply ends; they are not part of it."""
    sampling_seed: int | None = None
    """Seed of the draws; by default each call draws differently."""

    def checked(self) -> "SamplingConfig":
        """Return self. Raises ConfigError for a value out of range."""
        for name, low, high in (
            ("temperature", 0.0, 100.0),
            ("top_k", 0, 10**9),
            ("top_p", 1e-9, 1.0),
            ("min_p", 0.0, 1.0),
            ("repetition_penalty", 1e-3, 1e3),
            ("no_repeat_ngram", 0, 10**9),
            ("max_tokens", 1, 10**9),
            ("sampling_seed", 0, 2**63 - 1),
        ):
            value = getattr(self, name)
            if value is not None:
                in_range(name, value, low, high)
        if "" in self.stop:
            raise ConfigError('--stop "" would end every reply at once; expected a text')
        return self


def penalise_repetition(logits_BV: Tensor, seen_BV: Tensor, penalty: float) -> Tensor:
    """Divide the logits of tokens already seen by `penalty` where positive, multiply them where negative (Keskar 2019).

    >>> penalise_repetition(torch.tensor([[2.0, -2.0, 2.0]]), torch.tensor([[True, True, False]]), 2.0)
    tensor([[ 1., -4.,  2.]])
    """
    penalised_BV = torch.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
    return torch.where(seen_BV, penalised_BV, logits_BV)


def top_k_filter(logits_BV: Tensor, k: int) -> Tensor:
    """Set all but the k highest logits to −∞ (Fan 2018); ties at the border stay.

    >>> top_k_filter(torch.tensor([[1.0, 3.0, 2.0]]), 2)
    tensor([[-inf, 3., 2.]])
    """
    border_B1 = logits_BV.topk(min(k, logits_BV.shape[-1])).values[..., -1:]
    return logits_BV.masked_fill(logits_BV < border_B1, float("-inf"))


def top_p_filter(logits_BV: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probability reaches p (Holtzman 2020).

    >>> top_p_filter(torch.tensor([[0.5, 0.3, 0.2]]).log(), 0.6).exp()
    tensor([[0.5000, 0.3000, 0.0000]])
    """
    whole_B1 = logits_BV.logsumexp(dim=-1, keepdim=True)
    for count in (*FEW, logits_BV.shape[-1]):
        few_BV, order_BV = logits_BV.topk(min(count, logits_BV.shape[-1]))
        probability_BV = (few_BV - whole_B1).exp()
        # A token stays if those before it do not reach p. If the last one here falls, so does every later one.
        before_BV = probability_BV.cumsum(dim=-1) - probability_BV
        if bool((before_BV[..., -1] >= p).all()):
            break
    keep_BV = torch.zeros_like(logits_BV, dtype=torch.bool).scatter(-1, order_BV, before_BV < p)
    return logits_BV.masked_fill(~keep_BV, float("-inf"))


def min_p_filter(logits_BV: Tensor, p: float) -> Tensor:
    """Keep tokens at least p times as likely as the likeliest (Nguyen 2024).

    >>> min_p_filter(torch.tensor([[0.6, 0.3, 0.1]]).log(), 0.4).exp()
    tensor([[0.6000, 0.3000, 0.0000]])
    """
    probability_BV = logits_BV.softmax(dim=-1)
    return logits_BV.masked_fill(probability_BV < p * probability_BV.amax(dim=-1, keepdim=True), float("-inf"))


def warp_logits(
    logits_BV: Tensor, config: SamplingConfig, seen_BV: Tensor | None = None, banned_BV: Tensor | None = None
) -> Tensor:
    """Return the logits whose softmax is sampled from. `seen_BV` are penalised, `banned_BV` impossible."""
    if seen_BV is not None and config.repetition_penalty != 1:
        logits_BV = penalise_repetition(logits_BV, seen_BV, config.repetition_penalty)
    if banned_BV is not None:
        logits_BV = logits_BV.masked_fill(banned_BV, float("-inf"))
    if config.temperature not in (0, 1):
        # By numpy where it can be, for the reason that `sample` gives
        temperature = max(config.temperature, COLDEST)
        on_cpu = logits_BV.device.type == "cpu" and logits_BV.dtype == torch.float32
        logits_BV = (
            torch.from_numpy(logits_BV.detach().numpy() / np.float32(temperature))
            if on_cpu
            else logits_BV / temperature
        )
    if config.top_k:
        logits_BV = top_k_filter(logits_BV, config.top_k)
    if config.top_p < 1:
        logits_BV = top_p_filter(logits_BV, config.top_p)
    if config.min_p > 0:
        logits_BV = min_p_filter(logits_BV, config.min_p)
    return logits_BV


def sample(
    logits_BV: Tensor,
    config: SamplingConfig,
    generator: torch.Generator | None = None,
    seen_BV: Tensor | None = None,
    banned_BV: Tensor | None = None,
) -> Tensor:
    """Sample ids_B, one token per row; at temperature 0 the likeliest.

    Each row takes one uniform number from the generator (torch's own if None) and looks it up in the running sum of
    its probabilities. Raises DivergedError where the logits are not numbers.
    """
    logits_BV = warp_logits(logits_BV, config, seen_BV, banned_BV)
    if config.temperature == 0:
        return likeliest(logits_BV)
    shape, device = (len(logits_BV), 1), logits_BV.device
    drawn_B1 = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
    if device.type == "cpu" and logits_BV.dtype == torch.float32:
        # numpy takes a fifth of the time, and wakes no threads, which would keep the decode step's from their cores.
        numbers_BV = logits_BV.detach().numpy()
        weights_BV = np.exp(numbers_BV - numbers_BV.max(axis=-1, keepdims=True))
        ids_B = torch.tensor([index_at(w_V, share) for w_V, (share,) in zip(weights_BV, drawn_B1.numpy(), strict=True)])
    else:
        upto_BV = logits_BV.softmax(dim=-1, dtype=torch.float32).cumsum(dim=-1, dtype=torch.float64)
        ids_B = torch.searchsorted(upto_BV, drawn_B1 * upto_BV[:, -1:], right=True).squeeze(-1)
    if bool((ids_B == logits_BV.shape[-1]).any()):
        raise DivergedError("the model's logits are not numbers (NaN); take an earlier checkpoint")
    return ids_B


def index_at(weights_V: np.ndarray, share: float) -> int:
    """Return the first index up to which the weights sum to more than a share of the whole; V where there is none.

    >>> index_at(np.array([0.5, 0.0, 0.25, 0.25], np.float32), 0.6)
    2
    """
    # A running sum of sums, then one within the sum at which it is: a third of the time of one over all.
    starts = np.arange(0, len(weights_V), SUMMED)
    sums = np.add.reduceat(weights_V, starts, dtype=np.float64)
    upto = sums.cumsum()
    number = int(upto.searchsorted(share * upto[-1], side="right"))
    if number == len(sums):
        return len(weights_V)
    inside = weights_V[starts[number] : starts[number] + SUMMED].cumsum(dtype=np.float64)
    rest = share * upto[-1] - (upto[number] - sums[number])
    # Never past the last one that has a weight, however the two sums were rounded
    found = min(inside.searchsorted(rest, side="right"), inside.searchsorted(inside[-1]))
    return int(starts[number] + found)


def likeliest(logits_BV: Tensor) -> Tensor:
    """Return ids_B, the likeliest token of each row, one of them where several are.

    >>> likeliest(torch.tensor([[1.0, 3.0, 2.0]]))
    tensor([1])
    """
    # On a CPU numpy finds it in a tenth of torch's time.
    if logits_BV.device.type == "cpu" and logits_BV.dtype == torch.float32:
        return torch.from_numpy(logits_BV.detach().numpy().argmax(axis=-1))
    return logits_BV.argmax(dim=-1)


def make_generator(config: SamplingConfig, device: torch.device) -> torch.Generator | None:
    """Return a generator with the seed; without a seed None, which stands for torch's own."""
    if config.sampling_seed is None:
        return None
    return torch.Generator(device).manual_seed(config.sampling_seed)
