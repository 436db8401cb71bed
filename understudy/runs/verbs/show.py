"""`understudy runs show`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.runs.find import find_run
from understudy.runs.pages.show import show
from understudy.runs.verbs.arguments import RunReference


@dataclass
class Options:
    """Shows one run: configuration, code, data, parents, seeds, outcome, last metrics and curve."""

    run: RunReference


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    show(find_run(options.run), console)
