"""Recorded games as the subject of a training.

Shape suffixes: B batch rows, T time steps, N steps with a target, D width, C choices or numbers of an action.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from understudy.data.packing import Batch
from understudy.files import write_json
from understudy.games.recordings import Episode, Recording
from understudy.models.device import autocast
from understudy.models.language_model import evaluating
from understudy.models.policy import Policy
from understudy.models.sequence_model import exact
from understudy.statistics import Floats
from understudy.training.objectives import imitation_part

GAME = "game.json"
"""The file beside a policy's weights that says what it plays: a recording without its episodes."""
MANNER = "manner.json"
"""The file beside a policy's weights that says how it plays (`Manner`), once its training is over."""
SOFTENING = np.geomspace(0.5, 4, 85)
"""Temperatures to choose from; each is 2.5% above the one before."""


@dataclass(frozen=True)
class Manner:
    """How a trained policy plays."""

    softening: float = 1.0
    """What its logits are divided by (`softening`)."""
    move_temperature: float = 1.0
    """Second temperature of all actions but the idle one (`models.policy.Moves`)."""


class Predictions(NamedTuple):
    """How a policy's choices compare with the teacher's, per step with a target."""

    nats: Floats
    """−log p of what the teacher did; of real numbers the density's."""
    right: Floats
    """1 where the likeliest action is the teacher's; of real numbers the squared distance to it."""
    confidence: Floats
    """Probability of the likeliest action; nan for real numbers."""
    row: np.ndarray
    """Which row of all batches the step is in."""


@dataclass
class Play:
    """Recorded games to learn from, those held out to validate on, and those never looked at in training."""

    recording: Recording
    """What is played; without episodes."""
    train: Sequence[Episode]
    valid: Sequence[Episode]
    test: Sequence[Episode] = ()
    summary: str = ""
    unit: str = field(default="action", init=False)
    headline: str = field(default="val_loss", init=False)
    kind: str = field(default="play", init=False)

    def evaluate(self, model: Policy, batches: Iterable[Batch], dtype: torch.dtype) -> dict[str, float]:
        """Return nats and accuracy (of real numbers the root of the mean squared error) over held-out steps."""
        found = predict(model, batches, dtype)
        rest = (
            {"val_accuracy": found.right.mean()} if model.policy.choices else {"val_error": found.right.mean() ** 0.5}
        )
        return {"val_loss": float(found.nats.mean()), **{name: float(value) for name, value in rest.items()}}

    def told(self, figures: Mapping[str, float]) -> str:
        """Return the figures in a few words."""
        said = f"{figures['val_loss']:.3f} nats per action"
        if "val_accuracy" in figures:
            return f"{said}, {figures['val_accuracy']:.1%} right"
        return f"{said}, {figures['val_error']:.3g} off"

    def save(self, folder: Path) -> None:
        """Write what is played."""
        write_json(folder / GAME, self.recording.description())


def predict(model: Policy, batches: Iterable[Batch], dtype: torch.dtype = torch.float32) -> Predictions:
    """Return how the policy's choices compare with the teacher's wherever these have weight."""
    device, rows = next(model.parameters()).device, 0
    parts: list[list[np.ndarray]] = []
    with evaluating(model):
        for batch in batches:
            inputs_BT, targets_BTC, weights_BT, reset_BT, *masks = imitation_part(batch, range(len(batch)), device)
            chosen_BT = weights_BT > 0
            with autocast(device, dtype):
                hidden_BTD, _ = model.hidden(inputs_BT, reset_BT=reset_BT)
            hidden_ND, targets_NC = hidden_BTD[chosen_BT].float(), targets_BTC[chosen_BT]
            masks_NA = masks[0][chosen_BT] if masks else None
            nats_N = -model.log_prob(model.distribution(hidden_ND, masks_NA), targets_NC)
            if model.policy.choices:
                tops = [exact(logits).softmax(-1).max(-1) for logits in model.choices(hidden_ND, masks_NA)]
                right_N = torch.stack([top.indices for top in tops], -1).eq(targets_NC).all(-1).double()
                confidence_N = torch.stack([top.values for top in tops], -1).double().prod(-1)
            else:
                right_N = (model.normal(hidden_ND)[0] - targets_NC).square().mean(-1)
                confidence_N = torch.full_like(right_N, torch.nan)
            row_N = chosen_BT.nonzero()[:, 0] + rows
            parts.append([x.cpu().numpy() for x in (nats_N.double(), right_N.double(), confidence_N.double(), row_N)])
            rows += len(batch)
    return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def softening(model: Policy, batches: Iterable[Batch], dtype: torch.dtype = torch.float32) -> float:
    """Return the temperature at which the policy predicts a teacher's choices best, by which to divide its logits.

    A policy that has learned a few games by heart is too sure of itself in others (Guo et al. 2017, "On Calibration of
    Modern Neural Networks"). Real numbers have no temperature: 1.
    """
    if not model.policy.choices:
        return 1.0
    device = next(model.parameters()).device
    nats = np.zeros(len(SOFTENING))
    with evaluating(model):
        for batch in batches:
            inputs_BT, targets_BTC, weights_BT, reset_BT, *masks = imitation_part(batch, range(len(batch)), device)
            chosen_BT = weights_BT > 0
            with autocast(device, dtype):
                hidden_BTD, _ = model.hidden(inputs_BT, reset_BT=reset_BT)
            heads = model.choices(hidden_BTD[chosen_BT].float(), masks[0][chosen_BT] if masks else None)
            for logits, target_N in zip(heads, targets_BTC[chosen_BT].unbind(-1), strict=True):
                nats += [float(F.cross_entropy(exact(logits) / t, target_N, reduction="sum")) for t in SOFTENING]
    return float(SOFTENING[nats.argmin()])
