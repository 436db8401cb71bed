"""Start a recipe as a recorded run: alone or as one of torchrun's processes, anew or resumed."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from understudy.config import from_dict
from understudy.errors import ConfigError, UserError
from understudy.models.device import prepare_process
from understudy.recipes.learning import Options
from understudy.runs.find import find_run
from understudy.runs.mlflow.address import Address, lacks_password, usable_address
from understudy.runs.mlflow.stream import streaming
from understudy.runs.record import read_record
from understudy.runs.rerun.child import RERUN_OF
from understudy.runs.run import NullRecorder, Run
from understudy.training.distributed import World, main_first, process_group, world_from_environment

Recipe = Callable[[Any, Run, World], None]


def launch(verb: str, recipe: Recipe, config: Any, argv: Sequence[str]) -> Path:
    """Run `recipe(config, run, world)` to its end; the run's folder.

    `config.checked(world)` names what is wrong before there is a run. A resumed run does what the first one did: its
    recipe gets the configuration that was recorded.
    """
    config, argv, address = _tracked(config, argv)
    prepare_process()
    world = world_from_environment()
    with process_group(world):
        run, config = _open_run(verb, config, argv, world)
        if world.is_main:
            run.say(f"run {run.id}", style="bold")
        with streaming(run, _store_of(run, address) if world.is_main else None), run:
            try:
                recipe(config, run, world)
            except KeyboardInterrupt:
                go_on = f"go on with: understudy {verb} --resume {run.id}"
                run.say(f"interrupted; {go_on if hasattr(config, 'options') else 'start it again'}", style="yellow")
                raise
    return run.folder


def _open_run(verb: str, config: Any, argv: Sequence[str], world: World) -> tuple[Run, Any]:
    """The run and its configuration. The first process creates or reopens the run; the others write nothing."""
    folder: list[str | None] = [None]
    resumed = bool(_options(config).resume)
    with main_first(world):
        if world.is_main:
            if resumed:
                run = _resumed(verb, config, argv)
            else:
                config = config.checked(world)  # which holds what was resolved, such as the data files
                command = ["-m", "understudy", verb, "--config", "{config}"]
                run = Run.create(verb, [sys.argv[0], verb, *argv], config, seed=_options(config).seed, command=command)
            folder = [str(run.folder)]
    if world.size > 1:
        dist.broadcast_object_list(folder)
    assert folder[0]
    run = run if world.is_main else NullRecorder.follow(folder[0])
    return run, config if world.is_main and not resumed else from_dict(type(config), run.config)


def _resumed(verb: str, config: Any, argv: Sequence[str]) -> Run:
    plain, given = type(config)(), config.options
    if config != replace(plain, options=replace(plain.options, resume=given.resume, tracking=given.tracking)):
        raise ConfigError("--resume goes on with the options that the run was started with; leave the others out")
    folder = find_run(config.options.resume, verbs=(verb,))
    found = read_record(folder)
    if found.status != "broken" and found.verb != verb:
        raise ConfigError(f"run {found.id} is a {found.verb}: go on with `understudy {found.verb} --resume {found.id}`")
    run = Run.reopen(folder, [sys.argv[0], verb, *argv])
    if given.tracking:
        run.update(config={"options": {**run.config["options"], "tracking": given.tracking}})
    return run


def _tracked(config: Any, argv: Sequence[str]) -> tuple[Any, Sequence[str], Address | None]:
    """Configuration and command line as they are recorded, without a password, and the store that --tracking names."""
    options = _options(config)
    if options.tracking and os.environ.get(RERUN_OF):  # a repetition is no news to the store of the first
        return replace(config, options=replace(options, tracking=None)), argv, None
    if not options.tracking:
        return config, argv, None
    address = usable_address(options.tracking)
    argv = [argument.replace(options.tracking, address.masked) for argument in argv]
    return replace(config, options=replace(options, tracking=address.masked)), argv, address


def _store_of(run: Run, address: Address | None) -> Address | None:
    """The store that was named, or else the one that a resumed run recorded. One that cannot be used stops no run."""
    recorded = (run.config.get("options") or {}).get("tracking")
    if address is None and recorded:
        try:
            address = usable_address(recorded)
        except UserError as error:
            run.say(f"not tracked: {error}", style="yellow")
    if address is not None and lacks_password(address.uri):
        run.say(f"not tracked: the password in {address.masked} was not recorded; give --tracking URI", style="yellow")
        return None
    return address


def _options(config: Any) -> Options:
    """A measurement has none: nothing in it is random, and it is done again rather than resumed."""
    return getattr(config, "options", Options())
