"""Examine a training run, or a configuration before it is run: every check for silent bugs, at length."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from understudy.config import from_dict
from understudy.doctor.baselines import Figures, earlier_figures
from understudy.doctor.checks import Check, Examination, Verdict, run_checks, untouched
from understudy.doctor.monitors import FIRST_STEPS, Watch
from understudy.doctor.probes import twin
from understudy.doctor.sampling import SAMPLING_CHECKS
from understudy.doctor.start import AT_LENGTH
from understudy.errors import ConfigError
from understudy.files import write_json
from understudy.models.device import prepare_process
from understudy.recipes.learning import Lesson, set_up
from understudy.runs.find import find_run, runs_folder
from understudy.runs.run import NullRecorder, Run
from understudy.training.checkpoint import TRAINING_VERBS, list_checkpoints, restore
from understudy.training.distributed import World

STYLES = {"ok": "green", "failed": "bold red", "noted": "yellow", "skipped": "dim"}
CHECKS: tuple[Check, ...] = (*AT_LENGTH, *SAMPLING_CHECKS)

Begin = Callable[[str], None]


@dataclass(frozen=True)
class Config:
    """Looks for silent bugs in a training run, or in a configuration yet to run; exit code 1 if one is found."""

    target: Annotated[str, tyro.conf.arg(metavar="RUN|CONFIG")]
    """A run (its id, a beginning of it, last, last:pretrain), or a JSON file with a "verb" and a "config"."""


def main(config: Config, console: Console) -> int:
    """See `Config`; the exit code."""
    prepare_process()
    verdicts = examine(config.target, console)
    console.print(_table(verdicts, config.target))
    failed = [one for one in verdicts if one.verdict == "failed"]
    for one in failed:
        console.print(Text(f"{one.name}: likely {', or '.join(one.causes)}", style="red"), soft_wrap=True)
    return 1 if failed else 0


def examine(target: str, console: Console) -> list[Verdict]:
    """Every check's verdict: on the weights that the run begins with, or on those of its last checkpoint."""
    with _opened(target) as run:
        recipe = import_module(f"understudy.recipes.{run.verb}")
        recorded = list(run.record["data"])
        with console.status("preparing the data and the model"):
            lesson = recipe.prepare_lesson(from_dict(recipe.Config, run.config), run, World())
        if recorded and run.record["data"] != recorded:
            changed = "The data files have changed since this run: it is examined with what they are now."
            console.print(changed, style="yellow", soft_wrap=True)
        with _progress(console) as begin:
            return _examine(lesson, run, begin)


def _examine(lesson: Lesson, run: Run, begin: Begin) -> list[Verdict]:
    experiment = Examination(**vars(set_up(lesson, run, World())), thorough=True)
    checkpoints = list_checkpoints(run.folder)
    # Fine-tuning that has begun no longer knows its base: its first steps are not those of the earlier runs.
    earlier = earlier_figures(run.folder.parent, run.record) if lesson.fresh or not checkpoints else []

    def tell(check: Check) -> None:
        begin(check.name)

    at_start = [check for check in CHECKS if check.about_start or not checkpoints]
    verdicts = run_checks(at_start, experiment, begin=tell)
    begin(f"{FIRST_STEPS} steps")
    verdicts += rehearse(experiment, earlier)
    if checkpoints:
        with untouched(experiment.learner.device):
            restore(experiment.learner, checkpoints[-1])
        later = [check for check in CHECKS if not check.about_start]
        verdicts += run_checks(later, replace(experiment, fresh=False), begin=tell)
    return verdicts


def rehearse(experiment: Examination, earlier: Sequence[Figures] = ()) -> list[Verdict]:
    """What the watchers say of the first steps, which a copy of the learner takes."""
    with untouched(experiment.learner.device):
        learner = twin(experiment.learner)
        watch = Watch(learner, earlier)
        for step in range(min(FIRST_STEPS, learner.config.steps)):
            watch.before()
            watch.after(learner.step(experiment.batches.batch(step)))
            if watch.finite.found:
                break
    return watch.verdicts()


@contextmanager
def _opened(target: str) -> Iterator[Run]:
    """The run, or one made up for the configuration in a file; nothing is written to either."""
    if not Path(target).is_file():
        run = NullRecorder.follow(find_run(target, verbs=TRAINING_VERBS))
        yield _of_training(run, target)
        return
    record = _read(Path(target))
    with tempfile.TemporaryDirectory(prefix="understudy-doctor-") as place:
        folder = Path(place) / "made-up"
        folder.mkdir()
        write_json(folder / "run.json", record)
        cache = runs_folder() / "cache"
        if cache.is_dir():
            (Path(place) / "cache").symlink_to(cache)  # data that were prepared once are found there
        yield _of_training(NullRecorder.follow(folder), target)


def _of_training(run: Run, target: str) -> Run:
    if run.verb not in TRAINING_VERBS:
        raise ConfigError(
            f"{target} is of {run.verb}; expected a run or configuration of {' or '.join(TRAINING_VERBS)}"
        )
    return run


def _read(path: Path) -> dict[str, Any]:
    """The verb and configuration in a file, as a record without anything that a run left."""
    try:
        found = json.loads(path.read_bytes())
        verb, config = found["verb"], found["config"]
        seed = int(config["options"]["seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f'{path} cannot be examined ({type(error).__name__}: {error}); expected JSON with a "verb" and a "config", '
            "as a run.json has them"
        ) from error
    return {"id": "made-up", "verb": verb, "config": config, "seed": seed, "seeds": {}, "data": [], "checks": []}


@contextmanager
def _progress(console: Console) -> Iterator[Begin]:
    """A bar that names the check at work."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(CHECKS) + 1, completed=-1)
        yield lambda name: progress.update(task, description=name, advance=1)


def _table(verdicts: Sequence[Verdict], target: str) -> Table:
    counts = [f"{sum(v.verdict == kind for v in verdicts)} {kind}" for kind in STYLES]
    table = Table(
        "check",
        "verdict",
        "measured",
        "expected",
        title=f"{target}: {', '.join(counts)}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for one in verdicts:
        table.add_row(one.name, Text(one.verdict, STYLES[one.verdict]), Text(one.measured), Text(one.expected))
    return table
