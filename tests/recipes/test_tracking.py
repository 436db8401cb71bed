"""`--tracking URI` on a training verb: the record streams to a store, and nothing about the store can harm the run."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recipes.conftest import TINY, Understudy, last_run, record_of
from understudy.runs.find import list_runs
from understudy.runs.mlflow import stream
from understudy.runs.mlflow.contents import batches

COMMAND = ["pretrain", "--data", "talk.jsonl", *TINY, "--steps", 6, "--save-every", 3]
PASSWORD = "s3cr3t"  # apart from the address, so that this file holds nothing that looks like a secret
SECRET = f"postgresql://ada:{PASSWORD}@127.0.0.1:1/runs"  # nothing listens at port 1

pytest.importorskip("mlflow", reason="the extra mlflow is not installed")


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the process that sends must get its share and may take its time."""
    monkeypatch.setattr(stream, "NICENESS", 0)
    monkeypatch.setattr(stream, "PATIENCE_SECONDS", 600.0)


def rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.slow
def test_a_training_run_and_its_resumption_are_streamed(understudy: Understudy, here: Path) -> None:
    assert understudy(*COMMAND, "--tracking", "sqlite:///there/mlflow.db") == 0
    run, database = last_run(), here / "there" / "mlflow.db"
    assert record_of(run)["config"]["options"]["tracking"] == f"sqlite:///{database}"
    points = [point for found, _ in batches(run / "metrics.jsonl", 0) for point in found]
    stored = rows(database, "SELECT key, value, timestamp, step FROM metrics")
    assert sorted(stored) == sorted((point.name, point.value, point.time, point.step) for point in points)
    assert rows(database, "SELECT name, status FROM runs") == [(run.name, "FINISHED")]
    assert ("learner.steps", "6") in rows(database, "SELECT key, value FROM params")
    assert len(list((here / "there" / "mlflow-artifacts").rglob("model.safetensors"))) == 1

    record = record_of(run) | {"status": "interrupted"}
    (run / "run.json").write_text(json.dumps(record))
    assert understudy("pretrain", "--resume", run.name) == 0
    assert rows(database, "SELECT name, status FROM runs") == [(run.name, "FINISHED")]
    again = rows(database, "SELECT key, value, timestamp, step FROM metrics")
    assert len(again) == sum(len(points) for points, _ in batches(run / "metrics.jsonl", 0)) > len(stored)


@pytest.mark.slow
def test_a_password_is_nowhere_and_a_store_that_is_down_stops_nothing(
    understudy: Understudy, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg2", reason="the extra mlflow is not installed")
    assert understudy(*COMMAND, f"--tracking={SECRET}") == 0
    run, said = last_run(), capsys.readouterr().out
    masked = SECRET.replace("s3cr3t", "***")
    assert record_of(run)["status"] == "finished"
    assert record_of(run)["config"]["options"]["tracking"] == masked
    assert f"--tracking={masked}" in record_of(run)["argv"]
    assert said.count("Connection refused") == 1
    assert f"`understudy runs sync {run.name} --to URI` sends it" in said
    everything = [path for path in here.rglob("*") if path.is_file() and "s3cr3t" in path.read_text(errors="replace")]
    assert (everything, "s3cr3t" in said) == ([], False)

    record = record_of(run) | {"status": "interrupted"}
    (run / "run.json").write_text(json.dumps(record))
    assert understudy("pretrain", "--resume", run.name) == 0
    assert f"not tracked: the password in {masked} was not recorded" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("uri", ["mlruns", f"mysql://ada:{PASSWORD}@db/runs", "sqlite:///talk.jsonl"])
def test_a_bad_uri_is_an_error_before_the_run_starts(
    uri: str, understudy: Understudy, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert understudy(*COMMAND, "--tracking", uri) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("cannot track in")
    assert complaint.count("\n") == 1
    assert "s3cr3t" not in complaint
    assert list_runs() == []
