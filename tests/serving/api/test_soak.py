"""Many clients for a while: memory stays flat, nothing is stuck, nothing is lost."""

import asyncio
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.api.soak import soak

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "12"))
"""Requests of each client; 12 take about a minute on two cores."""


def resident(process: int) -> int:
    """Memory of a process in kB."""
    found = re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1])


def run_soak(*arguments: Any, **options: Any) -> Any:
    """Return what a soak found, from a thread of its own: tests of pages keep an event loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(soak(*arguments, **options))).result()


def is_idle(url: str) -> bool:
    text = httpx.get(f"{url}/metrics", timeout=60).text
    return all(float(count) == 0 for count in re.findall(r"^understudy_(?:queued|running)\{.*\} (\S+)$", text, re.M))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_soak(start, save, model) -> None:
    folder = save(model)
    process, url = start(folder)
    run_soak(url, ROUNDS // 2)
    before = resident(process.pid)
    done, kept = run_soak(url, ROUNDS, first=1000)
    assert len(done) == 10, done
    while not is_idle(url):  # the test run has a limit of its own
        time.sleep(0.1)
    after = resident(process.pid)
    print(f"\n{done.total()} actions, {before} kB before, {after} kB after")
    assert after < before * 1.05

    # Killed while it keeps something, it comes back with all that it said it keeps.
    process.send_signal(signal.SIGKILL)
    _, complaints = process.communicate()
    assert complaints == ""
    _, url = start(folder)
    for name, messages in kept.items():
        conversation = httpx.get(f"{url}/api/conversations/{name}").json()
        assert len(conversation["messages"]) == messages
