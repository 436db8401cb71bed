"""`understudy runs report`."""

from dataclasses import dataclass

from rich.console import Console

from understudy.console import text
from understudy.runs.arguments import RunReference
from understudy.runs.find import find_run
from understudy.runs.pages.report import write_report


@dataclass
class Options:
    """Writes report.html into the run's folder: code, curves, samples, checks, and what changed since the last one."""

    run: RunReference


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    console.print(text(f"written: {write_report(find_run(options.run))}"), soft_wrap=True)
