import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from understudy.data.packing import Batch
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import ImitationLoss
from understudy.training.shares import run_shares

CPU = torch.device("cpu")
CONFIG = LearnerConfig(steps=10, batch_size=6, warmup=2, lr=3e-3, dtype="float32")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def make_learner(kind: str, config: LearnerConfig = CONFIG, dropout: float = 0.0) -> Learner:
    torch.manual_seed(0)
    options = CoreConfig(core="lstm") if kind == "lstm" else CoreConfig(block=kind)  # type: ignore[arg-type]
    spec = replace(options, layers=2, width=64, heads=2, context=24, dropout=dropout).resolved()
    model = LanguageModel(spec, 32)
    return Learner(ImitationLoss(model if config.dtype == "bfloat16" else model.double()), config, CPU)


def batch(seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    shape = CONFIG.batch_size, 24
    weights_BT = (random.random(shape) < np.linspace(0.1, 0.9, shape[0])[:, None]).astype(np.float32)
    ids_BT, targets_BT = random.integers(0, 32, shape), random.integers(0, 32, shape)
    return Batch(ids_BT, targets_BT, weights_BT, random.random(shape) < 0.1)


def weights_of(learner: Learner) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in learner.model.parameters()])


@pytest.mark.parametrize("kind", ["lstm", "modern", "gpt1", "gpt2"])
@pytest.mark.parametrize("micro_batch_size", [0, 4])
def test_shares_add_up_to_the_whole_batch(kind: str, micro_batch_size: int) -> None:
    found = []
    for threads in (1, 2, 4):
        # Orthogonal weights would begin a little different on more threads.
        torch.set_num_threads(1)
        learner = make_learner(kind, replace(CONFIG, micro_batch_size=micro_batch_size))
        torch.set_num_threads(threads)
        assert learner.shares == threads
        found.append(([learner.step(batch(step)) for step in range(4)], weights_of(learner)))
        assert torch.get_num_threads() == threads
    (metrics, weights), *others = found
    for more_metrics, more_weights in others:
        assert (more_weights - weights).abs().max() < 1e-10
        for one, other in zip(metrics, more_metrics, strict=True):
            assert other == pytest.approx(one, rel=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "modern", "gpt2"])
def test_shares_give_the_same_floats_each_time(kind: str) -> None:
    torch.set_num_threads(2)
    found = set()
    for _ in range(4):
        learner = make_learner(kind, replace(CONFIG, dtype="bfloat16"))
        metrics = [str(learner.step(batch(step))) for step in range(4)]
        found.add((*metrics, weights_of(learner).numpy().tobytes()))
    assert len(found) == 1


def test_what_is_frozen_or_unused_gets_no_gradient() -> None:
    torch.set_num_threads(2)
    learner = make_learner("gpt2")
    learner.model.set_next_reply_head(True)
    frozen = learner.model.core.blocks[0].mlp.up.weight.requires_grad_(False)  # type: ignore[union-attr, index]
    seen = []
    learner.optimizer.register_step_pre_hook(
        lambda *_: seen.extend(name for name, p in learner.model.named_parameters() if p.grad is None)
    )
    before = frozen.detach().clone()
    learner.step(batch())
    assert seen == ["core.blocks.0.mlp.up.weight", "choice.weight"]
    assert torch.equal(frozen, before)


def test_dropout_is_drawn_in_one_order() -> None:
    torch.set_num_threads(2)
    assert make_learner("gpt2", dropout=0.1).shares == 1
    assert make_learner("gpt2").shares == 2


def test_shares_run_at_the_same_time_on_their_part_of_the_threads() -> None:
    torch.set_num_threads(4)
    meeting = threading.Barrier(2, timeout=600)

    def share() -> tuple[int, float, str]:
        meeting.wait()
        return torch.get_num_threads(), float(torch.tensor(1e-40) / 2), threading.current_thread().name

    torch.set_flush_denormal(True)
    try:
        found = run_shares([share, share])
    finally:
        torch.set_flush_denormal(False)
    assert [(threads, tiny) for threads, tiny, _ in found] == [(2, 0.0), (2, 0.0)]
    assert found[0][2] != found[1][2]
    assert torch.get_num_threads() == 4


def test_the_error_of_a_share_is_raised_when_all_have_ended() -> None:
    torch.set_num_threads(2)
    ended = threading.Event()

    def fails() -> None:
        raise ZeroDivisionError

    def lasts() -> None:
        ended.wait(0.2)
        ended.set()

    for shares in ([fails, lasts], [lasts, fails]):
        ended.clear()
        with pytest.raises(ZeroDivisionError):
            run_shares(shares)
        assert ended.is_set()
    assert torch.get_num_threads() == 2
