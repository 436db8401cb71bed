"""Parts of pages that comparisons and reports share: sheets, differences of code, curves."""

from collections.abc import Sequence

from understudy.runs.compare.code import CodeDifference, FileDiff
from understudy.runs.compare.differences import Sheet
from understudy.runs.compare.runs import ComparedRun
from understudy.runs.pages.plots import Series, legend, line_plot
from understudy.runs.pages.render import Html, element, folded, joined, table

MOST_LINES_A_FILE = 2_000
MOST_LINES = 20_000
OPEN_UP_TO = 200  # lines of a diff that are open when the page is
SIGN_CLASSES = {"+": "add", "-": "del", "@": "hunk", "\\": "hunk"}
MOST_PLOTS = 12


def sheet_table(sheet: Sheet, labels: Sequence[str]) -> Html:
    """A sheet with its better figures marked."""

    def cell(text: str, is_best: bool) -> object:
        return element("span", f"{text} *", class_="good") if is_best else text

    rows = [(row.name, *(cell(text, i in row.best) for i, text in enumerate(row.cells))) for row in sheet.rows]
    return table(("", *labels), rows)


def code_block(difference: CodeDifference) -> Html:
    """What differs between two codes: a part to unfold for each file."""
    if difference.problem:
        return element("p", difference.problem, class_="warn")
    if not difference.files:
        return element("p", "The same.", class_="soft")
    blocks, room, opened = [], MOST_LINES, 0
    for file in difference.files:
        shown = file.lines[: min(MOST_LINES_A_FILE, room)]
        opened += len(file.lines)
        blocks.append(_file(file, shown, is_open=opened <= OPEN_UP_TO))
        room -= len(shown)
    return joined(blocks)


def curves_block(runs: Sequence[ComparedRun], metrics: Sequence[str]) -> Html:
    """A picture for each metric with the curves of all runs on it."""
    plots, remarks = [], []
    for number, metric in enumerate(metrics[:MOST_PLOTS]):
        plots.append(line_plot(metric, [Series(*run.curve(metric), place) for place, run in enumerate(runs)], number))
        remarks += [remark for run in runs if (remark := not_finite(run, metric))]
    if not plots:
        return element("p", "No metric was logged more than once.", class_="soft")
    names = legend([run.label for run in runs]) if len(runs) > 1 else ""
    warnings = [element("p", remark, class_="warn") for remark in remarks]
    return joined([names, *warnings, element("div", *plots, class_="plots")])


def not_finite(run: ComparedRun, metric: str) -> str:
    """Curves leave out what is no finite number; this says what they leave out."""
    logged = [row for row in run.rows if metric in row]
    shown = set(run.curve(metric)[0])
    steps = [row["step"] for row in logged if row["step"] not in shown]
    if not steps:
        return ""
    return f"{run.label}: {metric} was no finite number at {len(steps):,} steps, first at step {steps[0]:,}"


def _file(file: FileDiff, shown: Sequence[tuple[str, str]], is_open: bool) -> Html:
    name = f"{file.was} → {file.path}" if file.was else file.path
    counts = f"+{file.added} −{file.removed}" if file.lines else ""
    summary = joined([element("code", name), element("span", f" {file.how} {file.remark or counts}", class_="soft")])
    if not file.lines:
        return element("p", summary)
    lines = [_line(sign, rest) for sign, rest in shown]
    if hidden := len(file.lines) - len(shown):
        lines.append(element("span", f"{hidden:,} more lines", class_="hunk"))
    return folded(summary, element("div", element("div", *lines), class_="diff", tabindex="0"), is_open=is_open)


def _line(sign: str, rest: str) -> Html:
    kind = SIGN_CLASSES.get(sign)
    whole = rest if sign in "@\\" else sign + rest
    return element("span", whole, **({"class_": kind} if kind else {}))
