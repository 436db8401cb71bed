"""`understudy runs compare`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from understudy.console import say, text
from understudy.errors import ConfigError, UserError
from understudy.runs.arguments import RunReferences
from understudy.runs.compare.code import code_differences
from understudy.runs.compare.differences import differences
from understudy.runs.compare.groups import group_by
from understudy.runs.compare.runs import compared
from understudy.runs.compare.terminal import print_comparison, print_verdicts
from understudy.runs.compare.verdicts import verdicts
from understudy.runs.find import find_run, list_ids, list_runs, matches, runs_folder
from understudy.runs.pages.comparison import comparison_page, grouping_page
from understudy.runs.pages.render import write_page
from understudy.runs.query import matching

QUERY_SIGNS = set("=<>~ ")


@dataclass
class CompareOptions:
    """Which runs are compared, and how."""

    runs: RunReferences
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

    An ID may also be a query, such as "verb=pretrain and tag=rates"; with --group-by a beginning may name several runs.
    """
    if options.group_by is None and (options.metric or options.include_bad):
        raise ConfigError("--metric and --include-bad go with --group-by KEY; a plain comparison shows everything")
    runs = compared([folder for reference in options.runs for folder in _folders(reference, options, console)])
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


def _folders(reference: str, options: CompareOptions, console: Console) -> Sequence[Path]:
    """Return the runs that a reference means: several for a query, or for the beginning of an id with --group-by."""
    if os.sep in reference or not QUERY_SIGNS & set(reference):
        if options.group_by is None:
            return [find_run(reference)]
        named = [runs_folder() / name for name in list_ids() if matches(reference, name)]
        return named or [find_run(reference)]

    found = matching(reference, list_runs(console=console))
    if not found:
        raise UserError(f"no run fits {reference!r}; `understudy runs list` tries queries out")
    # Groups leave bad runs out themselves; a plain comparison shows those that are named one by one.
    if options.group_by is None:
        for record in found:
            if record.marks.bad:
                console.print(text(f"left out: {record.id}: marked bad: {record.marks.bad}", "red"))
        found = [record for record in found if not record.marks.bad]
    return [record.folder for record in found]
