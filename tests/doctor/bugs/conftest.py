"""Training set-ups of this package, small enough to start in a moment, in a folder that all tests share."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from understudy.runs.find import list_runs

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TINY = {"layers": 1, "width": 32, "heads": 2, "context": 96, "batch_size": 4, "warmup": 5, "steps": 20, "lr": 3e-3}
CLONE = {"env": "kitchen/cramped_room", "expert": "random", "games": 6, "width": 32, "play_games": 0}
CLONE |= {"core": "lstm", "batch_size": 4, "warmup": 5, "steps": 20}
SELFPLAY = {"env": "kitchen/cramped_room", "option": "view=features", "worlds": 6, "segment": 16, "batch_size": 6}
SELFPLAY |= {"width": 16, "encoder_layers": 1, "steps": 3, "eval_games": 2}
RARELY = {"eval_every": 0, "save_every": 0, "sample_every": 0}


def conversations(count: int, seed: int) -> list[dict[str, Any]]:
    """The user says some made-up words, the assistant the last of them."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        messages = []
        for _ in range(draw.randint(1, 3)):
            words = ["".join(draw.choices(LETTERS, k=draw.randint(2, 6))) for _ in range(draw.randint(1, 3))]
            messages.append({"role": "user", "content": " ".join(words)})
            messages.append({"role": "assistant", "content": words[-1]})
        made.append({"messages": messages})
    return made


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    """A file of conversations."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with conversations and a text; token stores that one test made, the next one finds."""
    folder = tmp_path_factory.mktemp("bugs")
    every = conversations(400, seed=1)
    write(folder / "talk.jsonl", every)
    held_out = conversations(60, seed=2)
    write(folder / "valid.jsonl", held_out)
    slightly = [{"messages": [*one["messages"], {"role": "user", "content": "so"}]} for one in held_out]
    write(folder / "leaky.jsonl", every + slightly)
    draw = random.Random(3)
    text = " ".join("".join(draw.choices(LETTERS, k=draw.randint(2, 6))) for _ in range(4000))
    (folder / "book.txt").write_text("\n\n".join(text[start : start + 700] for start in range(0, len(text), 700)))
    return folder


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch, small_package: None) -> Iterator[None]:
    monkeypatch.setenv("UNDERSTUDY_RUNS", str(place / "runs"))
    monkeypatch.chdir(place)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    # Healthy runs of one test would be what the next one's are measured by.
    for run in list_runs():
        shutil.rmtree(run.folder)


@dataclass
class Found:
    """What a training run's record, or the doctor, says."""

    code: int
    record: dict[str, Any]
    checks: dict[str, str]
    """Verdict by the check's name."""

    @property
    def failed(self) -> set[str]:
        """Names of the checks that failed."""
        return {name for name, verdict in self.checks.items() if verdict == "failed"}


Train = Callable[..., Found]


@pytest.fixture
def train() -> Train:
    """Runs `understudy pretrain` (or another verb) as a user does, with tiny sizes: train(core="lstm")."""
    from understudy.cli import main

    def run(verb: str = "pretrain", **options: Any) -> Found:
        own = {"pretrain": {"data": "talk.jsonl", "tokenizer": "bytes", **TINY}, "clone": CLONE, "selfplay": SELFPLAY}
        tiny = {**own.get(verb, {}), **RARELY}
        arguments = [verb]
        for name, value in (tiny | options).items():
            arguments += ["--" + name.replace("_", "-"), *map(str, value if isinstance(value, tuple) else [value])]
        code = main(arguments)
        record = list_runs()[-1].data
        return Found(code, record, {check["name"]: check["verdict"] for check in record["checks"]})

    return run


@pytest.fixture
def examine() -> Callable[[str], dict[str, str]]:
    """What the doctor finds: the verdict of each check by its name."""
    from understudy.recipes import doctor

    def run(target: str) -> dict[str, str]:
        return {one.name: one.verdict for one in doctor.examine(target, Console(quiet=True))}

    return run
