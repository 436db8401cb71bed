"""What every benchmark prints: a table of one run, and a last line of JSON."""

import json
import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

console = Console(width=110)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table, the first column to the left and the others to the right."""
    drawn = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        drawn.add_column(column, justify="right" if index else "left")
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


def finish(
    name: str, unit: str, ours: float, peers: Mapping[str, float], limit: float | None, ratio: float, target: float
) -> None:
    """The last line: one JSON object; `met` where the ratio reaches the target."""
    figures = {"name": name, "unit": unit, "ours": ours, "peers": dict(peers), "limit": limit}
    print(json.dumps(figures | {"ratio": ratio, "target": target, "met": ratio >= target}))


def side_by_side(contenders: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each, run in turn round after round, so that a slow moment of the machine strikes them all."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warm_up + rounds):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in seconds.items()}


def matrix_rate(dtype: torch.dtype, size: int = 1536) -> float:
    """Operations a second of a square matrix product: the arithmetic limit in practice."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / side_by_side({"product": lambda: a @ b}, rounds=9, warm_up=2)["product"]


def read_bandwidth(megabytes: int = 256) -> float:
    """Bytes a second that a sum over a large buffer reads."""
    buffer = torch.ones(megabytes * 2**18)
    return buffer.nbytes / side_by_side({"sum": buffer.sum}, rounds=9, warm_up=2)["sum"]
