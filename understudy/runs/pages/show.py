"""One run on the terminal, with its curves."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from understudy.console import age, counted, flat, number, text
from understudy.runs.arguments import OneRun
from understudy.runs.code.kept import files_beside
from understudy.runs.compare.differences import data_files
from understudy.runs.find import find_run
from understudy.runs.journal import read_metrics, series
from understudy.runs.pages.curves import THICK, THIN, draw, finite
from understudy.runs.record import Record, read_record

# What a curve shows together, best first: the unit, then the names of its training and validation series.
CURVES = (("bits per byte", ("bpb", "val_bpb")), ("loss, nats per token", ("loss", "val_loss")))
PENS = (("cyan", THIN), ("magenta", THICK))  # for the training and the validation series


def main(options: OneRun, console: Console) -> None:
    """Show one run: configuration, code, data, parents, seeds, outcome, last metrics and curve."""
    record = read_record(find_run(options.run))
    console.print(text(f"{record.id}  {record.verb}  {record.status}  {age(record.created)} ago"), style="bold")
    if record.marks.bad:
        console.print(text(f"bad: {record.marks.bad}", "bold red"))
    rows = read_metrics(record.folder / "metrics.jsonl")
    for title, values in _sections(record, rows).items():
        if values:
            console.print(text(f"\n{title}"), style="bold")
            grid = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2))  # no path is cut short
            for name, value in values.items():
                grid.add_row(text(f"  {name}"), text(value))
            console.print(grid)
    # One picture per unit, with training and validation together
    for unit, names in CURVES:
        curves = [(name, finite(*series(rows, name))) for name in names]
        if any(len(steps) > 1 for _, (steps, _) in curves):
            console.print()
            console.print(draw(unit, curves, PENS, console.width))


def _sections(record: Record, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what there is to say of a run, as names and values by section."""
    data = record.data

    # The published weights that a run began with: all their files are in one folder.
    published = data.get("base") or {}
    base = {name: published[name] for name in ("source", "revision") if published.get(name)}
    base |= data_files([entry | {"path": Path(entry["path"]).name} for entry in published.get("files", [])])

    # Of the checks, how many have each verdict, and what those that failed measured
    checks = data.get("checks") or []
    counts = Counter(check["verdict"] for check in checks)
    verdicts = {"all": ", ".join(f"{count} {verdict}" for verdict, count in counts.items())} if checks else {}
    failed = [check for check in checks if check["verdict"] == "failed"]
    verdicts |= {check["name"]: f"{check['measured']}; expected {check['expected']}" for check in failed}

    return {
        "run": _beginning_and_end(record),
        "configuration": flat(data.get("config") or {}),
        "code": code_facts(record),
        "data": data_files(data.get("data", [])),
        "parents": {str(parent): "" for parent in data.get("parents", [])},
        "base": base,
        "seeds": {"all from": data["seed"], **data.get("seeds", {})} if "seed" in data else {},
        "checks": verdicts,
        "outcome": flat(data.get("outcome") or {}),
        "last metrics": {
            name: f"{number(value)} at step {row['step']:,}"
            for row in rows
            for name, value in row.items()
            if name not in ("step", "time")
        },
    }


def _beginning_and_end(record: Record) -> dict[str, Any]:
    """Return when and how a run began and ended, whether it was verified, and how people marked it."""
    lines = {name: record.data.get(name) for name in ("cwd", "created", "ended", "error")}
    lines["argv"] = " ".join(map(str, record.data.get("argv", [])))
    lines["resumed"] = ", ".join(str(entry["time"]) for entry in record.data.get("resumed", []))
    lines["repeats"] = record.data.get("rerun_of")
    try:
        told = json.loads((record.folder / "verified.json").read_bytes())
        when = age(datetime.fromtimestamp(told["time"]).astimezone())
        compared = f"{counted(told['lines'], 'line')} of metrics, {counted(told['checkpoints'], 'checkpoint')}"
        verdict = "identical, bit for bit" if told["identical"] else f"differs from {told['difference']}"
        lines["verified"] = f"{verdict}; {compared}; {when} ago"
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it was not verified
    lines["tags"] = ", ".join(record.marks.tags)
    lines["pinned"] = "yes: `understudy runs gc` keeps it" if record.marks.pinned else ""
    lines["note"] = record.note
    return {name: line for name, line in lines.items() if line}


def code_facts(record: Record) -> dict[str, Any]:
    """Return how the working folder's code was kept and, where this package is installed elsewhere, the package's."""
    folder, code = record.folder / "code", record.data.get("code") or {}
    parts = [("", "", code)]
    package = code.get("understudy") or {}
    if package.get("kind") in ("git", "copy", "none"):
        parts.append(("understudy: ", "understudy-", package))
    facts: dict[str, Any] = {}
    for title, prefix, part in parts:
        edits = folder / f"{prefix}edits.bundle"
        pull = f" && git -C there pull {edits} snapshot" if edits.exists() else ""
        commit = f"{part.get('commit') or 'none yet'} on {part.get('branch') or 'no branch'}"
        lines = {
            "commit": commit if "ref" in part else "",
            "snapshot": ", ".join(part[name] for name in ("snapshot", "ref") if part.get(name)),
            "to see it": f"git clone {folder}/{prefix}base.bundle there{pull}" if "ref" in part else "",
            "archived": f"{part['files']} source files in {folder}/{prefix}sources.zip" if "files" in part else "",
            "edited": ", ".join(part.get("dirty_files", [])),
            "untracked": ", ".join(part.get("untracked_files", [])),
            "submodules": ", ".join(module["path"] for module in part.get("submodules", [])),
            "left out": ", ".join(f"{entry['path']} ({entry['reason']})" for entry in part.get("left_out", [])),
            "error": part.get("error"),
        }
        facts |= {f"{title}{name}": line for name, line in lines.items() if line}
    read = [f"{path} ({entry['why']})" for path, entry in files_beside(folder).items()]
    return facts | ({"read beside it": ", ".join(read)} if read else {})
