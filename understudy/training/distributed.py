"""Several processes, one model: what torchrun's environment says, and the sums they must agree on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


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
    """Join the other processes (NCCL on GPUs, Gloo on CPUs) and leave them at the end."""
    if world.size == 1:
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
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


@contextmanager
def main_first(world: World) -> Iterator[None]:
    """The first process goes ahead (to build what is then found in a cache), the others follow."""
    if world.size > 1 and not world.is_main:
        dist.barrier()
    yield
    if world.size > 1 and world.is_main:
        dist.barrier()
