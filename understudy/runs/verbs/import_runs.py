"""`understudy runs import`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from understudy.console import text
from understudy.runs.archive import unpack
from understudy.runs.find import make_runs_folder


@dataclass
class Options:
    """Takes in the runs of an archive that `understudy runs export` wrote: all of them, or none where one is in doubt.

    Every file is checked against the archive's list. A run that is there already stays as it is.
    """

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """The archive, a .tar.gz or .zip."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    found = unpack(Path(options.file).expanduser(), make_runs_folder(None))
    lines = [f"imported {run}" for run in found.new]
    lines += [f"{run} is there already, with the same content" for run in found.there]
    lines += [f"{parent}, which they build on, is not here" for parent in found.missing_parents]
    for line in lines:
        console.print(text(line), soft_wrap=True)
