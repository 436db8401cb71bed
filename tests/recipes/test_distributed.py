"""Several processes under torchrun, as on several GPUs; here they talk by Gloo on one machine."""

import json
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forking import Done, Forking
from safetensors.torch import load_file

from recipes.conftest import TINY, Understudy, last_run, metrics_of, pretend_killed, record_of, weights_of
from understudy.data.dataset import DataConfig, load_dataset
from understudy.data.packing import PackedBatches
from understudy.data.tokenizers import ByteTokenizer
from understudy.runs.find import list_runs
from understudy.runs.journal import read_lines
from understudy.training.loading import load_model

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
COMMAND: list[Any] = ["pretrain", "--data", "uneven.jsonl", *TINY, "--dtype", "float32"]
COMMAND += ["--save-every", 4, "--eval-every", 5, "--sample-every", 5]


@pytest.fixture(autouse=True)
def uneven(here: Path) -> Path:
    """Few conversations, whose replies are of very unequal length."""
    draw = random.Random(3)
    lines = []
    for number in range(70):
        reply = f"{number} " + "".join(draw.choices("abcdefgh ", k=draw.choice([1, 2, 3, 30, 45])))
        messages = [{"role": "user", "content": "go"}, {"role": "assistant", "content": reply}]
        lines.append(json.dumps({"messages": messages}))
    (here / "uneven.jsonl").write_text("\n".join(lines))
    return here / "uneven.jsonl"


Together = Callable[..., Done]


@pytest.fixture
def together(here: Path, forking: Forking) -> Together:
    """Runs the command line in two processes at once, with the environment that torchrun gives them."""

    def run(*arguments: Any, checks: bool = False) -> Done:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        return forking.run(*arguments, processes=2, checks=checks, environment=environment)

    return run


def largest_difference(first: Path, second: Path) -> float:
    """Between the weights of two runs."""
    one, two = (load_model(run).model.state_dict() for run in (first, second))
    assert one.keys() == two.keys()
    return max((one[name] - two[name]).abs().max().item() for name in one)


def targets_of_each(here: Path, seed: int, steps: int) -> list[tuple[int, int]]:
    """How many targets each of two processes gets at each step."""
    corpus = load_dataset(DataConfig(data=("uneven.jsonl",)), ByteTokenizer(), 64, 0, here / "runs" / "cache")
    batches = PackedBatches(corpus.train, corpus.train_docs, 8, 64, seed)
    shares = [batches.batch(step).weights_BT > 0 for step in range(steps)]
    return [(int(share[:4].sum()), int(share[4:].sum())) for share in shares]


@pytest.mark.slow
def test_ctrl_c_under_torchrun_stops_all_after_the_same_step(here: Path, start: Callable[..., Any]) -> None:
    process = start(*COMMAND, "--steps", 100_000, "--save-every", 0, launcher=TORCHRUN)
    journals: list[Path] = []
    while not journals or journals[0].read_bytes().count(b"\n") < 10:
        assert process.poll() is None, process.communicate()
        journals = list((here / "runs").glob("*/metrics.jsonl"))
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    (run,) = [record.folder for record in list_runs()]
    assert said.count("run ") == 1  # the second process says nothing
    assert said.splitlines()[-1] == f"interrupted; resume with: understudy pretrain --resume {run.name}"
    assert record_of(run)["status"] == "interrupted"
    assert record_of(run)["processes"] == 2
    steps_done = len([row for row in read_lines(run / "metrics.jsonl") if "loss" in row])
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"step-{steps_done:06d}"]


@pytest.mark.parametrize(("core", "micro_batch_size"), [("transformer", 3), ("lstm", 0)])
def test_two_processes_end_with_the_weights_of_one(
    core: str, micro_batch_size: int, here: Path, together: Together, understudy: Understudy
) -> None:
    command = [*COMMAND, "--steps", 6, "--core", core]
    done = together(*command, "--micro-batch-size", micro_batch_size)
    assert done.codes == [0, 0], done.errors
    assert done.said[0].count("run ") == 1
    assert done.said[1] == ""
    assert len(list_runs()) == 1
    two = last_run()
    assert record_of(two)["status"] == "finished"
    assert record_of(two)["processes"] == 2

    targets = targets_of_each(here, record_of(two)["seeds"]["batches"], steps=6)
    assert max(max(pair) / min(pair) for pair in targets) > 1.5
    assert understudy(*command) == 0
    assert largest_difference(two, last_run()) < 1e-6
    ours, theirs = metrics_of(two), metrics_of(last_run())
    assert [row.keys() for row in ours] == [row.keys() for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_each_process_drops_out_in_its_own_way_also_after_a_resume(together: Together) -> None:
    command = [*COMMAND, "--steps", 8, "--dropout", 0.3]
    assert together(*command).codes == [0, 0]
    run = last_run()
    weights, metrics = weights_of(run), metrics_of(run)
    one, other = load_file(run / "checkpoints" / "step-000008" / "training.safetensors")["rng"]
    assert not torch.equal(one, other)
    shutil.rmtree(run / "checkpoints" / "step-000008")
    pretend_killed(run)
    done = together("pretrain", "--resume", run.name)
    assert done.codes == [0, 0], done.errors
    assert (weights_of(run), metrics_of(run)) == (weights, metrics)
    assert len(list_runs()) == 1


def test_a_run_of_two_processes_goes_on_in_one_and_back(together: Together, understudy: Understudy) -> None:
    command = [*COMMAND, "--steps", 8]
    assert together(*command).codes == [0, 0]
    run = last_run()
    shutil.rmtree(run / "checkpoints" / "step-000008")
    pretend_killed(run)
    assert understudy("pretrain", "--resume", run.name) == 0
    assert understudy(*command) == 0
    alone = last_run()
    assert largest_difference(run, alone) < 1e-6
    shutil.rmtree(alone / "checkpoints" / "step-000008")
    pretend_killed(alone)
    assert together("pretrain", "--resume", alone.name).codes == [0, 0]
    assert largest_difference(run, alone) < 1e-6


def test_a_process_may_have_no_target_at_all(here: Path, together: Together, understudy: Understudy) -> None:
    """Two conversations in eight rows: the second process has nothing but padding."""
    lines = (here / "uneven.jsonl").read_text().splitlines()
    (here / "few.jsonl").write_text("\n".join(lines[:2]))
    command = [*COMMAND, "--data", "few.jsonl", "--valid", "talk.jsonl", "--steps", 4]
    assert together(*command).codes == [0, 0]
    two = last_run()
    assert understudy(*command) == 0
    assert largest_difference(two, last_run()) < 1e-6


def test_fine_tuning_in_two_processes(together: Together, understudy: Understudy) -> None:
    assert understudy(*COMMAND, "--steps", 2) == 0
    base = last_run()
    options = ["--data", "uneven.jsonl", "--steps", 4, "--batch-size", 8, "--lr", 1e-3, "--dtype", "float32"]
    assert together("finetune", *options).codes == [0, 0]
    two = last_run()
    assert record_of(two)["parents"] == [base.name]
    assert understudy("finetune", "--base", base.name, *options) == 0
    assert largest_difference(two, last_run()) < 1e-6


MISTAKES: list[tuple[list[Any], str, int]] = [
    ([*COMMAND, "--data", "unevn.jsonl"], "no such file: unevn.jsonl; did you mean uneven.jsonl or talk.jsonl?", 0),
    ([*COMMAND, "--batch-size", 7], "--batch-size 7 does not divide among 2 processes; try 8", 0),
    ([*COMMAND, "--context", 8], "does not fit a context of 8 tokens", 1),
    (["pretrain", "--resume", "last"], "no run of pretrain yet", 0),
    (["eval", "last"], "start eval without torchrun", 0),
]


@pytest.mark.parametrize(("arguments", "words", "runs"), MISTAKES)
def test_a_mistake_is_named_once_and_all_processes_end(
    arguments: list[Any], words: str, runs: int, together: Together
) -> None:
    done = together(*arguments)
    assert done.codes == [2, 2]
    assert words in done.errors[0]
    assert done.errors[0].count("\n") == 1
    assert done.errors[1] == "the first process failed, and says why\n"
    assert [record.status for record in list_runs()] == ["failed"] * runs


def test_the_first_process_looks_for_silent_bugs_in_all(together: Together) -> None:
    assert together(*COMMAND, "--steps", 3, checks=True).codes == [0, 0]
    checks = {check["name"]: check for check in record_of(last_run())["checks"]}
    assert {name for name, check in checks.items() if check["verdict"] != "ok"} == {"references"}
    assert checks["random_streams"]["measured"] == "4 streams for 4 ranks, 2 states in 2 processes"
