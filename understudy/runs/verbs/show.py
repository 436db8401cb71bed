"""`understudy runs show`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.runs.arguments import RunReference
from understudy.runs.find import find_run
from understudy.runs.pages.show import show


@dataclass
class Options:
    """Shows one run: configuration, code, data, parents, seeds, outcome, last metrics and curve."""

    run: RunReference


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    show(find_run(options.run), console)
