"""A training run streams its record and how it ended, by whatever means. For stores that are down: test_servers."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runs.mlflow.conftest import (
    eventually,
    journal_points,
    only_run,
    run_of,
    stored_points,
)
from understudy.runs.mlflow.address import Address

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
    eventually(lambda: only_run(address).info.status == status)
    assert stored_points(address.uri) == journal_points(run_of(here))
