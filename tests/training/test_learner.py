from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from understudy.data.chat_template import TokenizedDocument
from understudy.data.packing import Batch, PackedBatches
from understudy.data.token_store import build_store
from understudy.data.tokenizers import ByteTokenizer
from understudy.errors import ConfigError
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.training.distributed import DistInfo
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import ImitationLoss, imitation_part, weighted_nll
from understudy.training.schedules import rate_at

BYTES = ByteTokenizer()
CPU = torch.device("cpu")
CONFIG = LearnerConfig(steps=10, batch_size=8, warmup=2, lr=3e-3, dtype="float32")
CORES: dict[str, dict[str, Any]] = {
    "lstm": {"core": "lstm"},
    **{block: {"block": block} for block in ("modern", "gpt1", "gpt2")},
}


def make_model(kind: str = "modern", seed: int = 0, **options: Any) -> LanguageModel:
    torch.manual_seed(seed)
    config = CoreConfig(layers=2, width=16, heads=2, context=24, **CORES[kind], **options)
    return LanguageModel(config.resolved(), BYTES.vocab_size).double()


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> PackedBatches:
    """Documents of very unequal length, some of whose tokens are replies."""
    random = np.random.default_rng(5)
    documents = [
        TokenizedDocument(random.integers(0, 256, length).astype(np.int32), random.random(length) < 0.4)
        for length in [25, 3, 25, 4, 9, 25, 2, 14, 25, 6, 25, 25, 3, 3] * 3
    ]
    store = build_store(tmp_path_factory.mktemp("data") / "store", documents, BYTES)
    return PackedBatches(store, np.arange(len(store)), batch_size=8, context=24, seed=1, other_weight=0.1)


def weights_of(model: LanguageModel) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("kind", CORES)
@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_micro_batches_give_the_gradients_of_the_large_batch(
    kind: str, micro_batch_size: int, batches: PackedBatches
) -> None:
    batch = batches.batch(0)
    tokens = [
        (batch.weights_BT[row : row + micro_batch_size] > 0).sum()
        for row in range(0, len(batch.weights_BT), micro_batch_size)
    ]
    assert max(tokens) > 1.3 * min(tokens)
    large, small = (
        Learner(ImitationLoss(make_model(kind)), replace(CONFIG, micro_batch_size=size), CPU)
        for size in (0, micro_batch_size)
    )
    for step in range(6):
        metrics = [learner.step(batches.batch(step)) for learner in (large, small)]
        assert metrics[0]["grad_norm"] == pytest.approx(metrics[1]["grad_norm"], rel=1e-10)
        assert metrics[0]["loss"] == pytest.approx(metrics[1]["loss"], rel=1e-6)
    assert (weights_of(large.model) - weights_of(small.model)).abs().max() < 1e-10
    assert (weights_of(large.model) - weights_of(make_model(kind))).abs().max() > 1e-3


def test_the_loss_is_the_weighted_mean_before_the_step(batches: PackedBatches) -> None:
    model, batch = make_model(), batches.batch(0)
    parts = imitation_part(batch, range(len(batch)), CPU)
    logits_BTV, _ = model(parts[0], reset_BT=parts[3])
    nll = F.cross_entropy(logits_BTV.flatten(0, 1), parts[1].flatten(), reduction="none")
    weights = parts[2].flatten().double()
    assert len(set(weights.tolist())) == 3  # replies, the rest, padding
    expected = ((nll * weights).sum() / weights.sum()).item()
    metrics = Learner(ImitationLoss(model), replace(CONFIG, micro_batch_size=3), CPU).step(batch)
    assert metrics["loss"] == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_that_of_the_weighted_mean(batches: PackedBatches) -> None:
    model, batch = make_model(), batches.batch(0)
    inputs, targets, weights, reset = imitation_part(batch, range(len(batch)), CPU)
    logits_BTV, _ = model(inputs, reset_BT=reset)
    nll = F.cross_entropy(logits_BTV.flatten(0, 1), targets.flatten(), reduction="none")
    (nll * weights.flatten()).sum().div(weights.sum(dtype=torch.float64)).backward()
    norm = torch.cat(
        [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    ).norm()
    metrics = Learner(ImitationLoss(make_model()), CONFIG, CPU).step(batch)
    assert metrics["grad_norm"] == pytest.approx(float(norm), rel=1e-6)


@pytest.mark.parametrize("kind", CORES)
def test_scoring_only_what_has_weight_changes_nothing(kind: str, batches: PackedBatches) -> None:
    model, batch = make_model(kind), batches.batch(1)
    batch = replace(batch, weights_BT=np.where(batch.weights_BT < 1, 0, batch.weights_BT))
    part = imitation_part(batch, range(len(batch)), CPU)
    assert 0 < (part[2] == 0).sum() < part[2].numel()
    found = []
    for scores_all in (True, False):
        model.zero_grad()
        hidden_BTD, _ = model.hidden(part[0], reset_BT=part[3])
        loss = ImitationLoss(model)(*part)
        if scores_all:
            logits_NV = model.logits(hidden_BTD.flatten(0, 1))
            loss = weighted_nll(logits_NV, part[1].flatten(), part[2].flatten())
        loss.backward()
        found.append([loss.detach(), *(parameter.grad for parameter in model.parameters())])
    for plain, selected in zip(*found, strict=True):
        assert torch.allclose(plain, selected, rtol=1e-10, atol=1e-12)


def test_rows_without_a_target_are_learned_from_like_none(batches: PackedBatches) -> None:
    """One process's share may be nothing but padding: its gradients are zeros, and they are there."""
    batch = batches.batch(0)
    empty = replace(batch, weights_BT=np.zeros_like(batch.weights_BT))
    model = make_model()
    ImitationLoss(model)(*imitation_part(empty, range(2), CPU)).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


@pytest.mark.parametrize("kind", CORES)
def test_each_parameter_is_in_one_group_and_only_matrices_decay(kind: str) -> None:
    model = make_model(kind)
    learner = Learner(ImitationLoss(model), replace(CONFIG, weight_decay=0.3), CPU)
    grouped = [parameter for group in learner.optimizer.param_groups for parameter in group["params"]]
    assert len(grouped) == len({id(parameter) for parameter in grouped}) == len(list(model.parameters()))
    for group in learner.optimizer.param_groups:
        assert {parameter.dim() >= 2 for parameter in group["params"]} <= {group["weight_decay"] == 0.3}
        assert group["weight_decay"] in (0.0, 0.3)


def test_decay_shrinks_what_gets_no_gradient(batches: PackedBatches) -> None:
    """Decoupled: by lr × decay a step, whatever Adam does."""
    config = replace(CONFIG, weight_decay=0.5, schedule="constant", warmup=0, lr=0.1)
    model = make_model()
    learner = Learner(ImitationLoss(model), config, CPU)
    before = model.core.blocks[0].mlp.up.weight.detach().clone()  # type: ignore[union-attr, index]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    learner.optimizer.step()
    after = model.core.blocks[0].mlp.up.weight  # type: ignore[union-attr, index]
    assert torch.allclose(after, before * (1 - 0.1 * 0.5), rtol=1e-9)


def test_frozen_parameters_stay_as_they_are(batches: PackedBatches) -> None:
    model = make_model()
    model.embedding.requires_grad_(False)
    before = model.embedding.weight.clone()
    Learner(ImitationLoss(model), CONFIG, CPU).step(batches.batch(0))
    assert torch.equal(model.embedding.weight, before)


def test_clipping_bounds_the_gradient_and_nothing_else(batches: PackedBatches) -> None:
    learner = Learner(ImitationLoss(make_model()), replace(CONFIG, clip=0.01), CPU)
    seen: list[float] = []
    learner.optimizer.register_step_pre_hook(
        lambda *_: seen.append(float(torch.cat([p.grad.flatten() for p in learner.model.parameters()]).norm()))
    )
    metrics = learner.step(batches.batch(0))
    assert metrics["grad_norm"] > 0.1  # as it was before the clipping
    assert seen[0] == pytest.approx(0.01, rel=1e-3)
    free = Learner(ImitationLoss(make_model()), replace(CONFIG, clip=0.0), CPU).step(batches.batch(0))
    assert free["grad_norm"] == pytest.approx(metrics["grad_norm"], rel=1e-12)
    assert learner.model.embedding.weight.grad is None  # gone when the step is


def test_the_schedule_is_applied_as_configured(batches: PackedBatches) -> None:
    config = replace(CONFIG, schedule="linear", warmup=3, final_lr=0.2, lr=0.02, steps=8)
    learner = Learner(ImitationLoss(make_model()), config, CPU)
    for step in range(8):
        metrics = learner.step(batches.batch(step))
        assert metrics["lr"] == pytest.approx(0.02 * rate_at(step, 8, "linear", 3, 0.2))
        assert {group["lr"] for group in learner.optimizer.param_groups} == {metrics["lr"]}
    assert learner.steps_done == 8


def test_a_step_moves_weights_by_the_rate(batches: PackedBatches) -> None:
    """AdamW's first step moves each weight with a clear gradient by the learning rate."""
    config = replace(CONFIG, lr=0.01, warmup=0, schedule="constant", weight_decay=0.0, clip=0.0)
    learner = Learner(ImitationLoss(make_model("gpt2")), config, CPU)
    before = weights_of(learner.model)
    learner.step(batches.batch(0))
    moved = (weights_of(learner.model) - before).abs()
    assert moved.max() == pytest.approx(0.01, rel=1e-4)
    assert moved.median() == pytest.approx(0.01, rel=1e-2)


def test_learning_lowers_the_loss(batches: PackedBatches) -> None:
    config = replace(CONFIG, steps=60, lr=1e-2)
    learner = Learner(ImitationLoss(make_model().float()), config, CPU)
    losses = [learner.step(batches.batch(0))["loss"] for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("kind", CORES)
def test_bfloat16_keeps_float32_weights_and_learns_alike(kind: str, batches: PackedBatches) -> None:
    losses = {}
    for dtype in ("float32", "bfloat16"):
        learner = Learner(ImitationLoss(make_model(kind).float()), replace(CONFIG, dtype=dtype, steps=20), CPU)  # type: ignore[arg-type]
        losses[dtype] = [learner.step(batches.batch(0))["loss"] for _ in range(20)]
        assert learner.model.embedding.weight.dtype == torch.float32
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.01)


def test_dropout_is_on_while_learning(batches: PackedBatches) -> None:
    model = make_model(dropout=0.5).eval()
    learner = Learner(ImitationLoss(model), CONFIG, CPU)
    torch.manual_seed(1)
    first = learner.step(batches.batch(0))["loss"]
    assert model.training
    other = Learner(ImitationLoss(make_model(dropout=0.5)), CONFIG, CPU)
    torch.manual_seed(2)
    assert other.step(batches.batch(0))["loss"] != first


MISTAKES = [
    (dict(steps=0), "--steps 0 is out of range; expected 1 or more"),
    (dict(batch_size=0), "--batch-size 0"),
    (dict(micro_batch_size=-1), "--micro-batch-size -1 is out of range; expected 0 or more"),
    (dict(lr=0.0), "--lr 0.0"),
    (dict(lr=float("nan")), "--lr nan"),
    (dict(warmup=-1), "--warmup -1"),
    (dict(final_lr=2.0), "--final-lr 2.0 is out of range; expected 0 to 1"),
    (dict(weight_decay=-0.1), "--weight-decay -0.1"),
    (dict(beta1=1.0), "--beta1 1.0"),
    (dict(beta2=-0.5), "--beta2 -0.5"),
    (dict(clip=-1.0), "--clip -1.0"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_numbers_that_cannot_work_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **changes).validate(DistInfo())


def test_a_batch_must_divide_among_the_processes() -> None:
    with pytest.raises(ConfigError, match="--batch-size 8 does not divide among 3 processes; try 9"):
        CONFIG.validate(DistInfo(rank=0, size=3))


def test_resets_are_left_out_where_each_row_is_one_document() -> None:
    reset_BT = np.zeros((3, 4), dtype=bool)
    reset_BT[:, 0] = True
    zeros_BT = np.zeros((3, 4), dtype=np.int64)
    batch = Batch(zeros_BT, zeros_BT, zeros_BT.astype(np.float32), reset_BT)
    assert imitation_part(batch, range(3), CPU)[3] is None
    reset_BT[2, 2] = True
    assert imitation_part(batch, range(2), CPU)[3] is None
    assert torch.equal(imitation_part(batch, range(1, 3), CPU)[3], torch.from_numpy(reset_BT[1:3]))  # type: ignore[arg-type]


def test_parameters_that_are_added_up_have_gradients_of_their_own(batches: PackedBatches) -> None:
    """An LSTM's two biases get one tensor from autograd; several parts are added up in it."""
    gradients = []
    for shares in (1, 2):
        learner = Learner(ImitationLoss(make_model("lstm").float()), replace(CONFIG, clip=0.0), CPU)
        learner.__class__ = type("Learner", (Learner,), {"shares": shares})
        given: dict[str, torch.Tensor] = {}
        learner.optimizer.register_step_pre_hook(
            lambda *_, learner=learner, given=given: given.update(
                {name: p.grad.clone() for name, p in learner.model.named_parameters() if p.grad is not None}
            )
        )
        learner.step(batches.batch(0))
        gradients.append(given)
    one, two = gradients
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6, msg=name)
