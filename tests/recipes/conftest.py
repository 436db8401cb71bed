"""Recipes as the user starts them, with models that learn in a second, in a folder of their own."""

import hashlib
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from understudy.runs.find import list_runs
from understudy.runs.journal import Journal, read_metrics
from understudy.runs.record import read_record

TINY = shlex.split("--tokenizer bytes --layers 1 --width 32 --heads 2 --context 64 --batch-size 8 --warmup 5")


def talk(count: int, seed: int) -> str:
    """JSON lines of conversations: the user gives two words, the answer turns them round."""
    draw = random.Random(seed)
    words = ["cat", "dog", "owl", "fox", "hen", "bee", "ant", "elk"]
    lines = []
    for _ in range(count):
        messages = []
        for _ in range(draw.randint(1, 2)):
            one, two = draw.sample(words, 2)
            messages.append({"role": "user", "content": f"{one} {two}{'!' * draw.randint(0, 5)}"})
            messages.append({"role": "assistant", "content": f"{two} {one}"})
        lines.append(json.dumps({"messages": messages}) + "\n")
    return "".join(lines)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder outside any repository, with conversations in talk.jsonl; runs go below it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UNDERSTUDY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # in other processes too: floats are the same only with as many threads
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    (tmp_path / "talk.jsonl").write_text(talk(120, seed=1))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)  # which a run sets for its process


@pytest.fixture(autouse=True)
def _small_package(small_package: None) -> None:
    """For every test here."""


@pytest.fixture(autouse=True)
def _start_checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for silent bugs takes longer than a run of a few steps: only tests marked `checks` have it."""
    if "checks" not in request.keywords:
        monkeypatch.setattr("understudy.doctor.start.START_CHECKS", ())


Understudy = Callable[..., int]


@pytest.fixture
def understudy() -> Understudy:
    """Runs the command line in this process: understudy("pretrain", *TINY, "--steps", 3); the exit code."""
    from understudy.cli import main

    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def kept_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `trained` keeps its runs."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def trained(here: Path, kept_runs: Path, understudy: Understudy) -> Callable[..., Path]:
    """Trains as the command says, once in a module; whoever asks again for the same gets a copy of that run."""

    def run(*command: Any) -> Path:
        kept = kept_runs / hashlib.sha256(repr(command).encode()).hexdigest()
        if not kept.exists():
            assert understudy(*command) == 0
            shutil.copytree(last_run(), kept / last_run().name)
        (source,) = kept.iterdir()
        return shutil.copytree(source, here / "runs" / source.name, dirs_exist_ok=True)

    return run


@pytest.fixture
def start(here: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the command line in a process of its own; `launcher` says what goes before `-m understudy`."""

    def run(*arguments: Any, launcher: Sequence[str] = (), **options: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, *launcher, "-m", "understudy", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=here, **{**pipes, **options})

    return run


@contextmanager
def after_step(step: int, act: Callable[[], Any]) -> Iterator[None]:
    """Calls `act` in the midst of a training in this process, when it has just logged that step."""

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "return" and frame.f_code is Journal.log.__code__ and frame.f_locals["step"] == step:
            sys.setprofile(None)
            act()

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


def last_run() -> Path:
    """The folder of the newest run."""
    return list_runs()[-1].folder


def weights_of(run: Path) -> str:
    """The sha256 of the last checkpoint's weights."""
    folder = sorted((run / "checkpoints").glob("step-*"))[-1]
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """All that was logged, but for the time of day; a step that was logged twice counts once."""
    return [
        {name: value for name, value in row.items() if name != "time"} for row in read_metrics(run / "metrics.jsonl")
    ]


def record_of(run: Path) -> dict[str, Any]:
    """run.json."""
    return json.loads((run / "run.json").read_text())


def pretend_killed(run: Path) -> None:
    """The record as the last moments of a run leave it."""
    record = record_of(run) | {"status": "running", "pid": 2**22 + 1, "outcome": {}, "ended": None}
    (run / "run.json").write_text(json.dumps(record))
    assert read_record(run).status == "dead"
