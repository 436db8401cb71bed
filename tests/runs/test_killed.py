"""Runs that `kill -9` ends in the midst of their logging."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from understudy.runs.find import find_run, list_runs
from understudy.runs.journal import read_lines, read_metrics
from understudy.runs.run import Run

PROCESSES, LINES = 8, 10_000
TRAINING = """
import os, sys
from understudy.runs.run import Run

with Run.create("pretrain", ["understudy"], {}, seed=int(sys.argv[1])) as run:
    os.write(1, f"{run.id}\\n".encode())
    for step in range(int(sys.argv[2])):
        run.log(step, loss=1 / (step + 1), text="x" * (step % 50))
        os.write(1, b"%d\\n" % step)
    input()
"""


def start(number: int) -> subprocess.Popen[bytes]:
    # What it acknowledges goes to a file: a pipe without a reader would stop it.
    with open(f"said-{number}", "wb") as said:
        command = [sys.executable, "-c", TRAINING, str(number), str(LINES)]
        return subprocess.Popen(command, stdout=said, stdin=subprocess.PIPE)


def said(number: int) -> list[str]:
    """The whole lines that a process has said: its run, then each step that it logged."""
    return Path(f"said-{number}").read_text().splitlines(keepends=True)


def test_every_line_that_was_logged_survives_kill_9(here: Path) -> None:
    processes = [start(number) for number in range(PROCESSES)]
    dice = random.Random(1)
    goals = [LINES + 1] + [dice.randrange(2, LINES) for _ in processes[1:]]  # the first has logged them all, and waits
    alive = dict(enumerate(processes))
    given_up = time.monotonic() + 600
    listed_while_running = 0
    while alive and time.monotonic() < given_up:
        for number in [number for number in alive if len(said(number)) >= goals[number]]:
            alive[number].send_signal(signal.SIGKILL)
            alive.pop(number).wait()
        running = [record.seed for record in list_runs() if record.status == "running"]
        listed_while_running += len(running)
        assert set(running).isdisjoint(set(range(PROCESSES)) - set(alive))
    assert not alive
    assert listed_while_running
    for number in range(PROCESSES):
        run_id, *steps = [line.strip() for line in said(number) if line.endswith("\n")]
        rows = read_metrics(find_run(run_id) / "metrics.jsonl")
        acknowledged = len(steps)
        assert acknowledged >= min(goals[number] - 1, LINES)
        assert len(rows) - acknowledged in (0, 1)  # one may have been written and not yet acknowledged
        assert [(row["step"], row["loss"], row["text"]) for row in rows] == [
            (step, 1 / (step + 1), "x" * (step % 50)) for step in range(len(rows))
        ]
    assert {record.status for record in list_runs()} == {"dead"}


def test_a_killed_run_goes_on(here: Path) -> None:
    process = start(0)
    while len(said(0)) < 100:
        time.sleep(0.01)
    process.kill()
    process.wait()
    folder = find_run("last")
    before = len(read_lines(folder / "metrics.jsonl"))
    with Run.reopen(folder) as run:
        run.log(5, loss=9.0)
    assert len(read_lines(folder / "metrics.jsonl")) == before + 1
    assert [record.status for record in list_runs()] == ["finished"]
    assert not list(folder.glob(".*"))
