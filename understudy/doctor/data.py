"""Whether the batches hold what they should.

Shape suffixes: B batch rows, T time steps.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from understudy.data.packing import Batch, Batches, PackedBatches
from understudy.doctor.checks import Finding, check
from understudy.doctor.probes import float32_clone, imitation_parts, probe_batch, teacher_nll
from understudy.training.experiment import Experiment
from understudy.training.text import Text

# How many batches are looked at unless there is time for all.
SAMPLE = 8
# By how many positions targets may lie too late.
SHIFTS = (-1, 0, 1, 2)
# Share of ln V below which weights count as learned; share of their loss below which another shift's is lower.
LEARNED, LOWER = 0.8, 0.95
# How many processes' random numbers are compared, however few there are.
FEWEST_RANKS = 4


def some_batches(batches: Batches, thorough: bool) -> Iterator[Batch]:
    """Return the first batches; with `thorough` all of the first epoch."""
    count = batches.batches_per_epoch
    return map(batches.batch, range(count if thorough else min(SAMPLE, count)))


def _as_the_model_gets(experiment: Experiment, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs_BT, targets_BT and reset_BT as the learner hands them to the model; no reset where it has none."""
    parts = [
        (ids, targets, torch.zeros_like(ids, dtype=torch.bool) if reset is None else reset)
        for ids, targets, _, reset, *_ in imitation_parts(experiment.learner, batch)
    ]
    inputs_BT, targets_BT, reset_BT = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
    return inputs_BT, targets_BT, reset_BT


@check("the targets are cut from the tokens at another offset", "the loss shifts targets that were shifted before")
def label_alignment(experiment: Experiment, text: Text, thorough: bool = False) -> Finding:
    """Check that each target is the token after its input, in the batches and in the loss.

    In the batches: which share of the targets equals the input `shift` + 1 positions later in the same document? In the
    loss: for which shift does a plain cross entropy give the loss that the learner computes? Shift 0 must fit best, and
    all targets. With learned weights, shift 0 must also have the lowest loss. Source: Karpathy, "A Recipe for Training
    Neural Networks" (2019), on off-by-one bugs in language models.
    """
    agree = np.mean([_agreement(experiment, text, batch, 0) for batch in some_batches(experiment.batches, thorough)])
    shares = {shift: _agreement(experiment, text, experiment.batches.batch(0), shift) for shift in SHIFTS}
    best = max(SHIFTS, key=lambda shift: (shares[shift], shift == 0))
    trained, lowest = _shift_of_the_loss(experiment)
    measured = f"shift {best} fits best, shift 0 {agree:.1%} of targets; the loss is that of shift {trained}"
    if lowest is not None:
        measured += f", and shift {lowest} has the lowest"
    good = agree == 1 and best == trained == (lowest or 0) == 0
    return Finding(good, measured, "shift 0 for all targets and for the loss")


def _shift_of_the_loss(experiment: Experiment) -> tuple[int, int | None]:
    """Return the shift whose plain loss the learner computes, and the one whose loss is lowest if it has learned."""
    batch = probe_batch(experiment)
    length = batch.inputs_BT.shape[1]
    if length < 2 * len(SHIFTS):
        return 0, None
    # Only positions for which each shift has a target count.
    inner = slice(1, length - 2)
    batch.weights_BT[:] = 0
    batch.weights_BT[:, inner] = 1
    tokens_BT = np.concatenate([batch.inputs_BT[:, :1], batch.targets_BT], axis=1)
    learner = float32_clone(experiment.learner)
    losses = {}
    for shift in SHIFTS:
        targets_BT = np.roll(tokens_BT, -1 - shift, axis=1)[:, :length]
        nll_BT = teacher_nll(learner, replace(batch, targets_BT=targets_BT))
        losses[shift] = float(np.average(nll_BT, weights=batch.weights_BT))
    loss = learner.step(batch)["loss"]
    nearest = min(SHIFTS, key=lambda shift: abs(losses[shift] - loss))
    if abs(losses[nearest] - loss) > 1e-4 * loss:  # another bug, which `loss_value` names
        nearest = 0
    if experiment.fresh or losses[0] >= LEARNED * (experiment.learner.model.guessing or 0.0):
        return nearest, None
    lowest = min(SHIFTS, key=lambda shift: losses[shift])
    return nearest, lowest if losses[lowest] < LOWER * losses[0] else 0


def _agreement(experiment: Experiment, text: Text, batch: Batch, shift: int) -> float:
    """Return the share of targets that equal the input `shift` + 1 positions later, where their document has one."""
    inputs, targets, _ = _as_the_model_gets(experiment, batch)
    begins = inputs == text.tokenizer.special["<|bos|>"]
    padding = inputs == text.pad
    document = (batch.reset_BT[: len(inputs)] | begins | padding).cumsum(axis=1)
    length = inputs.shape[1]
    here = slice(max(0, -1 - shift), length - 1 - shift if shift >= 0 else length)
    there = slice(here.start + 1 + shift, here.stop + 1 + shift)
    same = document[:, here] == document[:, there]
    return float((targets[:, here] == inputs[:, there])[same].mean()) if same.any() else 1.0


@check("the mask is off by one (the inputs' instead of the targets')", "the mask of another role or document was taken")
def reply_mask(experiment: Experiment, text: Text, thorough: bool = False) -> Finding:
    """Check that the loss weighs the assistant's tokens, and no other's.

    The role tokens tell who speaks. Each target's weight is compared with what its speaker should have. Source: by
    definition of the loss (docs/finetune.md).
    """
    special, batches = text.tokenizer.special, experiment.batches
    assert isinstance(batches, PackedBatches)
    wrong = looked_at = 0
    for batch in some_batches(batches, thorough):
        known, expected = batch.inputs_BT != text.pad, np.ones_like(batch.weights_BT)
        if text.kind != "text":
            step_T = np.arange(batch.inputs_BT.shape[1])
            marks = np.isin(batch.inputs_BT, list(special.values()))
            last = np.maximum.accumulate(np.where(marks, step_T, -1), axis=1)
            start = np.maximum.accumulate(np.where(batch.reset_BT, step_T, 0), axis=1)
            speaker = np.take_along_axis(batch.inputs_BT, np.maximum(last, 0), axis=1)
            expected = np.where(speaker == special["<|assistant|>"], 1.0, batches.other_weight)
            # A piece of a document that was cut may begin within a reply: its speaker is unknown until a role token.
            known &= last >= start
        wrong += int((~np.isclose(batch.weights_BT, expected) & known).sum())
        looked_at += int(known.sum())
    return Finding(wrong == 0, f"{wrong:,} of {looked_at:,} targets have another weight than their speaker's", "0")


@check("the packing does not mark where documents begin", "the resets are dropped on the way to the model")
def document_starts(experiment: Experiment, text: Text, thorough: bool = False) -> Finding:
    """Check that no document is read as the continuation of the one before it in its row.

    Every `<|bos|>` must carry a reset in what the learner hands to the model. Source: Krell et al., "Efficient Sequence
    Packing without Cross-contamination" (2021).
    """
    begins = missing = 0
    for batch in some_batches(experiment.batches, thorough):
        inputs, _, reset = _as_the_model_gets(experiment, batch)
        inner = (inputs == text.tokenizer.special["<|bos|>"])[:, 1:]  # a row's first position needs no reset
        begins += int(inner.sum())
        missing += int((inner & ~reset[:, 1:]).sum())
    return Finding(missing == 0, f"{missing:,} of {begins:,} documents within rows begin without a reset", "0")


@check("documents are truncated instead of cut into pieces", "the last rows or batches of an epoch are dropped")
def data_complete(experiment: Experiment, text: Text, thorough: bool = False) -> Finding:
    """Check that an epoch holds all the data: documents keep their ends, and no row or batch is dropped.

    An epoch must have one target for each token of its documents but the first. With `thorough` they are counted in the
    batches, else the packing's own count is taken. Source: by definition of an epoch (docs/data.md).
    """
    train, validation, dataset = experiment.batches, experiment.validation, text.dataset
    told, good = [], True
    sides = (
        ("train", train, dataset.train, dataset.train_docs),
        ("validation", validation, dataset.valid, dataset.valid_docs),
    )
    for side, batches, store, docs in sides:
        lengths = store.starts[docs + 1] - store.starts[docs]
        held = int(np.maximum(lengths - 1, 0).sum())
        given = batches.targets_per_epoch
        if thorough:
            every = some_batches(train, thorough) if batches is train else validation.eval_batches()
            given = sum(int((batch.inputs_BT != text.pad).sum()) for batch in every)
        good &= given == held
        told.append(f"{given:,} of {held:,} {side} targets")
    return Finding(good, "an epoch has " + ", ".join(told), "all of them")


@check("the seed does not depend on the process's rank", "every process resumes with the random state of the first")
def random_streams(experiment: Experiment, process_states: Tensor | None = None) -> Finding:
    """Check that each process draws its own random numbers, so that each drops other activations.

    A generator is seeded as the run seeds that of each process, and the first draws are compared. Where
    `process_states` [processes, bytes] gives the generators' true states, these are compared too. Source: Pärnamaa,
    "Using PyTorch + NumPy? You're making a mistake" (2021), which found it in most public projects.
    """
    ranks = max(FEWEST_RANKS, experiment.learner.dist.size)
    draws = set()
    for rank in range(ranks):
        experiment.seed_process(rank)
        draws.add(tuple(torch.rand(8).tolist()))
    states = [] if process_states is None else [bytes(state.tolist()) for state in process_states]
    measured = f"{len(draws)} streams for {ranks} ranks"
    if states:
        measured += f", {len(set(states))} states in {len(states)} processes"
    return Finding((len(draws), len(set(states))) == (ranks, len(states)), measured, "one for each")
