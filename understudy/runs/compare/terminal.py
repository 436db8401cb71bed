"""`understudy runs compare`: comparisons on the terminal and, with --html, as pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

from understudy.console import age, say, table, text
from understudy.errors import ConfigError, UserError
from understudy.runs.arguments import RunsReferences, find_runs
from understudy.runs.compare.code import CodeDifference, code_differences
from understudy.runs.compare.differences import NO_WINNER, DiffRow, differences, final_metrics
from understudy.runs.compare.groups import Grouping, group_by
from understudy.runs.compare.runs import ComparedRun, compared, curve_names
from understudy.runs.compare.verdicts import GROUP_COLUMNS, PAIR_COLUMNS, MetricVerdict, constants, verdicts
from understudy.runs.pages.comparison import comparison_page, grouping_page
from understudy.runs.pages.curves import THICK, THIN, draw
from understudy.runs.pages.render import write_page
from understudy.runs.query import is_query

COLORS = ("cyan", "magenta", "yellow", "green", "blue", "red")
PENS = [(color, pen) for pen in (THIN, THICK) for color in COLORS]
LINE_STYLES = {"+": "green", "-": "red", "@": "cyan", "\\": "dim"}
HOW_STYLES = {"added": "green", "removed": "red"}
MOST_LINES_PER_FILE = 120
MOST_LINES = 600
WIDEST_CELL = 48
UNBOUNDED = 100_000


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


def print_comparison(
    runs: Sequence[ComparedRun],
    code: Sequence[CodeDifference],
    by_kind: Mapping[str, Sequence[DiffRow]],
    console: Console,
) -> None:
    """Print all about the runs one by one: code, what else differs, curves, final metrics."""
    # Which runs these are, and what speaks against trusting them
    for run in runs:
        record = run.record
        commit = f"{record.commit[:10]}{' edited' if record.dirty else ''}" if record.commit else ""
        facts = (record.verb, record.status, age(record.created), f"seed {record.seed}", commit)
        console.print(text(record.id, "bold").append_text(text("  ".join(("", *filter(None, facts))), "not bold")))
        if record.note:
            console.print(text(f"    {record.note}"))
        if record.marks.bad:
            console.print(text(f"    bad: {record.marks.bad}", "bold red"))
        if run.failed_checks:
            console.print(text(f"    failed checks: {', '.join(run.failed_checks)}", "red"))

    # What differs between them
    for difference in code:
        _heading(f"code: {difference.before} → {difference.after}" if len(runs) > 2 else "code", console)
        _print_code(difference, console)
    labels = [run.label for run in runs]
    for kind, rows in by_kind.items():
        if rows:
            _print_rows(kind, rows, labels, console)
    if same := [kind for kind, rows in by_kind.items() if not rows]:
        console.print(text(f"\nthe same in all: {', '.join(same)}", "dim"))

    # How they went: one curve of each on the same picture
    for metric in curve_names(runs)[:1]:
        console.print()
        console.print(draw(metric, [(run.label, run.curve(metric)) for run in runs], PENS, console.width))

    # What came of them
    if metrics := final_metrics(runs):
        _print_rows("final metrics", metrics, labels, console)
    if any(row.best for row in metrics):
        console.print(text("* the better figure", "green"))
    console.print(text(f"\n{NO_WINNER}", "yellow"))


def print_verdicts(grouping: Grouping, judged: Sequence[MetricVerdict], console: Console) -> None:
    """Print the groups and who is in them, what to heed, and the verdict of each metric."""
    for name, group in grouping.groups.items():
        runs = ", ".join(f"{run.label} (seed {run.record.seed})" for run in group)
        console.print(text(f"{grouping.key} = {name}", "bold").append_text(text(f"  {runs}", "not bold")))
    for line in grouping.left_out:
        console.print(text(f"left out: {line}", "red"))
    for line in grouping.warnings:
        console.print(text(f"warning: {line}", "yellow"))
    for verdict in judged:
        if verdict.constant is None:
            _heading(verdict.metric, console)
            console.print(_numbers((grouping.key, *GROUP_COLUMNS), verdict.group_cells()))
            if pairs := verdict.pair_cells():
                console.print()
                console.print(_numbers(PAIR_COLUMNS, pairs))
                console.print(text(verdict.level, "dim"))
            console.print(text(verdict.sentence, "bold green" if verdict.winner else "yellow"))
    if same := constants(judged):
        console.print(text(f"\n{same}", "dim"))


def _heading(title: str, console: Console) -> None:
    console.print(text(f"\n{title}", "bold underline"))


def _print_rows(title: str, rows: Sequence[DiffRow], labels: Sequence[str], console: Console) -> None:
    """Print a column per run or, where these do not fit, a line per value with the runs that have it."""
    _heading(title, console)
    columns = table(Column(no_wrap=True), *(Column(text(label), no_wrap=True) for label in labels))
    lines = Table.grid(Column(max_width=WIDEST_CELL), Column(overflow="fold"), padding=(0, 2))
    for row in rows:
        cells = [text(f"{c} *", "green") if i in row.best else text(c) for i, c in enumerate(row.cells)]
        columns.add_row(text(row.name), *cells)
        # Equal values are written once, after the labels of all runs that have them.
        lines.add_row(text(row.name), "")
        for value in dict.fromkeys(row.cells):
            owners = [label for label, cell in zip(labels, row.cells, strict=True) if cell == value]
            lines.add_row(text(f"  {', '.join(owners)}", "dim"), cells[row.cells.index(value)])
    unbounded = console.options.update_width(UNBOUNDED)
    fits = Measurement.get(console, unbounded, columns).maximum <= console.width
    console.print(columns if fits else lines)


def _print_code(difference: CodeDifference, console: Console) -> None:
    """Print the files that differ, and then the first lines of their diffs."""
    if difference.problem:
        console.print(text(difference.problem, "yellow"))
    elif not difference.files:
        console.print(text("the same", "dim"))
    for file in difference.files:
        about = text(f"  {file.how:<8} ", HOW_STYLES.get(file.how, "yellow")).append_text(text(file.name))
        if file.lines:
            about.append(f"  +{file.count('+')}", "green").append(f" -{file.count('-')}", "red")
        console.print(about.append_text(text(f"  {file.remark}" if file.remark else "", "dim")))
    hidden = sum(len(file.lines) for file in difference.files)
    for file, lines in difference.shown(MOST_LINES_PER_FILE, MOST_LINES):
        hidden -= len(lines)
        if lines:
            console.print(text(f"\n{file.path}", "bold"))
        for line in lines:
            console.print(text(line.expandtabs(4), LINE_STYLES.get(line[0], "")), soft_wrap=True)
    if hidden:
        console.print(text(f"{hidden:,} more lines: --html FILE shows more", "dim"))


def _numbers(names: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """Return a table of numbers; its first column, and the one of all values, are texts that may fold."""
    found = table()
    for i, name in enumerate(names):
        folds = not i or name == "values"
        found.add_column(text(name), justify="left" if folds else "right", overflow="fold", no_wrap=not folds)
    for line in lines:
        found.add_row(*map(text, line))
    return found
