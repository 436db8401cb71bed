"""Memory in pages of 2 MiB where the system has them. The processor then finds its way in memory with fewer look-ups.

Decoding reads all weights for each token, and from pages of 4 KiB it reads them up to a third more slowly
(docs/journal.md). Linux gives huge pages to those who ask, by `madvise`; elsewhere memory is as usual.
"""

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor, nn

PAGE = 2 << 20
REGION = 16 * PAGE
"""What is asked of the system at a time. Of it only the pages that are written to are taken."""
ALIGNED = 64


class HugePages:
    """Room for tensors on a CPU, which lie side by side. The memory lives as long as any of them."""

    def __init__(self) -> None:
        self._free = torch.empty(0, dtype=torch.uint8)

    def zeros(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return a tensor of zeros."""
        size = math.prod(shape) * dtype.itemsize
        if size == 0 or not hasattr(mmap, "MADV_HUGEPAGE"):
            return torch.zeros(shape, dtype=dtype)
        if size > len(self._free):
            self._free = _region(max(size, REGION))
        bytes_, self._free = self._free[:size], self._free[-(-size // ALIGNED) * ALIGNED :]
        return bytes_.view(dtype).view(tuple(shape))

    def copy(self, tensor: Tensor) -> Tensor:
        """Return a copy of a tensor."""
        return self.zeros(tensor.shape, tensor.dtype).copy_(tensor.detach())


def _region(size: int) -> Tensor:
    """Return zeros that begin at the start of a page."""
    memory = mmap.mmap(-1, -(-size // PAGE) * PAGE + PAGE)
    try:
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:
        # A system built without huge pages
        pass
    whole = torch.frombuffer(memory, dtype=torch.uint8)
    return whole[-whole.data_ptr() % PAGE :][:size]


def settle(model: nn.Module) -> None:
    """Move a model's parameters on the CPU to huge pages, one after another, so that none is held twice for long."""
    pages = HugePages()
    for parameter in model.parameters():
        if parameter.device.type == "cpu":
            parameter.data = pages.copy(parameter)
