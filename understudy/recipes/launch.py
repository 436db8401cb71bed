"""Start a recipe as a recorded run: alone or as one of torchrun's processes, new or resumed."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed

from understudy.config import from_dict
from understudy.errors import ConfigError, UserError
from understudy.models.device import prepare_process
from understudy.recipes.common import RunOptions
from understudy.runs.find import find_run
from understudy.runs.mlflow.address import Address, usable_address
from understudy.runs.mlflow.stream import streaming
from understudy.runs.record import read_record
from understudy.runs.rerun.child import RERUN_OF
from understudy.runs.run import NullRecorder, Run
from understudy.training.distributed import DistInfo, dist_from_environment, process_group, rank_zero_first


def launch(verb: str, recipe: Callable[[Any, Run, DistInfo], None], config: Any, argv: Sequence[str]) -> Path:
    """Run `recipe(config, run, dist)` to its end, and return the run's folder.

    `config.validate(dist)` names what is wrong before there is a run. A resumed run does what the first one did: its
    recipe gets the configuration that was recorded.
    """
    # The store that --tracking names. Configuration and command line are recorded without its password.
    options, address = _options(config), None
    if options.tracking and os.environ.get(RERUN_OF):
        config = replace(config, options=replace(options, tracking=None))  # the store has the original
    elif options.tracking:
        address = usable_address(options.tracking)
        argv = [argument.replace(options.tracking, address.masked) for argument in argv]
        config = replace(config, options=replace(options, tracking=address.masked))

    prepare_process()
    dist = dist_from_environment()
    with process_group(dist):
        run, config = _open_run(verb, config, argv, dist)
        run.say(f"run {run.id}", style="bold")
        with streaming(run, _store_of(run, address) if dist.is_main else None), run:
            try:
                recipe(config, run, dist)
            except KeyboardInterrupt:
                resume = f"resume with: understudy {verb} --resume {run.id}"
                run.say(f"interrupted; {resume if hasattr(config, 'options') else 'start it again'}", style="yellow")
                raise
    return run.folder


def _open_run(verb: str, config: Any, argv: Sequence[str], dist: DistInfo) -> tuple[Run, Any]:
    """Return the run and its configuration. The first process creates or reopens the run; the others write nothing."""
    resumed = bool(_options(config).resume)
    with rank_zero_first(dist):
        if dist.is_main and resumed:
            run = _resume(verb, config, argv)
        elif dist.is_main:
            config = config.validate(dist)  # which holds what was resolved, such as the data files
            command = ["-m", "understudy", verb, "--config", "{config}"]
            run = Run.create(verb, [sys.argv[0], verb, *argv], config, seed=_options(config).seed, command=command)
    folder = [str(run.folder) if dist.is_main else ""]
    if dist.size > 1:
        torch.distributed.broadcast_object_list(folder)
    run = run if dist.is_main else NullRecorder.follow(folder[0])
    return run, config if dist.is_main and not resumed else from_dict(type(config), run.config)


def _resume(verb: str, config: Any, argv: Sequence[str]) -> Run:
    """Reopen the run that --resume names. Raises ConfigError where other options are given, which it would ignore."""
    plain, given = type(config)(), config.options
    if config != replace(plain, options=replace(plain.options, resume=given.resume, tracking=given.tracking)):
        raise ConfigError("--resume goes on with the options that the run was started with; leave the others out")
    folder = find_run(given.resume, verbs=(verb,))
    found = read_record(folder)
    if found.status != "broken" and found.verb != verb:
        raise ConfigError(
            f"run {found.id} is a {found.verb}: resume it with `understudy {found.verb} --resume {found.id}`"
        )
    run = Run.reopen(folder, [sys.argv[0], verb, *argv])
    if given.tracking:
        run.update(config={"options": {**run.config["options"], "tracking": given.tracking}})
    return run


def _store_of(run: Run, address: Address | None) -> Address | None:
    """Return the store that was named, else the one that a resumed run recorded, else None.

    A store that cannot be used does not stop a run.
    """
    recorded = (run.config.get("options") or {}).get("tracking")
    if address is None and recorded:
        try:
            address = usable_address(recorded)
        except UserError as error:
            run.say(f"not tracked: {error}", style="yellow")
    return address


def _options(config: Any) -> RunOptions:
    # Evaluations have none: nothing in them is random, and they are repeated rather than resumed.
    return getattr(config, "options", RunOptions())
