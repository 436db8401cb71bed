"""Samples until a standard task is solved: ours against Stable-Baselines3, seed by seed.

    python benchmarks/standard_tasks.py cartpole [--seeds 5] [--quick] [--processes 2]

needs stable-baselines3 and sb3-contrib. A task is solved at the first evaluation, of 100 games, whose mean return
reaches what the table says; samples are counted up to there, and the whole budget where it never does. Tasks:

- cartpole: CartPole-v1, 475 of 500. lunar: LunarLander-v3, 200 (needs gymnasium[box2d]).
- tmaze: a cue at the start says which way to turn at the end of a corridor of 20: 0.9 of 1. It takes memory.
- credit: the first action decides the reward that comes 128 steps later: 0.9 of 1.

Ours is `understudy selfplay --from scratch`; the peers have the settings of RL Baselines3 Zoo for the classic tasks,
and for the others those of CartPole with our discount and λ, and an LSTM (sb3-contrib) for the T-maze. Where a seed
does not solve a task its whole budget counts, so look at how many did before the ratio.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import gymnasium
import numpy as np
from report import finish, over_seeds, table

from understudy.runs.find import runs_folder
from understudy.runs.journal import read_metrics

HERE = Path(__file__).parent
OURS = ["--worlds", "16", "--segment", "64", "--batch-size", "4", "--epochs", "4", "--kl-stop", "0"]
EVERY = 8192
"""Samples from evaluation to evaluation, of ours and of the peers."""
TASKS: dict[str, dict[str, Any]] = {
    "cartpole": {"id": "CartPole-v1", "solved": 475, "budget": 200_000, "ours": ["--lr", "2e-3", "--entropy", "0"]},
    "lunar": {
        "id": "LunarLander-v3", "solved": 200, "budget": 1_500_000,
        "ours": ["--gamma", "0.999", "--gae-lambda", "0.98", "--segment", "256", "--lr", "2e-3"],
    },
    "tmaze": {"id": "TMaze-v0", "solved": 0.9, "budget": 200_000, "ours": ["--core", "lstm", "--lr", "2e-3"]},
    "credit": {
        "id": "Credit-v0", "solved": 0.9, "budget": 200_000,
        "ours": ["--gamma", "1", "--gae-lambda", "1", "--segment", "128", "--lr", "2e-3"],
    },
}  # fmt: skip
ZOO: dict[str, dict[str, Any]] = {
    "cartpole": {
        "n_envs": 8, "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20,
        "ent_coef": 0.0, "learning_rate": 1e-3, "clip_range": 0.2,
    },
    "lunar": {
        "n_envs": 16, "n_steps": 1024, "batch_size": 64, "gae_lambda": 0.98, "gamma": 0.999, "n_epochs": 4,
        "ent_coef": 0.01,
    },
}  # fmt: skip


class TMaze(gymnasium.Env[np.ndarray, int]):
    """A cue at the start says which way to turn at the corridor's end."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)
    length = 20

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.cue, self.at = int(self.np_random.integers(2)) * 2 - 1, 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.at == self.length and action:
            return self._seen(), 1.0 if (action == 1) == (self.cue == 1) else -1.0, True, False, {}
        wasted = self.at == self.length or action != 0
        self.at += not wasted
        return self._seen(), -0.05 if wasted else 0.0, False, False, {}

    def _seen(self) -> np.ndarray:
        return np.array([self.cue if self.at == 0 else 0, self.at == self.length, 1], np.float32)


class Credit(gymnasium.Env[np.ndarray, int]):
    """What is done in the first step, which a cue tells, decides the reward of the last."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    length = 128

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.cue, self.at, self.right = int(self.np_random.integers(2)), 0, False
        return np.array([1, 2 * self.cue - 1], np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.at == 0:
            self.right = action == self.cue
        self.at += 1
        over = self.at == self.length
        return np.zeros(2, np.float32), float(over and self.right), over, False, {}


gymnasium.register("TMaze-v0", entry_point="standard_tasks:TMaze", max_episode_steps=100)
gymnasium.register("Credit-v0", entry_point="standard_tasks:Credit")


def ours(task: str, seed: int, budget: int) -> int:
    """Return the samples that ours takes; the budget where it does not solve the task."""
    one = TASKS[task]
    worlds, segment = (int(_option(name, [*OURS, *one["ours"]])) for name in ("--worlds", "--segment"))
    name = one["id"] if task in ZOO else f"standard_tasks:{one['id']}"
    arguments = ["selfplay", "--from", "scratch", "--env", f"gym:{name}", *OURS, *one["ours"], "--seed", str(seed)]
    arguments += ["--eval-every", str(EVERY // (worlds * segment))]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "understudy", *arguments, "--steps", str(budget // (worlds * segment))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stderr or done.stdout)
    run = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("run "))
    rows = read_metrics(runs_folder() / run / "metrics.jsonl")
    solved = (row["step"] for row in rows if row.get("val_return", -np.inf) >= one["solved"])
    return min(budget, next(solved, budget) * worlds * segment)


def _option(name: str, options: Sequence[str], usual: object = None) -> Any:
    return [usual, *(value for option, value in pairwise(options) if option == name)][-1]


def theirs(task: str, seed: int, budget: int) -> int:
    """Return the samples that Stable-Baselines3 takes; the budget where it does not solve the task."""
    from sb3_contrib import RecurrentPPO
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    one, settings = TASKS[task], dict(ZOO.get(task, ZOO["cartpole"]))
    if task not in ZOO:
        discount = ("--gamma", "gamma", 0.99), ("--gae-lambda", "gae_lambda", 0.95)
        settings |= {name: float(_option(option, one["ours"], usual)) for option, name, usual in discount}
    envs = make_vec_env(one["id"], settings.pop("n_envs"), seed=seed)
    if task == "tmaze":
        model: Any = RecurrentPPO("MlpLstmPolicy", envs, seed=seed, device="cpu", **settings)
    else:
        model = PPO("MlpPolicy", envs, seed=seed, device="cpu", **settings)
    judge, done = make_vec_env(one["id"], 10, seed=seed + 1000), 0
    while done < budget:
        model.learn(EVERY, reset_num_timesteps=False)
        done = model.num_timesteps
        if evaluate_policy(model, judge, 100, deterministic=False)[0] >= one["solved"]:
            return min(done, budget)
    return budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2, help="of ours at a time")
    parser.add_argument("--quick", action="store_true", help="one seed and a tenth of the budget")
    parser.add_argument("--theirs", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    budget = TASKS[options.task]["budget"] // (10 if options.quick else 1)
    if options.theirs is not None:
        print(theirs(options.task, options.theirs, budget))
        return
    seeds = range(1 if options.quick else options.seeds)
    quick = ["--quick"] if options.quick else []

    def peer(seed: int) -> int:
        command = [sys.executable, __file__, options.task, *quick, "--theirs", str(seed)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])

    with ThreadPoolExecutor(options.processes) as pool:
        mine = list(pool.map(lambda seed: ours(options.task, seed, budget), seeds))
        others = list(pool.map(peer, seeds))
    solved = {"ours": mine, "Stable-Baselines3": others}
    rows = [
        [who, over_seeds(found, ",.0f"), f"{sum(x < budget for x in found)} of {len(found)}"]
        for who, found in solved.items()
    ]
    table(f"{options.task}: samples until {TASKS[options.task]['solved']}", ["", "samples", "solved"], rows)
    ratio = fmean(others) / fmean(mine)
    peers = {"Stable-Baselines3": fmean(others)}
    finish(f"standard_{options.task}", "samples", fmean(mine), peers, limit=None, ratio=ratio, target=1.0)


if __name__ == "__main__":
    main()
