"""Comparisons as pages."""

import math
from collections.abc import Sequence

from understudy.runs.compare.blocks import code_block, curves_block, sheet_table
from understudy.runs.compare.comparison import NO_WINNER, Comparison
from understudy.runs.compare.differences import MISSING
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
from understudy.runs.pages.plots import legend, seeds_plot
from understudy.runs.pages.render import Html, element, page, section, table


def comparison_page(found: Comparison) -> Html:
    """What `runs compare A B ...` shows, with a picture for each metric."""
    labels = [run.label for run in found.runs]
    sections = [element("p", NO_WINNER, class_="warn"), *marks(found.runs), runs_table(found.runs)]
    if found.metrics.rows:
        note = element("p", "* the better figure", class_="soft") if any(row.best for row in found.metrics.rows) else ""
        sections.append(section(found.metrics.title.capitalize(), sheet_table(found.metrics, labels), note))
    sections.append(section("Curves", curves_block(found.runs, found.curves)))
    for difference in found.code:
        sections.append(section(f"Code: {difference.before} → {difference.after}", code_block(difference)))
    for sheet in found.sheets:
        if sheet.rows:
            sections.append(section(sheet.title.capitalize(), sheet_table(sheet, labels)))
    if same := [sheet.title for sheet in found.sheets if not sheet.rows]:
        sections.append(element("p", f"The same in all: {', '.join(same)}.", class_="soft"))
    return page(f"{' and '.join(labels) if len(labels) == 2 else f'{len(labels)} runs'} compared", *sections)


def grouping_page(grouping: Grouping, verdicts: Sequence[Verdict]) -> Html:
    """What `runs compare --group-by KEY` shows, with a picture of the seeds for each metric."""
    sections = [element("p", f"left out: {line}", class_="bad") for line in grouping.left_out]
    sections += [element("p", f"mind: {line}", class_="warn") for line in grouping.warnings]
    names = legend([f"{grouping.key} = {group.name}" for group in grouping.groups])
    for number, verdict in enumerate(one for one in verdicts if one.constant is None):
        sections.append(section(verdict.metric, *_verdict(grouping.key, verdict, names, number)))
    if same := constants(verdicts):
        sections.append(element("p", same, class_="soft"))
    for group in grouping.groups:
        sections.append(section(f"{grouping.key} = {group.name}", runs_table(group.runs)))
    return page(f"{grouping.key}: {' against '.join(group.name for group in grouping.groups)}", *sections)


def runs_table(runs: Sequence[ComparedRun]) -> Html:
    """A line for each run: what it is, when, on which commit, what was said of it."""
    return table(("run", "verb", "status", "began", "seed", "commit", "note"), [_run(run) for run in runs])


def marks(runs: Sequence[ComparedRun]) -> list[Html]:
    """A line for each run that is marked bad or failed a check."""
    bad = [f"{run.label} is marked bad: {run.record.marks.bad}" for run in runs if run.record.marks.bad]
    failed = [f"{run.label} failed checks: {', '.join(run.failed_checks)}" for run in runs if run.failed_checks]
    return [element("p", line, class_="bad") for line in bad + failed]


def _run(run: ComparedRun) -> tuple[object, ...]:
    record = run.record
    code = record.data.get("code") or {}
    commit = f"{code['commit'][:10]}{', edited' if code.get('dirty') else ''}" if code.get("commit") else MISSING
    began = f"{record.created:%Y-%m-%d %H:%M}"
    return record.id, record.verb, record.status, began, run.seed, commit, record.note


def _verdict(key: str, verdict: Verdict, names: Html, number: int) -> list[Html]:
    blocks = [
        element("p", verdict.sentence, class_="good" if verdict.winner else "warn"),
        table((key, *SAMPLE_COLUMNS), sample_cells(verdict)),
    ]
    if contests := contest_cells(verdict):
        blocks += [table(CONTEST_COLUMNS, contests), element("p", level(verdict), class_="soft")]
    values = [
        (sample.group, [(seed, value) for seed, value in sample.values.items() if math.isfinite(value)])
        for sample in verdict.samples
    ]
    if any(found for _, found in values):
        blocks += [names, element("div", seeds_plot(verdict.metric, values, number), class_="plots")]
    return blocks
