"""Comparisons as pages."""

import math
from collections.abc import Sequence

from understudy.runs.compare.differences import MISSING, NO_WINNER, Comparison
from understudy.runs.compare.groups import Grouping
from understudy.runs.compare.runs import ComparedRun
from understudy.runs.compare.verdicts import GROUP_COLUMNS, PAIR_COLUMNS, MetricVerdict, constants
from understudy.runs.pages.plots import Series, line_plot, seeds_plot
from understudy.runs.pages.render import render

MOST_PLOTS = 12


def comparison_page(found: Comparison) -> str:
    """Return what `runs compare A B ...` shows as a page, with a plot per metric."""
    labels = [run.label for run in found.runs]
    plots, not_finite = [], []
    for number, metric in enumerate(found.curves[:MOST_PLOTS]):
        series = [Series(*run.curve(metric), place) for place, run in enumerate(found.runs)]
        plots.append(line_plot(metric, series, number))
        not_finite += [remark for run in found.runs if (remark := run.not_finite(metric))]
    return render(
        "compare.html.j2",
        title=f"{' and '.join(labels) if len(labels) == 2 else f'{len(labels)} runs'} compared",
        no_winner=NO_WINNER,
        found=found,
        labels=labels,
        runs=[_run_cells(run) for run in found.runs],
        plots=plots,
        not_finite=not_finite,
    )


def grouping_page(grouping: Grouping, verdicts: Sequence[MetricVerdict]) -> str:
    """Return what `runs compare --group-by KEY` shows as a page, with a plot of the seeds per metric."""
    shown = []
    for number, verdict in enumerate(one for one in verdicts if one.constant is None):
        values = [
            (stats.group, [(seed, value) for seed, value in stats.values.items() if math.isfinite(value)])
            for stats in verdict.stats
        ]
        has_values = any(found for _, found in values)
        shown.append((verdict, seeds_plot(verdict.metric, values, number) if has_values else None))
    return render(
        "groups.html.j2",
        title=f"{grouping.key}: {' against '.join(group.name for group in grouping.groups)}",
        grouping=grouping,
        groups=[(group, [_run_cells(run) for run in group.runs]) for group in grouping.groups],
        verdicts=shown,
        group_columns=(grouping.key, *GROUP_COLUMNS),
        pair_columns=PAIR_COLUMNS,
        names=[f"{grouping.key} = {group.name}" for group in grouping.groups],
        constants=constants(verdicts),
    )


def _run_cells(run: ComparedRun) -> tuple[object, ...]:
    """Return a row of the table of runs: what it is, when it began, its commit, and its note."""
    record = run.record
    commit = f"{record.commit[:10]}{', edited' if record.dirty else ''}" if record.commit else MISSING
    began = f"{record.created:%Y-%m-%d %H:%M}"
    return record.id, record.verb, record.status, began, run.seed, commit, record.note
