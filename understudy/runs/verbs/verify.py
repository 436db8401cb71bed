"""`understudy runs verify`."""

from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from understudy.errors import ConfigError
from understudy.runs.arguments import RunReference
from understudy.runs.find import find_run
from understudy.runs.record import Record, read_record
from understudy.runs.rerun.packages import build_environment, environment_differences
from understudy.runs.rerun.verify import Verdict, last_step, verify
from understudy.runs.verbs.rerun import tell, tell_environment


@dataclass
class Options:
    """Runs a run again in a fresh process, on its exact code, and compares every figure bit for bit.

    Metrics are compared as floats, weights by their hash at each checkpoint. It says "identical" (exit code 0), or
    names the first step that differs and the likeliest cause (exit code 1).
    """

    run: RunReference
    steps: int | None = None
    """Compare only this many steps; by default all."""
    build_environment: bool = False
    """First make a virtual environment with the very versions that the run had (kept for the next time)."""


def main(options: Options, console: Console) -> int:
    """See `Options`."""
    if options.steps is not None and options.steps < 1:
        raise ConfigError(f"--steps {options.steps} is out of range; expected 1 or more")
    record = read_record(find_run(options.run))
    python = None
    if options.build_environment:
        python = build_environment(record, record.folder.parent / "cache" / "environments")
    elif found := environment_differences(record):
        tell_environment(console, found)
    columns = TextColumn("running again"), BarColumn(), TextColumn("step {task.completed}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=options.steps or last_step(record))
        verdict = verify(record, options.steps, python, lambda step: bar.update(task, completed=step or 0))
    _tell_verdict(verdict, record, console)
    return 0 if verdict.identical else 1


def _tell_verdict(verdict: Verdict, record: Record, console: Console) -> None:
    like = verdict.likeness
    compared = f"{like.lines:,} line{'s' if like.lines != 1 else ''} of metrics"
    if like.checkpoints:
        compared += f" and the weights of {like.checkpoints} checkpoint{'s' if like.checkpoints != 1 else ''}"
    for note in verdict.notes:
        tell(console, note, "yellow")
    if verdict.identical:
        tell(console, f"{record.id}: identical, bit for bit: {compared}", "green")
        return
    tell(console, f"{record.id}: differs from {like.difference}", "red")
    for number, cause in enumerate(verdict.causes, start=1):
        tell(console, f"  likely cause {number}, {cause}")
    tell(console, f"  the second run is in {verdict.folder}", "dim")
