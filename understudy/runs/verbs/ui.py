"""`understudy runs ui`."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from rich.console import Console

from understudy.errors import UserError
from understudy.runs.find import list_runs, runs_folder
from understudy.runs.mlflow.address import checked
from understudy.runs.mlflow.bulk import replay_all
from understudy.runs.mlflow.replay import is_current
from understudy.runs.mlflow.store import Store, open_store
from understudy.runs.mlflow.ui import HOST, free_port, page

SECONDS_BETWEEN = 5.0


@dataclass
class Options:
    """Opens MLflow's page on all runs: brings runs/mlflow.db up to date and serves it to this machine until Ctrl-C."""

    port: int = 5000
    """Where the page is; when that is taken, the next free port."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    runs = runs_folder()
    address = checked(f"sqlite:///{runs}/mlflow.db") if runs.is_dir() else None
    if address is None or not list_runs():
        raise UserError(f"no runs in {runs} yet; train first, or name another folder in UNDERSTUDY_RUNS")
    port = free_port(options.port)
    with _ctrl_c_ends_it():
        store = open_store(address, runs)
        _sync(store, console)
        if port != options.port:
            console.print(f"Port {options.port} is taken: this is on {port}.", highlight=False)
        with page(address, port) as server:
            where = f"http://{HOST}:{port}/#/experiments/{store.experiment_id}/runs"
            console.print(f"{where} shows the runs; Ctrl-C ends it.", soft_wrap=True)
            while server.poll() is None:
                took = _sync(store, console)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(max(SECONDS_BETWEEN, 20 * took))  # a twentieth of a core, however many runs there are
            raise UserError(f"MLflow's server ended by itself with exit code {server.returncode}")


def _sync(store: Store, console: Console) -> float:
    """Brings the store up to date with runs that are new or have gone on; how many seconds that took."""
    began = time.monotonic()
    folders = [record.folder for record in list_runs() if not is_current(record, store)]
    if folders:
        done = replay_all(folders, store, console)
        for folder, reason in done.failed.items():
            console.print(f"{folder.name}: {reason}", markup=False, style="red", soft_wrap=True)
    return time.monotonic() - began


@contextlib.contextmanager
def _ctrl_c_ends_it() -> Iterator[None]:
    """SIGTERM does as Ctrl-C does, so that the server always ends too; neither is an error."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous: Any = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)
