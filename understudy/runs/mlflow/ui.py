"""`understudy runs sync` and `understudy runs ui`: send runs to a store, and open MLflow's own page on them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from understudy.config import in_range
from understudy.console import interrupt, on_signals, say
from understudy.errors import TrackingError, UserError
from understudy.runs.arguments import RunsReferences, find_runs
from understudy.runs.find import list_runs, runs_folder
from understudy.runs.mlflow.address import Address, usable_address
from understudy.runs.mlflow.replay import OUTCOMES, is_current, replay_all
from understudy.runs.mlflow.store import Store, quiet_environment
from understudy.runs.record import Record

EXAMPLE = "name a store, such as --to sqlite:///runs/mlflow.db"
HOST = "127.0.0.1"
PORTS_TRIED = 20
SECONDS_TO_START = 120.0
SECONDS_BETWEEN = 5.0


@dataclass
class SyncOptions:
    """What is sent, and where to."""

    runs: RunsReferences = ()
    to: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """The store: sqlite:///FILE, postgresql://... or http://... (default: where each run's --tracking said)."""


@dataclass
class UiOptions:
    """Where the page is served."""

    port: int = 5000
    """The port of the page; when that is taken, the next free one."""


def sync_runs(options: SyncOptions, console: Console) -> int:
    """Send what an MLflow store does not have yet of the runs: after an outage, or for the first time.

    Without runs: all that were started with --tracking, or with --to all there are. Doing it twice changes nothing.
    """
    folder = runs_folder()
    records = find_runs(options.runs) if options.runs else list_runs()
    stores: dict[str, list[Record]] = {}
    for record in records:
        recorded = record.config.get("options")
        uri = options.to or (recorded.get("tracking") if isinstance(recorded, dict) else None)
        if isinstance(uri, str):
            stores.setdefault(uri, []).append(record)
        elif options.runs:
            raise UserError(f"run {record.id} was not started with --tracking; {EXAMPLE}")
    if not stores:
        why = f"no run in {folder} was started with --tracking" if records else f"no runs in {folder} yet"
        raise UserError(f"{why}; {EXAMPLE}")

    failed = 0
    # Nothing is sent before all addresses are known to be usable.
    for address, group in [(usable_address(uri), group) for uri, group in stores.items()]:
        counts = replay_all([record.folder for record in group], Store(address, folder), console)
        parts = [f"{counts[outcome]:,} {words}" for outcome, words in OUTCOMES.items() if counts[outcome]]
        say(console, f"{address.masked}: {', '.join(parts) or 'nothing sent'}")
        failed += counts["failed"]
    return 1 if failed else 0


def open_page(options: UiOptions, console: Console) -> None:
    """Open MLflow's page on all runs: bring runs/mlflow.db up to date and serve it to this machine until Ctrl-C."""
    runs = runs_folder()
    if not runs.is_dir() or not list_runs():
        raise UserError(f"no runs in {runs} yet; train first, or name another folder in UNDERSTUDY_RUNS")
    address = usable_address(f"sqlite:///{runs}/mlflow.db")
    port = free_port(options.port)
    # SIGTERM does as Ctrl-C does, so that the server always ends too; neither is an error.
    with contextlib.suppress(KeyboardInterrupt), on_signals(interrupt, signal.SIGTERM):
        store = Store(address, runs)

        def sync() -> float:
            """Send runs that are new or have gone on, and return how many seconds that took."""
            start = time.monotonic()
            replay_all([record.folder for record in list_runs() if not is_current(record, store)], store, console)
            return time.monotonic() - start

        sync()
        if port != options.port:
            console.print(f"Port {options.port} is taken: this is on {port}.", highlight=False)
        with serving(address, port) as server:
            where = f"http://{HOST}:{port}/#/experiments/{store.experiment_id}/runs"
            console.print(f"{where} shows the runs; Ctrl-C ends it.", soft_wrap=True)
            while server.poll() is None:
                seconds = sync()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    # At most a twentieth of a core, however many runs there are.
                    server.wait(max(SECONDS_BETWEEN, 20 * seconds))
            raise UserError(f"MLflow's server ended by itself with exit code {server.returncode}")


def free_port(wanted: int) -> int:
    """Return the first free port from `wanted` on. Raises UserError where the next 20 are taken."""
    in_range("port", wanted, 1, 65535)
    last = min(wanted + PORTS_TRIED, 65536)
    for port in range(wanted, last):
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise UserError(f"the ports {wanted} to {last - 1} are all taken; name another one with --port")


@contextlib.contextmanager
def serving(address: Address, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run MLflow's server on the store; enter the block when it answers, and end it afterwards."""
    command = [sys.executable, "-P", "-W", "ignore", "-m", "mlflow", "server", "--backend-store-uri", address.uri]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    # Else it starts processes for jobs that nothing here uses.
    env = {**quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:
        # In a session of its own, so that Ctrl-C reaches this process, which then ends all of the server's.
        server = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            if not _answers(server, port):
                log.seek(0)
                last = (log.read().decode(errors="replace").strip() or "it said nothing").splitlines()[-1]
                raise TrackingError(f"MLflow's server did not start: {address.hide(last.strip())}")
            yield server
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(5)


def _answers(server: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait until the server answers; return False when it ends, or takes too long."""
    deadline = time.monotonic() + SECONDS_TO_START
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
            return True
        time.sleep(0.1)
    return False
