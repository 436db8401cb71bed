"""Comparisons on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from understudy.console import age, text
from understudy.runs.compare.code import CodeDifference, FileDiff
from understudy.runs.compare.comparison import NO_WINNER, Comparison
from understudy.runs.compare.differences import Row, Sheet
from understudy.runs.compare.groups import Grouping
from understudy.runs.compare.runs import ComparedRun
from understudy.runs.compare.verdicts import (
    CONTEST_COLUMNS,
    SAMPLE_COLUMNS,
    Verdict,
    constants,
    contest_cells,
    level,
    sample_cells,
)
from understudy.runs.pages.curves import THICK, THIN, Curve, draw

COLORS = ("cyan", "magenta", "yellow", "green", "blue", "red")
LINE_STYLES = {"+": "green", "-": "red", "@": "cyan", "\\": "dim"}
HOW_STYLES = {"added": "green", "removed": "red"}
MOST_LINES_A_FILE = 120
MOST_LINES = 600
WIDEST_CELL = 48
UNBOUNDED = 100_000
BEST = " *"


def print_comparison(found: Comparison, console: Console) -> None:
    """Everything about the runs one by one: code, what else differs, curves, final metrics."""
    for run in found.runs:
        _overview(run, console)
    for difference in found.code:
        _code(difference, len(found.runs) > 2, console)
    labels = [run.label for run in found.runs]
    for sheet in found.sheets:
        if sheet.rows:
            _sheet(sheet, labels, console)
    if same := [sheet.title for sheet in found.sheets if not sheet.rows]:
        console.print(text(f"\nthe same in all: {', '.join(same)}", "dim"))
    _curves(found, console)
    if found.metrics.rows:
        _sheet(found.metrics, labels, console)
    if any(row.best for row in found.metrics.rows):
        console.print(text("* the better figure", "green"))
    console.print(text(f"\n{NO_WINNER}", "yellow"))


def print_verdicts(grouping: Grouping, verdicts: Sequence[Verdict], console: Console) -> None:
    """Groups of runs: who is in them, what to heed, and each metric with its verdict."""
    for group in grouping.groups:
        runs = ", ".join(f"{run.label} (seed {run.seed})" for run in group.runs)
        console.print(text(f"{grouping.key} = {group.name}", "bold").append_text(text(f"  {runs}", "not bold")))
    for line in grouping.left_out:
        console.print(text(f"left out: {line}", "red"))
    for line in grouping.warnings:
        console.print(text(f"mind: {line}", "yellow"))
    for verdict in verdicts:
        if verdict.constant is None:
            _verdict(grouping.key, verdict, console)
    if same := constants(verdicts):
        console.print(text(f"\n{same}", "dim"))


def _verdict(key: str, verdict: Verdict, console: Console) -> None:
    _heading(verdict.metric, console)
    console.print(_numbers((key, *SAMPLE_COLUMNS), sample_cells(verdict)))
    if contests := contest_cells(verdict):
        console.print()
        console.print(_numbers(CONTEST_COLUMNS, contests))
        console.print(text(level(verdict), "dim"))
    console.print(text(verdict.sentence, "bold green" if verdict.winner else "yellow"))


def _overview(run: ComparedRun, console: Console) -> None:
    record = run.record
    code = record.data.get("code") or {}
    commit = f"{code['commit'][:10]}{' edited' if code.get('dirty') else ''}" if code.get("commit") else ""
    facts = (record.verb, record.status, age(record.created), f"seed {run.seed}", commit)
    console.print(text(record.id, "bold").append_text(text("  ".join(("", *filter(None, facts))), "not bold")))
    if record.note:
        console.print(text(f"    {record.note}"))
    if record.marks.bad:
        console.print(text(f"    bad: {record.marks.bad}", "bold red"))
    if run.failed_checks:
        console.print(text(f"    failed checks: {', '.join(run.failed_checks)}", "red"))


def _heading(title: str, console: Console) -> None:
    console.print(text(f"\n{title}", "bold underline"))


def _sheet(sheet: Sheet, labels: Sequence[str], console: Console) -> None:
    _heading(sheet.title, console)
    columns = _columns(sheet, labels)
    unbounded = console.options.update_width(UNBOUNDED)
    fits = Measurement.get(console, unbounded, columns).maximum <= console.width
    console.print(columns if fits else _stacked(sheet, labels))


def _columns(sheet: Sheet, labels: Sequence[str]) -> Table:
    """A line for each row, a column for each run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for label in labels:
        table.add_column(text(label), no_wrap=True)
    for row in sheet.rows:
        table.add_row(text(row.name), *_cells(row))
    return table


def _cells(row: Row) -> list[Text]:
    return [text(cell + BEST, "green") if i in row.best else text(cell) for i, cell in enumerate(row.cells)]


def _stacked(sheet: Sheet, labels: Sequence[str]) -> Table:
    """Where the columns would not fit: under each row's name a line for each value, with the runs that have it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=WIDEST_CELL)
    table.add_column(overflow="fold")
    for row in sheet.rows:
        table.add_row(text(row.name), "")
        owners: dict[int, list[str]] = {}
        for i, cell in enumerate(row.cells):
            owners.setdefault(row.cells.index(cell), []).append(labels[i])
        cells = _cells(row)
        for i, names in owners.items():
            table.add_row(text(f"  {', '.join(names)}", "dim"), cells[i])
    return table


def _code(difference: CodeDifference, names_both: bool, console: Console) -> None:
    _heading(f"code: {difference.before} → {difference.after}" if names_both else "code", console)
    if difference.problem:
        console.print(text(difference.problem, "yellow"))
    elif not difference.files:
        console.print(text("the same", "dim"))
    for file in difference.files:
        console.print(_file_summary(file))
    room = MOST_LINES
    for file in difference.files:
        if file.lines and room > 0:
            console.print()
            room -= _file_lines(file, min(room, MOST_LINES_A_FILE), console)
    if hidden := sum(len(file.lines) for file in difference.files) - MOST_LINES + room:
        console.print(text(f"{hidden:,} more lines: --html FILE shows more", "dim"))


def _file_summary(file: FileDiff) -> Text:
    name = f"{file.was} → {file.path}" if file.was else file.path
    line = text(f"  {file.how:<8} ", HOW_STYLES.get(file.how, "yellow")).append_text(text(name))
    if file.lines:
        line.append(f"  +{file.added}", "green").append(f" -{file.removed}", "red")
    return line.append_text(text(f"  {file.remark}" if file.remark else "", "dim"))


def _file_lines(file: FileDiff, most: int, console: Console) -> int:
    """Prints the diff of one file, at most so many lines of it; how many they were."""
    console.print(text(file.path, "bold"))
    shown = file.lines[:most]
    for sign, rest in shown:
        whole = rest if sign in "@\\" else sign + rest
        console.print(text(whole.expandtabs(4), LINE_STYLES.get(sign, "")), soft_wrap=True)
    return len(shown)


def _curves(found: Comparison, console: Console) -> None:
    if not found.curves:
        return
    metric = found.curves[0]
    curves = []
    for i, run in enumerate(found.runs):
        pen = THIN if i < len(COLORS) else THICK
        curves.append(Curve(run.label, *run.curve(metric), COLORS[i % len(COLORS)], pen))
    console.print()
    console.print(draw(metric, curves, console.width))


def _numbers(names: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """A table whose columns but the first hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(names):
        folds = not i or name == "values"
        table.add_column(text(name), justify="left" if folds else "right", overflow="fold", no_wrap=not folds)
    for line in lines:
        table.add_row(*map(text, line))
    return table
