"""`understudy runs ui`."""

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from rich.console import Console

from understudy.lab.errors import UserError
from understudy.lab.store import list_runs, runs_folder
from understudy.lab.tracking.address import Address, checked
from understudy.lab.tracking.bulk import replay_all
from understudy.lab.tracking.page import HOST, free_port, page
from understudy.lab.tracking.replay import is_current

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
    with _ctrl_c_ends_it():
        _sync(address, console)
        port = free_port(options.port)
        if port != options.port:
            console.print(f"Port {options.port} is taken: this is on {port}.", highlight=False)
        with page(address, port) as server:
            console.print(f"http://{HOST}:{port}/#/experiments/1 shows the runs; Ctrl-C ends it.", soft_wrap=True)
            while server.poll() is None:
                took = _sync(address, console)
                time.sleep(max(SECONDS_BETWEEN, 20 * took))  # at most a twentieth of a core, however many runs
            raise UserError(f"MLflow's server ended by itself with exit code {server.returncode}")


def _sync(address: Address, console: Console) -> float:
    """Brings the store up to date with runs that are new or have gone on; how many seconds that took."""
    began = time.monotonic()
    folders = [record.folder for record in list_runs() if not is_current(record, address.masked)]
    if folders:
        done = replay_all(folders, address, runs_folder(), console)
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
