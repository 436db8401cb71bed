"""Clones of people in the kitchen: five seeds of a layout, on games they never saw and by playing with themselves.

    python benchmarks/clone_people.py cramped_room [--quick] [--processes 2]

Each seed is a run of `understudy clone --data kitchen/LAYOUT`, kept among the runs like any other. Intervals are 95%,
by Student's t over the seeds. What predicts the same games without learning to play stands beside; returns stand beside
those of the published clone [1], read from its authors' files.

[1] Carroll et al., "On the Utility of Learning about Humans for Human-AI Coordination", arXiv 1910.05789.
"""

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean, stdev
from typing import Any

from report import finish, table

from understudy.games.kitchen.layout import LAYOUTS
from understudy.runs.find import runs_folder
from understudy.runs.record import read_record
from understudy.statistics import student_quantile

PUBLISHED = {
    "cramped_room": 115,
    "asymmetric_advantages": 141,
    "coordination_ring": 67,
    "forced_coordination": 30,
    "counter_circuit": 48,
}
CLONE = "the clone"


def clone(layout: str, seed: int, options: Sequence[str]) -> dict[str, Any]:
    """Run one seed; returns its outcome, with the id of the run."""
    command = [
        sys.executable,
        "-m",
        "understudy",
        "clone",
        "--data",
        f"kitchen/{layout}",
        "--seed",
        str(seed),
        *options,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr or done.stdout)
    (run,) = (line.split()[1] for line in done.stdout.splitlines() if line.startswith("run "))
    return {**read_record(runs_folder() / run).outcome, "run": run}


def told(values: Sequence[float], form: str) -> str:
    """The mean of the seeds and its interval."""
    reach = student_quantile(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{format(fmean(values), form)} ± {format(reach, form)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("layout", choices=sorted(LAYOUTS))
    parser.add_argument("--quick", action="store_true", help="two seeds of 30 steps")
    parser.add_argument("--processes", type=int, default=2, help="seeds that run at the same time")
    given, options = parser.parse_known_args()
    seeds = range(2 if given.quick else 5)
    options += ["--steps", "30"] if given.quick else []
    with ThreadPoolExecutor(given.processes) as pool:
        found = list(pool.map(lambda seed: clone(given.layout, seed, options), seeds))

    rows = []
    for who in (name for name in found[0]["intervals"] if name != "return"):
        figures = [one["intervals"][who] for one in found]
        columns = {name: [figure[name]["value"] for figure in figures] for name in ("accuracy", "loss", "ece")}
        rows.append([who, told(columns["accuracy"], ".1%"), told(columns["loss"], ".3f"), told(columns["ece"], ".1%")])
    table(f"{given.layout}, {len(seeds)} seeds, games never seen", ["", "right", "nats per action", "ECE"], rows)
    earned = [one["return"] for one in found]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    minutes = (used.ru_utime + used.ru_stime) / 60
    print(f"return with itself {told(earned, '.1f')}; published clone {PUBLISHED[given.layout]}")
    print(f"{minutes:.1f} minutes of processor time; runs {' '.join(one['run'] for one in found)}")
    peers = {"published": float(PUBLISHED[given.layout])}
    ours = fmean(earned)
    finish(f"clone_people {given.layout}", "reward in 400 steps", ours, peers, None, ours / peers["published"], 1.0)


if __name__ == "__main__":
    main()
