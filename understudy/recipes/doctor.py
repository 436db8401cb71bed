"""Examine a training run, or a configuration before it is run, for silent bugs."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.text import Text

from understudy.config import from_dict
from understudy.console import progress, say, table
from understudy.doctor.baselines import FIRST_STEPS, Baseline, read_baselines
from understudy.doctor.checks import Verdict, preserve_rng, run_checks
from understudy.doctor.monitors import TrainingMonitors
from understudy.doctor.probes import clone
from understudy.doctor.rehearsal import LENGTH, WORLDS
from understudy.doctor.start import ALL_CHECKS, fitting, program_of
from understudy.errors import ConfigError, DivergedError
from understudy.files import write_json
from understudy.models.device import prepare_process
from understudy.recipes.rehearsal import PlayedBatches
from understudy.runs.find import find_run, runs_folder
from understudy.runs.record import list_checkpoints
from understudy.runs.run import NullRecorder, Recorder
from understudy.training.checkpoint import restore
from understudy.training.distributed import DistInfo
from understudy.training.experiment import Experiment
from understudy.training.loading import TRAINING_VERBS

STYLES = {"ok": "green", "failed": "bold red", "noted": "yellow", "skipped": "dim"}


@dataclass(frozen=True)
class Config:
    """Look for silent bugs in a training run, or in a configuration yet to run; exit code 1 if one is found."""

    target: Annotated[str, tyro.conf.arg(metavar="RUN|CONFIG")]
    """A run (its id, a beginning of it, last, last:pretrain), or a JSON file with a "verb" and a "config"."""


def main(config: Config, console: Console) -> int:
    """Examine the target and print a table of the verdicts. Returns the exit code."""
    prepare_process()
    verdicts = examine(config.target, console)
    counts = [f"{sum(one.verdict == kind for one in verdicts)} {kind}" for kind in STYLES]
    shown = table("check", "verdict", "measured", "expected", title=f"{config.target}: {', '.join(counts)}")
    for one in verdicts:
        shown.add_row(one.name, Text(one.verdict, STYLES[one.verdict]), Text(one.measured), Text(one.expected))
    console.print(shown)
    failed = [one for one in verdicts if one.verdict == "failed"]
    for one in failed:
        say(console, f"{one.name}: likely {', or '.join(one.causes)}", "red")
    return 1 if failed else 0


def examine(target: str, console: Console) -> list[Verdict]:
    """Return every check's verdict, on the weights that the run begins with or on those of its last checkpoint."""
    with _opened(target) as run:
        recipe = import_module(f"understudy.recipes.{run.verb}")
        recorded = list(run.record["data"])
        with console.status("preparing the data and the model"):
            experiment = recipe.build(from_dict(recipe.Config, run.config), run, DistInfo())
        if recorded and run.record["data"] != recorded:
            say(console, "The data files have changed since this run: it is examined with what they are now.", "yellow")
        checkpoints = list_checkpoints(run.folder)
        # Fine-tuning that has begun no longer has its base: its first steps are not those of the earlier runs.
        earlier = read_baselines(run.folder.parent, run.record) if experiment.fresh or not checkpoints else []

        with progress(console, "", total=len(ALL_CHECKS) + 1) as bar:

            def begin(name: str) -> None:
                bar.update(description=name, advance=1)

            # What asks how a training begins looks at fresh weights, everything else at the last checkpoint's.
            every = fitting(ALL_CHECKS, experiment)
            at_start = [check for check in every if check.about_start or not checkpoints]
            verdicts = run_checks(at_start, program_of(experiment, thorough=True), begin=begin)
            begin(f"{FIRST_STEPS} steps")
            verdicts += watch_first_steps(experiment, run, earlier)
            if checkpoints:
                with preserve_rng(experiment.learner.device):
                    restore(experiment.learner, checkpoints[-1])
                later = [check for check in every if not check.about_start]
                program = program_of(replace(experiment, fresh=False), thorough=True)
                verdicts += run_checks(later, program, begin=begin)
    return verdicts


def watch_first_steps(experiment: Experiment, recorder: Recorder, earlier: Sequence[Baseline] = ()) -> list[Verdict]:
    """Return the monitors' verdicts on the first steps, which a copy of the learner takes."""
    with preserve_rng(experiment.learner.device), ExitStack() as stack:
        learner, batches = clone(experiment.learner), experiment.batches
        if isinstance(batches, PlayedBatches):
            batches = stack.enter_context(batches.small(WORLDS, LENGTH))
            learner = batches.learner
        monitors = TrainingMonitors(learner, recorder, earlier)
        with suppress(DivergedError):
            for step in range(min(FIRST_STEPS, learner.config.steps)):
                batch = batches.batch(step)
                monitors.before_step()
                monitors.after_step(learner.step(batch))
    return monitors.verdicts()


@contextmanager
def _opened(target: str) -> Iterator[NullRecorder]:
    """Open the run, or one made up for the configuration in a file; nothing is written to either."""
    with tempfile.TemporaryDirectory(prefix="understudy-doctor-") as place:
        if Path(target).is_file():
            folder = Path(place) / "made-up"
            folder.mkdir()
            try:
                found = json.loads(Path(target).read_bytes())
                record = {"id": folder.name, "verb": found["verb"], "config": found["config"], "data": [], "checks": []}
                record |= {"seed": int(record["config"]["options"]["seed"]), "seeds": {}}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{target} cannot be examined ({type(error).__name__}: {error}); "
                    'expected JSON with a "verb" and a "config", as a run.json has them'
                ) from error
            write_json(folder / "run.json", record)
            cache = runs_folder() / "cache"
            if cache.is_dir():
                (Path(place) / "cache").symlink_to(cache)  # data that were prepared once are found there
        else:
            folder = find_run(target, verbs=TRAINING_VERBS)
        run = NullRecorder.follow(folder)
        if run.verb not in TRAINING_VERBS:
            expected = f"expected a run or configuration of {' or '.join(TRAINING_VERBS)}"
            raise ConfigError(f"{target} is of {run.verb}; {expected}")
        yield run
