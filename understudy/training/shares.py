"""A step's work shared among threads that do not wait for one another: each computes whole rows of the batch.

Torch divides one operation after another among its threads, and all wait for the last one each time. That costs little
for large matrices. Small operations run on one thread while the others idle, and a thread whose core is taken by other
work holds up all the others, hundreds of times a step.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Result = TypeVar("Result")


def run_shares(shares: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run all at the same time, each on a thread of its own and with its part of torch's threads; their results."""
    threads, flushes = torch.get_num_threads(), float(torch.tensor(1e-40) / 2) == 0.0
    each = max(1, threads // len(shares))

    def run(share: Callable[[], Result]) -> Result:
        # Both are settings of the thread, MKL's number of threads excepted.
        torch.set_num_threads(each)
        torch.set_flush_denormal(flushes)
        return share()

    others = [_pool(len(shares) - 1).submit(run, share) for share in shares[1:]]
    try:
        first = run(shares[0])
        return [first, *(other.result() for other in others)]
    finally:
        for other in others:
            other.exception()
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="learn")


# A forked child has none of the threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
