"""The threads of the process that take decode steps. They wait for the next one awake, and sleep when it is late."""

import os
import threading
from functools import cache

import numpy as np

from understudy.native.compilation import code_file, load
from understudy.native.layout import CACHE_LINE, TIMEOUT, WORDS

NAP = 100_000_000
"""Nanoseconds without a step after which a thread forgets what it worked on."""


class Job:
    """What a step works on: the tables that `layout` describes, what they point to, and a number that identifies it."""

    def __init__(self, number: int, held: object, *tables: np.ndarray):
        # So that all of it stays where it is
        self._held = held, tables
        self.arguments = number, *(table.ctypes.data for table in tables)
        """What the machine code takes: the number and the tables' addresses."""


class Team:
    """This thread and `threads` − 1 others; each step runs on all of them."""

    def __init__(self, threads: int):
        self.threads = threads
        self._take_part = load(code_file())
        self._memory = np.zeros(WORDS + (threads + 1) * CACHE_LINE, np.uint8)
        self._control = -(-self._memory.ctypes.data // CACHE_LINE) * CACHE_LINE
        start = self._control - self._memory.ctypes.data + TIMEOUT
        self._memory[start : start + 16].view(np.int64)[:] = 0, NAP
        self._job: Job | None = None
        self._turn = threading.Lock()
        self._awake = [threading.Event() for _ in range(1, threads)]
        for thread, awake in enumerate(self._awake, start=1):
            threading.Thread(target=self._work, args=(thread, awake), name=f"decode-{thread}", daemon=True).start()

    def step(self, job: Job) -> None:
        """Take one step of the job, whose plan must be made for the same number of threads."""
        with self._turn:
            self._job = job
            for awake in self._awake:
                if not awake.is_set():
                    awake.set()
            self._take_part(0, -1, *job.arguments, self._control)
            self._job = None

    def _work(self, thread: int, awake: threading.Event) -> None:
        done = 0
        while True:
            awake.wait()
            # A reference, so that all of the job stays while this thread may read it
            job, found = self._job, done
            if job:
                found = self._take_part(thread, done, *job.arguments, self._control)
            # No step came for a while. One that began just now goes on without this thread.
            if found == done:
                job = None
                awake.clear()
            done = found


@cache
def team(threads: int) -> Team:
    """Return the process's team of this size."""
    return Team(threads)


# A forked child has none of the threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=team.cache_clear)
