"""Whether the model computes what it should.

Shape suffixes: B batch rows, T time steps, D width, N chosen positions, V vocabulary.
"""

import math
from contextlib import ExitStack
from functools import partial
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from understudy.doctor import probes
from understudy.doctor.checks import Finding, check
from understudy.models.device import autocast
from understudy.models.language_model import LanguageModel
from understudy.models.lora import merge
from understudy.models.policy import Policy
from understudy.training.experiment import Experiment
from understudy.training.text import Text

# Standard deviation of the embedding as it is initialised (Radford 2018).
EMBEDDING_STD = 0.02
# How far the first loss may be from ln V, as a share of it.
GUESSING = 0.1
# Share of a layer's units that may be dead: of fresh weights, and of learned ones, whose units may rarely fire.
DEAD, RARELY = 0.5, 0.9
# The matrix of a policy that gets what is seen, in which some numbers may never change (see `observations_change`).
SEEN = "observe.layers.0"
# How far the head's logits may be from the embedding's; share of the unread rows that must have a gradient.
TIED, UNREAD = 0.01, 0.99
# How far logits over a cache may be from those without, as a share of their standard deviation.
CACHED = 1e-3
# Share of the losses that must change with their input; how much more shuffled inputs must cost.
CHANGED, COSTLIER = 0.99, 1.1


@check(
    "the head or the embedding is initialised too large",
    "the tokens are not this vocabulary's, or the loss is not a mean over tokens",
    about_start=True,
)
def initial_loss(experiment: Experiment) -> Finding:
    """Check that the fresh model guesses: its loss on real data is near ln V, or ln of the actions that it may take.

    Another loss means a bad initialisation, a wrong vocabulary, or weights that are not fresh. Weights that have
    learned must only do better than guessing. Source: Karpathy, "A Recipe for Training Neural Networks" (2019), "verify
    loss @ init".
    """
    model = experiment.learner.model
    if model.guessing is None:
        return Finding("skipped", "real numbers have a density, which depends on their unit")
    batch = probes.probe_batch(experiment)
    loss = probes.clone(experiment.learner, micro_batch_size=0).step(batch)["loss"]
    guessing, measured = model.guessing, f"{loss:.2f} nats per {experiment.subject.unit}"
    if not experiment.fresh:
        return Finding(
            loss < guessing, measured, f"below {guessing:.2f} ({model.outputs}), as these weights have learned"
        )
    own, width = 0.0, model.spec.width
    if isinstance(model, Policy) and batch.masks_BTA is not None:
        # Who guesses draws evenly from what the masks allow.
        bounds = np.cumsum(model.policy.choices)[:-1]
        allowed = [part.sum(axis=-1) for part in np.split(batch.masks_BTA, bounds, axis=-1)]
        guessing = float(np.average(np.log(np.stack(allowed)).sum(axis=0), weights=batch.weights_BT))
    if isinstance(model, LanguageModel):
        # A tied head gives each token itself the highest logit, which costs σ²D/2 + ln(1 + exp(σD) / V) at width D.
        own = EMBEDDING_STD**2 * width / 2 + math.log1p(math.exp(EMBEDDING_STD * width) / model.vocab_size)
    low, high = (1 - GUESSING) * guessing, (1 + GUESSING) * guessing + own
    return Finding(low <= loss <= high, measured, f"{low:.2f} to {high:.2f} ({model.outputs}: {guessing:.2f})")


@check(
    "the activation function lets nothing through (wrong sign, or biases far below 0)",
    "the learning rate is so high that units were pushed where their gradient is 0",
)
def dead_units(experiment: Experiment) -> Finding:
    """Check that units respond to their input: activations are not dead, gates not saturated.

    A unit is dead if it is the same at every position of real data. Looked at are the inputs of each matrix and the
    outputs of each LSTM. Source: Karpathy, "A Recipe for Training Neural Networks" (2019); Lu et al., "Dying ReLU and
    Initialization" (2019).
    """
    learner = probes.clone(experiment.learner, micro_batch_size=0)
    batch = probes.one_document_per_row(probes.probe_batch(experiment))
    dead: dict[str, float] = {}

    def note(name: str, units: Tensor) -> None:
        units_ND = units.detach().float().flatten(0, -2)
        dead[name] = float((units_ND.amax(dim=0) == units_ND.amin(dim=0)).float().mean())

    with ExitStack() as hooks, torch.no_grad(), autocast(learner.device, learner.dtype):
        for name, module in learner.model.named_modules():
            if name == SEEN:
                continue
            if isinstance(module, nn.Linear):
                seen = partial(lambda name, _, x: note(f"the input of {name}", x[0]), name)
                hooks.enter_context(module.register_forward_pre_hook(seen))
            elif isinstance(module, nn.LSTM):
                made = partial(lambda name, _, x, y: note(f"the output of {name}", y[0]), name)
                hooks.enter_context(module.register_forward_hook(made))
        learner.model.eval()
        hidden_BTD, _ = learner.model.hidden(probes.imitation_parts(learner, batch)[0][0])
        note("the output of the core", hidden_BTD)
    worst, limit = max(dead, key=lambda name: dead[name]), DEAD if experiment.fresh else RARELY
    return Finding(dead[worst] <= limit, f"{dead[worst]:.0%} dead at {worst}", f"at most {limit:.0%}")


@check("the head has a copy of the embedding", "the embedding is detached in the head")
def tied_weights(experiment: Experiment, text: Text) -> Finding:
    """Check that the head is the embedding, and teaches it.

    The model's logits must be hidden vectors times the embedding, before and after a step. The embeddings of tokens
    that were not read must have a gradient, which only the head can give. Source: Press & Wolf, "Using the Output
    Embedding to Improve Language Models" (2017).
    """
    learner, batch = probes.float32_clone(experiment.learner), probes.probe_batch(experiment)
    merge(learner.model)  # under LoRA the embedding itself is frozen

    @torch.no_grad()
    def distance() -> float:
        weight_VD = learner.model.embedding.weight
        hidden_ND = torch.randn(16, weight_VD.shape[1], dtype=weight_VD.dtype).to(weight_VD.device)
        plain_NV = F.linear(hidden_ND, weight_VD)
        return float((learner.model.logits(hidden_ND) - plain_NV).norm() / plain_NV.norm())

    before = distance()
    learner.step(batch)
    apart = max(before, distance())

    learner.model.zero_grad()
    probes.imitation_loss(learner)(*probes.imitation_parts(learner, batch)[0]).backward()
    gradient_VD = learner.model.embedding.weight.grad
    unread_V = torch.ones(learner.model.vocab_size, dtype=torch.bool)
    unread_V[torch.from_numpy(batch.inputs_BT).flatten()] = False
    taught = 0.0
    if gradient_VD is not None:
        taught = float((gradient_VD.cpu()[unread_V] != 0).any(dim=-1).float().mean())
    measured = f"logits differ by {apart:.1e}; {taught:.0%} of the unread tokens have a gradient"
    return Finding(apart < TIED and taught > UNREAD, measured, "equal logits, and all of the tokens")


@check("positions or lengths in the cache are not moved on", "keys, values or states are of another row or step")
def cached_logits(experiment: Experiment) -> Finding:
    """Check that sampling computes what training does: no position is stale, no cache shifts or mixes rows.

    The logits of whole rows are compared with those of the same rows fed in pieces and single steps over a state, one
    row reset in the middle; in float32. Source: the contract of cores (tests/contracts/test_cores.py).
    """
    model = probes.float32_clone(experiment.learner).model.eval()
    batch = probes.one_document_per_row(probes.probe_batch(experiment, rows=2, length=32))
    length = batch.inputs_BT.shape[1]
    batch.reset_BT[1, length // 2] = True
    ids_BT, reset_BT = (torch.from_numpy(x).to(experiment.learner.device) for x in (batch.inputs_BT, batch.reset_BT))
    # A prompt, some single steps across the reset, and the rest at once.
    first, last = max(1, length // 3), max(1, length * 3 // 4)
    cuts = sorted({0, *range(first, last + 1), length})
    with torch.no_grad():
        whole_BTV = probes.answers(model, model.hidden(ids_BT, reset_BT=reset_BT)[0])
        pieces, state = [], model.initial_state(len(ids_BT), length)
        for start, end in pairwise(cuts):
            hidden_BTD, state = model.hidden(ids_BT[:, start:end], state, reset_BT[:, start:end])
            pieces.append(probes.answers(model, hidden_BTD))
    apart = float((torch.cat(pieces, dim=1) - whole_BTV).abs().max() / whole_BTV.std())
    measured = f"logits are {apart:.1e} of their standard deviation apart"
    return Finding(apart <= CACHED, measured, f"at most {CACHED:.0e}")


@check("the inputs are zeroed or taken from another batch", "the core's output does not depend on them")
def inputs_matter(experiment: Experiment) -> Finding:
    """Check that the model's answers depend on its inputs: they are not zeroed, detached or replaced on the way.

    Where an input changes, its loss must change. Shuffled inputs must cost learned weights more than real ones; where
    they do not, it is only noted, as a short training may not get that far. (`overfit_one_batch` asks the same of
    weights that surely have learned.) Source: Karpathy, "A Recipe for Training Neural Networks" (2019),
    "input-independent baseline".
    """
    learner, batch = probes.float32_clone(experiment.learner), probes.probe_batch(experiment)
    other = probes.shuffled(batch)
    real_BT, wrong_BT = (probes.teacher_nll(learner, x) for x in (batch, other))
    apart = batch.inputs_BT != other.inputs_BT
    different_BT = apart.reshape(*real_BT.shape, -1).any(axis=-1)
    changed = float((real_BT != wrong_BT)[different_BT].mean()) if different_BT.any() else 1.0
    if changed < CHANGED or experiment.fresh:
        measured = f"{changed:.0%} of the losses change with their input"
        return Finding(changed >= CHANGED, measured, f"at least {CHANGED:.0%}")
    real, wrong = (float(np.average(x_BT, weights=batch.weights_BT)) for x_BT in (real_BT, wrong_BT))
    measured = f"{real:.2f} nats on real inputs, {wrong:.2f} on shuffled ones"
    return Finding(wrong > COSTLIER * real or "noted", measured, "at least 10% more on shuffled ones")
