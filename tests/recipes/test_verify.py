"""Every recipe and both cores give the same floats in a fresh process."""

import re
from pathlib import Path
from typing import Any

import pytest
from forking import Forking

from recipes.conftest import TINY

SHORT: list[Any] = ["--data", "talk.jsonl", "--steps", 12, "--save-every", 5, "--sample-every", 0]
IDENTICAL = "lines of metrics and the weights of 3 checkpoints"


def verified(forking: Forking, *command: Any) -> str:
    """Runs the command; what `runs verify` says of it, which starts it in a process of its own."""
    for arguments in (command, ("runs", "verify", "last")):
        done = forking.run(*arguments, environment={"COLUMNS": "200"})
        assert done.codes == [0], done.said + done.errors
    assert re.search(r"identical, bit for bit: \d", done.said[0]), done.said[0]
    return done.said[0]


@pytest.mark.slow
def test_fresh_processes_give_the_same_floats(forking: Forking, here: Path) -> None:
    talks = ["--context", 256, "--smalltalk-conversations", 60, *SHORT[2:]]
    assert IDENTICAL in verified(forking, "pretrain", *TINY, "--dropout", 0.1, *talks)
    learning = ["--lora", 2, "--candidates", 3, "--token-types", "--dropout", 0.1]
    assert IDENTICAL in verified(forking, "finetune", "--base", "last", *learning, *SHORT)
    said = verified(forking, "eval", "last:finetune", "--conversations", 2, "--max-tokens", 8)
    assert "identical, bit for bit: 1 line" in said


@pytest.mark.slow
def test_an_lstm_and_fine_tuning_of_all_parameters_too(forking: Forking, here: Path) -> None:
    assert IDENTICAL in verified(forking, "pretrain", *TINY, "--core", "lstm", *SHORT)
    assert IDENTICAL in verified(forking, "finetune", "--base", "last", *SHORT)


@pytest.mark.slow
def test_a_clone_and_what_it_becomes_by_self_play(forking: Forking, here: Path) -> None:
    expert = ["--env", "lane/creep-block", "--games", 5, "--batch-size", 4, "--width", 16, "--core", "lstm"]
    played = ["--steps", 6, "--save-every", 3, "--eval-every", 3]
    told = "lines of metrics and the weights of 2 checkpoints"
    assert told in verified(forking, "clone", *expert, *played, "--play-games", 2)
    worlds = ["--worlds", 6, "--segment", 16, "--batch-size", 3, "--eval-games", 2]
    assert told in verified(
        forking, "selfplay", "--from", "last", "--anchor", 0.1, "--value-warmup", 1, *worlds, *played
    )
