"""The commands `runs sync` and `runs ui`."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from runs.mlflow.conftest import client, eventually, finished_run, free_port, journal_points, only_run, stored_points
from understudy.errors import UserError
from understudy.runs import commands as dispatch
from understudy.runs.mlflow.address import Address

Runs = Callable[..., tuple[int, str]]


@pytest.fixture
def runs(capsys: pytest.CaptureFixture[str]) -> Runs:
    """Calls `understudy runs ...`; the exit code and what it printed."""

    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = dispatch.main(arguments, Console(width=200))
        return code, capsys.readouterr().out

    return call


def tracked(uri: str) -> dict[str, dict[str, str]]:
    return {"options": {"tracking": uri}}


def test_sync_goes_where_each_run_was_tracked(runs: Runs, address: Address, here: Path) -> None:
    run = finished_run(config=tracked(address.uri))
    finished_run()  # which was not
    assert runs("sync") == (0, f"{address.masked}: 1 brought up to date\n")
    assert only_run(address).data.tags["understudy.run"] == run.id
    assert runs("sync", run.id) == (0, f"{address.masked}: 1 already there\n")


def test_sync_takes_all_runs_elsewhere(runs: Runs, address: Address, here: Path) -> None:
    two = [finished_run(), finished_run()]
    code, said = runs("sync", "--to", "sqlite:///runs/mlflow.db")
    assert (code, said) == (0, f"{address.masked}: 2 brought up to date\n")
    expected = sorted(point for run in two for point in journal_points(run.folder))
    assert stored_points(address.uri) == expected


def test_a_run_that_is_refused_does_not_stop_the_others(runs: Runs, address: Address, here: Path) -> None:
    first, second = finished_run(), finished_run()
    refuse = (
        "CREATE TRIGGER refuse BEFORE INSERT ON tags WHEN NEW.value = '%s' BEGIN SELECT RAISE(ABORT, 'not you'); END"
    )
    with closing(sqlite3.connect(address.file)) as connection, connection:
        connection.execute(refuse % first.id)
    code, said = runs("sync", "--to", address.uri)
    assert code == 1
    assert "1 brought up to date" in said
    assert f"{first.id}: {address.masked}: " in said
    assert "not you" in said
    assert only_run(address).data.tags["understudy.run"] == second.id


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sync"], "no run in .* was started with --tracking; name a store"),
        (["sync", "last"], "was not started with --tracking; name a store"),
        (["sync", "--to", "mlruns"], "cannot track in 'mlruns'"),
        (["sync", "no-such-run", "--to", "sqlite:///a.db"], "no run 'no-such-run'"),
        (["ui", "--port", "70000"], "--port 70000 is out of range"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], words: str, runs: Runs, address: Address, here: Path
) -> None:
    finished_run()
    with pytest.raises(UserError, match=words):
        runs(*arguments)


def test_without_runs_there_is_nothing_to_do(runs: Runs, here: Path) -> None:
    for command in (["sync"], ["ui"]):
        with pytest.raises(UserError, match=r"no runs in .* yet"):
            runs(*command)


def test_a_password_that_was_not_recorded_is_asked_for(runs: Runs, here: Path) -> None:
    finished_run(config=tracked("postgresql://ada:***@db.example.org/runs"))
    with pytest.raises(UserError, match=r"password in postgresql://ada:\*\*\*@db.* was not recorded.*with --to"):
        runs("sync")


def test_a_server_that_is_down_is_one_line(runs: Runs, here: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    finished_run()
    uri = f"http://ada:{'s3cr3t'}@127.0.0.1:{free_port()}"
    with pytest.raises(UserError) as error:
        runs("sync", "--to", uri)
    assert str(error.value) == f"{uri.replace('s3cr3t', '***')}: Connection refused"


@pytest.fixture
def ui(address: Address, here: Path) -> Iterator[Callable[[int], "subprocess.Popen[str]"]]:
    """Starts `understudy runs ui` on a port."""
    started: list[subprocess.Popen[str]] = []

    def start(port: int) -> "subprocess.Popen[str]":
        program = "import sys; from rich.console import Console; from understudy.runs import commands\n"
        program += "from understudy.runs.mlflow import ui; ui.SECONDS_TO_START = 600\n"
        program += "sys.exit(commands.main(sys.argv[1:], Console(width=200)))"
        command = [sys.executable, "-u", "-c", program, "ui", "--port", str(port)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.communicate()


@pytest.mark.slow
def test_the_page_shows_the_runs_until_ctrl_c(
    ui: Callable[[int], "subprocess.Popen[str]"], address: Address, here: Path
) -> None:
    run = finished_run()
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = ui(port)
        assert process.stdout
        moved = re.fullmatch(rf"Port {port} is taken: this is on (\d+).\n", process.stdout.readline())
        assert moved
        port = int(moved[1])
        said = process.stdout.readline()
    experiment = client(address).get_experiment_by_name("understudy").experiment_id
    assert said.startswith(f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs ")
    page = f"http://127.0.0.1:{port}"
    with urllib.request.urlopen(page) as answer:
        assert b"<title>MLflow</title>" in answer.read()
    request = urllib.request.Request(f"{page}/api/2.0/mlflow/runs/search", method="POST")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, json.dumps({"experiment_ids": [experiment]}).encode()) as answer:
        (shown,) = json.load(answer)["runs"]
    assert shown["info"]["run_name"] == run.id
    with urllib.request.urlopen(f"{page}/ajax-api/3.0/mlflow/ui-telemetry") as answer:
        assert json.load(answer)["disable_ui_telemetry"] is True
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    eventually(lambda: not [command for command in commands() if str(address.file) in command])


def commands() -> list[str]:
    """The command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            found.append(os.fsdecode(path.read_bytes()) + os.fsdecode(path.with_name("cmdline").read_bytes()))
        except OSError:
            continue
    return found
