"""MLflow's own page on a local store: its server as a child process, on this machine's loopback only."""

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

from understudy.errors import TrackingError, UserError
from understudy.runs.mlflow.address import Address
from understudy.runs.mlflow.store import quiet_environment

HOST = "127.0.0.1"
PORTS_TRIED = 20
SECONDS_TO_START = 120.0


def free_port(wanted: int) -> int:
    """The first port from `wanted` on that nobody listens at; UserError when there is none near."""
    if not 1 <= wanted <= 65535:
        raise UserError(f"--port {wanted} is out of range; expected 1 to 65535")
    last = min(wanted + PORTS_TRIED, 65536)
    for port in range(wanted, last):
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise UserError(f"the ports {wanted} to {last - 1} are all taken; name another one with --port")


@contextlib.contextmanager
def page(address: Address, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """MLflow's server on the store, from when it answers to the end of the body."""
    command = [sys.executable, "-P", "-W", "ignore", "-m", "mlflow", "server", "--backend-store-uri", address.uri]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    # It starts processes for jobs that nothing here uses.
    environment = {**quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:
        # In a session of its own, so that Ctrl-C reaches this process, which then ends all of the server's.
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            if not _answers(server, port):
                log.seek(0)
                lines = log.read().decode(errors="replace").split("\n")
                last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
                raise TrackingError(f"MLflow's server did not start: {address.hide(last.strip())}")
            yield server
        finally:
            _end(server)


def _answers(server: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + SECONDS_TO_START
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
            return True
        time.sleep(0.1)
    return False


def _end(server: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(5)
