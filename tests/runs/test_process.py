import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from understudy.runs.process import heartbeat, process_start, status_of, this_process


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted"])
def test_a_run_that_ended_stays_as_it_ended(status: str, here: Path) -> None:
    assert status_of({**this_process(), "status": status}, here) == status


def test_this_process_runs(here: Path) -> None:
    assert status_of({**this_process(), "status": "running"}, here) == "running"


def test_a_pid_of_another_process_is_dead(here: Path) -> None:
    reused = {**this_process(), "status": "running"}
    reused["process_start"] -= 1
    assert status_of(reused, here) == "dead"


def test_a_gone_process_is_dead_even_before_its_parent_looks(here: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    record = {**this_process(), "status": "running", "pid": child.pid, "process_start": process_start(child.pid)}
    assert status_of(record, here) == "running"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # until it has ended, and leave it as it is
    assert status_of(record, here) == "dead"  # a zombie
    child.communicate()
    assert status_of(record, here) == "dead"


def test_a_program_with_brackets_in_its_name(here: Path) -> None:
    program = here / "a) R (b 1 2"
    program.symlink_to("/bin/sleep")
    uptime = lambda: float(Path("/proc/uptime").read_text().split()[0])  # noqa: E731
    before = uptime()
    child = subprocess.Popen([program, "1000"])
    try:
        after = uptime()
        started = process_start(child.pid)
        assert started is not None
        assert before - 0.1 <= started / os.sysconf("SC_CLK_TCK") <= after + 0.1  # both are rounded
    finally:
        child.kill()
        child.wait()


def test_another_host_is_judged_by_its_heartbeat(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.runs.process.SILENCE_SECONDS", 600)
    record = {"status": "running", "host": "elsewhere", "pid": os.getpid(), "process_start": 1}
    assert status_of(record, here) == "dead"
    with heartbeat(here / "heartbeat"):
        pass
    assert status_of(record, here) == "running"
    os.utime(here / "heartbeat", (time.time() - 601, time.time() - 601))
    assert status_of(record, here) == "dead"


def test_a_heartbeat_outlives_its_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.runs.process.BEAT_SECONDS", 0.01)
    (here / "run").mkdir()
    beats: list[int] = []
    enough = threading.Event()

    def count() -> None:
        beats.append(1)
        if len(beats) > 2:
            enough.set()

    with heartbeat(here / "run" / "heartbeat", count):
        assert (here / "run" / "heartbeat").exists()
        (here / "run").rename(here / "gone")
        assert enough.wait(600)
