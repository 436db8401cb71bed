"""Clones of people in the kitchen: five seeds of a layout, on games they never saw and by playing with themselves.

    python benchmarks/clone_people.py cramped_room [--quick] [--processes 2] [--imitation VENV/bin/python]

Each seed is a run of `understudy clone --data kitchen/LAYOUT`, kept among the runs like any other; options that are not
named here are the clone's. Intervals are 95%, by Student's t over the seeds. What predicts the same games without
learning to play stands beside; returns stand beside those of the published clone [1], read from its authors' files.
With --imitation, the Python of an environment that has the package `imitation` (it pins an old gymnasium), its
behaviour cloning learns from the same steps.

[1] Carroll et al., "On the Utility of Learning about Humans for Human-AI Coordination", arXiv 1910.05789.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from report import finish, table

from understudy.config import child_seed
from understudy.evaluation.baselines import Steps
from understudy.evaluation.play import calibration_error
from understudy.games.demonstrations import GameBatches
from understudy.games.kitchen.layout import LAYOUTS
from understudy.recipes.demonstrations import DemonstrationConfig, gather
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
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr or done.stdout)
    (run,) = (line.split()[1] for line in done.stdout.splitlines() if line.startswith("run "))
    return {**read_record(runs_folder() / run).outcome, "run": run}


def imitation(layout: str, seed: int, python: str) -> dict[str, dict[str, float]]:
    """Have `imitation` clone from what a run of this seed learns from; returns its figures as an outcome has them."""
    games = gather(DemonstrationConfig(data=(f"kitchen/{layout}",)), child_seed(seed, "games")).play
    train, valid, test = (
        Steps(GameBatches(part, len(part), last_action=games.recording.action).eval_batches())
        for part in (games.train, games.valid, games.test)
    )
    with tempfile.TemporaryDirectory() as folder:
        given, found = f"{folder}/steps.npz", f"{folder}/found.npy"
        seen = {"train_NF": train.inputs_NF, "valid_NF": valid.inputs_NF, "test_NF": test.inputs_NF}
        np.savez(given, train_N=train.actions_N, valid_N=valid.actions_N, **seen)
        script = Path(__file__).with_name("imitation_bc.py")
        done = subprocess.run([python, script, given, found, str(seed)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        predicted = test.compared(np.load(found).astype(np.float64))
    figures = {"accuracy": predicted.right.mean(), "loss": predicted.nats.mean()}
    figures["ece"] = calibration_error(predicted.confidence, predicted.right)
    return {name: {"value": float(value)} for name, value in figures.items()}


def told(values: Sequence[float], form: str) -> str:
    """The mean of the seeds and its interval."""
    reach = student_quantile(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{format(fmean(values), form)} ± {format(reach, form)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("layout", choices=sorted(LAYOUTS))
    parser.add_argument("--quick", action="store_true", help="two seeds of 30 steps")
    parser.add_argument("--processes", type=int, default=2, help="seeds that run at the same time")
    parser.add_argument("--imitation", help="a Python that has the package imitation")
    given, options = parser.parse_known_args()
    seeds = range(2 if given.quick else 5)
    options += ["--steps", "30"] if given.quick else []
    with ThreadPoolExecutor(given.processes) as pool:
        found = list(pool.map(lambda seed: clone(given.layout, seed, options), seeds))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if given.imitation:
        for seed, one in zip(seeds, found, strict=True):
            one["intervals"]["imitation's BC"] = imitation(given.layout, seed, given.imitation)
    else:
        print("imitation's BC is left out: no --imitation PYTHON, of an environment with imitation 1.0.1")

    rows = []
    for who in (name for name in found[0]["intervals"] if name != "return"):
        figures = [one["intervals"][who] for one in found]
        columns = {name: [figure[name]["value"] for figure in figures] for name in ("accuracy", "loss", "ece")}
        rows.append([who, told(columns["accuracy"], ".1%"), told(columns["loss"], ".3f"), told(columns["ece"], ".1%")])
    table(f"{given.layout}, {len(seeds)} seeds, games never seen", ["", "right", "nats per action", "ECE"], rows)
    earned = [one["return"] for one in found]
    minutes = (used.ru_utime + used.ru_stime) / 60
    print(f"return with itself {told(earned, '.1f')}; published clone {PUBLISHED[given.layout]}")
    print(f"{minutes:.1f} minutes of processor time; runs {' '.join(one['run'] for one in found)}")
    peers = {"published": float(PUBLISHED[given.layout])}
    ours = fmean(earned)
    finish(f"clone_people {given.layout}", "reward in 400 steps", ours, peers, None, ours / peers["published"], 1.0)


if __name__ == "__main__":
    main()
