"""Whether the model computes what it should.

Shape suffixes: B batch rows, T time steps, D width, N chosen positions, V vocabulary.
"""

import math
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.data.packing import Batch
from understudy.doctor.checks import Check, Verdict
from understudy.doctor.probes import (
    exact_twin,
    plain_nll,
    probe,
    token_loss,
    token_parts,
    twin,
    undivided,
    weighted_mean,
)
from understudy.models.device import autocast
from understudy.models.lora import merge
from understudy.training.experiment import Experiment
from understudy.training.learner import Learner

EMBEDDING_STD = 0.02
"""Of the embedding as it is initialised (Radford 2018)."""


class InitialLoss(Check):
    """A model that begins sure of something: a bad initialisation, a wrong vocabulary, weights that are not fresh.

    How: the mean loss of the fresh model on real data against ln V, what guessing gives. Threshold: 10% below; 10%
    above, and what a tied head adds at width D, as each token scores itself first: σ²D/2 + ln(1 + exp(σD)/V) with σ =
    0.02. Weights that have learned must only do better than guessing. Source: Karpathy, "A Recipe for Training Neural
    Networks" (2019), "verify loss @ init".
    """

    name: ClassVar[str] = "initial_loss"
    about_start: ClassVar[bool] = True
    causes: ClassVar[tuple[str, str]] = (
        "the head or the embedding is initialised too large",
        "the tokens are not this vocabulary's, or the loss is not a mean over tokens",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        loss = twin(experiment.learner, micro_batch_size=0).step(probe(experiment))["loss"]
        guessing = math.log(experiment.tokenizer.vocab_size)
        if not experiment.fresh:
            expected = f"below {guessing:.2f} (ln {experiment.tokenizer.vocab_size}), as these weights have learned"
            return self.judge(loss < guessing, f"{loss:.2f} nats a token", expected)
        width = experiment.learner.model.spec.width
        own = EMBEDDING_STD**2 * width / 2 + math.log1p(
            math.exp(EMBEDDING_STD * width) / experiment.tokenizer.vocab_size
        )
        low, high = 0.9 * guessing, 1.1 * guessing + own
        expected = f"{low:.2f} to {high:.2f} (ln {experiment.tokenizer.vocab_size} = {guessing:.2f})"
        return self.judge(low <= loss <= high, f"{loss:.2f} nats a token", expected)


class DeadUnits(Check):
    """Units that say the same whatever comes in: dead activations, saturated gates.

    How: what enters each matrix and leaves each LSTM on real data; a unit is dead if it is the same at every
    position. Threshold: at most half of a layer's units; of learned weights, whose units may well be rare, nine in
    ten. Source: Karpathy, "A Recipe for Training Neural Networks" (2019); Lu et al., "Dying ReLU and Initialization"
    (2019).
    """

    name: ClassVar[str] = "dead_units"
    causes: ClassVar[tuple[str, str]] = (
        "the activation function lets nothing through (wrong sign, or biases far below 0)",
        "the learning rate is so high that units were pushed where their gradient is 0",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        shares = self._dead_shares(twin(experiment.learner, micro_batch_size=0), experiment)
        worst = max(shares, key=lambda name: shares[name])
        limit = 0.5 if experiment.fresh else 0.9
        return self.judge(shares[worst] <= limit, f"{shares[worst]:.0%} dead at {worst}", f"at most {limit:.0%}")

    def _dead_shares(self, learner: Learner, experiment: Experiment) -> dict[str, float]:
        """By layer, the share of its units that never change."""
        shares: dict[str, float] = {}

        def note(name: str, units: Tensor) -> None:
            units_ND = units.detach().float().flatten(0, -2)
            shares[name] = float((units_ND.amax(dim=0) == units_ND.amin(dim=0)).float().mean())

        batch = undivided(probe(experiment))
        with ExitStack() as hooks, torch.no_grad(), autocast(learner.device, learner.dtype):
            for name, module in learner.model.named_modules():
                if isinstance(module, nn.Linear):
                    handle = module.register_forward_pre_hook(
                        lambda _, x, name=name: note(f"the input of {name}", x[0])
                    )
                elif isinstance(module, nn.LSTM):
                    handle = module.register_forward_hook(
                        lambda _, x, y, name=name: note(f"the output of {name}", y[0])
                    )
                else:
                    continue
                hooks.callback(handle.remove)
            learner.model.eval()
            hidden_BTD, _ = learner.model.hidden(token_parts(learner, batch)[0][0])
            note("the output of the core", hidden_BTD)
        return shares


class TiedWeights(Check):
    """A head that is no longer the embedding: untied by a copy, or cut off from the gradient.

    How: the model's scores against hidden vectors times the embedding, now and after a step; and the gradient of the
    rows whose tokens were not read, which only the head can give. Threshold: equal to 1%, and every such row has a
    gradient. Source: Press & Wolf, "Using the Output Embedding to Improve Language Models" (2017).
    """

    name: ClassVar[str] = "tied_weights"
    causes: ClassVar[tuple[str, str]] = (
        "the head has a copy of the embedding instead of the embedding itself",
        "the embedding is detached in the head",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        learner, batch = exact_twin(experiment.learner), probe(experiment)
        merge(learner.model)  # under LoRA the embedding rests
        before = self._apart(learner)
        learner.step(batch)
        apart = max(before, self._apart(learner))
        part = token_parts(learner, batch)[0]
        learner.model.zero_grad()
        token_loss(learner)(*part).backward()
        gradient_VD = learner.model.embedding.weight.grad
        unread_V = torch.ones(learner.model.vocab_size, dtype=torch.bool)
        unread_V[torch.from_numpy(batch.inputs_BT).flatten()] = False
        with_gradient = 0.0
        if gradient_VD is not None:
            with_gradient = float((gradient_VD.cpu()[unread_V] != 0).any(dim=-1).float().mean())
        measured = f"scores differ by {apart:.1e}; {with_gradient:.0%} of the unread rows have a gradient"
        return self.judge(apart < 0.01 and with_gradient > 0.99, measured, "equal scores, and all of the rows")

    @torch.no_grad()
    def _apart(self, learner: Learner) -> float:
        weight_VD = learner.model.embedding.weight
        hidden_ND = torch.randn(16, weight_VD.shape[1], dtype=weight_VD.dtype).to(weight_VD.device)
        plain_NV = F.linear(hidden_ND, weight_VD)
        return float((learner.model.logits(hidden_ND) - plain_NV).norm() / plain_NV.norm())


class CachedLogits(Check):
    """Sampling that computes something else than training: a stale position, a cache that shifts or mixes rows.

    How: scores of whole rows against the same rows fed in pieces and single steps over a state, one row reset in the
    middle; in float32. Threshold: 1e-3 of the scores' spread. Source: the contract of cores
    (tests/contracts/test_cores.py).
    """

    name: ClassVar[str] = "cached_logits"
    causes: ClassVar[tuple[str, str]] = (
        "positions or lengths in the cache are not moved on",
        "the cached keys, values or states are those of another row or step",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        model = exact_twin(experiment.learner).model.eval()
        batch = undivided(probe(experiment, rows=2, length=32))
        length = batch.inputs_BT.shape[1]
        batch.reset_BT[1, length // 2] = True
        ids_BT, reset_BT = (
            torch.from_numpy(x).to(experiment.learner.device) for x in (batch.inputs_BT, batch.reset_BT)
        )
        with torch.no_grad():
            whole_BTV, _ = model(ids_BT, reset_BT=reset_BT)
            pieces = []
            state = model.initial_state(len(ids_BT), length)
            for piece in self._pieces(length):
                scores_BTV, state = model(ids_BT[:, piece], state, reset_BT[:, piece])
                pieces.append(scores_BTV)
        apart = float((torch.cat(pieces, dim=1) - whole_BTV).abs().max() / whole_BTV.std())
        return self.judge(apart <= 1e-3, f"{apart:.1e} of the scores' spread apart", "at most 1e-3")

    def _pieces(self, length: int) -> list[slice]:
        """A prompt, some single steps across the reset, and the rest at once."""
        first, last = max(1, length // 3), max(1, length * 3 // 4)
        cuts = [0, *range(first, last + 1), length]
        return [slice(start, end) for start, end in pairwise(cuts) if end > start]


class InputsMatter(Check):
    """A model that answers without listening: inputs that are zeroed, detached or replaced on the way.

    How: whether scores change where the inputs do; of weights that have learned, also whether shuffled inputs cost
    more than real ones (`overfit_one_batch` looks at that in any case). Threshold: 99% of the changed positions; less
    than 10% more is noted, as short training may not get that far. Source: Karpathy, "A Recipe for Training Neural
    Networks" (2019), "input-independent baseline".
    """

    name: ClassVar[str] = "inputs_matter"
    causes: ClassVar[tuple[str, str]] = (
        "the inputs are overwritten, zeroed or taken from another batch",
        "the core's output does not depend on them (a residual or mask that drops everything)",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        learner, batch = exact_twin(experiment.learner), probe(experiment)
        other = shuffled(batch)
        real_BT, wrong_BT = (plain_nll(learner, x, batch.targets_BT) for x in (batch, other))
        different_BT = batch.inputs_BT != other.inputs_BT
        moved = float((real_BT != wrong_BT)[different_BT].mean()) if different_BT.any() else 1.0
        measured = f"{moved:.0%} of the losses change with their input"
        if moved < 0.99 or experiment.fresh:
            return self.judge(moved >= 0.99, measured, "at least 99%")
        real, wrong = (weighted_mean(x_BT, batch.weights_BT) for x_BT in (real_BT, wrong_BT))
        measured = f"{real:.2f} nats a token on real inputs, {wrong:.2f} on shuffled ones"
        expected = "at least 10% more on shuffled ones"
        return self.judge(True, measured, expected) if wrong > 1.1 * real else self.noted(measured, expected)


def shuffled(batch: Batch) -> Batch:
    """The batch with its inputs in any order."""
    inputs_BT = np.random.default_rng(0).permuted(batch.inputs_BT.flatten()).reshape(batch.inputs_BT.shape)
    return replace(batch, inputs_BT=inputs_BT)
