"""The built-in model: trained on the built-in conversations when it is first asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from understudy.console import say
from understudy.errors import RunNotFoundError
from understudy.files import plain
from understudy.recipes import pretrain
from understudy.recipes.launch import launch
from understudy.runs.find import list_runs
from understudy.runs.record import Record, list_checkpoints
from understudy.training.checkpoint import read_state

NAME = "smalltalk"
BUILT_IN = pretrain.Config(minutes=4.0)
"""How it is trained: in so many minutes, installing aside, on any machine."""


def ready(console: Console) -> Path:
    """Return the last finished run of the built-in model; resume or start one if there is none.

    Ctrl-C ends the training and returns the run as it stands. Raises KeyboardInterrupt where nothing is saved yet.
    """
    mine = _runs()
    if finished := [record.folder for record in mine if record.status == "finished"]:
        return finished[-1]
    config, argv = BUILT_IN, ["--minutes", f"{BUILT_IN.minutes:g}"]
    stopped = [record for record in mine if record.status in ("dead", "interrupted")]
    if unfinished := [record.id for record in stopped if list_checkpoints(record.folder)]:
        plain_config = pretrain.Config()
        config = replace(plain_config, options=replace(plain_config.options, resume=unfinished[-1]))
        argv = ["--resume", unfinished[-1]]
    try:
        return launch("pretrain", pretrain.main, config, argv)
    except KeyboardInterrupt:
        # What has been learned so far can talk already.
        stopped = [record for record in _runs() if record.status == "interrupted"]
        if not stopped or not (checkpoints := list_checkpoints(stopped[-1].folder)):
            raise
        done, steps = read_state(checkpoints[-1])["steps_done"], _steps(stopped[-1].data["config"])
        say(
            console,
            f"It has learned {done / steps:.0%} of the way ({done:,} of {steps:,} steps), so expect mistakes. "
            f"To go on: understudy pretrain --resume {stopped[-1].id}, or understudy chat once more.",
            "yellow",
        )
        return stopped[-1].folder


def trained() -> Path:
    """Return the last run of the built-in model that finished or, failing that, saved a checkpoint.

    Raises RunNotFoundError if there is none.
    """
    mine = [record for record in _runs() if list_checkpoints(record.folder)]
    if not mine:
        raise RunNotFoundError("the built-in model is not trained yet; try understudy chat, or name a run")
    return max(mine, key=lambda record: (record.status == "finished", record.created)).folder


def _runs() -> list[Record]:
    """Return the runs that train the built-in model: with its options, or with those of plain `understudy pretrain`."""
    wanted = [plain(config) for config in (BUILT_IN, replace(BUILT_IN, minutes=0.0))]
    made = [record for record in list_runs() if record.verb == "pretrain"]
    return [record for record in made if {**record.data.get("config", {}), "plan": []} in wanted]


def _steps(config: dict[str, Any]) -> int:
    """Return how many steps the run is to take, as decided last."""
    plan = config["plan"]
    steps: int = plan[-1][1] if plan else config["learner"]["steps"]
    return steps
