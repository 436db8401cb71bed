"""Recorded games through the learner that texts go through: the loss, its figures, a checkpoint and back."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from understudy.errors import CheckpointError
from understudy.games.demonstrations import GameBatches
from understudy.games.env import Action, Observation
from understudy.games.recordings import Episode, Recording
from understudy.models.policy import Policy, PolicySpec
from understudy.models.spec import CoreConfig
from understudy.training.checkpoint import restore, save_checkpoint
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.loading import load_model, load_policy
from understudy.training.objectives import ImitationLoss
from understudy.training.play import SOFTENING, Play, predict, softening

CPU = torch.device("cpu")
KINDS = {
    "choice": Action(choices=(3,)),
    "choices": Action(choices=(3, 2)),
    "numbers": Action(low=(-1.0, -2.0), high=(1.0, 2.0)),
}


def episode(seed: int, action: Action, steps: int) -> Episode:
    """What is done follows from what is seen now and saw one step before; the last possibility is never allowed."""
    draw = np.random.default_rng(seed)
    seen = draw.normal(size=(steps + 1, 1, 4)).astype(np.float32)
    clues = seen[:-1] + np.concatenate([seen[:1], seen[:-2]])
    masks = None
    if action.choices:
        actions = np.stack([(clues[..., 0] > 0).astype(int), (clues[..., 1] > 0) * (len(action.choices) > 1)], -1)
        actions = actions[..., : action.width]
        masks = np.ones((steps, 1, sum(action.choices)), bool)
        masks[..., 2] = False
    else:
        actions = np.tanh(clues[..., :2]).astype(np.float32)
    return Episode(seen, actions, np.zeros((steps, 1), np.float32), np.zeros(1, bool), masks=masks)


def make(kind: str, **config: Any) -> tuple[Learner, GameBatches, Play]:
    action = KINDS[kind]
    games = [episode(seed, action, 20 + seed % 5) for seed in range(12)]
    recording = Recording("made:up", "1", ("one",), Observation((4,)), action)
    torch.manual_seed(0)
    core = CoreConfig(core="lstm", layers=1, width=24, context=24).resolved()
    policy = Policy(PolicySpec(core, (4,), action.choices, action.low, action.high))
    options = LearnerConfig(**{"steps": 60, "batch_size": 8, "lr": 1e-2, "warmup": 5, "dtype": "float32", **config})
    return (
        Learner(ImitationLoss(policy), options, CPU),
        GameBatches(games, 8, seed=0),
        Play(recording, games, games[:3]),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_of_the_log_probabilities(kind: str) -> None:
    learner, batches, _ = make(kind)
    batch = batches.batch(0)
    found = predict(learner.model, [batch])
    assert len(found.nats) == (batch.weights_BT > 0).sum()
    assert np.array_equal(found.row, np.nonzero(batch.weights_BT)[0])
    assert learner.step(batch)["loss"] == pytest.approx(found.nats.mean(), rel=1e-5)
    if kind == "choice":  # a fresh policy guesses between the two that are allowed
        assert found.nats.mean() == pytest.approx(math.log(2), abs=0.03)
        assert found.confidence.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_done_is_learned(kind: str) -> None:
    learner, batches, play = make(kind)
    before = play.evaluate(learner.model, batches.eval_batches(), torch.float32)
    for step in range(60):
        learner.step(batches.batch(step))
    after = play.evaluate(learner.model, batches.eval_batches(), torch.float32)
    assert after["val_loss"] < before["val_loss"] - 0.3
    if kind == "numbers":
        assert after["val_error"] < 0.6 * before["val_error"]
        assert "off" in play.told(after)
    else:
        assert after["val_accuracy"] > max(0.8, before["val_accuracy"])
        assert "% right" in play.told(after)


@pytest.mark.parametrize("micro", [0, 1, 3])
def test_micro_batches_of_games_give_the_gradient_of_the_whole(micro: int) -> None:
    learner, batches, _ = make("choices", micro_batch_size=micro)
    plain, _, _ = make("choices")
    metrics = [one.step(batches.batch(1)) for one in (learner, plain)]
    assert metrics[0]["loss"] == pytest.approx(metrics[1]["loss"], rel=1e-5)
    assert metrics[0]["grad_norm"] == pytest.approx(metrics[1]["grad_norm"], rel=1e-4)


def test_a_checkpoint_gives_back_the_policy_what_it_plays_and_the_training(tmp_path: Path) -> None:
    learner, batches, play = make("numbers")
    learner.model.standardise(np.arange(4), np.arange(1, 5))
    learner.step(batches.batch(0))
    folder = save_checkpoint(tmp_path, learner, play, kind=play.kind)
    loaded = load_policy(str(folder))
    assert loaded.recording == play.recording
    assert loaded.state["progress"] == {"kind": "play"}
    for name, tensor in learner.model.state_dict().items():
        assert torch.equal(loaded.policy.state_dict()[name], tensor), name
    again, _, _ = make("numbers")
    restore(again, folder)
    assert again.step(batches.batch(1)) == learner.step(batches.batch(1))
    with pytest.raises(CheckpointError, match="holds a player's policy, not a language model"):
        load_model(folder)
    (folder / "game.json").write_text("{}")
    with pytest.raises(Exception, match="damaged metadata"):
        load_policy(str(folder))


def test_softening_is_the_temperature_that_predicts_best() -> None:
    learner, batches, _ = make("choices")
    policy, parts = learner.model, list(batches.eval_batches())
    assert isinstance(policy, Policy)
    for step in range(20):
        learner.step(batches.batch(step))
    policy.soften(softening(policy, parts) / 3)  # far too sure
    before = predict(policy, parts).nats.mean()
    found = softening(policy, parts)
    policy.soften(found)
    assert predict(policy, parts).nats.mean() < before
    nearest = SOFTENING[np.abs(np.log(SOFTENING)).argmin()]
    assert softening(policy, parts) == nearest
    assert softening(make("numbers")[0].model, []) == 1  # type: ignore[arg-type]
