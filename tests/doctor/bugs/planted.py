"""Bugs, each a small patch of this package's own classes and functions, and the check that should catch it."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from understudy.acting import sampling
from understudy.data import dataset
from understudy.data import packing as batches
from understudy.models import attention, language_model, lstm, norm, transformer
from understudy.training import evaluation, learner, objectives
from understudy.training.experiment import Experiment

Patch = Any  # pytest.MonkeyPatch


@dataclass(frozen=True)
class Bug:
    """A patch, the check that should catch it, and which others may well."""

    plant: Callable[[Patch], None]
    caught_by: str
    also: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)
    needs_doctor: bool = False

    @property
    def name(self) -> str:
        return self.plant.__name__


BUGS: list[Bug] = []


def bug(caught_by: str, also: str = "", needs_doctor: bool = False, **options: Any) -> Callable[[Any], Any]:
    """Lists the bug that the function plants."""

    def note(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        BUGS.append(Bug(plant, caught_by, frozenset(also.split()), options, needs_doctor))
        return plant

    return note


def wrap(patch: Patch, owner: Any, name: str) -> Callable[[Any], None]:
    """Replaces `owner.name` by the decorated function, which gets the original first."""

    def put(changed: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        patch.setattr(owner, name, functools.wraps(original)(lambda *a, **k: changed(original, *a, **k)))

    return put


def note_steps(patch: Patch) -> dict[str, float]:
    """What the learner's step at hand is: its number, and the weight of its batch."""
    noted: dict[str, float] = {}

    @wrap(patch, learner.Learner, "step")
    def _(original: Any, self: Any, batch: Any) -> Any:
        noted.update(number=self.steps_done, weight=float(batch.weights_BT.sum(dtype=np.float64)))
        try:
            return original(self, batch)
        finally:
            noted.clear()

    return noted


# Data.


@bug("label_alignment")
def shifted_labels(patch: Patch) -> None:
    @wrap(patch, batches.PackedBatches, "_assemble")
    def _(original: Any, *arguments: Any) -> Any:
        batch = original(*arguments)
        return replace(batch, targets_BT=np.roll(batch.targets_BT, -1, axis=1))


@bug("label_alignment", also="loss_value masked_tokens")
def labels_shifted_in_the_loss(patch: Patch) -> None:
    """Logits are shifted against targets that were shifted when the batch was made."""

    @wrap(patch, objectives.ImitationLoss, "forward")
    def _(original: Any, self: Any, inputs: Any, targets: Any, weights: Any, reset: Any) -> Any:
        return original(self, inputs, targets.roll(-1, dims=1), weights, reset)


@bug("reply_mask")
def mask_off_by_one(patch: Patch) -> None:
    @wrap(patch, batches.PackedBatches, "_assemble")
    def _(original: Any, *arguments: Any) -> Any:
        batch = original(*arguments)
        full = batch.inputs_BT != arguments[0].store.meta.pad
        return replace(batch, weights_BT=np.roll(batch.weights_BT, 1, axis=1) * full)


@bug("document_starts")
def resets_not_packed(patch: Patch) -> None:
    @wrap(patch, batches.PackedBatches, "_assemble")
    def _(original: Any, *arguments: Any) -> Any:
        batch = original(*arguments)
        batch.reset_BT[:, 1:] = False
        return batch


@bug("data_complete", data="book.txt")
def truncated_data(patch: Patch) -> None:
    """Documents longer than the context lose their end."""

    @wrap(patch, batches, "_pieces")
    def _(original: Any, store: Any, docs: Any, context: int) -> Any:
        lengths = store.starts[docs + 1] - store.starts[docs] - 1
        return store.starts[docs], np.minimum(lengths, context)


@bug("train_valid_overlap")
def leaked_validation_data(patch: Patch) -> None:
    """The held-out documents stay among those to learn from."""
    patch.setattr(dataset, "overlap", lambda train, valid: np.array([], dtype=np.int64))

    @wrap(patch, dataset, "split")
    def _(original: Any, store: Any, fraction: float, seed: int) -> Any:
        return np.arange(len(store)), original(store, fraction, seed)[1]


@bug("train_valid_overlap", data="leaky.jsonl", valid="valid.jsonl")
def validation_data_leaked_slightly_changed(patch: Patch) -> None:
    """The files do it: each held-out conversation is learned from with one more word at its end."""


@bug("random_streams")
def duplicated_worker_seeds(patch: Patch) -> None:
    patch.setattr(Experiment, "seed_process", lambda self, rank: torch.manual_seed(self.dropout_seed))


# The model.


@bug("initial_loss")
def embedding_initialised_too_large(patch: Patch) -> None:
    @wrap(patch, language_model.LanguageModel, "__init__")
    def _(original: Any, self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        nn.init.normal_(self.embedding.weight, std=1.0)


@bug("tied_weights")
def frozen_head(patch: Patch) -> None:
    """The head reads the embedding but teaches it nothing."""
    model = language_model.LanguageModel
    patch.setattr(model, "logits", lambda self, hidden, float32=False: F.linear(hidden, self.embedding.weight.detach()))


@bug("tied_weights")
def tied_weights_untied(patch: Patch) -> None:
    model = language_model.LanguageModel

    @wrap(patch, model, "__init__")
    def _(original: Any, self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        self.head = nn.Parameter(self.embedding.weight.detach().clone())

    patch.setattr(model, "logits", lambda self, hidden, float32=False: F.linear(hidden, self.head))


@bug("parameters_move", also="tied_weights")
def frozen_embedding(patch: Patch) -> None:
    @wrap(patch, language_model.LanguageModel, "__init__")
    def _(original: Any, self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        self.embedding.requires_grad_(False)


@bug("dead_units", also="parameters_move")
def dead_activation(patch: Patch) -> None:
    @wrap(patch, transformer, "squared_relu")
    def _(original: Any, x: Any) -> Any:
        return original(-x.abs())


@bug("inputs_matter", also="gradient_reach leak_over_time overfit_one_batch")
def inputs_zeroed(patch: Patch) -> None:
    @wrap(patch, language_model.LanguageModel, "hidden")
    def _(original: Any, self: Any, ids: Any, *arguments: Any, **named: Any) -> Any:
        return original(self, ids * 0, *arguments, **named)


@bug("leak_over_time", also="cached_logits leak_over_documents")
def attention_looks_ahead(patch: Patch) -> None:
    @wrap(patch, attention, "attend")
    def _(original: Any, q: Any, k: Any, v: Any, layout: Any, dropout: float) -> Any:
        return original(q, k, v, replace(layout, causal=False, segments=None), dropout)


@bug("leak_over_batch", also="accumulation leak_over_documents")
def rows_normalised_together(patch: Patch) -> None:
    @wrap(patch, norm.RMSNorm, "forward")
    def _(original: Any, self: Any, x: Any) -> Any:
        return original(self, x - x.mean(dim=0, keepdim=True) if self.training else x)


@bug("leak_over_documents", core="lstm")
def state_carried_across_conversations(patch: Patch) -> None:
    @wrap(patch, lstm.LSTM, "forward")
    def _(original: Any, self: Any, x: Any, state: Any = None, reset: Any = None) -> Any:
        return original(self, x, state, None)


@bug("leak_over_documents", also="document_starts loss_value")
def resets_dropped_on_the_way(patch: Patch) -> None:
    @wrap(patch, objectives, "imitation_part")
    def _(original: Any, *arguments: Any) -> Any:
        return *original(*arguments)[:3], None


@bug("gradient_reach", core="lstm")
def detached_state(patch: Patch) -> None:
    """The state goes on from piece to piece of a row, without its history."""

    @wrap(patch, lstm.LSTM, "forward")
    def _(original: Any, self: Any, x: Any, state: Any = None, reset: Any = None) -> Any:
        given, pieces = state is not None, []
        state = state if given else self.initial_state(len(x))
        for start in range(0, x.shape[1], 16):
            piece = slice(start, start + 16)
            y, state = original(self, x[:, piece], state, None if reset is None else reset[:, piece])
            state = lstm.LSTMState(*(part.detach() for part in state))
            pieces.append(y)
        return torch.cat(pieces, dim=1), state if given else None


@bug("cached_logits")
def stale_cache_position(patch: Patch) -> None:
    """Each single token is put where the one before it stands."""

    @wrap(patch, transformer, "layout_cached")
    def _(original: Any, cache: Any, time: int, reset: Any) -> Any:
        grown, layout = original(cache, time, reset)
        if time == 1 and cache.longest:
            grown = replace(grown, length_B=cache.length_B, longest=cache.longest)
        return grown, layout


# The step.


@bug("gradients_fresh", also="resume")
def forgotten_zero_grad(patch: Patch) -> None:
    patch.setattr(torch.optim.AdamW, "zero_grad", lambda self, set_to_none=True: None)


@bug("masked_tokens", also="leak_over_batch leak_over_documents leak_over_time loss_value")
def loss_on_padding(patch: Patch) -> None:
    @wrap(patch, objectives.ImitationLoss, "forward")
    def _(original: Any, self: Any, inputs: Any, targets: Any, weights: Any, reset: Any) -> Any:
        return original(self, inputs, targets, weights.where(weights > 0, 1.0), reset)


@bug("loss_value", also="initial_loss")
def loss_is_a_sum(patch: Patch) -> None:
    step = note_steps(patch)

    @wrap(patch, objectives.ImitationLoss, "forward")
    def _(original: Any, *arguments: Any) -> Any:
        return original(*arguments) * step.get("weight", 1.0)


@bug("accumulation", micro_batch_size=1)
def accumulation_unscaled(patch: Patch) -> None:
    """Each micro-batch is divided by its own number of tokens, and their sum by nothing."""
    step = note_steps(patch)

    @wrap(patch, objectives.ImitationLoss, "forward")
    def _(original: Any, self: Any, inputs: Any, targets: Any, weights: Any, reset: Any) -> Any:
        nats = original(self, inputs, targets, weights, reset)
        return nats / weights.sum().clamp(min=1e-9) * step.get("weight", float(weights.sum()))


@bug("schedule", also="schedule_followed")
def schedule_stepped_twice(patch: Patch) -> None:
    @wrap(patch, learner.Learner, "step")
    def _(original: Any, self: Any, batch: Any) -> Any:
        metrics = original(self, batch)
        self.steps_done = min(self.steps_done + 1, self.config.steps)
        return metrics


@bug("schedule_followed", also="schedule update_ratio spikes")
def warm_up_forgotten(patch: Patch) -> None:
    @wrap(patch, learner, "rate_at")
    def _(original: Any, step: int, steps: int, schedule: Any, warmup: int, final: float) -> float:
        return original(step, steps, schedule, 0, final)


@bug("optimizer_covers", also="gradients_fresh parameters_move resume", block="gpt2")
def optimizer_missing_a_parameter(patch: Patch) -> None:
    """Biases and gains fall into neither group."""

    @wrap(patch, learner, "make_optimizer")
    def _(original: Any, model: nn.Module, config: Any) -> Any:
        matrices = [p for p in model.parameters() if p.dim() >= 2]
        return torch.optim.AdamW(matrices, lr=config.lr, fused=True)


@bug("update_ratio")
def weights_grow_each_step(patch: Patch) -> None:
    @wrap(patch, learner, "make_optimizer")
    def _(original: Any, model: nn.Module, config: Any) -> Any:
        return _Growing(original(model, config).param_groups, lr=config.lr)


class _Growing(torch.optim.AdamW):
    """Decay of the wrong sign, far too strong."""

    def step(self, closure: Any = None) -> Any:
        done = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1.7)
        return done


@bug("finite", also="spikes", steps=60)
def nan_after_fifty_steps(patch: Patch) -> None:
    step = note_steps(patch)

    @wrap(patch, objectives.ImitationLoss, "forward")
    def _(original: Any, *arguments: Any) -> Any:
        return original(*arguments) * (float("nan") if step.get("number") == 50 else 1.0)


@bug("evaluation", dropout=0.2)
def evaluation_in_training_mode(patch: Patch) -> None:
    @contextlib.contextmanager
    def evaluating(model: nn.Module) -> Iterator[None]:
        with torch.random.fork_rng(), torch.inference_mode():
            yield

    patch.setattr(evaluation, "evaluating", evaluating)


@bug("evaluation", dropout=0.2)
def evaluation_mode_left_on(patch: Patch) -> None:
    @contextlib.contextmanager
    def evaluating(model: nn.Module) -> Iterator[None]:
        with torch.random.fork_rng(), torch.inference_mode():
            model.eval()
            yield

    patch.setattr(evaluation, "evaluating", evaluating)


@bug("resume", dropout=0.2)
def resume_forgets_rng(patch: Patch) -> None:
    patch.setattr(torch, "set_rng_state", lambda state: None)


@bug("resume")
def resume_forgets_the_optimizer(patch: Patch) -> None:
    from understudy.training import checkpoint

    @wrap(patch, checkpoint, "restore")
    def _(original: Any, one: Any, folder: Any) -> Any:
        state = original(one, folder)
        one.optimizer.state.clear()
        return state


# What only the doctor looks at.


@bug("sampling_temperature", needs_doctor=True)
def temperature_the_wrong_way(patch: Patch) -> None:
    @wrap(patch, sampling, "warp_logits")
    def _(original: Any, scores: Any, config: Any, *others: Any) -> Any:
        return scores * config.temperature


@bug("cached_generation", needs_doctor=True)
def padding_attended_to(patch: Patch) -> None:
    """Shorter prompts of a batch begin with padding that nothing resets."""
    from understudy.acting import engine as generate

    @wrap(patch, generate, "prefill")
    def _(original: Any, model: Any, prompts: Any, max_len: Any = None) -> Any:
        longest = max(map(len, prompts))
        return original(model, [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], max_len)


@bug("overfit_one_batch", also="spikes", needs_doctor=True)
def gradient_climbed(patch: Patch) -> None:
    @wrap(patch, learner, "make_optimizer")
    def _(original: Any, model: nn.Module, config: Any) -> Any:
        return torch.optim.AdamW(model.parameters(), lr=config.lr, maximize=True, fused=True)
