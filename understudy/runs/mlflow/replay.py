"""Send to a store what it does not have of a run. Doing it twice changes nothing.

Metrics are read from metrics.jsonl where the last acknowledged batch ended. A batch whose answer never came is sent
again: each point is a row of MLflow's database whose primary key is the whole row (run, name, time, step, value), so
it cannot be there twice. The same holds when tracking.json is lost.
"""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from understudy.config import from_dict
from understudy.console import progress, say
from understudy.errors import ConfigError, TrackingError
from understudy.files import locked, write_json
from understudy.runs.find import words_of
from understudy.runs.mlflow import contents
from understudy.runs.mlflow.store import Store
from understudy.runs.record import Record, list_checkpoints, read_record

STATE_FILE = "tracking.json"
MODEL_FILES = ("model.safetensors", "tokenizer.json", "state.json")
OUTCOMES = {
    "sent": "brought up to date",
    "current": "already there",
    "deleted": "deleted there, and left so",
    "broken": "unreadable",
}
"""What comes of a replay. "deleted": the run was deleted in the store; "broken": its run.json cannot be read."""


@dataclass
class SyncState:
    """What one store has acknowledged of one run.

    `experiment` tells the store from a later one at the same address, such as after its file was deleted.
    """

    experiment: str = ""
    run: str = ""
    """The run's id in the store."""
    offset: int = 0
    """Bytes of metrics.jsonl that the store has."""
    status: str = ""
    files: dict[str, list[int]] = field(default_factory=dict)
    """Size and modification time of each file, as the store has it."""
    checkpoint: str = ""
    """The checkpoint whose model the store has."""


def read_state(folder: Path, store: Store) -> SyncState:
    """Return what `store` has acknowledged of the run in `folder`, an empty state where that is not known.

    tracking.json may be lost or damaged at any time; then everything is sent again.
    """
    try:
        state = from_dict(SyncState, _read_states(folder).get(store.address.masked, {}))
    except ConfigError:
        state = SyncState()
    return state if state.experiment == store.identity else SyncState(store.identity)


def is_current(record: Record, store: Store) -> bool:
    """Return whether `store` has acknowledged all of the run. The store is not asked."""
    state = read_state(record.folder, store)
    now = record.status, contents.file_states(record.folder)
    return bool(state.run) and (state.status, state.files) == now


def replay(folder: Path, store: Store) -> str:
    """Bring what `store` has of the run up to date, and return which of OUTCOMES it came to.

    Raises TrackingError when the store fails; what it has acknowledged until then is remembered.
    """
    # One process at a time, else two would both create the run in the store.
    with locked(folder / "tracking.lock"):
        record = read_record(folder)
        if record.status == "broken":
            return "broken"
        if is_current(record, store):
            return "current"
        state, files = read_state(folder, store), contents.file_states(folder)
        start, end = contents.times(record)
        run = store.find_run(record.id, state.run) or store.create_run(record.id, start)
        if state.run != run.info.run_id:  # what was sent before went to another run
            state = SyncState(store.identity, run.info.run_id)
            _write_state(folder, store, state)
        if run.info.lifecycle_stage == "deleted":
            return "deleted"

        # What changes while the run goes on.
        store.describe(run, contents.parameters(record), contents.tags(record))
        for points, read_to in contents.batches(folder / "metrics.jsonl", state.offset):
            store.add(run, points)
            state.offset = read_to
            _write_state(folder, store, state)
        store.set_status(run, contents.STATUSES[record.status], end)

        # Files and model wait for the end of the run: before it they would be sent again and again.
        if record.status != "running":
            for name in contents.ARTIFACTS:
                if name in files and state.files.get(name) != files[name]:
                    store.add_file(run, folder / name)
            last = next(reversed(list_checkpoints(folder)), None)
            if last and last.name != state.checkpoint:
                name = f"{words_of(record.id)}-{last.name}"
                paths = [last / file for file in MODEL_FILES if (last / file).exists()]
                store.add_model(run, name, int(last.name.removeprefix("step-")), paths)
                state.checkpoint = last.name

        state.status, state.files = record.status, files
        _write_state(folder, store, state)
        return "sent"


def replay_all(folders: Sequence[Path], store: Store, console: Console) -> Counter[str]:
    """Bring the store up to date with these runs, and return how many came to each of OUTCOMES, and how many "failed".

    A run that the store refuses is passed over, and named at the end. Raises TrackingError when the store is down.
    """
    counts: Counter[str] = Counter()
    failures = []
    with progress(console, "syncing", len(folders)) as bar:
        for folder in folders:
            try:
                outcome = replay(folder, store)
            except (TrackingError, OSError) as error:
                store.ping()  # raises unless the run is at fault, and not the store
                outcome = "failed"
                failures.append(f"{folder.name}: {error}")
            counts[outcome] += 1
            bar.advance()
    for line in failures:
        say(console, line, "red")
    return counts


def _write_state(folder: Path, store: Store, state: SyncState) -> None:
    write_json(folder / STATE_FILE, {**_read_states(folder), store.address.masked: asdict(state)})


def _read_states(folder: Path) -> dict[str, Any]:
    """Return the states of all stores, by their masked URIs."""
    with suppress(OSError, ValueError, TypeError):
        return dict(json.loads((folder / STATE_FILE).read_bytes()))
    return {}
