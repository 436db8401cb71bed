"""Start a recipe as a recorded run: alone or as one of torchrun's processes, anew or resumed."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from understudy.lab.config import from_dict
from understudy.lab.errors import ConfigError
from understudy.lab.run import Run
from understudy.lab.store import find_run, read_record
from understudy.models.device import prepare_process
from understudy.recipes.learning import Options
from understudy.training.distributed import World, main_first, process_group, world_from_environment

Recipe = Callable[[Any, Run, World], None]


def launch(verb: str, recipe: Recipe, config: Any, argv: Sequence[str]) -> Path:
    """Run `recipe(config, run, world)` to its end; the run's folder.

    `config.checked(world)` names what is wrong before there is a run. The recipe gets the configuration that the run
    recorded, so that a resumed run does what the first one did.
    """
    prepare_process()
    world = world_from_environment()
    with process_group(world):
        run = _open_run(verb, config, argv, world)
        if world.is_main:
            run.say(f"run {run.id}", style="bold")
        with run:
            try:
                recipe(from_dict(type(config), run.config), run, world)
            except KeyboardInterrupt:
                run.say(f"interrupted; go on with: understudy {verb} --resume {run.id}", style="yellow")
                raise
    return run.folder


def _open_run(verb: str, config: Any, argv: Sequence[str], world: World) -> Run:
    """The first process makes the run or takes it up; the others follow without a trace."""
    folder: list[str | None] = [None]
    with main_first(world):
        if world.is_main:
            run = _resumed(verb, config, argv) if _options(config).resume else _created(verb, config, argv, world)
            folder = [str(run.folder)]
    if world.size > 1:
        dist.broadcast_object_list(folder)
    assert folder[0]
    return run if world.is_main else Run.shadow(folder[0])


def _created(verb: str, config: Any, argv: Sequence[str], world: World) -> Run:
    config = config.checked(world)
    return Run.create(verb, [sys.argv[0], verb, *argv], config, seed=_options(config).seed)


def _resumed(verb: str, config: Any, argv: Sequence[str]) -> Run:
    plain = type(config)()
    if config != replace(plain, options=replace(plain.options, resume=config.options.resume)):
        raise ConfigError("--resume goes on with the options that the run was started with; leave the others out")
    folder = find_run(config.options.resume, verbs=(verb,))
    found = read_record(folder)
    if found.status != "broken" and found.verb != verb:
        raise ConfigError(f"run {found.id} is a {found.verb}: go on with `understudy {found.verb} --resume {found.id}`")
    return Run.reopen(folder, [sys.argv[0], verb, *argv])


def _options(config: Any) -> Options:
    """A measurement has none: nothing in it is random, and it is done again rather than resumed."""
    return getattr(config, "options", Options())
