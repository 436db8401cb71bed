"""The built-in model, from the first `understudy chat` on: trained, stopped, gone on with, found again."""

import io
import re
import shlex
import signal
import sys
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from recipes.conftest import Understudy, after_step, last_run, metrics_of, record_of
from understudy.config import parse
from understudy.recipes import builtin, pretrain
from understudy.recipes.launch import launch
from understudy.runs.find import list_runs
from understudy.runs.journal import series

STEPS = 40


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A built-in model that is trained in a second."""
    shape = f"--layers 1 --width 16 --heads 2 --context 256 --vocab-size 400 --batch-size 2 --steps {STEPS} --warmup 2"
    shape += " --smalltalk-conversations 60 --sample-every 0 --eval-every 0"
    made = parse(pretrain.Config, shlex.split(shape), "pretrain")
    monkeypatch.setattr(builtin, "BUILT_IN", replace(made, minutes=30.0))


def type_lines(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


CHAT = ["chat", "--max-tokens", 4]


def test_ctrl_c_opens_the_chat_with_what_was_learned(
    understudy: Understudy, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    type_lines(monkeypatch, "hi")
    with after_step(10, lambda: signal.raise_signal(signal.SIGINT)):
        assert understudy(*CHAT) == 0
    run, said = last_run(), capsys.readouterr().out
    assert "at most 30 minutes" in said
    assert f"all {STEPS} steps fit: the training takes about" in said
    assert re.search(rf"learned 25% of the way \(10 of {STEPS} steps\)", said)
    assert f"understudy pretrain --resume {run.name}" in said
    assert "you: hi\nbot: " in said
    assert record_of(run)["status"] == "interrupted"

    # The next chat goes on with it, and those after it find it.
    for _ in range(2):
        type_lines(monkeypatch, "hi")
        assert understudy(*CHAT) == 0
        assert "you: hi\nbot: " in capsys.readouterr().out
        assert [record.folder for record in list_runs()] == [run]
        assert record_of(run)["status"] == "finished"
        assert series(metrics_of(run), "loss")[0] == list(range(1, STEPS + 1))


def test_ctrl_c_before_anything_is_learned_ends_the_program(
    understudy: Understudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_lines(monkeypatch, "hi")
    with after_step(3, lambda: [signal.raise_signal(signal.SIGINT) for _ in range(2)]):
        assert understudy(*CHAT) == 130


def test_other_runs_are_not_the_built_in_model(understudy: Understudy, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(builtin.BUILT_IN, minutes=0.0, learner=replace(builtin.BUILT_IN.learner, steps=2))
    other = launch("pretrain", pretrain.main, few, [])
    same = launch("pretrain", pretrain.main, replace(builtin.BUILT_IN, minutes=0.0), [])
    launch("pretrain", pretrain.main, few, [])
    type_lines(monkeypatch, "hi")
    assert understudy(*CHAT) == 0
    assert len(list_runs()) == 3
    assert builtin.ready(Console()) == same != other
