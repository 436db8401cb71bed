"""The machinery of the checks, on a learner of its own."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from understudy.data.chat_template import Rendered
from understudy.data.dataset import Dataset
from understudy.data.packing import PackedBatches
from understudy.data.token_store import build_store
from understudy.data.tokenizers import ByteTokenizer
from understudy.doctor.baselines import References
from understudy.doctor.checks import Check, Examination, Verdict, run_checks
from understudy.doctor.monitors import Finite, Spikes, Watch, Watcher
from understudy.doctor.overlap import TrainValidOverlap
from understudy.doctor.probes import exact_twin, probe, step_gradients, twin, undivided
from understudy.doctor.start import START
from understudy.models.core import CoreConfig
from understudy.models.language_model import LanguageModel
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import TokenLoss

BYTES = ByteTokenizer()
CPU = torch.device("cpu")


def make_experiment(folder: Path, documents: list[np.ndarray], valid: list[np.ndarray], **options: Any) -> Examination:
    stores = [
        build_store(folder / side, [Rendered(ids.astype(np.int32), np.ones(len(ids), bool)) for ids in some], BYTES)
        for side, some in (("train", documents), ("valid", valid))
    ]
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(layers=1, width=16, heads=2, context=48, **options).resolved(), BYTES.vocab_size)
    learner = Learner(TokenLoss(model), LearnerConfig(steps=40, batch_size=4, warmup=5, lr=3e-3, dtype="float32"), CPU)
    docs = [np.arange(len(store)) for store in stores]
    batches = PackedBatches(stores[0], docs[0], 4, 48, seed=1)
    held_out = PackedBatches(stores[1], docs[1], 4, 48, seed=0, shuffle=False)
    corpus = Dataset(stores[0], docs[0], stores[1], docs[1], "text", "")
    return Examination(learner, batches, held_out, corpus, BYTES, lambda rank: torch.manual_seed(rank) and None)


def texts(count: int, seed: int, low: int = 10, high: int = 90) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    begin = [BYTES.special["<|bos|>"]]
    return [np.concatenate([begin, draw.integers(97, 123, draw.integers(low, high))]) for _ in range(count)]


@pytest.fixture
def experiment(tmp_path: Path) -> Examination:
    return make_experiment(tmp_path, texts(60, seed=1), texts(8, seed=2), dropout=0.2)


def state_of(experiment: Examination) -> list[Any]:
    model, optimizer = experiment.learner.model, experiment.learner.optimizer
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    moments = [x.clone() for state in optimizer.state.values() for x in state.values()]
    modes = [module.training for module in model.modules()]
    gradients = [parameter.grad is None for parameter in model.parameters()]
    rates = [group["lr"] for group in optimizer.param_groups]
    others = [
        modes,
        gradients,
        rates,
        experiment.learner.steps_done,
        random.getstate(),
        np.random.get_state()[1].tolist(),
    ]
    return [weights + moments + [torch.get_rng_state()], others]


@pytest.mark.parametrize("check", START, ids=lambda check: check.name)
@pytest.mark.parametrize("steps", [0, 3])
def test_a_check_leaves_everything_as_it_was(check: Check, steps: int, experiment: Examination) -> None:
    for step in range(steps):
        experiment.learner.step(experiment.batches.batch(step))
    random.seed(5)
    np.random.seed(6)
    before = state_of(experiment)
    (verdict,) = run_checks([check], experiment)
    after = state_of(experiment)
    assert verdict.verdict in ("ok", "noted"), verdict
    assert all(torch.equal(one, other) for one, other in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]


class _Stumbles(Check):
    name = "stumbles"
    causes = ("this", "that")

    def __init__(self, error: BaseException):
        self.error = error

    def run(self, experiment: Examination) -> Verdict:
        raise self.error


def test_a_check_that_stumbles_has_found_something_and_ends_nothing(experiment: Examination) -> None:
    found = run_checks([_Stumbles(ValueError("odd\nshape")), _Stumbles(MemoryError())], experiment)
    assert [one.verdict for one in found] == ["failed", "skipped"]
    assert str(found[0]) == "stumbles: it stopped with ValueError: odd shape; expected no error. Likely: this, or that"
    with pytest.raises(KeyboardInterrupt):
        run_checks([_Stumbles(KeyboardInterrupt())], experiment)


def test_what_takes_too_long_is_left_to_the_doctor(experiment: Examination) -> None:
    found = run_checks(START, experiment, seconds=0.0)
    assert {one.verdict for one in found} == {"skipped"}
    assert found[0].measured == "the 0 seconds for checks were over; `understudy doctor` takes more"


def test_every_check_explains_itself() -> None:
    names = [check.name for check in START]
    assert len(set(names)) == len(names)
    for check in [*START, References([])]:
        told = type(check).__doc__ or ""
        assert all(word in told for word in ("How: ", "Threshold", "Source:")), check.name
        assert len(check.causes) == 2


def test_a_twin_learns_what_its_original_would(experiment: Examination) -> None:
    experiment.learner.step(experiment.batches.batch(0))
    copy = twin(experiment.learner)
    assert copy.optimizer.param_groups[0]["params"][0] is next(iter(copy.model.parameters()))
    for learner in (copy, experiment.learner):
        torch.manual_seed(3)
        learner.step(experiment.batches.batch(1))
    for one, other in zip(copy.model.parameters(), experiment.learner.model.parameters(), strict=True):
        assert one is not other
        assert torch.equal(one, other)


def test_the_probe_is_the_runs_own_data(experiment: Examination) -> None:
    batch = probe(experiment, rows=4, length=16)
    assert batch.inputs_BT.shape == (4, 16)
    assert (batch.weights_BT > 0).all()  # there are enough long documents
    assert batch.reset_BT[:2, 1:].sum() <= batch.reset_BT[2:, 1:].sum()
    assert batch.reset_BT[2:, 8].all()  # where the second document is joined
    inner = ~batch.reset_BT[:, 1:]
    assert (batch.inputs_BT[:, 1:] == batch.targets_BT[:, :-1])[inner].all()
    assert undivided(batch).reset_BT.sum() == 4


def test_the_gradients_are_those_the_optimizer_is_given(experiment: Examination) -> None:
    given, metrics = step_gradients(exact_twin(experiment.learner), probe(experiment))
    norm = torch.cat([gradient.flatten() for gradient in given.values()]).norm()
    assert metrics["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    assert given.keys() == dict(experiment.learner.model.named_parameters()).keys()


def overlap(folder: Path, train: list[np.ndarray], valid: list[np.ndarray], thorough: bool = False) -> Verdict:
    experiment = make_experiment(folder, train, valid)
    experiment.thorough = thorough
    return TrainValidOverlap().run(experiment)


def test_overlap_is_counted_exactly(tmp_path: Path) -> None:
    valid, train = texts(50, seed=4, low=40), texts(300, seed=5, low=40)
    assert overlap(tmp_path / "clean", train, valid).measured == (
        "0.0% exact duplicates; 0.0% contained by 13-grams, training documents in one another 0.0%"
    )
    exact = overlap(tmp_path / "exact", [*train, *valid[:5]], valid)
    assert exact.verdict == "failed"
    assert exact.measured.startswith("10.0% exact duplicates; 10.0% contained")
    longer = [np.concatenate([one, [32, 32]]) for one in valid[:15]]
    near = overlap(tmp_path / "near", train[:200] + longer + train[200:], valid, thorough=True)
    assert near.verdict == "failed"
    assert near.measured.startswith("0.0% exact duplicates; 30.0% contained")


def test_data_that_repeat_themselves_are_no_leak(tmp_path: Path) -> None:
    """From templates: each document is two of ten long sentences."""
    sentences = [one[1:] for one in texts(10, seed=6, low=40, high=41)]

    def some(count: int, seed: int) -> list[np.ndarray]:
        draw = np.random.default_rng(seed)
        begin = [BYTES.special["<|bos|>"]]
        number = [draw.integers(97, 123, 6) for _ in range(count)]
        return [np.concatenate([begin, sentences[draw.integers(10)], sentences[draw.integers(10)], n]) for n in number]

    found = overlap(tmp_path, some(300, seed=7), some(60, seed=8))
    assert "contained by 13-grams" in found.measured
    assert not found.measured.startswith("0.0% exact duplicates; 0.0% contained")
    assert found.verdict == "ok"


def see(watcher: Watcher, losses: list[float]) -> Verdict:
    for step, loss in enumerate(losses, start=1):
        watcher.see(step, {"loss": loss, "grad_norm": 1.0, "lr": 1e-3})
    return watcher.verdict()


def test_spikes_are_noted_and_divergence_fails() -> None:
    draw = random.Random(0)
    falling = [5 - step / 100 + draw.gauss(0, 0.2) for step in range(200)]
    assert see(Spikes(), falling).verdict == "ok"
    spiky = [*falling[:100], 9.0, *falling[101:]]
    assert see(Spikes(), spiky) == Verdict("spikes", "noted", "1 spikes, the first at step 101", "no spikes")
    diverged = see(Spikes(), falling[:100] + [7.0 + draw.gauss(0, 0.2)] * 100)
    assert diverged.verdict == "failed"
    assert diverged.measured.startswith("mean loss ")


def test_infinity_is_found_in_the_gradient_too() -> None:
    watcher = Finite()
    watcher.see(1, {"loss": 2.0, "grad_norm": float("inf"), "lr": 1e-3})
    assert watcher.verdict().measured == "grad_norm inf at step 1"


def test_the_watch_tells_of_a_failure_once_and_keeps_figures_of_the_first_steps(experiment: Examination) -> None:
    watch = Watch(experiment.learner)
    told = []
    for step in range(25):
        watch.before()
        metrics = experiment.learner.step(experiment.batches.batch(step))
        told.append([one.name for one in watch.after(metrics | ({"lr": 1.0} if step in (7, 9) else {}))])
    assert told == [[]] * 7 + [["schedule_followed"]] + [[]] * 17
    assert set(watch.figures) == {"first_loss", "grad_norm", "update_ratio"}
    assert 1e-4 < watch.figures["update_ratio"] < 0.1
    assert set(watch.ratio.ratios) == {1, 10, 20}

    late = Watch(experiment.learner)  # as after a resume: its first steps are not the run's
    for step in range(10):
        late.before()
        late.after(experiment.learner.step(experiment.batches.batch(step)))
    assert late.figures == {}


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ({"first_loss": 5.6, "grad_norm": 1.1, "update_ratio": 2e-3}, "ok"),
        ({"first_loss": 6.2, "grad_norm": 1.1, "update_ratio": 2e-3}, "failed"),
        ({"first_loss": 5.6, "grad_norm": 3.4, "update_ratio": 2e-3}, "failed"),
        ({"first_loss": 5.6, "grad_norm": 1.1, "update_ratio": 5e-4}, "failed"),
    ],
)
def test_earlier_runs_narrow_what_is_healthy(figures: dict[str, float], verdict: str) -> None:
    earlier = [{"first_loss": 5.6, "grad_norm": norm, "update_ratio": 2e-3} for norm in (0.9, 1.0, 1.1)]
    assert References(earlier).compare(figures).verdict == verdict
    assert References(earlier[:2]).compare(figures).verdict == "skipped"
