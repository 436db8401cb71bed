"""Next-reply classification: its loss by hand, and that it comes to the same however the batch is cut up."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from understudy.data.packing import Batch, NextReplyQuestion
from understudy.data.tokenizers import ByteTokenizer
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import TOKENS_WEIGHT, NextReplyLoss, imitation, next_reply_part

BYTES = ByteTokenizer()
CPU = torch.device("cpu")
CONFIG = LearnerConfig(steps=10, batch_size=4, warmup=2, lr=3e-3, dtype="float32", clip=0.0)


def a_model(**options: Any) -> LanguageModel:
    torch.manual_seed(0)
    config = CoreConfig(layers=2, width=16, heads=2, context=24, **{"block": "gpt1", **options})
    model = LanguageModel(config.resolved(), BYTES.vocab_size)
    model.set_next_reply_head(True)
    return model.double()


def a_batch(seed: int = 0) -> Batch:
    """Four rows with one conversation each but for the last, which has none and two questions about none."""
    random = np.random.default_rng(seed)
    ids_BT = random.integers(0, 256, (4, 25))
    reset_BT = np.zeros((4, 24), dtype=np.bool_)
    reset_BT[:, 0] = reset_BT[1, 9] = True
    weights_BT = (random.random((4, 24)) < 0.5).astype(np.float32)
    questions = tuple(
        NextReplyQuestion(
            row, tuple(random.integers(0, 256, size).astype(np.int32) for size in random.integers(3, 20, 3))
        )
        for row in (0, 1, 1, 2)
    )
    return Batch(ids_BT[:, :-1], ids_BT[:, 1:], weights_BT, reset_BT, questions)


def score(model: LanguageModel, ids: np.ndarray) -> float:
    hidden_1TD, _ = model.hidden(torch.from_numpy(ids.astype(np.int64))[None])
    assert model.choice is not None
    return float((hidden_1TD[0, -1] * model.choice.weight[0]).sum().detach())


@pytest.mark.parametrize("options", [{}, {"block": "modern"}, {"core": "lstm"}])
def test_the_loss_by_hand(options: dict[str, Any]) -> None:
    model, questions = a_model(**options), a_batch().questions
    by_hand = 0.0
    for question in questions:
        scores = [score(model, ids) for ids in question.candidates]
        by_hand += math.log(sum(math.exp(one) for one in scores)) - scores[0]
    loss = NextReplyLoss(model)(*next_reply_part(questions, model.context, CPU))
    assert float(loss.detach()) == pytest.approx(by_hand, rel=1e-12)
    assert by_hand != pytest.approx(len(questions) * math.log(3), rel=1e-4)


def test_a_step_learns_from_twice_the_tokens_loss_and_the_choices() -> None:
    """The gradient that the optimizer gets, against that of the formula."""
    learner, batch = Learner(imitation(a_model()), CONFIG, CPU), a_batch()
    model = a_model()
    logits_BTV, _ = model(torch.from_numpy(batch.inputs_BT), reset_BT=torch.from_numpy(batch.reset_BT))
    log_p_BT = logits_BTV.log_softmax(-1).gather(-1, torch.from_numpy(batch.targets_BT)[..., None])[..., 0]
    tokens = -(log_p_BT * torch.from_numpy(batch.weights_BT)).sum() / batch.weights_BT.sum()
    choice = NextReplyLoss(model)(*next_reply_part(batch.questions, model.context, CPU)) / len(batch.questions)
    (2 * tokens + choice).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
    metrics = learner.step(batch)
    assert TOKENS_WEIGHT == 2
    assert metrics["loss"] == pytest.approx(float(tokens.detach()), rel=1e-5)
    assert metrics["choice_loss"] == pytest.approx(float(choice.detach()), rel=1e-5)
    assert metrics["grad_norm"] == pytest.approx(float(expected.norm()), rel=1e-6)


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_micro_batches_come_to_the_same(micro_batch_size: int) -> None:
    large, small = (
        Learner(imitation(a_model()), replace(CONFIG, micro_batch_size=size), CPU) for size in (0, micro_batch_size)
    )
    for step in range(4):
        metrics = [learner.step(a_batch(step)) for learner in (large, small)]
        assert metrics[0] == pytest.approx(metrics[1], rel=1e-6)
    for one, other in zip(large.model.parameters(), small.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_the_head_learns_to_tell_the_true_reply() -> None:
    """Which ends in a token that the others never have."""
    learner = Learner(imitation(a_model()), replace(CONFIG, steps=60, lr=1e-2), CPU)
    for step in range(60):
        batch = a_batch(step)
        for question in batch.questions:
            question.candidates[0][-1] = 255
            for ids in question.candidates[1:]:
                ids[-1] = 1
        last = learner.step(batch)["choice_loss"]
    assert last < 0.2 < math.log(3)


def test_without_a_question_every_parameter_has_a_gradient_all_the_same() -> None:
    model = a_model()
    NextReplyLoss(model)(*next_reply_part((), model.context, CPU)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not any(parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)
