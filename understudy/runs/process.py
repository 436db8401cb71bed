"""The process behind a run: whether it is alive, and the machine, packages and environment that it has."""

import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 60.0
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")
# Environment variables that change what a program computes, by their beginning or by name.
VARIABLES = ("OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "ATEN_", "CUBLAS_", "CUDA_", "NVIDIA_", "PYTORCH_", "TORCH_")
OTHER_VARIABLES = ("PYTHONHASHSEED", "LANG", "LC_ALL", "TZ")


def this_process() -> dict[str, Any]:
    """Return what run.json says about the process that writes it."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "process_start": process_start(os.getpid())}


def status_of(record: dict[str, Any], folder: Path) -> str:
    """Return the status of a run: "running", "finished", "failed", "interrupted" or "dead".

    A run that says "running" is dead when its process is gone. On this host the kernel knows, and a pid that another
    process has by now does not count. For another host, a heartbeat older than a minute means dead.
    """
    status = str(record.get("status", "dead"))
    if status != "running":
        return status
    alive = False
    if record.get("host") == socket.gethostname():
        alive = _is_alive(record.get("pid"), record.get("process_start"))
    else:
        with suppress(OSError):
            alive = time.time() - (folder / "heartbeat").stat().st_mtime < SILENCE_SECONDS
    return "running" if alive else "dead"


def process_start(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None when it is gone or there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets: count from its end.
    fields = stat.rpartition(")")[2].split()
    state, start = fields[0], fields[19]
    # A zombie has ended; only its parent has not looked yet.
    return None if state in "ZX" else int(start)


def _is_alive(pid: Any, start: int | None) -> bool:
    if not isinstance(pid, int):
        return False
    if Path("/proc/self/stat").exists():
        now = process_start(pid)
        return now is not None and start in (None, now)
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # then it exists, and belongs to another user
    return True


@contextmanager
def heartbeat(path: Path, also: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Touch `path` every five seconds while the block runs, for hosts that cannot see this process.

    The first beat comes at once, the others from a daemon thread, which calls `also` after each of them.
    """
    stopped = threading.Event()

    def beat() -> None:
        # The folder may be gone or the disk full: the training that still runs matters more.
        with suppress(OSError):
            path.touch()

    def beat_until_stopped() -> None:
        while not stopped.wait(BEAT_SECONDS):
            beat()
            also()

    beat()
    thread = threading.Thread(target=beat_until_stopped, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def surroundings() -> dict[str, Any]:
    """Return what run.json says about the Python, the machine and the environment of this process."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": hardware(),
        "environment": environment(),
        "packages": packages(),
    }


def hardware() -> dict[str, Any]:
    """Return {"cpu": name, "cores": those this process may use, "memory_bytes", "cpu_flags": those that matter}."""
    info: dict[str, str] = {}
    with suppress(OSError):
        # The entries of the first processor.
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            info[name.strip()] = value.strip()
    flags = info.get("flags", info.get("Features", "")).split()
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in flags],
    }


def environment() -> dict[str, str]:
    """Return the environment variables that change what a program computes: threads, kernels, devices, language."""
    return {
        name: os.environ[name] for name in sorted(os.environ) if name.startswith(VARIABLES) or name in OTHER_VARIABLES
    }


def packages() -> dict[str, str]:
    """Return the version of every installed distribution, by name."""
    found: dict[str, str] = {}
    for distribution in distributions():
        metadata = distribution.metadata  # parsed at each access
        if name := metadata["Name"]:  # a half-removed package leaves a folder without one
            found.setdefault(name, metadata["Version"])  # the first on the path is the one that is imported
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))
