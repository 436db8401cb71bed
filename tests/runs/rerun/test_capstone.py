"""The questions that the record answers, asked in the order in which they come up in a real week."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.runs.journal import read_metrics, series

Git = Callable[..., str]

TRAIN = """
import sys
import numpy as np
from helper import scaled
from understudy.runs.run import Run

with Run.create("train", sys.argv, {"steps": 20}, seed=int(sys.argv[1])) as run:
    random = np.random.default_rng(run.seed("data"))
    weight = 0.0
    for step in range(20):
        weight = 0.9 * weight + scaled(random.normal())
        run.log(step, loss=float(np.exp(-weight)))
    run.finish(loss=float(np.exp(-weight)))
"""
HELPER = """# Not yet committed.
SCALE = 0.5


def scaled(value):
    return SCALE * value
"""


class Week:
    """A repository in which a developer trains, edits and asks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def do(self, *command: str, code: int = 0) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "COLUMNS": "200",
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, *command], cwd=self.folder, capture_output=True, text=True, env=environment
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def train(self, seed: int = 1) -> str:
        before = set(self.runs())
        self.do("train.py", str(seed))
        (new,) = set(self.runs()) - before
        return new

    def runs(self) -> list[str]:
        return [path.parent.name for path in (self.folder / "runs").glob("*/run.json")]

    def losses(self, run: str) -> list[float]:
        return series(read_metrics(self.folder / "runs" / run / "metrics.jsonl"), "loss")[1]

    def ask(self, *words: str, code: int = 0) -> str:
        return self.do("-m", "understudy", "runs", *words, code=code)


@pytest.fixture
def week(repository: Path, git: Git) -> Week:
    (repository / ".gitignore").write_text("runs/\n__pycache__/\n")
    (repository / "train.py").write_text(TRAIN)
    git("add", ".")
    git("commit", "--quiet", "--message=train")
    (repository / "helper.py").write_text(HELPER)
    return Week(repository)


@pytest.mark.slow
def test_the_week(week: Week, git: Git) -> None:
    a = week.train()
    (week.folder / "helper.py").write_text(HELPER.replace("0.5", "0.7"))
    b = week.train()
    # The developer goes on: another constant, a renamed function, a broken import, and all of it committed.
    (week.folder / "helper.py").write_text(HELPER.replace("0.5", "0.9").replace("def scaled", "def renamed"))
    (week.folder / "train.py").write_text(TRAIN.replace("numpy", "nonesuch"))
    git("add", ".")
    git("commit", "--quiet", "--message=on")
    before = git("status", "--porcelain"), git("rev-parse", "HEAD"), (week.folder / "helper.py").read_text()

    assert "identical, bit for bit: 20 lines" in week.ask("verify", a)
    difference = week.ask("compare", a, b)
    changed = [line.strip() for line in difference.splitlines() if line.strip()[:1] in "+-" and "SCALE" in line]
    assert changed == ["-SCALE = 0.5", "+SCALE = 0.7"]
    assert "train.py" not in difference.split("configuration")[0]

    week.ask("rerun", b)
    (again,) = set(week.runs()) - {a, b}
    assert week.losses(again) == week.losses(b) != week.losses(a)
    assert json.loads((week.folder / "runs" / again / "run.json").read_text())["rerun_of"] == b

    held = week.ask("containing", f"helper.py:2@{b}")
    assert b in held
    assert again in held
    assert a not in held
    of_a = week.ask("containing", f"helper.SCALE@{a}")
    assert "1 of 3 runs" in of_a
    assert a in of_a
    assert "0 of 3 runs" in week.ask("containing", "HEAD")
    assert "3 of 3 runs" in week.ask("containing", "HEAD~1")

    week.ask("containing", f"helper.py:2@{b}", "--mark-bad", "the scale was wrong")
    assert "bad: the scale was wrong" in week.ask("list")
    assert before == (git("status", "--porcelain"), git("rev-parse", "HEAD"), (week.folder / "helper.py").read_text())


@pytest.mark.slow
def test_what_differs_is_named(week: Week) -> None:
    """Each cause by itself: data that changed, a clock in the code, a run cut off in the middle."""
    (week.folder / ".gitignore").write_text("runs/\n__pycache__/\n*.txt\n")
    text = TRAIN.replace("random = ", "rate = float(open(run.add_data('rate.txt')['path']).read())\n    random = ")
    (week.folder / "train.py").write_text(text.replace("0.9 *", "rate *"))
    (week.folder / "rate.txt").write_text("0.9")
    run = week.train()
    assert "identical" in week.ask("verify", run, "--steps", "5")
    (week.folder / "rate.txt").write_text("0.8")
    said = week.ask("verify", run, code=1)
    assert "step 1: loss was" in said
    assert "likely cause 1, data: " in said
    assert str(week.folder / "rate.txt") in said
    (week.folder / "rate.txt").unlink()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-m", "understudy", "runs", "verify", run]
    done = subprocess.run(command, cwd=week.folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "rate.txt is gone: the run learned from it (3 bytes" in done.stderr


@pytest.mark.slow
def test_nondeterminism_is_the_last_cause(week: Week) -> None:
    (week.folder / "train.py").write_text(TRAIN.replace('default_rng(run.seed("data"))', "default_rng()"))
    run = week.train()
    said = week.ask("verify", run, code=1)
    assert "step 0: loss was" in said
    assert "likely cause 1, nondeterminism" in said


@pytest.mark.slow
def test_a_run_whose_code_fails_today(week: Week) -> None:
    (week.folder / "train.py").write_text(
        TRAIN.replace("range(20):", "range(20):\n        assert not open('flag').read()")
    )
    (week.folder / "flag").write_text("")
    run = week.train()
    record = week.folder / "runs" / run / "run.json"
    data = json.loads(record.read_text())
    data["command"] = ["absent.py"]
    record.write_text(json.dumps(data))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-m", "understudy", "runs", "verify", run]
    done = subprocess.run(command, cwd=week.folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert "the second run failed: " in done.stderr
    assert "absent.py" in done.stderr
