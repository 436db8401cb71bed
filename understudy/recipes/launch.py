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
from understudy.lab.store import find_run
from understudy.models.device import prepare_process
from understudy.training.distributed import World, process_group, world_from_environment

Recipe = Callable[[Any, Run, World], None]


def launch(verb: str, recipe: Recipe, config: Any, argv: Sequence[str]) -> Path:
    """Run `recipe(config, run, world)` to its end; the run's folder."""
    prepare_process()
    world = world_from_environment()
    with process_group(world):
        run = _open_run(verb, config, argv, world)
        if config.options.resume:
            config = from_dict(type(config), run.config)
        if world.is_main:
            run.say(f"run {run.id}", style="bold")
        with run:
            try:
                recipe(config, run, world)
            except KeyboardInterrupt:
                run.say(f"interrupted; go on with: understudy {verb} --resume {run.id}", style="yellow")
                raise
    return run.folder


def _open_run(verb: str, config: Any, argv: Sequence[str], world: World) -> Run:
    """The first process makes the run or takes it up; the others follow without a trace."""
    folder: list[str | None] = [None]
    if world.is_main:
        run = _resumed(verb, config, argv) if config.options.resume else _created(verb, config, argv)
        folder = [str(run.folder)]
    if world.size > 1:
        dist.broadcast_object_list(folder)
    assert folder[0]
    return run if world.is_main else Run.shadow(folder[0])


def _created(verb: str, config: Any, argv: Sequence[str]) -> Run:
    return Run.create(verb, [sys.argv[0], verb, *argv], config, seed=config.options.seed)


def _resumed(verb: str, config: Any, argv: Sequence[str]) -> Run:
    plain = type(config)()
    if config != replace(plain, options=replace(plain.options, resume=config.options.resume)):
        raise ConfigError("--resume goes on with the options that the run was started with; leave the others out")
    folder = find_run(config.options.resume, verbs=(verb,))
    return Run.reopen(folder, [sys.argv[0], verb, *argv])
