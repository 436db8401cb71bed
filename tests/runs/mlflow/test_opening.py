"""Many processes that open one fresh store at the same moment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runs.mlflow.conftest import client
from understudy.runs.mlflow.address import parse

PROCESSES = 8
# Forked after the imports, which take seconds, and let go together: all open the store in the same moment.
PROGRAM = """
import json, os, sys
from pathlib import Path
from understudy.runs.run import Run
from understudy.runs.mlflow import store
from understudy.runs.mlflow.address import parse
from understudy.runs.mlflow.replay import replay

store.import_mlflow()
import mlflow.store.tracking.sqlalchemy_store, alembic.command
reader, writer = os.pipe()
children = []
for number in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        os.close(writer)
        with Run.create("pretrain", ["understudy"], {"steps": 1}) as run:
            run.log(1, loss=float(number))
        os.read(reader, 1)
        try:
            sent = replay(run.folder, store.Store(parse(sys.argv[1]), Path("runs")))
            os._exit(0 if sent == "sent" else 3)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(4)
    children.append(child)
os.close(writer)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""


def assert_all_open(uri: str) -> None:
    """Eight processes, each with a run of its own, find all their runs in the store afterwards."""
    command = [sys.executable, "-c", PROGRAM, uri, str(PROCESSES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0] * PROCESSES, done.stderr
    mlflow = client(parse(uri))
    runs = mlflow.search_runs([mlflow.get_experiment_by_name("understudy").experiment_id])
    assert sorted(run.data.metrics["loss"] for run in runs) == list(range(PROCESSES))
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_eight_processes_on_a_fresh_file(here: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    (here / "runs").mkdir()
    assert_all_open("sqlite:///runs/mlflow.db")


def test_mlflow_is_quiet_and_sends_no_telemetry(here: Path) -> None:
    """Checked without the variables of CI, under which it would send none anyway."""
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    program = "import sys; from pathlib import Path; import understudy.runs.mlflow.stream\n"
    program += "import understudy.runs.mlflow.ui; from understudy.runs.mlflow.address import parse\n"
    program += "assert 'mlflow' not in sys.modules\n"
    program += "understudy.runs.mlflow.store.Store(parse('sqlite:///fresh.db'), Path())\n"
    program += (
        "from mlflow.telemetry import get_telemetry_client; from mlflow.telemetry.utils import is_telemetry_disabled\n"
    )
    program += "print(is_telemetry_disabled(), get_telemetry_client())"
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True None\n", "")
