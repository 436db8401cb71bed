"""A run that was stopped, by whatever means, goes on as if nothing had been."""

import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from forking import Forking

from recipes.conftest import (
    TINY,
    Understudy,
    after_step,
    last_run,
    metrics_of,
    pretend_killed,
    record_of,
    talk,
    weights_of,
)
from understudy.runs.find import list_runs
from understudy.runs.journal import read_lines
from understudy.runs.record import read_record

STEPS = 42
COMMAND = ["pretrain", "--data", "talk.jsonl", *TINY, "--steps", STEPS, "--dropout", 0.2]
COMMAND += ["--save-every", 7, "--eval-every", 10, "--sample-every", 21]


def assert_same_end(run: Path, understudy: Understudy, command: list[Any]) -> None:
    """The run is finished, with the weights and metrics of one that nothing interrupted, bit for bit."""
    assert record_of(run)["status"] == "finished"
    assert understudy(*command) == 0
    undisturbed = last_run()
    assert undisturbed != run
    assert metrics_of(run) == metrics_of(undisturbed)
    assert weights_of(run) == weights_of(undisturbed)
    outcomes = [record_of(one)["outcome"] for one in (run, undisturbed)]
    assert outcomes[0] == outcomes[1]


CLONE = ["clone", "--env", "lane/creep-block", "--games", 6, "--steps", STEPS, "--batch-size", 4, "--width", 16]
CLONE += ["--save-every", 7, "--eval-every", 10, "--play-games", 2]
CASES = [
    (1, [*COMMAND, "--core", "transformer"]),
    (2, [*COMMAND, "--core", "lstm", "--layers", 2]),
    (3, [*COMMAND, "--block", "gpt2", "--micro-batch-size", 3]),
    (4, [*CLONE, "--core", "lstm", "--dropout", 0.2, "--noise", 0.1]),
    (5, [*CLONE, "--dagger", 2]),
]


@pytest.mark.parametrize(("seed", "command"), CASES)
def test_killed_at_a_random_moment(
    seed: int, command: list[Any], forking: Forking, here: Path, understudy: Understudy
) -> None:
    draw = random.Random(seed)
    killed_at = draw.randint(5, STEPS // 2), draw.randint(0, 5000)
    assert forking.run(*command, killed_at=killed_at).codes == [-signal.SIGKILL]
    run = last_run()
    logged = [row["step"] for row in read_lines(run / "metrics.jsonl") if "loss" in row]
    assert logged == list(range(1, len(logged) + 1))
    assert killed_at[0] <= len(logged) < STEPS
    assert read_record(run).status == "dead"

    assert understudy(command[0], "--resume", run.name) == 0
    steps = [row["step"] for row in read_lines(run / "metrics.jsonl") if "loss" in row]
    again = steps[len(logged)]
    assert again == len(logged) // 7 * 7 + 1 or again == len(logged) // 7 * 7 - 6  # from the last whole checkpoint
    assert len(record_of(run)["resumed"]) == 1
    assert_same_end(run, understudy, command)


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM] * 2])
def test_interrupted(signals: list[signal.Signals], understudy: Understudy, capsys: Any) -> None:
    with after_step(20, lambda: [signal.raise_signal(number) for number in signals]):
        assert understudy(*COMMAND) == 130
    run, (said, errors) = last_run(), capsys.readouterr()
    assert errors == ""
    assert said.splitlines()[-1] == f"interrupted; resume with: understudy pretrain --resume {run.name}"
    assert record_of(run)["status"] == "interrupted"
    steps_done = len([row for row in read_lines(run / "metrics.jsonl") if "loss" in row])
    assert steps_done == 20
    # A second signal does not wait for the checkpoint.
    last = "step-000020" if len(signals) == 1 else "step-000014"
    assert sorted((run / "checkpoints").iterdir())[-1].name == last

    assert understudy("pretrain", "--resume", "last") == 0
    assert_same_end(run, understudy, COMMAND)


SHORT = ["pretrain", "--data", "talk.jsonl", *TINY, "--steps", 4, "--save-every", 2, "--dropout", 0.1]


def test_killed_after_the_last_step(understudy: Understudy) -> None:
    assert understudy(*SHORT) == 0
    run = last_run()
    before = record_of(run)["outcome"], weights_of(run)
    pretend_killed(run)
    assert understudy("pretrain", "--resume", run.name) == 0
    assert (record_of(run)["outcome"], weights_of(run)) == before
    assert_same_end(run, understudy, SHORT)


def test_killed_before_the_first_checkpoint(understudy: Understudy) -> None:
    assert understudy(*SHORT) == 0
    run = last_run()
    shutil.rmtree(run / "checkpoints")
    pretend_killed(run)
    assert understudy("pretrain", "--resume", "last") == 0
    assert_same_end(run, understudy, SHORT)


def test_fine_tuning_resumes_from_itself_and_not_from_the_last_run(understudy: Understudy) -> None:
    assert understudy(*SHORT) == 0
    base = last_run()
    tune = ["finetune", "--data", "talk.jsonl", "--steps", 4, "--save-every", 2, "--batch-size", 8, "--dropout", 0.1]
    assert understudy(*tune) == 0
    run = last_run()
    weights, metrics = weights_of(run), metrics_of(run)
    shutil.rmtree(run / "checkpoints" / "step-000004")
    pretend_killed(run)
    assert understudy(*SHORT) == 0  # by now "last" is another one
    assert understudy("finetune", "--resume", run.name) == 0
    assert (weights_of(run), metrics_of(run)) == (weights, metrics)
    assert record_of(run)["parents"] == [base.name]


def test_fine_tuning_resumes_without_its_base(understudy: Understudy) -> None:
    assert understudy(*SHORT) == 0
    base = last_run()
    tune = ["finetune", "--data", "talk.jsonl", "--steps", 4, "--save-every", 2, "--batch-size", 8]
    assert understudy(*tune) == 0
    run = last_run()
    weights = weights_of(run)
    shutil.rmtree(run / "checkpoints" / "step-000004")
    shutil.rmtree(base)
    pretend_killed(run)
    assert understudy("finetune", "--resume", run.name) == 0
    assert weights_of(run) == weights
    assert record_of(run)["parents"] == [base.name]


def test_what_has_changed_since_is_said(here: Path, understudy: Understudy, capsys: Any) -> None:
    assert understudy(*SHORT) == 0
    run = last_run()
    shutil.rmtree(run / "checkpoints" / "step-000004")
    pretend_killed(run)
    with (here / "talk.jsonl").open("a") as file:
        file.write(talk(1, seed=5))
    torch.set_num_threads(2)
    assert understudy("pretrain", "--resume", run.name) == 0
    said = capsys.readouterr().out
    assert "talk.jsonl has changed since this run began: it goes on with other data" in said
    assert "this run began with 1 thread and now has 2" in said


def test_the_tokenizer_is_not_trained_again(here: Path, understudy: Understudy) -> None:
    command = [*SHORT, "--tokenizer", "bpe", "--vocab-size", 280]
    assert understudy(*command) == 0
    run = last_run()
    before = (run / "tokenizer.json").read_bytes()
    (here / "talk.jsonl").write_text((here / "talk.jsonl").read_text().replace("cat", "cow"))
    pretend_killed(run)
    assert understudy("pretrain", "--resume", run.name) == 0
    assert (run / "tokenizer.json").read_bytes() == before
    assert len(record_of(run)["data"]) == 2  # the file as it was, and as it is


def test_what_cannot_be_resumed(understudy: Understudy, capsys: Any) -> None:
    assert understudy(*SHORT) == 0
    run = last_run()
    mistakes = [
        (["pretrain", "--resume", run.name], "is finished"),
        (["pretrain", "--resume", "last"], "is finished"),
        (["pretrain", "--resume", run.name, "--steps", 9], "leave the others out"),
        (["pretrain", "--resume", "last:finetune"], "expected one of pretrain"),
        (
            ["finetune", "--resume", run.name],
            f"is a pretrain: resume it with `understudy pretrain --resume {run.name}`",
        ),
        (["pretrain", "--resume", run.name[:-2] + "xx"], "did you mean"),
    ]
    before = record_of(run)
    for arguments, words in mistakes:
        capsys.readouterr()
        assert understudy(*arguments) == 2, arguments
        errors = capsys.readouterr().err
        assert words in errors
        assert errors.count("\n") == 1
    assert record_of(run) == before
    assert len(list_runs()) == 1


def test_a_damaged_checkpoint_is_named_and_the_run_fails(understudy: Understudy, capsys: Any) -> None:
    assert understudy(*SHORT) == 0
    run = last_run()
    pretend_killed(run)
    (run / "checkpoints" / "step-000004" / "training.safetensors").write_bytes(b"")
    assert understudy("pretrain", "--resume", run.name) == 2
    error = capsys.readouterr().err
    assert "training.safetensors cannot be read" in error
    assert "remove its folder to resume from the checkpoint before it" in error
    assert record_of(run)["status"] == "failed"
    shutil.rmtree(run / "checkpoints" / "step-000004")
    assert understudy("pretrain", "--resume", run.name) == 0
    assert_same_end(run, understudy, SHORT)
