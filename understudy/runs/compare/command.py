"""`understudy runs compare`."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from understudy.console import say, text
from understudy.errors import ConfigError, UserError
from understudy.runs.arguments import RunsReferences, find_runs
from understudy.runs.compare.code import code_differences
from understudy.runs.compare.differences import differences
from understudy.runs.compare.groups import group_by
from understudy.runs.compare.runs import compared
from understudy.runs.compare.terminal import print_comparison, print_verdicts
from understudy.runs.compare.verdicts import verdicts
from understudy.runs.pages.comparison import comparison_page, grouping_page
from understudy.runs.pages.render import write_page
from understudy.runs.query import is_query


@dataclass
class CompareOptions:
    """Which runs are compared, and how."""

    runs: RunsReferences
    group_by: str | None = None
    """Treat runs as seeds of one setting: a configuration key such as model.core or learner.lr, or verb, or tag."""
    metric: tuple[str, ...] = ()
    """With --group-by: the metrics to judge by (default: the headline and those whose better direction is known)."""
    include_bad: bool = False
    """With --group-by: include runs that are marked bad."""
    html: Path | None = None
    """Also write a page of it to this file, with plots."""


def main(options: CompareOptions, console: Console) -> None:
    """Show what differs between runs (code, configuration, data, environment), their curves and final metrics.

    A query is such as "verb=pretrain and tag=rates"; with --group-by a beginning may name several runs.
    """
    if options.group_by is None and (options.metric or options.include_bad):
        raise ConfigError("--metric and --include-bad go with --group-by KEY; a plain comparison shows everything")
    folders = []
    for reference in options.runs:
        for record in find_runs([reference], console, beginnings=options.group_by is not None):
            # Groups leave bad runs out themselves; a plain comparison shows those that are named one by one.
            if record.marks.bad and options.group_by is None and is_query(reference):
                console.print(text(f"left out: {record.id}: marked bad: {record.marks.bad}", "red"))
            else:
                folders.append(record.folder)
    runs = compared(folders)
    if len(runs) < 2:
        count = f"names only {runs[0].record.id}" if runs else "names none"
        raise UserError(f"comparing takes two runs or more, and {' '.join(options.runs)} {count}")
    if options.group_by is None:
        found = runs, code_differences(runs), differences(runs)
        print_comparison(*found, console)
        page = comparison_page(*found) if options.html else ""
    else:
        grouping = group_by(options.group_by, runs, options.include_bad)
        judged = verdicts(grouping.groups, options.metric)
        print_verdicts(grouping, judged, console)
        page = grouping_page(grouping, judged) if options.html else ""
    if options.html:
        write_page(options.html, page, advice="; name another file with --html")
        say(console, f"\nwritten: {options.html}")
