"""What a run stood on: the processor, the memory, the installed packages."""

import os
import platform
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")

# Environment variables that change what a program computes, by name or beginning.
VARIABLES = ("OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "ATEN_", "CUBLAS_", "CUDA_", "NVIDIA_", "PYTORCH_", "TORCH_")
OTHER_VARIABLES = ("PYTHONHASHSEED", "LANG", "LC_ALL", "TZ")


def hardware() -> dict[str, Any]:
    """{"cpu": name, "cores": those this process may use, "memory_bytes", "cpu_flags": those that decide on speed}."""
    info = _cpu_info()
    flags = info.get("flags", info.get("Features", "")).split()
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in flags],
    }


def environment() -> dict[str, str]:
    """The environment variables that change what a program computes: threads, kernels, devices, language."""
    return {
        name: os.environ[name] for name in sorted(os.environ) if name.startswith(VARIABLES) or name in OTHER_VARIABLES
    }


def packages() -> dict[str, str]:
    """The version of every installed distribution, by name."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:  # a half-removed package leaves a folder without one
            found.setdefault(name, distribution.version)  # the first on the path is the one that is imported
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _cpu_info() -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo; nothing where that is absent."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
