"""`understudy runs compare`."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from understudy.lab.compare.comparison import compare
from understudy.lab.compare.groups import group_by
from understudy.lab.compare.page import comparison_page, grouping_page
from understudy.lab.compare.runs import compared
from understudy.lab.compare.terminal import print_comparison, print_verdicts
from understudy.lab.compare.verdicts import verdicts
from understudy.lab.errors import ConfigError, UserError
from understudy.lab.files import write_atomically
from understudy.lab.store import find_run
from understudy.lab.verbs.arguments import RunReferences
from understudy.lab.wording import text


@dataclass
class Options:
    """Shows what differs between runs (code, configuration, data, environment), their curves and final metrics."""

    runs: RunReferences
    group_by: str | None = None
    """Treat runs as seeds of one setting: a configuration key such as model.core or learner.lr, or verb, or tag."""
    metric: tuple[str, ...] = ()
    """With --group-by: the metrics to judge by (default: the headline and those whose better direction is known)."""
    include_bad: bool = False
    """With --group-by: take in runs that are marked bad."""
    html: Path | None = None
    """Also write a page of it to this file, with plots."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    if options.group_by is None and (options.metric or options.include_bad):
        raise ConfigError("--metric and --include-bad go with --group-by KEY; a plain comparison shows everything")
    runs = compared([find_run(reference) for reference in options.runs])
    if len(runs) < 2:
        raise UserError(f"comparing takes two runs or more, and {' '.join(options.runs)} names one")
    if options.group_by is None:
        comparison = compare(runs)
        print_comparison(comparison, console)
        page = comparison_page(comparison) if options.html else ""
    else:
        grouping = group_by(options.group_by, runs, options.include_bad)
        found = verdicts(grouping.groups, options.metric)
        print_verdicts(grouping, found, console)
        page = grouping_page(grouping, found) if options.html else ""
    if options.html:
        _write(options.html, page, console)


def _write(path: Path, page: str, console: Console) -> None:
    try:
        write_atomically(path, page)
    except OSError as error:
        raise UserError(f"cannot write the page to {path}: {error.strerror}; name another file with --html") from error
    console.print(text(f"\nwritten: {path}"), soft_wrap=True)
