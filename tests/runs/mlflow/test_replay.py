"""What MLflow shows of a run is what the run recorded, however often and however badly it was sent."""

import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from runs.mlflow.conftest import (
    add_checkpoint,
    client,
    dump,
    finished_run,
    journal_points,
    log,
    new_run,
    only_run,
    stored_points,
)
from understudy.errors import TrackingError
from understudy.runs.mlflow.address import Address, parse
from understudy.runs.mlflow.contents import batches
from understudy.runs.mlflow.replay import is_current, replay
from understudy.runs.mlflow.store import Store
from understudy.runs.record import change_marks, read_record, set_note
from understudy.runs.run import Run


def test_all_of_a_run_arrives(store: Store, address: Address, here: Path) -> None:
    run = finished_run()
    (run.folder / "report.html").write_text("<p>report</p>")
    add_checkpoint(run, 40)
    assert replay(run.folder, store) == "sent"
    found = only_run(address)
    record = json.loads((run.folder / "run.json").read_text())
    assert found.info.run_name == run.id
    assert found.info.status == "FINISHED"
    assert found.info.start_time == round(datetime.fromisoformat(record["created"]).timestamp() * 1000)
    assert found.info.end_time == round(datetime.fromisoformat(record["ended"]).timestamp() * 1000)
    assert found.data.params["learner.learning_rate"] == "0.001"
    assert found.data.tags["understudy.run"] == run.id
    assert found.data.metrics == {"loss": 0.1, "tokens": 512.0 * 39}
    assert stored_points(address.uri) == journal_points(run.folder)
    names = {file.path for file in client(address).list_artifacts(found.info.run_id)}
    assert names == {"run.json", "console.log", "samples.jsonl", "report.html"}
    local = Path(client(address).download_artifacts(found.info.run_id, "run.json"))
    assert local.read_bytes() == (run.folder / "run.json").read_bytes()


def test_its_model_arrives_and_is_linked_not_copied(store: Store, address: Address, here: Path) -> None:
    run = finished_run()
    add_checkpoint(run, 20)
    add_checkpoint(run, 40)
    replay(run.folder, store)
    found = only_run(address)
    (model,) = client(address).search_logged_models([found.info.experiment_id])
    assert model.name == f"{run.id.split('-', 2)[-1]}-step-000040"
    assert (str(model.status), model.source_run_id) == ("READY", found.info.run_id)
    assert [output.model_id for output in found.outputs.model_outputs] == [model.model_id]
    folder = Path(model.artifact_location.removeprefix("file://"))
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors", "state.json", "tokenizer.json"]
    assert (folder / "model.safetensors").samefile(run.folder / "checkpoints/step-000040/model.safetensors")


def test_replaying_twice_changes_nothing(store: Store, address: Address, here: Path) -> None:
    run = finished_run()
    add_checkpoint(run, 40)
    replay(run.folder, store)
    before = dump(address)
    assert replay(run.folder, store) == "current"
    for lost in ("everything", "garbage"):
        if lost == "everything":
            (run.folder / "tracking.json").unlink()
        else:
            (run.folder / "tracking.json").write_text('{"torn')
        assert replay(run.folder, store) == "sent"
        assert dump(address) == before


def test_a_batch_whose_answer_never_came_is_not_doubled(store: Store, address: Address, here: Path) -> None:
    """The server commits, the connection breaks, and what follows is sent together with what already exists."""
    run = new_run(steps=3000)
    with run:
        run.log(3000, loss=math.nan, rate=math.inf, norm=-math.inf, zero=-0.0)
    there = store.create_run(run.id, 0)
    for number, (points, _) in enumerate(batches(run.folder / "metrics.jsonl", 0)):
        if number in (1, 3, 6):
            store.add(there, points[::2] if number == 3 else points)
    replay(run.folder, store)
    assert only_run(address).info.run_id == there.info.run_id
    assert stored_points(address.uri) == journal_points(run.folder)
    assert len(journal_points(run.folder)) == 6004


def test_a_replay_resumes_where_it_failed(store: Store, address: Address, here: Path) -> None:
    """What was acknowledged before the database failed is not sent again."""
    run = finished_run(steps=3000)
    full = "CREATE TRIGGER full BEFORE INSERT ON metrics WHEN (SELECT count(*) FROM metrics) >= 2500 "
    full += "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    with closing(sqlite3.connect(address.file)) as connection, connection:
        connection.execute(full)
    with pytest.raises(TrackingError, match="the disk is full"):
        replay(run.folder, store)
    memory = json.loads((run.folder / "tracking.json").read_text())[address.masked]
    assert memory["offset"] == list(batches(run.folder / "metrics.jsonl", 0))[1][1]
    assert len(stored_points(address.uri)) == 2000
    with closing(sqlite3.connect(address.file)) as connection, connection:
        connection.execute("DROP TRIGGER full")
    replay(run.folder, store)
    assert stored_points(address.uri) == journal_points(run.folder)


def test_a_run_that_goes_on_is_followed(store: Store, address: Address, here: Path) -> None:
    run = new_run(steps=5)
    assert replay(run.folder, store) == "sent"
    assert only_run(address).info.status == "RUNNING"
    assert replay(run.folder, store) == "current"
    log(run, 5, 9)
    with run:
        replay(run.folder, store)
        assert stored_points(address.uri) == journal_points(run.folder)
    replay(run.folder, store)
    assert only_run(address).info.status == "FINISHED"


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_how_a_run_ended_and_that_it_was_resumed(
    error: type[BaseException], status: str, store: Store, address: Address, here: Path
) -> None:
    run = new_run()
    with pytest.raises(error), run:
        raise error("no more")
    add_checkpoint(run, 20, b"first")
    replay(run.folder, store)
    assert only_run(address).info.status == status
    assert ("error" in only_run(address).data.tags) == (status == "FAILED")
    again = Run.reopen(run.folder, ["understudy"])
    log(again, 20, 50)
    replay(run.folder, store)
    assert only_run(address).info.status == "RUNNING"
    add_checkpoint(run, 50, b"second")
    with again:
        pass
    replay(run.folder, store)
    found = only_run(address)
    assert found.info.status == "FINISHED"
    assert "error" not in found.data.tags
    assert found.data.metrics["loss"] == 4 / 50
    assert stored_points(address.uri) == journal_points(run.folder)
    (model,) = client(address).search_logged_models([found.info.experiment_id])
    assert model.name.endswith("step-000050")


def test_a_run_that_died_shows_as_failed(store: Store, address: Address, here: Path) -> None:
    program = "import os, signal; from understudy.runs.run import Run\n"
    program += (
        "with Run.create('pretrain', [], {}) as run:\n    run.log(1, loss=2.0); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    (folder,) = (path.parent for path in (here / "runs").glob("*/run.json"))
    os.utime(folder / "metrics.jsonl", (1.9e9, 1.9e9))  # its last sign of life
    replay(folder, store)
    found = only_run(address)
    assert found.info.status == "FAILED"
    assert found.data.tags["status"] == "dead"
    assert found.info.end_time == 1_900_000_000_000


def test_marks_and_notes_follow(store: Store, address: Address, here: Path) -> None:
    run = finished_run()
    replay(run.folder, store)
    change_marks(run.folder, bad="labels were shifted")
    set_note(run.folder, "do not trust")
    assert replay(run.folder, store) == "sent"
    assert only_run(address).data.tags["bad"] == "labels were shifted"
    assert only_run(address).data.tags["mlflow.note.content"] == "do not trust"
    change_marks(run.folder, bad="")
    set_note(run.folder, "")
    replay(run.folder, store)
    assert not {"bad", "mlflow.note.content"} & only_run(address).data.tags.keys()


def test_a_run_deleted_in_the_store_stays_deleted(store: Store, address: Address, here: Path) -> None:
    run = finished_run()
    replay(run.folder, store)
    client(address).delete_run(only_run(address).info.run_id)
    change_marks(run.folder, pinned=True)
    before = dump(address)
    assert replay(run.folder, store) == "deleted"
    (run.folder / "tracking.json").unlink()
    assert replay(run.folder, store) == "deleted"
    assert dump(address) == before


def test_a_store_that_was_replaced_gets_everything_again(store: Store, here: Path, empty_store: Path) -> None:
    run = finished_run()
    replay(run.folder, store)
    assert is_current(read_record(run.folder), store)
    other = here / "runs" / "mlflow.db"
    other.unlink()
    program = "import sys; from pathlib import Path; from understudy.runs.mlflow.address import parse\n"
    program += "from understudy.runs.mlflow.replay import replay; from understudy.runs.mlflow.store import Store\n"
    program += "from understudy.runs.mlflow.replay import is_current; from understudy.runs.record import read_record\n"
    program += "folder, store = Path(sys.argv[1]), Store(parse(sys.argv[2]), Path('runs'))\n"
    program += "print(is_current(read_record(folder), store), replay(folder, store))"
    shutil.copyfile(empty_store, other)
    command = [sys.executable, "-c", program, str(run.folder), store.address.uri]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "False sent\n"
    assert stored_points(store.address.uri) == journal_points(run.folder)


def test_each_store_has_its_own_state(store: Store, here: Path, empty_store: Path) -> None:
    run = finished_run()
    replay(run.folder, store)
    shutil.copyfile(empty_store, here / "other.db")
    other = Store(parse("sqlite:///other.db"), here)
    assert replay(run.folder, other) == "sent"
    assert stored_points(other.address.uri) == stored_points(store.address.uri)
    assert len(json.loads((run.folder / "tracking.json").read_text())) == 2
    assert replay(run.folder, store) == replay(run.folder, other) == "current"


def test_a_record_that_cannot_be_read_is_skipped(store: Store, address: Address, here: Path) -> None:
    run = finished_run()
    (run.folder / "run.json").write_text("{torn")
    assert replay(run.folder, store) == "broken"
    assert read_record(run.folder).status == "broken"


def test_odd_names_and_values_arrive(store: Store, address: Address, here: Path) -> None:
    config = {"long": "x" * 9000, "deep": {"a (b)": None}, "file": "caf\udce9"}
    run = finished_run(steps=1, config=config)
    run.log(2, **{"loss (train)": 1.5, "ä" * 300: 2.0})
    run.update(argv=["understudy"] + ["x" * 100] * 100)
    replay(run.folder, store)
    found = only_run(address)
    assert found.data.params["long"] == "x" * 6000
    assert found.data.params["deep.a _b_"] == "null"
    assert found.data.metrics["loss _train_"] == 1.5
    assert found.data.metrics["ä" * 250] == 2.0
