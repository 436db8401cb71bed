"""Self-play in the kitchen, and with clones of people: the table of the paper [1], a layout at a time.

    python benchmarks/overcooked_selfplay.py cramped_room [--seeds 5] [--quick] [--processes 2]

Per seed it clones the train people and the test people, then trains a policy by self-play, one that plays more and more
with the train clone, and one that goes on from the train clone and stays near to it. Each is measured in 100 games with
itself, and in either place beside the clone of the test people, the proxy, whom none of them has met. All are runs like
any other. Intervals are 95%, by Student's t over the seeds; published figures are read from the authors' files.

[1] Carroll et al., "On the Utility of Learning about Humans for Human-AI Coordination", arXiv 1910.05789.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from statistics import fmean
from typing import Any

import numpy as np
import torch
from report import finish, over_seeds, run_verb, table

from understudy.acting.player import PolicyPlayer
from understudy.evaluation.play import tally
from understudy.games.kitchen.layout import LAYOUTS
from understudy.games.names import make
from understudy.games.teams import LATEST, Scenario, Side, Teams
from understudy.training.loading import load_policy

GAMES = 100
PROXY = "frozen:proxy"
# With itself; with the proxy, in the first place and in the second. Of self-play, and of PPO with the train clone.
PUBLISHED = {
    "cramped_room": ((199, 97, 111), (None, 156, 164)),
    "asymmetric_advantages": ((167, 38, 103), (None, 73, 179)),
    "coordination_ring": ((191, 67, 73), (None, 126, 130)),
    "forced_coordination": ((152, 23, 38), (None, 59, 77)),
    "counter_circuit": ((122, 31, 32), (None, 70, 58)),
}
KINDS = ("self-play", "with the train clone", "from the train clone")
GAME = ["--option", "view=features", "--segment", "100", "--batch-size", "64", "--epochs", "2", "--eval-games", "20"]
SCRATCH = ["--from", "scratch", *GAME, "--width", "64", "--shaping", "1", "--team-spirit", "1"]


def measured(name: str, proxy: str, layout: str) -> tuple[float, float, float]:
    """Return what a run's policy earns with itself, and beside the proxy in the first and in the second place."""
    policy, other = load_policy(name).policy, load_policy(proxy)
    found = []
    with closing(make(f"kitchen/{layout}", GAMES, view="features")) as env:
        for seats in ((LATEST, LATEST), (LATEST, PROXY), (PROXY, LATEST)):
            players = {
                LATEST: PolicyPlayer(policy, env),
                PROXY: PolicyPlayer(other.policy, env, seed=1, move_temperature=other.move_temperature),
            }
            scenario = Scenario(env.name, (Side("cooks", env.agents, seats),), options=dict(env.options))
            games = tally(Teams(scenario, env, {who: players[who] for who in set(seats)}), range(GAMES))
            found.append(float(games.returns.mean()))
    return found[0], found[1], found[2]


def one_seed(layout: str, seed: int, iterations: int) -> dict[str, Any]:
    """Train all of one seed. Returns what each earns, with the runs' ids and the minutes that each took."""
    data, steps = (
        f"kitchen/{layout}",
        ["--steps", str(iterations), "--eval-every", str(iterations // 4), "--seed", str(seed)],
    )
    clones = [
        run_verb(["clone", "--data", data, "--people", people, "--seed", str(seed), "--play-games", "0"])
        for people in ("train", "test")
    ]
    partner = ["--others", clones[0], "--eval-with", clones[1]]
    commands = {
        "self-play": [*SCRATCH, "--env", data, "--worlds", "256", "--eval-with", clones[1]],
        "with the train clone": [
            *SCRATCH, "--env", data, "--worlds", "512", *partner, "--others-from", "0.1", "--others-by", "0.4",
        ],
        "from the train clone": [
            "--from", clones[0], *GAME, "--worlds", "256", *partner, "--lr", "5e-4", "--anchor", "0.2",
            "--value-warmup", "5", "--shaping", "1", "--team-spirit", "1", "--save-every", str(iterations // 10),
        ],
    }  # fmt: skip
    found: dict[str, Any] = {"clones": clones}
    for kind, command in commands.items():
        began = time.perf_counter()
        name = run_verb(["selfplay", *command, *steps])
        minutes = (time.perf_counter() - began) / 60
        found[kind] = (*measured(name, clones[1], layout), minutes, name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layout", choices=[name for name in LAYOUTS if name in PUBLISHED])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=200, help="of 51,200 steps each")
    parser.add_argument("--processes", type=int, default=2, help="seeds at a time")
    parser.add_argument("--quick", action="store_true", help="one seed, a few iterations")
    options = parser.parse_args()
    seeds, iterations = (1, 8) if options.quick else (options.seeds, options.iterations)
    torch.set_num_threads(1)
    with ThreadPoolExecutor(options.processes) as pool:
        runs = list(pool.map(lambda seed: one_seed(options.layout, seed, iterations), range(seeds)))
    rows: list[list[str]] = []
    for kind in KINDS:
        columns = [[one[kind][place] for one in runs] for place in range(4)]
        rows.append([kind, *(over_seeds(column, ".1f") for column in columns)])
    for kind, figures in zip(KINDS, PUBLISHED[options.layout], strict=False):
        rows.append([f"published: {kind}", *("" if x is None else str(x) for x in figures), ""])
    table(options.layout, ["", "with itself", "with the proxy, first", "second", "minutes"], rows)
    for number, one in enumerate(runs):
        print(
            f"seed {number}: clones {', '.join(one['clones'])}; "
            + ", ".join(f"{kind} {one[kind][4]}" for kind in KINDS)
        )
    with_clone = [fmean(one["with the train clone"][1:3]) for one in runs]
    published = float(np.mean(PUBLISHED[options.layout][1][1:]))  # type: ignore[arg-type]
    finish(
        "overcooked_selfplay", "reward in 400 steps with the proxy", fmean(with_clone),
        {"published": published}, limit=None, target=1.0, ratio=fmean(with_clone) / published,
    )  # fmt: skip


if __name__ == "__main__":
    main()
