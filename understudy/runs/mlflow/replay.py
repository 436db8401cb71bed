"""Sends to a store what it does not have of a run. Doing it twice changes nothing.

Metrics are read from metrics.jsonl where the last acknowledged batch ended. A batch whose answer never came is sent
again: each point is a row whose primary key in MLflow's database is all of it (run, name, time, step, value), so none
is there twice. The same holds when tracking.json is lost.
"""

from pathlib import Path
from typing import Literal

from understudy.runs.mlflow import contents
from understudy.runs.mlflow.memory import Memory, alone, read_memory, remember
from understudy.runs.mlflow.store import Store, There
from understudy.runs.record import Record, list_checkpoints, read_record

Outcome = Literal["sent", "current", "deleted", "broken"]
MODEL_FILES = ("model.safetensors", "tokenizer.json", "state.json")


def replay(folder: Path, store: Store) -> Outcome:
    """Brings what `store` has of the run up to date; "sent", "current", "deleted" (there, by somebody) or "broken".

    Raises TrackingError when the store fails; what it has acknowledged until then is remembered.
    """
    with alone(folder):
        record = read_record(folder)
        if record.status == "broken":
            return "broken"
        memory = _memory_of(folder, store)
        looks = contents.looks(folder)
        if memory.run and (memory.status, memory.files) == (record.status, looks):
            return "current"
        run = _find_or_begin(record, store, memory)
        if run.deleted:
            return "deleted"
        _send_what_changes(record, store, run, memory)
        if record.status != "running":
            _send_what_stays(record, store, run, memory, looks)
        memory.status, memory.files = record.status, looks
        remember(folder, store.address.masked, memory)
        return "sent"


def is_current(record: Record, store: Store) -> bool:
    """Whether `store` has all of the run already, as far as is remembered; it is not asked."""
    memory = _memory_of(record.folder, store)
    return bool(memory.run) and (memory.status, memory.files) == (record.status, contents.looks(record.folder))


def _memory_of(folder: Path, store: Store) -> Memory:
    """What is remembered of this very store: one that was made anew at the same address knows nothing."""
    memory = read_memory(folder, store.address.masked)
    return memory if memory.experiment == store.identity else Memory(store.identity)


def _find_or_begin(record: Record, store: Store, memory: Memory) -> There:
    run = store.find_run(record.id, memory.run)
    if run is None:
        run = store.begin_run(record.id, contents.times(record)[0])
    if memory.run != run.id:  # what was sent before went to another
        memory.run, memory.offset, memory.files, memory.checkpoint = run.id, 0, {}, ""
        remember(record.folder, store.address.masked, memory)
    return run


def _send_what_changes(record: Record, store: Store, run: There, memory: Memory) -> None:
    """Parameters, tags, metrics, status and end."""
    store.describe(run, contents.parameters(record), contents.tags(record))
    for batch in contents.batches(record.folder / "metrics.jsonl", memory.offset):
        if batch.points:
            store.add(run, batch)
        memory.offset = batch.end
        remember(record.folder, store.address.masked, memory)
    store.set_status(run, contents.STATUSES[record.status], contents.times(record)[1])


def _send_what_stays(record: Record, store: Store, run: There, memory: Memory, looks: dict[str, list[int]]) -> None:
    """Files and model of a run that ended: while it goes on they would only be sent again and again."""
    for name in contents.ARTIFACTS:
        if name in looks and memory.files.get(name) != looks[name]:
            store.add_file(run, record.folder / name)
    checkpoints = list_checkpoints(record.folder)
    if checkpoints and checkpoints[-1].name != memory.checkpoint:
        last = checkpoints[-1]
        words = record.id.split("-", 2)[-1]
        files = [last / name for name in MODEL_FILES if (last / name).exists()]
        store.add_model(run, f"{words}-{last.name}", int(last.name.removeprefix("step-")), files)
        memory.checkpoint = last.name
