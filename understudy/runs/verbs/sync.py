"""`understudy runs sync`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from understudy.errors import TrackingError, UserError
from understudy.runs.arguments import RunReferences
from understudy.runs.find import find_run, list_runs, runs_folder
from understudy.runs.mlflow.address import Address, checked, lacks_password
from understudy.runs.mlflow.bulk import replay_all
from understudy.runs.mlflow.store import open_store
from understudy.runs.record import Record, read_record

EXAMPLE = "--to sqlite:///runs/mlflow.db, for one"


@dataclass
class Options:
    """Sends what an MLflow store does not have yet of the runs: after an outage, or for the first time.

    Without runs: all that were started with --tracking, or with --to all there are. Doing it twice changes nothing.
    """

    runs: RunReferences = ()
    to: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """The store: sqlite:///FILE, postgresql://... or http://... (default: where each run's --tracking said)."""


def main(options: Options, console: Console) -> int:
    """See `Options`."""
    records = [read_record(find_run(run)) for run in options.runs] or list_runs()
    failed = False
    for uri, group in _by_store(records, options.to, named=bool(options.runs)).items():
        failed |= _sync(checked(uri), group, console)
    return 1 if failed else 0


def _sync(address: Address, records: Sequence[Record], console: Console) -> bool:
    """Whether something went wrong; the store's own failure is raised."""
    store = open_store(address, runs_folder())
    done = replay_all([record.folder for record in records], store, console)
    counts = {
        "brought up to date": done.sent,
        "already there": done.current,
        "deleted there, and left so": done.deleted,
        "unreadable": done.broken,
    }
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    console.print(f"{address.masked}: {', '.join(parts) or 'nothing sent'}", markup=False, soft_wrap=True)
    for folder, reason in done.failed.items():
        console.print(f"{folder.name}: {reason}", markup=False, style="red", soft_wrap=True)
    return bool(done.failed)


def _by_store(records: Sequence[Record], to: str | None, named: bool) -> dict[str, list[Record]]:
    """The runs to send, by the URI of their store. `named`: somebody asked for just these, so all must have one."""
    found: dict[str, list[Record]] = {}
    for record in records:
        uri = to or _recorded_store(record)
        if uri is None and named:
            raise UserError(f"run {record.id} was not started with --tracking; say where it shall go: {EXAMPLE}")
        if uri is not None:
            found.setdefault(uri, []).append(record)
    if not found:
        folder = runs_folder()
        why = f"no run in {folder} was started with --tracking" if records else f"no runs in {folder} yet"
        raise UserError(f"{why}; say where runs shall go: {EXAMPLE}")
    for uri in found:
        if lacks_password(uri):
            raise TrackingError(f"the password in {uri} was not recorded: write it out with --to URI")
    return found


def _recorded_store(record: Record) -> str | None:
    config = record.data.get("config")
    options = config.get("options") if isinstance(config, dict) else None
    uri = options.get("tracking") if isinstance(options, dict) else None
    return uri if isinstance(uri, str) else None
