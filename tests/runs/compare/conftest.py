"""Runs to compare: real ones in a repository, and folders written by hand."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from understudy.runs.compare.runs import ComparedRun, compared
from understudy.runs.journal import Journal

MakeRun = Callable[..., Path]
BEGAN = datetime.fromisoformat("2026-11-23T14:12:00+00:00")


@pytest.fixture
def make_run(here: Path) -> MakeRun:
    """Writes the folder of a run without code: `words` of its id, metrics as {name: [value at step 0, 1, ...]}."""
    made: list[Path] = []

    def make(words: str, metrics: dict[str, list[float]] | None = None, **record: Any) -> Path:
        created = BEGAN + timedelta(minutes=len(made))
        folder = Path("runs", f"{created:%Y%m%d-%H%M}-{words}")
        folder.mkdir(parents=True)
        facts = {"verb": "pretrain", "status": "finished", "created": created.isoformat(), "seed": 0, "config": {}}
        (folder / "run.json").write_text(json.dumps(facts | record))
        journal = Journal(folder / "metrics.jsonl")
        for step in range(max(map(len, (metrics or {}).values()), default=0)):
            journal.log(step, **{name: values[step] for name, values in (metrics or {}).items() if step < len(values)})
        journal.close()
        made.append(folder)
        return folder

    return make


@pytest.fixture
def runs_of(make_run: MakeRun) -> Callable[..., list[ComparedRun]]:
    """Runs of settings: {setting: {seed: final val_bpb}}, told apart by the configuration key model.core."""

    def make(settings: dict[str, dict[int, float]], metric: str = "val_bpb") -> list[ComparedRun]:
        folders = []
        for core, values in settings.items():
            for seed, value in values.items():
                config = {"model": {"core": core}, "options": {"seed": seed}}
                folders.append(make_run(f"{core}-s{seed}", {metric: [9.0, value]}, seed=seed, config=config))
        return compared(folders)

    return make
