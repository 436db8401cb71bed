"""What the record costs: time of a step and of a start, log calls a second, snapshots, lists, disk.

    python benchmarks/record_cost.py [--quick]        needs the extra `bench` (mlflow, trackio, wandb)

Every log call writes the same three numbers. A logger counts as durable where what it was given is still readable
after `kill -9` right behind the last call; each is killed so, and what is left is counted.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from report import finish, side_by_side, table
from synthetic_runs import make_runs

from understudy.runs.code import snapshot
from understudy.runs.journal import read_metrics
from understudy.runs.record import read_record
from understudy.runs.run import Run

RUN_SECONDS = 180.0
LOGGERS = ("understudy", "mlflow", "trackio", "wandb")


def main() -> None:
    """Measures each in turn; every line of JSON is one figure of the issue at hand: what recording costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer calls, runs and steps")
    parser.add_argument("--logger", choices=LOGGERS, help=argparse.SUPPRESS)  # one contender, in a process of its own
    parser.add_argument("--calls", type=int, default=1000, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.logger:
        log_and_die(options.logger, options.calls)
    with TemporaryDirectory(prefix="lab-cost-") as folder:
        os.environ["UNDERSTUDY_RUNS"] = f"{folder}/runs"
        measure_training(Path(folder), options.quick)
        measure_loggers(Path(folder), options.quick)
        measure_snapshots(Path(folder), options.quick)
        measure_list(Path(folder), 2_000 if options.quick else 10_000)
        measure_disk(Path(folder), 100 if options.quick else 1_000)


def measure_training(folder: Path, quick: bool) -> None:
    """A step with the record and without; the checks at the start of a real training."""
    from understudy.data.packing import Batch
    from understudy.models.device import prepare_process
    from understudy.models.language_model import LanguageModel
    from understudy.models.spec import CoreConfig
    from understudy.training.learner import Learner, LearnerConfig
    from understudy.training.objectives import ImitationLoss

    prepare_process()
    import torch

    learner = Learner(
        ImitationLoss(LanguageModel(CoreConfig().resolved(), 1024)), LearnerConfig(steps=10**6), torch.device("cpu")
    )
    dice = np.random.default_rng(0)
    ids = dice.integers(0, 1024, (2, 513))
    reset = np.zeros((2, 512), dtype=bool)
    reset[:, 0] = True
    batch = Batch(ids[:, :-1], ids[:, 1:], np.ones((2, 512), dtype=np.float32), reset)
    steps = 5 if quick else 20
    with Run.create("measure", sys.argv, {}) as run:

        def plainly() -> None:
            for _ in range(steps):
                learner.step(batch)

        def recorded() -> None:
            for step in range(steps):
                run.log(step, **learner.step(batch))

        seconds = side_by_side({"recorded": recorded, "plain": plainly}, rounds=6 if quick else 20)
        began = time.perf_counter()
        for step in range(10_000):
            run.log(step, loss=1 / (step + 1), lr=0.006, grad_norm=1.5)
        of_log = (time.perf_counter() - began) / 10_000
    step = seconds["plain"] / steps
    measured = seconds["recorded"] / seconds["plain"] - 1
    rows = [
        ["a step of the default model", f"{step * 1e3:.2f} ms"],
        ["the same with the record, side by side", f"{measured:+.2%} (the noise of the machine included)"],
        ["one log call", f"{of_log * 1e6:.1f} µs, {of_log / step:.4%} of a step"],
    ]
    table("recording", ["what", "cost"], rows)
    finish("cost of recording a step", "share", of_log / step, {}, None, 0.01 / (of_log / step), 1.0)
    measure_checks(folder, quick)


def measure_checks(folder: Path, quick: bool) -> None:
    """What the checks take at the start of the default training, as its own record says."""
    short = ["--steps", "3", "--sample-every", "0", "--smalltalk-conversations", "300" if quick else "20000"]
    command = [sys.executable, "-m", "understudy", "pretrain", *short]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    record = next(path for path in map(read_record, sorted((folder / "runs").glob("2*"))) if path.verb == "pretrain")
    seconds, count = record.data["check_seconds"], len(record.data["checks"])
    share = seconds / RUN_SECONDS
    table(
        "checks at the start", ["what", "cost"], [[f"{count} checks", f"{seconds:.2f} s, {share:.2%} of three minutes"]]
    )
    finish("start checks of a 3-minute run", "share", share, {}, None, 0.03 / share, 1.0)


def measure_loggers(folder: Path, quick: bool) -> None:
    """Each logger in a process of its own, killed after its last call; ours against the fastest that loses nothing."""
    calls = 300 if quick else 2_000
    rates: dict[str, float] = {}
    rows = []
    for name in LOGGERS:
        home = folder / name
        home.mkdir()
        rounds = [_one_logger(home, name, calls) for _ in range(1 if quick else 3)]
        known = [rate for rate, _ in rounds if rate]
        if not known:
            rows.append([name, "absent", ""])
            continue
        rate, left = max(known), min(left for _, left in rounds)
        rows.append([name, f"{rate:,.0f}", f"{left:,} of {calls:,}"])
        if left == calls:
            rates[name] = rate
    table("log calls a second", ["logger", "calls/s", "readable after kill -9"], rows)
    ours = rates.pop("understudy")
    fastest = max(rates.values(), default=float("nan"))
    finish("log calls against the fastest durable peer", "calls/s", ours, rates, None, ours / fastest, 10.0)


def _one_logger(home: Path, name: str, calls: int) -> tuple[float, int]:
    shutil.rmtree(home)
    home.mkdir()
    command = [sys.executable, __file__, "--logger", name, "--calls", str(calls)]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    rate = next((float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("rate ")), 0.0)
    time.sleep(1.0)  # a helping process may still be writing what it was given
    return rate, COUNTS[name](home) if rate else 0


def log_and_die(name: str, calls: int) -> None:
    """Logs `calls` times, says at what rate, and kills itself."""
    log = STARTS[name]()
    log(0)
    began = time.perf_counter()
    for step in range(1, calls):
        log(step)
    print("rate", (calls - 1) / (time.perf_counter() - began), flush=True)
    os.kill(os.getpid(), 9)


def _numbers(step: int) -> dict[str, float]:
    return {"loss": 1 / (step + 1), "lr": 0.006, "grad_norm": 1.5}


def _start_ours() -> Callable[[int], Any]:
    os.environ["UNDERSTUDY_RUNS"] = "runs"
    run = Run.create("measure", [], {})
    return lambda step: run.log(step, **_numbers(step))


def _start_mlflow() -> Callable[[int], Any]:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{os.getcwd()}/mlflow.db")
    mlflow.set_experiment("measure")
    mlflow.start_run()
    return lambda step: mlflow.log_metrics(_numbers(step), step=step)


def _start_trackio() -> Callable[[int], Any]:
    os.environ["TRACKIO_DIR"] = f"{os.getcwd()}/trackio"
    import trackio

    trackio.init(project="measure")
    return lambda step: trackio.log(_numbers(step), step=step)


def _start_wandb() -> Callable[[int], Any]:
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    import wandb

    run = wandb.init(project="measure", dir=os.getcwd())
    return lambda step: run.log(_numbers(step), step=step)


def _count_ours(home: Path) -> int:
    return sum(len(read_metrics(path)) for path in home.glob("runs/*/metrics.jsonl"))


def _count_mlflow(home: Path) -> int:
    import sqlite3

    with sqlite3.connect(home / "mlflow.db") as store:
        return int(store.execute("select count(*) from metrics where key = 'loss'").fetchone()[0])


def _count_trackio(home: Path) -> int:
    import sqlite3

    count = 0
    for path in (home / "trackio").rglob("*.db"):
        with sqlite3.connect(path) as store:
            count += int(store.execute("select count(*) from metrics").fetchone()[0])
    return count


def _count_wandb(home: Path) -> int:
    """The history records in its log: blocks of 32,768 bytes, as LevelDB writes them."""
    from wandb.proto import wandb_internal_pb2

    count, message = 0, b""
    for path in home.rglob("*.wandb"):
        content, at = path.read_bytes(), 7
        while at + 7 <= len(content):
            if 32_768 - at % 32_768 < 7:
                at += 32_768 - at % 32_768
                continue
            length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
            piece, at = content[at + 7 : at + 7 + length], at + 7 + length
            message = piece if kind in (1, 2) else message + piece
            if kind in (1, 4):  # whole, or the last piece
                record = wandb_internal_pb2.Record()
                record.ParseFromString(message)
                count += record.WhichOneof("record_type") == "history"
    return count


STARTS = {"understudy": _start_ours, "mlflow": _start_mlflow, "trackio": _start_trackio, "wandb": _start_wandb}
COUNTS = {"understudy": _count_ours, "mlflow": _count_mlflow, "trackio": _count_trackio, "wandb": _count_wandb}


def measure_snapshots(folder: Path, quick: bool) -> None:
    """A repository of 2,000 files with edits: the first snapshot on a commit, and those after it."""
    repository = _repository(folder / "repository", files=2_000)
    rows, later = [], []
    for kind in ("loose", "packed"):
        if kind == "packed":
            subprocess.run(["git", "gc", "--quiet"], cwd=repository, check=True)
        pool = folder / f"pool-{kind}"
        seconds = []
        for number in range(4 if quick else 8):
            (repository / "new.py").write_text(f"number = {number}\n")
            began = time.perf_counter()
            taken = snapshot.take(repository, f"{kind}{number}", folder / "code" / f"{kind}{number}", pool)
            seconds.append(time.perf_counter() - began)
            assert taken.finish() == ""
        later += seconds[1:]
        size = sum(path.stat().st_size for path in repository.rglob("*.py")) / 1e6
        rows.append(
            [f"{size:.0f} MB, objects {kind}", f"{seconds[0] * 1e3:.0f} ms", f"{np.median(seconds[1:]) * 1e3:.0f} ms"]
        )
    table("snapshot of 2,000 files with edits", ["repository", "first on its commit", "later"], rows)
    ours = float(np.median(later)) * 1e3
    finish("snapshot of 2,000 files", "ms", ours, {}, None, 100.0 / ours, 1.0)


def _repository(folder: Path, files: int) -> Path:
    dice = random.Random(1)
    words = ["".join(dice.choices("abcdefghij_", k=dice.randint(3, 9))) for _ in range(2000)]
    for number in range(files):
        path = folder / f"package{number % 40}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(" ".join(dice.choices(words, k=8)) + "\n" for _ in range(dice.randint(20, 120))))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=first"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


def measure_list(folder: Path, count: int) -> None:
    """`understudy runs` as a whole process, over many runs: the latest 30, and a query that reads them all."""
    runs = folder / "many"
    make_runs(runs, count)
    environment = {**os.environ, "UNDERSTUDY_RUNS": str(runs)}
    seconds = {}
    for what, query in (("the latest 30", []), ("a query on a metric", ["list", "loss<1.5 and verb=eval"])):
        times = []
        for _ in range(3 if query else 7):
            began = time.perf_counter()
            command = [sys.executable, "-m", "understudy", "runs", *query]
            subprocess.run(command, env=environment, check=True, capture_output=True)
            times.append(time.perf_counter() - began)
        seconds[what] = float(np.median(times))
    rows = [[what, f"{value:.2f} s"] for what, value in seconds.items()]
    table(f"list of {count:,} runs", ["what", "whole process"], rows)
    latest = seconds["the latest 30"]
    finish(f"list of {count:,} runs", "s", latest, {}, None, 0.3 / latest, 1.0)


def measure_disk(folder: Path, count: int) -> None:
    """What runs of one tree, edits included, take on disk."""
    os.chdir(folder / "repository")
    runs = folder / "equal"
    for number in range(count):
        with Run.create("measure", ["x"], {"number": number}, runs_folder=runs):
            pass
    links = {(path.stat().st_ino, path.stat().st_size) for path in runs.rglob("*") if path.is_file()}
    code = {(path.stat().st_ino, path.stat().st_size) for path in runs.rglob("*.bundle")}
    total, of_code = sum(size for _, size in links), sum(size for _, size in code)
    one = of_code / 1e6
    rows = [["code, all runs together", f"{one:.1f} MB"], ["everything", f"{total / 1e6:.1f} MB"]]
    table(f"disk for {count:,} runs of one tree", ["what", "size"], rows)
    print(json.dumps({"name": f"disk for {count} runs of one tree", "unit": "MB", "ours": total / 1e6, "code": one}))


if __name__ == "__main__":
    main()
