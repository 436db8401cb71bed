"""`understudy runs compare`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from understudy.console import text
from understudy.errors import ConfigError, UserError
from understudy.files import write_atomically
from understudy.runs.arguments import RunReferences
from understudy.runs.compare.comparison import compare
from understudy.runs.compare.groups import group_by
from understudy.runs.compare.runs import compared
from understudy.runs.compare.terminal import print_comparison, print_verdicts
from understudy.runs.compare.verdicts import verdicts
from understudy.runs.find import find_run, list_runs, matches
from understudy.runs.pages.comparison import comparison_page, grouping_page
from understudy.runs.query import matching
from understudy.runs.record import Record

QUERY_SIGNS = set("=<>~ ")


@dataclass
class Options:
    """Shows what differs between runs (code, configuration, data, environment), their curves and final metrics.

    An ID may also be a query, such as "verb=pretrain and tag=rates"; with --group-by a beginning may name several runs.
    """

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
    runs = compared([folder for reference in options.runs for folder in _folders(reference, options, console)])
    if len(runs) < 2:
        count = f"names {runs[0].record.id} alone" if runs else "names none"
        raise UserError(f"comparing takes two runs or more, and {' '.join(options.runs)} {count}")
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


def _folders(reference: str, options: Options, console: Console) -> Sequence[Path]:
    """The runs that a reference names, which may be several: by a query, or by a beginning where runs are grouped."""
    if os.sep not in reference and QUERY_SIGNS & set(reference):
        return [record.folder for record in _asked_for(reference, options, console)]
    if options.group_by is None:
        return [find_run(reference)]
    return [record.folder for record in list_runs() if matches(reference, record.id)] or [find_run(reference)]


def _asked_for(query: str, options: Options, console: Console) -> list[Record]:
    """Those that fit the query. Grouping deals with bad ones itself; a plain comparison shows those that are named."""
    found = matching(query, list_runs())
    if not found:
        raise UserError(f"no run fits {query!r}; `understudy runs list` tries queries out")
    if options.group_by is not None:
        return found
    for record in found:
        if record.marks.bad:
            console.print(text(f"left out: {record.id}: marked bad: {record.marks.bad}", "red"))
    return [record for record in found if not record.marks.bad]


def _write(path: Path, page: str, console: Console) -> None:
    try:
        write_atomically(path, page)
    except OSError as error:
        raise UserError(f"cannot write the page to {path}: {error.strerror}; name another file with --html") from error
    console.print(text(f"\nwritten: {path}"), soft_wrap=True)
