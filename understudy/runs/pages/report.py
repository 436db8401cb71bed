"""report.html: one run on a page that needs nothing but a browser."""

import shlex
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from understudy.console import say
from understudy.runs.arguments import OneRun
from understudy.runs.compare.code import code_differences, since_commit
from understudy.runs.compare.differences import command_line, differences, digits, environment, final_metrics
from understudy.runs.compare.runs import compared, curve_names, metric_names
from understudy.runs.find import find_run, list_ids
from understudy.runs.journal import read_lines
from understudy.runs.pages.plots import line_plot
from understudy.runs.pages.render import render, write_page
from understudy.runs.pages.show import code_facts
from understudy.runs.record import Record, read_record

FILE = "report.html"
MOST_SAMPLES = 200
LAST_LINES = 40


def main(options: OneRun, console: Console) -> None:
    """Write report.html into the run's folder: code, curves, samples, checks, and what changed since the last one."""
    folder = find_run(options.run)
    write_page(folder / FILE, report_page(folder))
    say(console, f"written: {folder / FILE}")


def report_page(folder: Path) -> str:
    """Return the page of one run: its code, what came of it, and how it differs from the run before it."""
    (run,) = compared([folder])
    record, data = run.record, run.record.data
    # The end of the log says most about a run that failed.
    log = ""
    with suppress(OSError):
        log = (folder / "console.log").read_text(encoding="utf-8", errors="replace")

    # What the model said, by step; the page shows the latest first
    samples: dict[Any, list[dict[str, Any]]] = {}
    for row in read_lines(folder / "samples.jsonl")[-MOST_SAMPLES:]:
        samples.setdefault(row.get("step"), []).append(row)

    # A plot per metric; a validation curve goes on the plot of its training curve.
    names = curve_names([run])
    firsts = [name for name in names if not (name.startswith("val_") and name.removeprefix("val_") in names)]
    together = [[name for name in (first, f"val_{first}") if name in names] for first in firsts]
    plots = [(line_plot(each[0], [run.curve(name) for name in each], i), each) for i, each in enumerate(together)]

    # What changed since the last run of its kind
    previous = previous_run(record)
    pair = compared([previous.folder, record.folder]) if previous else []
    changes = {"final metrics": final_metrics(pair), **differences(pair)}
    del changes["command lines"]

    # How to run it again, and what it needs
    typed = f"cd {shlex.quote(str(data['cwd']))}\n{command_line(data)}" if data.get("cwd") else command_line(data)
    found = environment(data)
    packages = {name.removeprefix("package "): found.pop(name) for name in list(found) if name.startswith("package ")}
    return render(
        "report.html.j2",
        title=record.id,
        run=run,
        took=timedelta(seconds=round((record.ended - record.created).total_seconds())) if record.ended else "",
        log="\n".join(log.splitlines()[-LAST_LINES:]),
        typed=typed,
        checks=sorted(data.get("checks") or [], key=lambda check: check.get("verdict") != "failed"),
        figures={name: digits([run.figures[name]])[0] for name in metric_names([run])},
        plots=plots,
        not_finite=[remark for name in run.figures if (remark := run.not_finite(name))],
        samples=list(reversed(samples.items())),
        previous=previous,
        labels=[one.label for one in pair],
        differences=changes,
        since_previous=code_differences(pair) if pair else [],
        code=code_facts(record),
        since_commit=since_commit(record) if (data.get("code") or {}).get("kind") == "git" else None,
        data=[(entry["path"], f"{entry['bytes']:,}", entry["sha256"]) for entry in data.get("data") or []],
        environment=found,
        packages=packages,
    )


def previous_run(record: Record) -> Record | None:
    """Return the last run of the same verb that began before this one, finished, and is not marked bad."""
    runs = record.folder.parent
    others = (read_record(runs / name) for name in reversed(list_ids(runs)))
    alike = (other for other in others if (other.verb, other.status, other.marks.bad) == (record.verb, "finished", ""))
    return next((other for other in alike if (other.created, other.id) < (record.created, record.id)), None)
