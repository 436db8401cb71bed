"""report.html: one run on a page that needs nothing but a browser."""

import shlex
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.files import write_atomically
from understudy.runs.code.kept import open_code
from understudy.runs.compare.blocks import code_block, not_finite, sheet_table
from understudy.runs.compare.code import CodeDifference, code_differences, diff_files
from understudy.runs.compare.differences import command_line, differences, digits, environment, final_metrics
from understudy.runs.compare.runs import ComparedRun, compared, curve_names, metric_names
from understudy.runs.find import list_runs
from understudy.runs.journal import read_lines
from understudy.runs.pages.comparison import marks
from understudy.runs.pages.plots import Series, legend, line_plot
from understudy.runs.pages.render import Html, element, folded, joined, page, pairs, section, table
from understudy.runs.record import Record

FILE = "report.html"
MOST_SAMPLES = 200
LAST_LINES = 40
VERDICT_CLASSES = {"ok": "good", "failed": "bad"}


def write_report(folder: Path) -> Path:
    """Writes the report of the run in `folder` into it; the path of the page."""
    path = folder / FILE
    try:
        write_atomically(path, report_page(folder))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return path


def report_page(folder: Path) -> Html:
    """What was run and on which code, what came of it, and how it differs from the run before it."""
    (run,) = compared([folder])
    record = run.record
    return page(
        record.id,
        *marks([run]),
        _summary(run),
        _error(record),
        _reproduce(run),
        _checks(record),
        _figures(run),
        section("Curves", _curves(run)),
        _samples(record),
        _since_previous(run),
        section("Code", _code(record)),
        _table_section("Configuration", run.config),
        _data(record),
        _environment(run),
    )


def previous_run(record: Record) -> Record | None:
    """The last run of the same verb that began before this one, finished, and is not marked bad."""
    before = [
        other for other in list_runs(record.folder.parent) if (other.created, other.id) < (record.created, record.id)
    ]
    fit = (other for other in reversed(before) if other.verb == record.verb and other.status == "finished")
    return next((other for other in fit if not other.marks.bad), None)


def _summary(run: ComparedRun) -> Html:
    record = run.record
    facts = {
        "what": record.verb,
        "status": record.status,
        "began": f"{record.created:%Y-%m-%d %H:%M:%S %z}",
        "took": _took(record),
        "seed": run.seed,
        "headline": f"{run.headline} {digits([run.figures[run.headline]])[0]}" if run.headline else "",
        "parents": ", ".join(map(str, record.data.get("parents") or [])),
        "tags": ", ".join(record.marks.tags),
        "note": record.note,
    }
    return pairs({name: fact for name, fact in facts.items() if fact not in ("", None)})


def _took(record: Record) -> str:
    try:
        took = datetime.fromisoformat(record.data["ended"]) - datetime.fromisoformat(record.data["created"])
    except (KeyError, TypeError, ValueError):
        return ""
    return str(timedelta(seconds=round(took.total_seconds())))


def _error(record: Record) -> Html:
    if not (error := record.data.get("error")):
        return Html()
    try:
        log = (record.folder / "console.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        log = ""
    tail = "\n".join(log.splitlines()[-LAST_LINES:])
    return section("Error", element("p", error, class_="bad"), folded("the end of console.log", element("pre", tail)))


def _reproduce(run: ComparedRun) -> Html:
    folder = run.record.data.get("cwd")
    typed = f"cd {shlex.quote(str(folder))}\n{command_line(run)}" if folder else command_line(run)
    return section(
        "Run it again",
        element("p", "On the exact code, with the recorded command and seed:"),
        element("pre", f"understudy runs rerun {run.record.id}"),
        element("p", "What was typed:"),
        element("pre", typed),
    )


def _checks(record: Record) -> Html:
    checks = record.data.get("checks") or []
    if not checks:
        return section("Checks for silent bugs", element("p", "None were made.", class_="soft"))
    ordered = sorted(checks, key=lambda check: check.get("verdict") != "failed")
    columns = ("check", "verdict", "measured", "expected", "likely causes")
    inner = table(columns, [_check(check) for check in ordered])
    failed = sum(check.get("verdict") == "failed" for check in checks)
    if failed:
        return section(
            "Checks for silent bugs", element("p", f"{failed} of {len(checks)} failed.", class_="bad"), inner
        )
    return section("Checks for silent bugs", folded(f"{len(checks)} checks, none failed", inner))


def _check(check: dict[str, Any]) -> tuple[object, ...]:
    verdict = str(check.get("verdict", "?"))
    causes = check.get("causes") or []
    mark = element("span", verdict, class_=VERDICT_CLASSES.get(verdict, "soft"))
    return (
        check.get("name", "?"),
        mark,
        check.get("measured", ""),
        check.get("expected", ""),
        "; ".join(map(str, causes)),
    )


def _figures(run: ComparedRun) -> Html:
    names = metric_names([run])
    if not names:
        return section("Final metrics", element("p", "No metrics were logged.", class_="soft"))
    return section("Final metrics", pairs({name: digits([run.figures[name]])[0] for name in names}))


def _curves(run: ComparedRun) -> Html:
    """A picture for each metric, training and validation of the same one together."""
    names = curve_names([run])
    firsts = [name for name in names if not (name.startswith("val_") and name.removeprefix("val_") in names)]
    plots = []
    for number, name in enumerate(firsts):
        both = [name, *([f"val_{name}"] if f"val_{name}" in names else [])]
        series = [Series(*run.curve(one), place) for place, one in enumerate(both)]
        plots.append(joined([line_plot(name, series, number), *([legend(both)] if len(both) > 1 else [])]))
    remarks = [element("p", remark, class_="warn") for name in run.figures if (remark := not_finite(run, name))]
    if not plots:
        return joined([*remarks, element("p", "No metric was logged more than once.", class_="soft")])
    return joined([*remarks, element("div", *(element("div", plot) for plot in plots), class_="plots")])


def _samples(record: Record) -> Html:
    """What the model said, newest first."""
    rows = read_lines(record.folder / "samples.jsonl")[-MOST_SAMPLES:]
    by_step: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        by_step.setdefault(row.get("step"), []).append(row)
    if not by_step:
        return Html()
    last, *earlier = reversed(by_step.items())
    talks = [_talks(*last), *([folded("earlier", *(_talks(*talk) for talk in earlier))] if earlier else [])]
    return section("Samples", *talks)


def _talks(step: Any, rows: list[dict[str, Any]]) -> Html:
    talks = []
    for row in rows:
        turns = [(name, said) for name, said in row.items() if name != "step"]
        lines = [element("p", element("b", f"{name}: "), said) for name, said in turns]
        talks.append(element("div", *lines, class_="talk"))
    return joined([element("h3", f"step {step}"), *talks])


def _since_previous(run: ComparedRun) -> Html:
    title = f"Since the previous {run.record.verb}"
    previous = previous_run(run.record)
    if previous is None:
        return section(title, element("p", "There is none that finished and is not marked bad.", class_="soft"))
    runs = compared([previous.folder, run.record.folder])
    labels = [one.label for one in runs]
    sheets = [final_metrics(runs), *(sheet for sheet in differences(runs) if sheet.title != "command lines")]
    parts = [element("p", f"Compared with {previous.id}: one run each, so no winner can be named.")]
    for sheet in sheets:
        if sheet.rows:
            parts += [element("h3", sheet.title.capitalize()), sheet_table(sheet, labels)]
    for difference in code_differences(runs):
        parts += [element("h3", "Code"), code_block(difference)]
    return section(title, *parts)


def _code(record: Record) -> Html:
    """Where the code stood, and every line in which it differed from its commit."""
    code = record.data.get("code") or {}
    kept = {
        name: code[name] for name in ("kind", "top", "commit", "branch", "snapshot", "ref", "error") if code.get(name)
    }
    if package := code.get("understudy"):
        about = (f"version {package.get('version')}", package.get("commit"), "edited" if package.get("dirty") else "")
        kept["understudy"] = ", ".join(filter(None, about))
    left_out = [(entry["path"], entry["reason"]) for entry in code.get("left_out") or []]
    parts = [pairs(kept)]
    if left_out:
        parts.append(folded(f"{len(left_out)} files left out", table(("file", "reason"), left_out)))
    if code.get("kind") == "git":
        parts += [element("h3", "Not in the commit"), code_block(_since_commit(record))]
    return joined(parts)


def _since_commit(record: Record) -> CodeDifference:
    try:
        with open_code(record.folder, without_edits=True) as before, open_code(record.folder) as after:
            return CodeDifference("the commit", record.id, tuple(diff_files(before, after)))
    except UserError as error:
        return CodeDifference("the commit", record.id, problem=str(error))


def _data(record: Record) -> Html:
    entries = record.data.get("data") or []
    if not entries:
        return Html()
    rows = [(entry["path"], f"{entry['bytes']:,}", entry["sha256"]) for entry in entries]
    return section("Data", table(("file", "bytes", "sha256"), rows))


def _environment(run: ComparedRun) -> Html:
    found = environment(run)
    packages = {
        name.removeprefix("package "): version for name, version in found.items() if name.startswith("package ")
    }
    rest = {name: value for name, value in found.items() if not name.startswith("package ")}
    seeds = run.record.data.get("seeds") or {}
    parts = [pairs(rest), folded(f"{len(packages)} packages", pairs(packages))]
    if seeds:
        parts.append(folded(f"seeds, all from {run.seed}", pairs(seeds)))
    return section("Environment", *parts)


def _table_section(title: str, values: dict[str, Any]) -> Html:
    return section(title, pairs(values)) if values else Html()
