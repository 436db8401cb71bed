"""Runs by the thousand, as `Run` writes them, for measurements of whatever reads many."""

import json
import random
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from understudy.runs.find import SLOT, run_id
from understudy.runs.run import Run

VERBS = ("pretrain", "finetune", "eval")
STATUSES = ("finished", "finished", "finished", "failed", "interrupted")
LINES = 30  # of metrics per run


def make_runs(folder: Path, count: int) -> list[str]:
    """Writes `count` runs that have ended, a minute apart, into `folder`; their ids, oldest first.

    Each has the run.json of a real run, with its own figures, and a short journal.
    """
    dice = random.Random(1)
    template = _template()
    began = datetime(2026, 1, 1).astimezone()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    ids = []
    for number in range(count):
        created = began + timedelta(minutes=number) + SLOT * dice.randrange(64 * 60 - 1)
        ids.append(_write(folder, template, created, dice))
    return ids


def _write(folder: Path, template: dict[str, Any], created: datetime, dice: random.Random) -> str:
    run = folder / run_id(created)
    run.mkdir()
    loss = dice.uniform(1, 4)
    record = template | {
        "id": run.name,
        "verb": dice.choice(VERBS),
        "status": dice.choice(STATUSES),
        "created": created.isoformat(timespec="milliseconds"),
        "ended": (created + timedelta(seconds=50)).isoformat(timespec="milliseconds"),
        "seed": dice.randrange(10),
        "config": template["config"] | {"learner": {"lr": dice.choice((1e-4, 3e-4, 1e-3)), "steps": LINES}},
        "outcome": {"val_loss": loss, "headline": ["val_loss", loss]} if dice.random() < 0.9 else {},
    }
    (run / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    lines = (
        {"step": step, "time": created.timestamp() + step, "loss": loss + 1 / (step + 1), "lr": 1e-4}
        for step in range(LINES)
    )
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run.name


def _template() -> dict[str, Any]:
    config = {
        "data": {"data": ["smalltalk"], "strict": False, "valid_fraction": 0.05},
        "core": {"core": "transformer", "layers": 4, "width": 128, "heads": 4, "context": 256},
        "options": {"seed": 0, "device": "auto", "dtype": "auto", "checkpoint_every": 400, "resume": ""},
    }
    with TemporaryDirectory() as folder:
        # Leaving the run waits for the thread that packs its code.
        with Run.create("pretrain", ["understudy", "pretrain"], config, runs_folder=folder) as run:
            pass
        return run.record
