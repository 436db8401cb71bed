"""The machinery of the checks, on a learner of its own."""

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from understudy.data.chat_template import TokenizedDocument
from understudy.data.dataset import Dataset
from understudy.data.packing import PackedBatches
from understudy.data.token_store import build_store
from understudy.data.tokenizers import ByteTokenizer
from understudy.doctor.baselines import references
from understudy.doctor.checks import Check, Finding, Verdict, check, run_checks
from understudy.doctor.monitors import MONITORS, LossHistory, TrainingMonitors, finite, spikes
from understudy.doctor.overlap import train_valid_overlap
from understudy.doctor.probes import clone, float32_clone, one_document_per_row, probe_batch, step_gradients
from understudy.doctor.start import ALL_CHECKS, START_CHECKS, program_of
from understudy.evaluation.play import play
from understudy.games.demonstrations import GameBatches
from understudy.games.kitchen.env import Kitchen, Options
from understudy.games.recordings import Recording
from understudy.games.teams import Random
from understudy.models.language_model import LanguageModel
from understudy.models.policy import Policy, PolicySpec
from understudy.models.spec import CoreConfig
from understudy.runs.run import NullRecorder
from understudy.training.experiment import Experiment
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import ImitationLoss
from understudy.training.play import Play
from understudy.training.text import Text

BYTES = ByteTokenizer()
CPU = torch.device("cpu")


def make_experiment(folder: Path, documents: list[np.ndarray], valid: list[np.ndarray], **options: Any) -> Experiment:
    stores = [
        build_store(
            folder / side, [TokenizedDocument(ids.astype(np.int32), np.ones(len(ids), bool)) for ids in some], BYTES
        )
        for side, some in (("train", documents), ("valid", valid))
    ]
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(layers=1, width=16, heads=2, context=48, **options).resolved(), BYTES.vocab_size)
    config = LearnerConfig(steps=40, batch_size=4, warmup=5, lr=3e-3, dtype="float32")
    learner = Learner(ImitationLoss(model), config, CPU)
    docs = [np.arange(len(store)) for store in stores]
    batches = PackedBatches(stores[0], docs[0], 4, 48, seed=1)
    held_out = PackedBatches(stores[1], docs[1], 4, 48, seed=None)
    corpus = Dataset(stores[0], docs[0], stores[1], docs[1], "text", "")
    return Experiment(learner, batches, held_out, Text(corpus, BYTES), dropout_seed=0)


def texts(count: int, seed: int, low: int = 10, high: int = 90) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    begin = [BYTES.special["<|bos|>"]]
    return [np.concatenate([begin, draw.integers(97, 123, draw.integers(low, high))]) for _ in range(count)]


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return make_experiment(tmp_path, texts(60, seed=1), texts(8, seed=2), dropout=0.2)


def state_of(experiment: Experiment) -> list[Any]:
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


def make_game_experiment() -> Experiment:
    env = Kitchen("cramped_room", 3, Options(view="features", horizon=60))
    games = play(env, Random(env), [1, 2, 3])
    torch.manual_seed(0)
    core = CoreConfig(core="lstm", layers=1, width=16, context=60, dropout=0.2).resolved()
    policy = Policy(PolicySpec(core, env.observation.shape, env.action.choices, last_action=True))
    policy.value.requires_grad_(False)
    config = LearnerConfig(steps=40, batch_size=4, warmup=5, lr=3e-3, dtype="float32")
    batches, held_out = (GameBatches(some, 4, seed=1, last_action=env.action) for some in (games[:2], games[2:]))
    subject = Play(Recording.of(env), games[:2], games[2:])
    frozen = frozenset({"value.weight", "value.bias"})
    return Experiment(Learner(ImitationLoss(policy), config, CPU), batches, held_out, subject, 0, frozen=frozen)


OTHER = {"text": "play", "play": "text"}
CHECKED = [
    (one, kind)
    for one in START_CHECKS
    for kind in OTHER
    if one.needs.get(OTHER[kind], True) and one.needs.get("rehearsal", True)
]


@pytest.mark.parametrize(("one", "kind"), CHECKED, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("steps", [0, 3])
def test_a_check_leaves_everything_as_it_was(one: Check, kind: str, steps: int, experiment: Experiment) -> None:
    experiment = experiment if kind == "text" else make_game_experiment()
    for step in range(steps):
        experiment.learner.step(experiment.batches.batch(step))
    random.seed(5)
    np.random.seed(6)
    before = state_of(experiment)
    (verdict,) = run_checks([one], program_of(experiment))
    after = state_of(experiment)
    assert verdict.verdict in ("ok", "noted"), verdict
    assert all(torch.equal(one, other) for one, other in zip(before[0], after[0], strict=True))
    assert before[1] == after[1]


def test_a_check_that_raises_has_found_something_and_ends_nothing() -> None:
    raised: list[BaseException] = [ValueError("odd\nshape"), MemoryError(), KeyboardInterrupt()]

    @check("this", "that")
    def stumbles() -> Finding:
        raise raised.pop(0)

    failed, skipped = run_checks([stumbles, stumbles], {})
    assert str(failed) == "stumbles: it stopped with ValueError: odd shape; expected no error. Likely: this, or that"
    assert skipped.verdict == "skipped"
    with pytest.raises(KeyboardInterrupt):
        run_checks([stumbles], {})


def test_a_check_gets_what_it_asks_for_and_is_skipped_where_that_is_missing() -> None:
    @check("this", "that")
    def asks(model: str, optimizer: str, thorough: bool = False) -> Finding:
        return Finding(True, f"{model}, {optimizer}, {thorough}")

    program = {"model": "a model", "optimizer": "an optimizer", "device": None}
    assert run_checks([asks], program)[0].measured == "a model, an optimizer, False"
    assert run_checks([asks], program | {"thorough": True})[0].measured == "a model, an optimizer, True"
    assert run_checks([asks], {"thorough": True}) == [Verdict("asks", "skipped", "it needs model and optimizer")]


def test_any_model_and_optimizer_can_be_examined() -> None:
    model = torch.nn.Linear(3, 2)
    program = {"model": model, "optimizer": torch.optim.SGD([model.weight], lr=0.1)}
    found = {one.name: one for one in run_checks(START_CHECKS, program)}
    assert found["optimizer_covers"].measured == "missing: bias; twice: none; not trainable: none"
    assert {one.verdict for name, one in found.items() if name != "optimizer_covers"} == {"skipped"}


def test_what_takes_too_long_is_left_to_the_doctor(experiment: Experiment) -> None:
    found = run_checks(START_CHECKS, program_of(experiment), seconds=0.0)
    assert {one.verdict for one in found} == {"skipped"}
    reason = "the 0 seconds of processor time for checks were used up; `understudy doctor` runs it"
    assert found[0].measured == reason


def test_waiting_for_a_busy_machine_takes_nothing_from_the_budget() -> None:
    @check("this", "that")
    def waits() -> Finding:
        time.sleep(0.3)
        return Finding(True, "waited")

    assert [one.verdict for one in run_checks([waits, waits], {}, seconds=0.2)] == ["ok", "ok"]


def test_every_check_explains_itself() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    names = [one.name for one in (*ALL_CHECKS, *MONITORS)]
    assert len(set(names)) == len(names)
    for one in (*ALL_CHECKS, *MONITORS):
        assert " Source: " in " ".join((one.function.__doc__ or "").split()), one.name
        assert len(one.causes) == 2
        assert f"| `{one.name}` | " in page


def test_a_clone_learns_what_its_original_would(experiment: Experiment) -> None:
    experiment.learner.step(experiment.batches.batch(0))
    copy = clone(experiment.learner)
    assert copy.optimizer.param_groups[0]["params"][0] is next(iter(copy.model.parameters()))
    for learner in (copy, experiment.learner):
        torch.manual_seed(3)
        learner.step(experiment.batches.batch(1))
    for one, other in zip(copy.model.parameters(), experiment.learner.model.parameters(), strict=True):
        assert one is not other
        assert torch.equal(one, other)


def test_the_probe_is_the_runs_own_data(experiment: Experiment) -> None:
    batch = probe_batch(experiment, rows=4, length=16)
    assert batch.inputs_BT.shape == (4, 16)
    assert (batch.weights_BT > 0).all()  # there are enough long documents
    assert batch.reset_BT[:2, 1:].sum() <= batch.reset_BT[2:, 1:].sum()
    assert batch.reset_BT[2:, 8].all()  # where the second document is joined
    inner = ~batch.reset_BT[:, 1:]
    assert (batch.inputs_BT[:, 1:] == batch.targets_BT[:, :-1])[inner].all()
    assert one_document_per_row(batch).reset_BT.sum() == 4


def test_the_gradients_are_those_the_optimizer_is_given(experiment: Experiment) -> None:
    given, metrics = step_gradients(float32_clone(experiment.learner), probe_batch(experiment))
    norm = torch.cat([gradient.flatten() for gradient in given.values()]).norm()
    assert metrics["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    assert given.keys() == dict(experiment.learner.model.named_parameters()).keys()


def overlap(folder: Path, train: list[np.ndarray], valid: list[np.ndarray], thorough: bool = False) -> Verdict:
    experiment = make_experiment(folder, train, valid)
    (verdict,) = run_checks([train_valid_overlap], program_of(experiment, thorough=thorough))
    return verdict


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


def test_repetition_within_the_data_is_not_a_leak(tmp_path: Path) -> None:
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


def judged(losses: list[float]) -> Verdict:
    history = LossHistory()
    for step, loss in enumerate(losses, start=1):
        history.add(step, loss)
        found = spikes.examine({"step": step, "losses": history})
        if found.verdict == "failed":
            break
    return found


def test_spikes_are_noted_and_divergence_fails() -> None:
    draw = random.Random(0)
    falling = [5 - step / 100 + draw.gauss(0, 0.2) for step in range(200)]
    assert judged(falling).verdict == "ok"
    spiky = [*falling[:100], 9.0, *falling[101:]]
    assert judged(spiky) == Verdict("spikes", "noted", "1 spikes, the first at step 101", "no spikes")
    diverged = judged(falling[:100] + [7.0 + draw.gauss(0, 0.2)] * 100)
    assert diverged.verdict == "failed"
    assert diverged.measured.startswith("mean loss ")


def test_infinity_is_found_in_the_gradient_too() -> None:
    found = finite.examine({"step": 1, "metrics": {"loss": 2.0, "grad_norm": float("inf"), "lr": 1e-3}})
    assert (found.verdict, found.measured) == ("failed", "grad_norm inf at step 1")


class Recorded(NullRecorder):
    """Remembers what is said."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"), {"checks": []})
        self.said: list[str] = []

    def say(self, text: str, style: str | None = None) -> None:
        self.said.append(text)


def test_the_monitors_tell_of_a_failure_once_and_measure_a_baseline_in_the_first_steps(experiment: Experiment) -> None:
    recorder = Recorded()
    monitors = TrainingMonitors(experiment.learner, recorder)
    for step in range(25):
        monitors.before_step()
        metrics = experiment.learner.step(experiment.batches.batch(step))
        monitors.after_step(metrics | ({"lr": 1.0} if step in (7, 9) else {}))
        assert len(recorder.said) == (step >= 7)
    assert recorder.said[0].startswith(
        "check schedule_followed: 1 for 0.00298 at step 8; expected the configured rate."
    )
    (failed,) = (one for one in recorder.record["checks"] if one["verdict"] == "failed")
    assert failed["name"] == "schedule_followed"
    assert set(recorder.record["check_figures"]) == {"first_loss", "grad_norm", "update_ratio"}
    assert 1e-4 < monitors.baseline["update_ratio"] < 0.1
    assert set(monitors.updates.ratios) == {1, 10, 20}

    late = TrainingMonitors(experiment.learner, Recorded())  # as after a resume: its first steps are not the run's
    for step in range(10):
        late.before_step()
        late.after_step(experiment.learner.step(experiment.batches.batch(step)))
    assert late.baseline == {}


@pytest.mark.parametrize(
    ("baseline", "verdict"),
    [
        ({"first_loss": 5.6, "grad_norm": 1.1, "update_ratio": 2e-3}, "ok"),
        ({"first_loss": 6.2, "grad_norm": 1.1, "update_ratio": 2e-3}, "failed"),
        ({"first_loss": 5.6, "grad_norm": 3.4, "update_ratio": 2e-3}, "failed"),
        ({"first_loss": 5.6, "grad_norm": 1.1, "update_ratio": 5e-4}, "failed"),
    ],
)
def test_earlier_runs_narrow_what_is_healthy(baseline: dict[str, float], verdict: str) -> None:
    earlier = [{"first_loss": 5.6, "grad_norm": norm, "update_ratio": 2e-3} for norm in (0.9, 1.0, 1.1)]
    assert references.examine({"baseline": baseline, "earlier": earlier}).verdict == verdict
    assert references.examine({"baseline": baseline, "earlier": earlier[:2]}).verdict == "skipped"
