"""What every benchmark shares: contenders in processes of their own, a table of one run, and a last line of JSON.

In one process the thread pool of one library slows the next, so contenders that are compared run in processes of their
own, one at a time, in turn. The others sleep meanwhile. `race` starts the benchmark's script once per contender; the
script calls `contend` first of all, which makes that contender and runs it when it is asked to.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from understudy.statistics import student_quantile

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


def run_verb(arguments: Sequence[str]) -> str:
    """Run a verb of understudy on one thread, and return the id of its run. Exits with what it said where it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "understudy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr or done.stdout)
    return next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("run "))


def over_seeds(values: Sequence[float], form: str) -> str:
    """Return the mean of some seeds with its 95% interval, by Student's t."""
    if len(values) < 2:
        return format(values[0], form)
    reach = student_quantile(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{format(fmean(values), form)} ± {format(reach, form)}"


Maker = Callable[..., Callable[..., Any]]
"""Makes a contender from its options: a function from arguments to a result, both such as JSON can hold."""
ASK = "--contend"


def contend(makers: Mapping[str, Maker]) -> None:
    """In a process that `Racer` started, make the contender asked for, run it at each request, and exit."""
    if ASK not in sys.argv:
        return
    name, options = json.loads(sys.argv[sys.argv.index(ASK) + 1])
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        run, missing = makers[name](**options), ""
    except Exception as error:  # a peer that breaks must not stop the others
        run, missing = (lambda: None), f"{type(error).__name__}: {error}"[:60]
    print(json.dumps(missing), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), file=answers, flush=True)
    # The threads of some libraries do not end with the interpreter.
    os._exit(0)


class Racer:
    """A contender in a process of its own, which sleeps until it is called. `missing` says why there is none, if so."""

    def __init__(self, name: str, environment: Mapping[str, str], options: Mapping[str, object]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, sys.argv[0], ASK, json.dumps([name, options])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | environment,
        )  # fmt: skip
        self.missing: str
        try:
            self.missing = self._answer()
        except ChildProcessError as error:
            self.missing = str(error)

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise ChildProcessError(
                f"its process ended by {signal.Signals(-code).name if code < 0 else f'code {code}'}"
            )
        return json.loads(line)

    def __call__(self, **arguments: object) -> Any:
        """Run it once, alone."""
        assert self._process.stdin
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def racers(contenders: Mapping[str, tuple[str, Mapping[str, object]]]) -> Iterator[dict[str, Racer]]:
    """Start the contenders, by their names in tables: which maker makes each, with which options.

    Ours wait as the `understudy` command has them wait, the others as they do by themselves.
    """
    with ExitStack() as stack:
        started = {}
        for name, (maker, options) in contenders.items():
            environment = {"GOMP_SPINCOUNT": "10000"} if name.startswith("ours") else {}
            started[name] = Racer(maker, environment, options)
            stack.callback(started[name].close)
        yield started


def race(entrants: Mapping[str, Racer], rounds: int, **arguments: object) -> dict[str, list[Any]]:
    """Run each in turn, round after round, so that a slow moment of the machine strikes them all; their results.

    A first round only warms up. Those that are missing have no results.
    """
    results: dict[str, list[Any]] = {name: [] for name, racer in entrants.items() if not racer.missing}
    for number in range(1 + rounds):
        for name in list(results):
            try:
                result = entrants[name](**arguments)
            except ChildProcessError as error:
                entrants[name].missing = str(error)
                del results[name]
                continue
            if number:
                results[name].append(result)
    return results


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep that many other processes computing."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def reading() -> Callable[[], float]:
    """Make the contender that reads memory: bytes per second of 1 GiB in huge pages by all cores, best of three."""
    import numba

    from understudy.models.huge_pages import HugePages

    numbers = HugePages().zeros([1 << 28], torch.float32)
    numbers += 1
    threads = torch.get_num_threads()
    numba.set_num_threads(threads)

    @numba.njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
    def total(rows: Any) -> Any:
        sums = np.zeros(16 * len(rows), np.float32)
        for row in numba.prange(len(rows)):
            # Four streams: from one alone a core reads a third less.
            part = rows[row]
            a = b = c = d = np.float32(0)
            for index in range(part.shape[1]):
                a += part[0, index]
                b += part[1, index]
                c += part[2, index]
                d += part[3, index]
            sums[16 * row] = a + b + c + d
        return sums

    rows = numbers.numpy().reshape(threads, 4, -1)
    return lambda **_: max(numbers.nbytes / _seconds(lambda: total(rows)) for _ in range(4))


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


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
