"""Several processes, one model: what torchrun's environment says, and the sums they must agree on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from understudy.errors import FirstProcessError

MEETING = timedelta(minutes=5)
# The others wait while the first process tokenizes, evaluates or writes; when one is lost, torchrun ends them at once.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class World:
    """Which of how many processes this is; (0, 1) alone."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process keeps the record."""
        return self.rank == 0


def world_from_environment() -> World:
    """What torchrun said in RANK, WORLD_SIZE and LOCAL_RANK."""
    return World(
        *(int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    )


@contextmanager
def process_group(world: World) -> Iterator[None]:
    """Join the other processes (NCCL for tensors on GPUs, one for each, Gloo for others); leave them at the end."""
    if world.size == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(world.local_rank % torch.cuda.device_count())
    store, rank, size = next(dist.rendezvous("env://", timeout=MEETING))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def total(value: float, world: World, device: torch.device) -> float:
    """The sum of `value` over all processes."""
    if world.size == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(tensor)
    return float(tensor)


def everyones(tensor: Tensor, world: World) -> Tensor:
    """The `tensor` (on the CPU) of every process, by rank: [processes, ...]."""
    if world.size == 1:
        return tensor[None]
    tensors = [torch.empty_like(tensor) for _ in range(world.size)]
    dist.all_gather(tensors, tensor)
    return torch.stack(tensors)


@contextmanager
def main_first(world: World) -> Iterator[None]:
    """The first process goes ahead (to build what is then found in a cache); the others follow, or fail as it did."""
    done = False
    if not world.is_main and not total(0.0, world, torch.device("cpu")):
        raise FirstProcessError("the first process failed, and says why")
    try:
        yield
        done = True
    finally:
        if world.is_main:
            total(float(done), world, torch.device("cpu"))
