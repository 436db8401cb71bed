"""The checks of a training: they change nothing, tell what they find, and remember what healthy runs were like."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recipes.conftest import TINY, Understudy, last_run, metrics_of, pretend_killed, record_of
from understudy.doctor import data, start
from understudy.recipes import common
from understudy.runs.record import change_marks
from understudy.training import learner
from understudy.training.experiment import Experiment

pytestmark = pytest.mark.checks

Trained = Callable[..., Path]

CHATS = ["pretrain", "--data", "talk.jsonl", *TINY, "--steps", 20, "--dropout", 0.2]
OF_TEXTS = [one for one in start.START_CHECKS if one.needs.get("play", True) and one.needs.get("rehearsal", True)]


def everything_of(run: Path) -> dict[str, str]:
    """Hashes of weights, optimizer and random numbers of the last checkpoint."""
    folder = sorted((run / "checkpoints").glob("step-*"))[-1]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}


def verdict_of(run: Path, name: str) -> dict[str, Any]:
    return next(check for check in record_of(run)["checks"] if check["name"] == name)


@pytest.mark.parametrize(
    "options", [["--core", "transformer"], ["--core", "lstm", "--layers", 2], ["--dtype", "bfloat16"]]
)
def test_a_run_with_checks_is_the_run_without_bit_for_bit(
    options: list[str], understudy: Understudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert understudy(*CHATS, *options) == 0
    looked_at = last_run()
    monkeypatch.setattr(common, "check_start", lambda *_: None)
    assert understudy(*CHATS, *options) == 0
    plain = last_run()
    assert len(record_of(looked_at)["checks"]) == 29
    assert "label_alignment" not in {check["name"] for check in record_of(plain)["checks"]}
    assert metrics_of(looked_at) == metrics_of(plain)
    assert everything_of(looked_at) == everything_of(plain)


def test_healthy_checks_take_one_line(understudy: Understudy, capsys: Any) -> None:
    assert understudy(*CHATS) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "check" in line]
    assert lines == [f"checks: {len(OF_TEXTS)} ok"]
    assert record_of(last_run())["check_seconds"] > 0


def test_a_failed_check_says_what_why_and_goes_on(
    understudy: Understudy, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(Experiment, "seed_process", lambda self, rank: torch.manual_seed(self.dropout_seed))
    assert understudy(*CHATS) == 0
    said = capsys.readouterr().out
    assert f"checks: {len(OF_TEXTS) - 1} ok, 1 failed" in said
    assert (
        "check random_streams: 1 streams for 4 ranks, 1 states in 1 processes; expected one for each. Likely:" in said
    )
    assert record_of(last_run())["status"] == "finished"
    assert verdict_of(last_run(), "random_streams") == {
        "name": "random_streams",
        "verdict": "failed",
        "measured": "1 streams for 4 ranks, 1 states in 1 processes",
        "expected": "one for each",
        "causes": list(data.random_streams.causes),
    }


def test_a_training_that_is_past_hope_ends_with_its_last_good_checkpoint(
    understudy: Understudy, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    original = learner.Learner.step

    def overflowing(self: learner.Learner, batch: Any) -> dict[str, float]:
        if self.steps_done == 6:
            with torch.no_grad():
                self.model.embedding.weight.fill_(float("nan"))
        return original(self, batch)

    monkeypatch.setattr(learner.Learner, "step", overflowing)
    assert understudy(*CHATS, "--save-every", 3) == 2
    run = last_run()
    captured = capsys.readouterr()
    assert "loss nan and grad_norm nan at step 7: no later step can repair the weights" in captured.err
    assert f"understudy doctor {run.name}" in captured.err
    assert record_of(run)["status"] == "failed"
    assert verdict_of(run, "finite")["measured"] == "loss nan and grad_norm nan at step 7"
    assert metrics_of(run)[-1]["step"] == 7
    assert [folder.name for folder in sorted((run / "checkpoints").iterdir())] == ["step-000003", "step-000006"]


def test_a_resumed_run_is_not_looked_at_again_and_forgets_no_finding(
    understudy: Understudy, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "seed_process", lambda self, rank: torch.manual_seed(self.dropout_seed))
        assert understudy(*CHATS, "--save-every", 10) == 0
    run = last_run()
    before = record_of(run)
    shutil.rmtree(run / "checkpoints" / "step-000020")
    pretend_killed(run)
    capsys.readouterr()
    assert understudy("pretrain", "--resume", run.name) == 0
    after = record_of(run)
    assert "checks:" not in capsys.readouterr().out
    assert after["check_seconds"] == before["check_seconds"]
    assert {check["name"]: check["verdict"] for check in after["checks"]} == {
        check["name"]: "skipped" if check["name"] == "references" else check["verdict"] for check in before["checks"]
    }
    assert verdict_of(run, "random_streams")["verdict"] == "failed"
    assert after["check_figures"] == before["check_figures"]


def test_earlier_healthy_runs_are_the_measure(understudy: Understudy, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        assert understudy(*CHATS, "--seed", seed) == 0
        assert verdict_of(last_run(), "references")["verdict"] == "skipped"
        assert set(record_of(last_run())["check_figures"]) == {"first_loss", "grad_norm", "update_ratio"}
    first = last_run()
    assert understudy(*CHATS, "--seed", 3, "--micro-batch-size", 3) == 0
    assert verdict_of(last_run(), "references")["verdict"] == "ok"

    with monkeypatch.context() as patch:
        original = learner.make_optimizer

        def cautious(model: Any, config: Any) -> torch.optim.AdamW:
            optimizer = original(model, config)
            for group in optimizer.param_groups:
                group["eps"] = 1.0
            return optimizer

        patch.setattr(learner, "make_optimizer", cautious)
        assert understudy(*CHATS, "--seed", 4) == 0
        timid = last_run()
        assert understudy("doctor", timid.name) == 1
    found = verdict_of(timid, "references")
    assert found["verdict"] == "failed"
    assert "update_ratio" in found["measured"]
    assert {check["name"] for check in record_of(timid)["checks"] if check["verdict"] == "failed"} == {"references"}

    assert understudy(*CHATS, "--lr", 1e-3) == 0  # not the same kind of run
    assert verdict_of(last_run(), "references")["measured"] == "0 earlier runs like this one; it takes 3"
    for run in (first, timid):
        change_marks(run, bad="not to be trusted")
    assert understudy(*CHATS, "--seed", 5) == 0  # seeds 0, 1 and 3 are left
    assert verdict_of(last_run(), "references")["expected"] == "about what 3 earlier runs had"


def test_the_doctor_examines_a_run_and_leaves_it_alone(understudy: Understudy, trained: Trained, capsys: Any) -> None:
    run = trained(*CHATS)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    capsys.readouterr()
    assert understudy("doctor", "last") == 0
    said = capsys.readouterr().out
    for name in ("initial_loss", "overfit_one_batch", "resume", "sampling_temperature", "cached_generation", "finite"):
        assert name in said
    assert "0 failed" in said
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_the_doctor_examines_a_configuration(here: Path, understudy: Understudy, trained: Trained, capsys: Any) -> None:
    record = record_of(trained(*CHATS))
    plan = {"verb": record["verb"], "config": record["config"]}
    (here / "plan.json").write_text(json.dumps(plan))
    runs = sorted((here / "runs").iterdir())
    assert understudy("doctor", "plan.json") == 0
    assert "plan.json: " in capsys.readouterr().out
    assert sorted((here / "runs").iterdir()) == runs


def test_the_doctor_says_what_is_wrong(
    understudy: Understudy, trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    trained(*CHATS)
    monkeypatch.setattr(Experiment, "seed_process", lambda self, rank: torch.manual_seed(self.dropout_seed))
    capsys.readouterr()
    assert understudy("doctor", "last") == 1
    said = capsys.readouterr().out
    assert "1 failed" in said
    assert "random_streams: likely the seed does not depend on the process's rank, or every process resumes" in said


def test_what_the_doctor_cannot_examine(here: Path, understudy: Understudy, trained: Trained, capsys: Any) -> None:
    config = record_of(trained(*CHATS))["config"]
    (here / "broken.json").write_text("{")
    (here / "half.json").write_text(json.dumps({"verb": "pretrain"}))
    (here / "eval.json").write_text(json.dumps({"verb": "eval", "config": config}))
    (here / "typo.json").write_text(json.dumps({"verb": "pretrain", "config": config | {"leaner": 1}}))
    mistakes = [
        ("broken.json", "broken.json cannot be examined (JSONDecodeError: "),
        (
            "half.json",
            'half.json cannot be examined (KeyError: \'config\'); expected JSON with a "verb" and a "config"',
        ),
        ("eval.json", "eval.json is of eval; expected a run or configuration of pretrain or finetune"),
        ("typo.json", "unknown field 'leaner'"),
        ("no-such-run", "no run 'no-such-run'"),
    ]
    for target, words in mistakes:
        capsys.readouterr()
        assert understudy("doctor", target) == 2, target
        assert words in capsys.readouterr().err
