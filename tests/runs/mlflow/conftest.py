"""Runs with metrics, and real stores: SQLite files here, PostgreSQL and MLflow's server where a test asks for them."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from understudy.runs.mlflow.address import Address, parse
from understudy.runs.mlflow.contents import batches
from understudy.runs.mlflow.store import Store, quiet_environment
from understudy.runs.run import Run

CONFIG = {"options": {"seed": 7}, "learner": {"steps": 40, "learning_rate": 0.001}, "data": {"data": ["a.txt"]}}

Point = tuple[str, int, int, float, bool]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with MLflow's tables and nothing else, which takes a second to make and none to copy."""
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    folder = tmp_path_factory.mktemp("empty")
    Store(parse(f"sqlite:///{folder}/made.db"), folder)
    shutil.copyfile(folder / "made.db", folder / "empty.db")
    with closing(sqlite3.connect(folder / "empty.db")) as connection, connection:
        connection.execute("DELETE FROM experiment_tags")
        connection.execute("DELETE FROM experiments WHERE name = 'understudy'")
    return folder / "empty.db"


@pytest.fixture
def address(empty_store: Path, here: Path) -> Address:
    """An empty SQLite store in a place of its own."""
    path = here / "runs" / "mlflow.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(empty_store, path)
    return parse(f"sqlite:///{path}")


@pytest.fixture
def store(address: Address, here: Path) -> Store:
    """That store, open."""
    return Store(address, here / "runs")


def new_run(steps: int = 40, **options: Any) -> Run:
    """A run with a journal of that many steps, not ended yet."""
    run = Run.create("pretrain", ["understudy", "pretrain"], options.pop("config", CONFIG), seed=7, **options)
    log(run, 0, steps)
    return run


def log(run: Run, start: int, stop: int) -> None:
    for step in range(start, stop):
        run.log(step, loss=4.0 / (step + 1), tokens=512 * step)


def finished_run(steps: int = 40, **options: Any) -> Run:
    run = new_run(steps, **options)
    with run:
        run.say("learned")
        run.sample(steps, model="hello")
    return run


def add_checkpoint(run: Run, step: int, weights: bytes = b"weights") -> None:
    folder = run.folder / "checkpoints" / f"step-{step:06d}"
    folder.mkdir(parents=True)
    for name, content in (("model", weights), ("training", b"optimizer")):
        (folder / f"{name}.safetensors").write_bytes(content)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"steps_done": step}))


def journal_points(run: Path) -> list[Point]:
    """What the run logged as rows of MLflow's table of metrics: name, time, step, value, whether it is NaN."""
    points = [point for found, _ in batches(run / "metrics.jsonl", 0) for point in found]
    return sorted((p.name, p.time, p.step, *_as_stored(p.value)) for p in points)


def _as_stored(value: float) -> tuple[float, bool]:
    """SQL has no infinity; MLflow writes the largest float for it."""
    return (0.0, True) if value != value else (max(-sys.float_info.max, min(value, sys.float_info.max)), False)


def stored_points(uri: str) -> list[Point]:
    """The rows of MLflow's table of metrics, read without MLflow."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(parse(uri).uri, poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        tables = sqlalchemy.inspect(connection)
        if not tables.has_table("metrics") or "is_nan" not in {
            column["name"] for column in tables.get_columns("metrics")
        }:
            return []  # MLflow is still at making its tables
        rows = connection.execute(sqlalchemy.text("SELECT key, timestamp, step, value, is_nan FROM metrics")).all()
    return sorted((row[0], row[1], row[2], row[3], bool(row[4])) for row in rows)


def dump(address: Address) -> list[str]:
    """All that an SQLite store holds."""
    with closing(sqlite3.connect(address.file)) as connection:
        return list(connection.iterdump())


def client(address: Address) -> Any:
    """MLflow's own client on the store."""
    import mlflow

    return mlflow.MlflowClient(address.uri)


def only_run(address: Address) -> Any:
    """The single run that the store holds."""
    mlflow = client(address)
    experiment = mlflow.get_experiment_by_name("understudy")
    (found,) = mlflow.search_runs([experiment.experiment_id])
    return mlflow.get_run(found.info.run_id)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(true: Callable[[], Any]) -> None:
    """Waits until it is true; only what hangs takes ten minutes, however busy the machine is."""
    deadline = time.monotonic() + 600
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


TRAINING = """
import sys, time
from pathlib import Path
from understudy.runs.run import Run
from understudy.runs.mlflow import stream
from understudy.runs.mlflow.address import parse

# Beside other work, the process that sends must get its share and may take its time.
stream.NICENESS, stream.PATIENCE_SECONDS = 0, 600.0
run = Run.create("pretrain", ["understudy"], {"steps": 1}, seed=1)
with stream.streaming(run, parse(sys.argv[1])), run:
    step = 0
    while not Path("stop").exists():
        run.log(step, loss=1 / (step + 1), figure=float(step))
        step += 1
        time.sleep(0.01)
"""


@pytest.fixture
def train(here: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a process that logs a hundred lines per second and streams them; it ends when a file `stop` appears."""
    (here / "train.py").write_text(TRAINING)
    started: list[subprocess.Popen[str]] = []

    def start(uri: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "train.py", uri]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def run_of(here: Path) -> Path:
    """The folder of the only run."""
    (path,) = (here / "runs").glob("*/run.json")
    return path.parent


def logged(here: Path) -> int:
    """How many lines the only run has in its journal."""
    journals = list((here / "runs").glob("*/metrics.jsonl"))
    return journals[0].read_bytes().count(b"\n") if journals else 0


class Server:
    """MLflow's own server on an SQLite store in `folder`, as a process that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.database = f"sqlite:///{folder}/server.db"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.database, "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), "--port", str(self.port)]
        environment = {**quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "server.log").read_text()
        with suppress(OSError), urllib.request.urlopen(self.uri + "/health", timeout=60):
            return True
        return False
