"""Where and how to compute: device and number format."""

import ctypes
import sys
from functools import cache
from typing import Literal

import torch

from understudy.errors import ConfigError
from understudy.models.spec import CoreSpec

Dtype = Literal["auto", "float32", "bfloat16"]
ServingDtype = Literal["auto", "float32", "bfloat16", "int8"]

# Below this width the matrices are too small for bfloat16 to win back the cost of converting them (docs/journal.md).
BFLOAT16_FROM_WIDTH = {"transformer": 64, "lstm": 224, "none": 512}


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; "auto" is a CUDA GPU if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name} is unknown; expected auto, cpu, cuda or cuda:0") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"--device {name}: no CUDA device is available; try --device cpu")
    return device


@cache
def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16 products (AMX, or AVX-512 BF16)."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def pick_dtype(dtype: Dtype, device: torch.device, spec: CoreSpec) -> torch.dtype:
    """Return the dtype of matrix products in training; "auto" is bfloat16 where the hardware is faster with it."""
    if dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    wide = spec.width >= BFLOAT16_FROM_WIDTH[spec.core]
    faster = device.type == "cuda" or (wide and cpu_multiplies_bfloat16())
    return torch.bfloat16 if faster else torch.float32


def pick_serving_dtype(dtype: ServingDtype, device: torch.device, spec: CoreSpec, trained: str) -> torch.dtype:
    """Return the dtype of the weights when sampling; for int8, that of the plain path beside it.

    "auto" is float32 on a CPU, so that the logits are the model's own, and the training's dtype on a GPU. An LSTM stays
    in float32, since rounding errors in its state would add up over the whole conversation.
    """
    if dtype == "int8":
        if device.type != "cpu":
            raise ConfigError(f"--dtype int8 is for CPUs, not {device.type}; try --dtype bfloat16, or --device cpu")
        return torch.float32
    if dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    half = trained == "bfloat16" and device.type == "cuda" and spec.core == "transformer"
    return torch.bfloat16 if half else torch.float32


def autocast(device: torch.device, dtype: torch.dtype, cache_enabled: bool = True) -> torch.autocast:
    """Return a context of autocast to `dtype`; float32 turns it off."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=cache_enabled)


def compute_dtype(x: torch.Tensor) -> torch.dtype:
    """Return the dtype of matrix products with `x` here: autocast's, or its own."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def prepare_process() -> None:
    """Set up a process that trains or samples on a CPU: flush denormal numbers to zero, and keep freed memory."""
    # Denormals cost up to four times as much as other numbers.
    torch.set_flush_denormal(True)
    # Each step wants the same large tensors again, and glibc would hand them back to the system in between.
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):  # musl has none
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_threshold, 32 << 20)  # the most that glibc allows
