"""Comparisons as pages."""

from collections.abc import Mapping, Sequence

from understudy.runs.compare.code import CodeDifference
from understudy.runs.compare.differences import NO_WINNER, DiffRow, final_metrics
from understudy.runs.compare.groups import Grouping
from understudy.runs.compare.runs import ComparedRun, curve_names
from understudy.runs.compare.verdicts import GROUP_COLUMNS, PAIR_COLUMNS, MetricVerdict, constants
from understudy.runs.pages.plots import line_plot, seeds_plot
from understudy.runs.pages.render import render

MOST_PLOTS = 12


def comparison_page(
    runs: Sequence[ComparedRun], code: Sequence[CodeDifference], differences: Mapping[str, Sequence[DiffRow]]
) -> str:
    """Return what `runs compare A B ...` shows as a page, with a plot per metric."""
    labels = [run.label for run in runs]
    curves = curve_names(runs)[:MOST_PLOTS]
    return render(
        "compare.html.j2",
        title=f"{' and '.join(labels) if len(labels) == 2 else f'{len(labels)} runs'} compared",
        no_winner=NO_WINNER,
        runs=runs,
        labels=labels,
        metrics=final_metrics(runs),
        plots=[line_plot(name, [run.curve(name) for run in runs], number) for number, name in enumerate(curves)],
        not_finite=[remark for name in curves for run in runs if (remark := run.not_finite(name))],
        code=code,
        differences=differences,
    )


def grouping_page(grouping: Grouping, verdicts: Sequence[MetricVerdict]) -> str:
    """Return what `runs compare --group-by KEY` shows as a page, with a plot of the seeds per metric."""
    shown = []
    for number, verdict in enumerate(one for one in verdicts if one.constant is None):
        values = [stats.finite for stats in verdict.stats.values()]
        shown.append((verdict, seeds_plot(verdict.metric, values, number) if any(values) else None))
    return render(
        "groups.html.j2",
        title=f"{grouping.key}: {' against '.join(grouping.groups)}",
        grouping=grouping,
        groups={f"{grouping.key} = {name}": runs for name, runs in grouping.groups.items()},
        verdicts=shown,
        group_columns=(grouping.key, *GROUP_COLUMNS),
        pair_columns=PAIR_COLUMNS,
        constants=constants(verdicts),
    )
