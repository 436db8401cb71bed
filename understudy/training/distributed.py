"""Several processes, one model: what torchrun's environment says, and the collectives of training."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor

from understudy.errors import FirstProcessError

MEETING = timedelta(minutes=5)
# The others wait while the first process tokenizes, evaluates or writes; when one is lost, torchrun ends them at once.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class DistInfo:
    """The rank of this process, and how many there are; (0, 1) without torchrun."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process keeps the record."""
        return self.rank == 0


def dist_from_environment() -> DistInfo:
    """Read torchrun's RANK, WORLD_SIZE and LOCAL_RANK."""
    defaults = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    return DistInfo(*(int(os.environ.get(name, default)) for name, default in defaults))


@contextmanager
def process_group(dist: DistInfo) -> Iterator[None]:
    """Join the other processes, and leave them at the end: by NCCL for tensors on GPUs, one per process, else Gloo."""
    if dist.size == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(dist.local_rank % torch.cuda.device_count())
    store, rank, size = next(torch.distributed.rendezvous("env://", timeout=MEETING))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def all_reduce_sum(value: float, dist: DistInfo, device: torch.device) -> float:
    """Return the sum of `value` over all processes."""
    if dist.size == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(tensor)
    return float(tensor)


def all_gather(tensor: Tensor, dist: DistInfo) -> Tensor:
    """Return the `tensor` (on the CPU) of every process, by rank: [processes, ...]."""
    if dist.size == 1:
        return tensor[None]
    tensors = [torch.empty_like(tensor) for _ in range(dist.size)]
    torch.distributed.all_gather(tensors, tensor)
    return torch.stack(tensors)


@contextmanager
def rank_zero_first(dist: DistInfo) -> Iterator[None]:
    """Let the first process go ahead, to build what the others then find in a cache.

    Raises:
        FirstProcessError: in the other processes, where the first one failed.
    """
    done = False
    if not dist.is_main and not all_reduce_sum(0.0, dist, torch.device("cpu")):
        raise FirstProcessError("the first process failed, and says why")
    try:
        yield
        done = True
    finally:
        if dist.is_main:
            all_reduce_sum(float(done), dist, torch.device("cpu"))
