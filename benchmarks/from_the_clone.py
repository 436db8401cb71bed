"""Self-play that goes on from a clone, with and without what protects it, and from scratch: lane/creep-block.

    python benchmarks/from_the_clone.py [--seeds 5] [--quick] [--processes 2]

Per seed: 200 games of the scripted expert, a clone of them, and three trainings of as many iterations with the same
options: from the clone with an anchor and a warm-up of the value, from the clone without both, and from scratch. A
return is the mean of 100 games, drawn from the policy's own probabilities. The picture goes to docs/pictures.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from report import finish, run_verb, table

from understudy.evaluation.play import tally
from understudy.games.names import make
from understudy.games.teams import Scenario, Side, Teams
from understudy.runs.find import runs_folder
from understudy.runs.journal import read_metrics

GAME = "lane/creep-block"
COMMON = [
    *("--worlds", "64", "--segment", "64", "--batch-size", "16", "--epochs", "4", "--gamma", "0.995", "--lr", "3e-3"),
    *("--eval-every", "5", "--eval-games", "100", "--save-every", "1000", "--kl-stop", "0"),
]
PER_ITERATION = 64 * 64
KINDS = {
    "from the clone, held": ["--anchor", "0.1", "--value-warmup", "5"],
    "from the clone, free": [],
    "from scratch": ["--from", "scratch", "--env", GAME],
}
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "from-the-clone.png"


def curve(name: str) -> list[float]:
    """Return the returns of a run's evaluations."""
    return [row["val_return"] for row in read_metrics(runs_folder() / name / "metrics.jsonl") if "val_return" in row]


def one_seed(seed: int, iterations: int) -> dict[str, Any]:
    """Return ids and curves of one seed."""
    own = ["--seed", str(seed)]
    clone = run_verb(["clone", "--env", GAME, "--games", "200", "--play-games", "0", *own])
    found: dict[str, Any] = {"clone": clone}
    # How the clone itself does when it draws: an iteration that changes nothing
    still = run_verb(["selfplay", "--from", clone, *COMMON, "--steps", "1", "--lr", "1e-9", *own])
    found["clone's return"] = curve(still)[-1]
    for kind, options in KINDS.items():
        start = options if "--from" in options else ["--from", clone, *options]
        name = run_verb(["selfplay", *start, *COMMON, "--steps", str(iterations), *own])
        found[kind] = curve(name), name
    return found


def expert() -> float:
    """Return what the scripted expert earns, in 1,000 games."""
    with closing(make(GAME, 100)) as env:
        scenario = Scenario(GAME, (Side("west", env.agents, ("script:expert",)),))
        return float(tally(Teams(scenario, env), range(1000)).returns.mean())


def draw(runs: Sequence[dict[str, Any]], best: float) -> None:
    """Draw the curves, a thin line a seed and a thick one for the mean."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for color, kind in zip(("tab:blue", "tab:orange", "tab:green"), KINDS, strict=True):
        curves = np.array([one[kind][0] for one in runs])
        at = PER_ITERATION * 5 * np.arange(1, curves.shape[1] + 1) / 1000
        axes.plot(at, curves.T, color=color, linewidth=0.6, alpha=0.5)
        axes.plot(at, curves.mean(0), color=color, linewidth=2, label=kind)
    clone = float(np.mean([one["clone's return"] for one in runs]))
    axes.axhline(best, color="black", linestyle="dashed", linewidth=1, label="the expert")
    axes.axhline(0.95 * clone, color="gray", linestyle="dotted", linewidth=1, label="95% of the clone")
    axes.set(xlabel="thousand steps played", ylabel="return in creep-block", ylim=(0, None))
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=240, help="of 4,096 steps each")
    parser.add_argument("--processes", type=int, default=2, help="seeds at a time")
    parser.add_argument("--quick", action="store_true", help="one seed, a few iterations, no picture")
    options = parser.parse_args()
    seeds, iterations = (1, 20) if options.quick else (options.seeds, options.iterations)
    with ThreadPoolExecutor(options.processes) as pool:
        runs = list(pool.map(lambda seed: one_seed(seed, iterations), range(seeds)))
    best = expert()
    clones = [one["clone's return"] for one in runs]
    rows = [["the expert", f"{best:.2f}", "", ""], ["its clones", f"{np.mean(clones):.2f}", "", ""]]
    for kind in KINDS:
        curves = [one[kind][0] for one in runs]
        lowest = [min(points) / clone for points, clone in zip(curves, clones, strict=True)]
        reached = [next((5 * n for n, x in enumerate(points, 1) if x >= best), 0) for points in curves]
        told = ", ".join(f"{n * PER_ITERATION:,}" if n else "never" for n in reached)
        ends = f"{np.mean([points[-1] for points in curves]):.2f} ({min(points[-1] for points in curves):.2f} at least)"
        rows.append([kind, ends, f"{min(lowest):.0%}", told])
    table(GAME, ["", "return at the end", "lowest, of the clone's", "steps to the expert's return"], rows)
    for seed, one in enumerate(runs):
        print(f"seed {seed}: clone {one['clone']}; " + "; ".join(f"{kind} {one[kind][1]}" for kind in KINDS))
    if not options.quick:
        draw(runs, best)
        print(f"picture: {PICTURE}")
    held = [min(one["from the clone, held"][0]) / one["clone's return"] for one in runs]
    finish("from_the_clone", "lowest return of the clone's", min(held), {}, None, min(held), 0.95)


if __name__ == "__main__":
    main()
