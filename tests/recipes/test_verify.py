"""Every recipe and both cores give the same floats in a fresh process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TINY = ["--tokenizer", "bytes", "--layers", "1", "--width", "32", "--heads", "2", "--context", "256"]
SHORT = ["--steps", "12", "--save-every", "5", "--sample-every", "0", "--smalltalk-conversations", "60"]


def understudy(folder: Path, *words: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "UNDERSTUDY_RUNS": str(folder / "runs")}
    command = [sys.executable, "-m", "understudy", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("model", [["--dropout", "0.1"], ["--core", "lstm"]])
def test_fresh_processes_give_the_same_floats(model: list[str], tmp_path: Path) -> None:
    understudy(tmp_path, "pretrain", *TINY, *model, *SHORT)
    assert "identical, bit for bit: 14 lines of metrics and the weights of 3 checkpoints" in verified(tmp_path)
    understudy(tmp_path, "finetune", "--base", "last", *SHORT)
    assert "identical, bit for bit: 14 lines" in verified(tmp_path)
    understudy(tmp_path, "eval", "last:finetune", "--conversations", "2", "--max-tokens", "8")
    assert "identical, bit for bit: 1 line" in verified(tmp_path)


@pytest.mark.slow
def test_factors_and_candidates_too(tmp_path: Path) -> None:
    understudy(tmp_path, "pretrain", *TINY, "--block", "gpt1", *SHORT)
    learning = ["--lora", "2", "--candidates", "3", "--token-types", "--dropout", "0.1"]
    understudy(tmp_path, "finetune", "--base", "last", *learning, *SHORT)
    assert "identical, bit for bit: 14 lines of metrics and the weights of 3 checkpoints" in verified(tmp_path)


def verified(folder: Path) -> str:
    return understudy(folder, "runs", "verify", "last")
