"""Telling a run that still works from one whose process is gone."""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 60.0


def this_process() -> dict[str, Any]:
    """What run.json says of the process that writes it."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "process_start": process_start(os.getpid())}


def status_of(record: dict[str, Any], folder: Path) -> str:
    """The status of a run: "running", "finished", "failed", "interrupted" or "dead".

    A record that says "running" is dead when its process is gone. On this host the kernel knows; a pid that belongs to
    another process by now does not count. For another host a heartbeat older than a minute means dead.
    """
    status = str(record.get("status", "dead"))
    if status != "running":
        return status
    if record.get("host") == socket.gethostname():
        alive = _is_alive(record.get("pid"), record.get("process_start"))
    else:
        alive = _seconds_since_beat(folder) < SILENCE_SECONDS
    return "running" if alive else "dead"


def process_start(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine's start; None when it is gone or there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets: count from its end.
    fields = stat.rpartition(")")[2].split()
    state, start = fields[0], fields[19]
    return None if state in "ZX" else int(start)  # a zombie has ended; only its parent has not looked yet


def _is_alive(pid: Any, start: int | None) -> bool:
    if not isinstance(pid, int):
        return False
    if Path("/proc/self/stat").exists():
        now = process_start(pid)
        return now is not None and start in (None, now)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's process, but there it is
    return True


def _seconds_since_beat(folder: Path) -> float:
    try:
        return time.time() - (folder / "heartbeat").stat().st_mtime
    except OSError:
        return float("inf")


class Heartbeat:
    """Touches a file every five seconds from a daemon thread, for those who cannot see this process.

    `also` is called after each beat but the first.
    """

    def __init__(self, path: Path, also: Callable[[], None] = lambda: None) -> None:
        self._path, self._also = path, also
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)

    def start(self) -> None:
        """The first beat comes before this returns."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended."""
        self._stopped.set()
        self._thread.join()

    def _beat_until_stopped(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            self._beat()
            self._also()

    def _beat(self) -> None:
        try:
            self._path.touch()
        except OSError:
            pass  # the folder may be gone or the disk full: the training that still runs matters more
