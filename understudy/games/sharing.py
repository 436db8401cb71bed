"""Worlds of native games shared out among threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

FEW = 128
"""Worlds below which another thread costs more than it does."""


class Sharing:
    """Calls a function for shares of the worlds, on a thread each.

    >>> Sharing(worlds=300, threads=2).cuts
    [(0, 150), (150, 300)]
    """

    def __init__(self, worlds: int, threads: int) -> None:
        """Share out among so many threads at most; 0 means one per core."""
        threads = min(threads or _cores(), -(-worlds // FEW))
        self.cuts = list(pairwise(np.linspace(0, worlds, threads + 1).astype(int).tolist()))
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def call(self, share: Callable[[int, int], None]) -> None:
        """Call `share(start, stop)` for each share, and return when all are done."""
        waiting = [self._pool.submit(share, *cut) for cut in self.cuts[1:]] if self._pool else []
        share(*self.cuts[0])
        for one in waiting:
            one.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool:
            self._pool.shutdown()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
