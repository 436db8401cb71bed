"""Whether the batches hold what they should.

Shape suffixes: B batch rows, T time steps.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch

from understudy.data.packing import Batch, PackedBatches
from understudy.doctor.checks import Check, Examination, Verdict
from understudy.doctor.probes import exact_twin, plain_nll, probe, token_parts, weighted_mean
from understudy.training.experiment import Experiment
from understudy.training.objectives import TokenPart

LOOKED_AT = 8
"""Batches of a sample."""
SHIFTS = (-1, 0, 1, 2)


def some_batches(experiment: Examination) -> Iterator[Batch]:
    """The first batches; all of the first epoch where there is time."""
    count = experiment.batches.batches_per_epoch
    for step in range(count if experiment.thorough else min(LOOKED_AT, count)):
        yield experiment.batches.batch(step)


def _parts(experiment: Experiment, batch: Batch) -> TokenPart:
    """The rows as the model gets them."""
    inputs, targets, weights, resets = zip(*token_parts(experiment.learner, batch), strict=True)
    none = all(reset is None for reset in resets)
    filled = [torch.zeros_like(x, dtype=torch.bool) if r is None else r for x, r in zip(inputs, resets, strict=True)]
    return torch.cat(inputs), torch.cat(targets), torch.cat(weights), None if none else torch.cat(filled)


class LabelAlignment(Check):
    """Targets that are not the tokens after their inputs: shifted labels, off by one in either direction.

    How: the share of targets that equal the input `shift` + 1 places on in their document, as the learner hands them
    to the model; and the shift for which a plain cross entropy gives the loss that the learner computes. On learned
    weights also the shift whose plain loss is lowest. Threshold: shift 0 is best each time, and fits all targets.
    Source: Karpathy, "A Recipe for Training Neural Networks" (2019), on off-by-one bugs in language models.
    """

    name: ClassVar[str] = "label_alignment"
    causes: ClassVar[tuple[str, str]] = (
        "the targets are cut from the tokens at another offset than one after the inputs",
        "the loss shifts logits against targets that were shifted before",
    )

    def run(self, experiment: Examination) -> Verdict:
        """See the class."""
        agree = np.mean([_agreement(*_arrays(experiment, batch), shift=0) for batch in some_batches(experiment)])
        best = self._best_by_tokens(experiment)
        trained, lowest = self._shift_of_the_loss(experiment)
        measured = f"shift {best} fits best, shift 0 {agree:.1%} of targets; the loss is that of shift {trained}"
        if lowest is not None:
            measured += f", and shift {lowest} has the lowest"
        good = agree == 1 and best == trained == (lowest or 0) == 0
        return self.judge(good, measured, "shift 0 for all targets and for the loss")

    def _best_by_tokens(self, experiment: Experiment) -> int:
        inputs, targets, reset = _arrays(experiment, experiment.batches.batch(0))
        shares = {shift: _agreement(inputs, targets, reset, shift) for shift in SHIFTS}
        return max(SHIFTS, key=lambda shift: (shares[shift], shift == 0))

    def _shift_of_the_loss(self, experiment: Experiment) -> tuple[int, int | None]:
        """The shift whose plain loss the learner computes, and the one whose loss is lowest if learning has begun."""
        batch = probe(experiment)
        length = batch.inputs_BT.shape[1]
        if length < 2 * len(SHIFTS):
            return 0, None
        inner = slice(1, length - 2)
        tokens_BT = np.concatenate([batch.inputs_BT[:, :1], batch.targets_BT], axis=1)
        batch.weights_BT[:, : inner.start] = batch.weights_BT[:, inner.stop :] = 0
        batch.weights_BT[:, inner] = 1
        learner = exact_twin(experiment.learner)
        nats = {shift: np.roll(tokens_BT, -1 - shift, axis=1)[:, :length] for shift in SHIFTS}
        losses = {s: weighted_mean(plain_nll(learner, batch, t), batch.weights_BT) for s, t in nats.items()}
        loss = learner.step(batch)["loss"]
        nearest = min(SHIFTS, key=lambda shift: abs(losses[shift] - loss))
        if abs(losses[nearest] - loss) > 1e-4 * loss:  # another fault, which `loss_value` names
            nearest = 0
        lowest = min(SHIFTS, key=lambda shift: losses[shift])
        learned = not experiment.fresh and losses[0] < 0.8 * np.log(experiment.tokenizer.vocab_size)
        return nearest, (lowest if losses[lowest] < 0.95 * losses[0] else 0) if learned else None


def _arrays(experiment: Experiment, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and targets as the model gets them, and where the documents begin."""
    inputs, targets = (x.cpu().numpy() for x in _parts(experiment, batch)[:2])
    begins = inputs == experiment.tokenizer.special["<|bos|>"]
    padding = inputs == experiment.batches.store.meta.pad
    return inputs, targets, batch.reset_BT[: len(inputs)] | begins | padding


def _agreement(inputs: np.ndarray, targets: np.ndarray, reset: np.ndarray, shift: int) -> float:
    """Share of the targets whose document holds the input `shift` + 1 places on, that equal it."""
    length = inputs.shape[1]
    document = reset.cumsum(axis=1)
    here = slice(max(0, -1 - shift), length - 1 - shift if shift >= 0 else length)
    there = slice(here.start + 1 + shift, here.stop + 1 + shift)
    same = document[:, here] == document[:, there]
    return float((targets[:, here] == inputs[:, there])[same].mean()) if same.any() else 1.0


class ReplyMask(Check):
    """Weights on the wrong tokens: a mask that is off by one, or on the user's words instead of the assistant's.

    How: who speaks is read from the role tokens again, and each target's weight compared with it. Threshold: all
    agree. Source: by definition of the loss (docs/finetune.md).
    """

    name: ClassVar[str] = "reply_mask"
    causes: ClassVar[tuple[str, str]] = (
        "the mask belongs to the inputs instead of the targets (off by one)",
        "the mask of another role, or of another document, was taken",
    )

    def run(self, experiment: Examination) -> Verdict:
        """See the class."""
        wrong = looked_at = 0
        for batch in some_batches(experiment):
            known, expected = self._expected(experiment, batch)
            wrong += int((~np.isclose(batch.weights_BT, expected) & known).sum())
            looked_at += int(known.sum())
        return self.judge(wrong == 0, f"{wrong:,} of {looked_at:,} targets have another's weight", "0")

    def _expected(self, experiment: Experiment, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Where it is known who speaks, and the weights there."""
        special, full = experiment.tokenizer.special, batch.inputs_BT != experiment.batches.store.meta.pad
        if experiment.dataset.kind == "text":
            return full, np.ones_like(batch.weights_BT)
        step_T = np.arange(batch.inputs_BT.shape[1])
        marks = np.isin(batch.inputs_BT, list(special.values()))
        last = np.maximum.accumulate(np.where(marks, step_T, -1), axis=1)
        start = np.maximum.accumulate(np.where(batch.reset_BT, step_T, 0), axis=1)
        speaker = np.take_along_axis(batch.inputs_BT, np.maximum(last, 0), axis=1)
        replies = speaker == special["<|assistant|>"]
        # A piece of a document that was cut may begin in mid-reply: nobody can tell before its first role token.
        return full & (last >= start), np.where(replies, 1.0, experiment.batches.other_weight)


class DocumentStarts(Check):
    """Documents in a row that begin without a reset, so that each is read as the end of the one before.

    How: every `<|bos|>` of the batches must carry a reset, in what the learner hands to the model. Threshold: all do.
    Source: Krell et al., "Efficient Sequence Packing without Cross-contamination" (2021).
    """

    name: ClassVar[str] = "document_starts"
    causes: ClassVar[tuple[str, str]] = (
        "the packing does not mark where documents begin",
        "the resets are dropped on the way to the model",
    )

    def run(self, experiment: Examination) -> Verdict:
        """See the class."""
        begins = missing = 0
        for batch in some_batches(experiment):
            inputs, _, _, reset = _parts(experiment, batch)
            inner = (inputs == experiment.tokenizer.special["<|bos|>"])[:, 1:]  # a row starts afresh anyway
            begins += int(inner.sum())
            missing += int((inner if reset is None else inner & ~reset[:, 1:]).sum())
        return self.judge(missing == 0, f"{missing:,} of {begins:,} documents in mid-row begin without a reset", "0")


class DataComplete(Check):
    """Data that are cut: documents longer than a row that lose their end, last rows or batches that are dropped.

    How: targets of an epoch against what the documents hold, one for each token but the first; where there is time
    they are counted in the batches themselves. Threshold: equal. Source: by definition of an epoch (docs/data.md).
    """

    name: ClassVar[str] = "data_complete"
    causes: ClassVar[tuple[str, str]] = (
        "documents are truncated to the context instead of cut into pieces",
        "the last rows or batches of an epoch are dropped",
    )

    def run(self, experiment: Examination) -> Verdict:
        """See the class."""
        sides = (
            ("train", experiment.batches, experiment.dataset.train_docs),
            ("validation", experiment.validation, experiment.dataset.valid_docs),
        )
        told, good = [], True
        for side, batches, docs in sides:
            lengths = batches.store.starts[docs + 1] - batches.store.starts[docs]
            held = int(np.maximum(lengths - 1, 0).sum())
            given = self._counted(batches, side) if experiment.thorough else batches.tokens_per_epoch
            good &= given == held
            told.append(f"{given:,} of {held:,} {side} targets")
        return self.judge(good, "an epoch has " + ", ".join(told), "all of them")

    def _counted(self, batches: PackedBatches, side: str) -> int:
        every = batches.eval_batches() if side == "validation" else map(batches.batch, range(batches.batches_per_epoch))
        return sum(int((batch.inputs_BT != batches.store.meta.pad).sum()) for batch in every)


class RandomStreams(Check):
    """Processes that draw the same random numbers: the same dropout on each, so that more of them teach less.

    How: each process's generator is seeded as the run seeds it, and its first draws are compared; with several
    processes their true states are compared too. Threshold: all differ. Source: Pärnamaa, "Using PyTorch + NumPy?
    You're making a mistake" (2021), which found it in most public projects.
    """

    name: ClassVar[str] = "random_streams"
    causes: ClassVar[tuple[str, str]] = (
        "the seed does not hang on the process's rank",
        "every process resumes with the first one's random state",
    )

    def run(self, experiment: Examination) -> Verdict:
        """See the class."""
        ranks = max(4, experiment.learner.world.size)
        draws = [self._draws(experiment, rank) for rank in range(ranks)]
        states = (
            [] if experiment.process_states is None else [bytes(state.tolist()) for state in experiment.process_states]
        )
        distinct = len(set(draws)), len(set(states))
        measured = f"{distinct[0]} streams for {ranks} ranks"
        if states:
            measured += f", {distinct[1]} states in {len(states)} processes"
        return self.judge(distinct == (ranks, len(states)), measured, "one for each")

    def _draws(self, experiment: Experiment, rank: int) -> tuple[float, ...]:
        experiment.seed_process(rank)
        return tuple(torch.rand(8).tolist())
