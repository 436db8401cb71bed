"""A training run streams its record, and no store can hold it up or make it fail."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.tracking.conftest import (
    eventually,
    free_port,
    journal_points,
    logged,
    only_run,
    run_of,
    status_of,
    stored_points,
)
from understudy.lab.tracking.address import Address

Train = Callable[..., "subprocess.Popen[str]"]


def test_a_run_is_streamed_to_its_end(train: Train, address: Address, here: Path) -> None:
    process = train(address.uri)
    eventually(lambda: len(stored_points(address.uri)) > 100)
    assert process.poll() is None
    assert only_run(address).info.status == "RUNNING"
    (here / "stop").touch()
    assert process.wait() == 0
    assert stored_points(address.uri) == journal_points(run_of(here))
    assert only_run(address).info.status == "FINISHED"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, "KILLED"), (signal.SIGKILL, "FAILED")])
def test_a_run_that_is_stopped_says_so_by_itself(
    number: int, status: str, train: Train, address: Address, here: Path
) -> None:
    process = train(address.uri)
    eventually(lambda: stored_points(address.uri))
    os.kill(process.pid, number)
    process.wait()
    eventually(lambda: only_run(address).info.status == status, seconds=20)
    assert stored_points(address.uri) == journal_points(run_of(here))


def test_a_store_that_is_down_is_said_once_and_stops_nothing(train: Train, here: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    began = time.monotonic()
    process = train(f"http://ada:s3cr3t@127.0.0.1:{free_port()}", 6)
    output, _ = process.communicate()
    assert process.returncode == 0
    assert time.monotonic() - began < 6 + 10 + 10
    assert status_of(run_of(here)) == "finished"
    assert logged(here) > 100
    first, second = output.strip().splitlines()
    assert first.startswith("tracking: http://ada:***@127.0.0.1")
    assert "Connection refused" in first
    assert f"runs sync {run_of(here).name} --to URI" in second
    everything = b"".join(path.read_bytes() for path in run_of(here).rglob("*") if path.is_file())
    assert b"s3cr3t" not in everything
