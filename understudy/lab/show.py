"""Runs on the terminal: the list, and one run with its curve."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from understudy.lab.curves import THICK, THIN, Curve, draw, finite
from understudy.lab.journal import last_value, read_metrics, series
from understudy.lab.store import Record, read_record
from understudy.lab.wording import age, flat, number, text

STATUS_STYLES = {"running": "cyan", "finished": "green", "failed": "red", "broken": "red"}
# What a curve shows together, best first: the unit, then the names of its training and validation series.
CURVES = (("bits a byte", ("bpb", "val_bpb")), ("loss, nats a token", ("loss", "val_loss")))
PENS = (("cyan", THIN), ("magenta", THICK))  # for the training and the validation series


def runs_table(records: Iterable[Record]) -> Table:
    """A table with one row a run, in the given order: id, verb, status, age, headline metric, note (or error)."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "verb", "status", "age"):
        table.add_column(name, no_wrap=True, justify="right" if name == "age" else "left")
    table.add_column("headline", no_wrap=True)
    table.add_column("note")
    for record in records:
        status = Text(record.status, style=STATUS_STYLES.get(record.status, "yellow"))
        note = record.note or record.data.get("error", "")
        cells = (record.verb, status, age(record.created), _headline(record), note)
        table.add_row(Text(record.id), *(cell if isinstance(cell, Text) else text(cell) for cell in cells))
    return table


def show(folder: Path, console: Console) -> None:
    """Prints a run: its configuration, code, data, parents, seeds, outcome, last metrics and curves."""
    record = read_record(folder)
    console.print(text(f"{record.id}  {record.verb}  {record.status}  {age(record.created)} ago"), style="bold")
    for title, values in _sections(record):
        if values:
            console.print(text(f"\n{title}"), style="bold")
            console.print(_grid(values))
    rows = read_metrics(folder / "metrics.jsonl")
    for unit, names in CURVES:
        points = [(name, *finite(*series(rows, name))) for name in names]
        curves = [Curve(*point, *pen) for point, pen in zip(points, PENS, strict=True)]
        if any(len(curve.steps) > 1 for curve in curves):
            console.print()
            console.print(draw(unit, curves, console.width))


def _headline(record: Record) -> str:
    """The figure that sums the run up: the one its outcome names, or else the last validation figure or loss."""
    named = (record.data.get("outcome") or {}).get("headline")
    if isinstance(named, list) and len(named) == 2:
        return f"{named[0]} {number(named[1])}"
    for name in ("val_bpb", "loss"):
        value = last_value(record.folder / "metrics.jsonl", name)
        if value is not None:
            return f"{name} {number(value)}"
    return ""


def _sections(record: Record) -> list[tuple[str, dict[str, Any]]]:
    data = record.data
    files = {
        entry["path"]: f"{entry['bytes']:,} bytes, sha256 {entry['sha256'][:12]}" for entry in data.get("data", [])
    }
    return [
        ("run", _beginning_and_end(record)),
        ("configuration", flat(data.get("config") or {})),
        ("code", _code(record)),
        ("data", files),
        ("parents", {str(parent): "" for parent in data.get("parents", [])}),
        ("seeds", {"all from": data["seed"], **data.get("seeds", {})} if "seed" in data else {}),
        ("outcome", flat(data.get("outcome") or {})),
        ("last metrics", _last_metrics(record.folder / "metrics.jsonl")),
    ]


def _beginning_and_end(record: Record) -> dict[str, Any]:
    lines = {name: record.data.get(name) for name in ("cwd", "created", "ended", "error")}
    lines["argv"] = " ".join(map(str, record.data.get("argv", [])))
    lines["resumed"] = ", ".join(str(entry["time"]) for entry in record.data.get("resumed", []))
    lines["note"] = record.note
    return {name: line for name, line in lines.items() if line}


def _code(record: Record) -> dict[str, Any]:
    """How the working folder's code was kept and, where this package lies elsewhere, the package's."""
    code = record.data.get("code") or {}
    lines = _kept(code, record.folder / "code" / "snapshot.bundle")
    package = code.get("understudy") or {}
    if package.get("kind") in ("git", "copy", "none"):
        of_package = _kept(package, record.folder / "code" / "understudy.bundle")
        lines |= {f"understudy: {name}": line for name, line in of_package.items()}
    return lines


def _kept(code: dict[str, Any], bundle: Path) -> dict[str, Any]:
    lines = {
        "commit": f"{code.get('commit') or 'none yet'} on {code.get('branch') or 'no branch'}" if "ref" in code else "",
        "snapshot": ", ".join(code[name] for name in ("snapshot", "ref") if code.get(name)),
        "to see it": f"git clone {bundle}" if "ref" in code else "",
        "copied": f"{code['files']} source files to {bundle.parent}" if "files" in code else "",
        "edited": ", ".join(code.get("dirty_files", [])),
        "untracked": ", ".join(code.get("untracked_files", [])),
        "left out": ", ".join(f"{entry['path']} ({entry['reason']})" for entry in code.get("left_out", [])),
        "error": code.get("error"),
    }
    return {name: line for name, line in lines.items() if line}


def _last_metrics(path: Path) -> dict[str, Any]:
    """The last value of every name that was logged, with its step."""
    last: dict[str, Any] = {}
    for row in read_metrics(path):
        for name, value in row.items():
            if name not in ("step", "time"):
                last[name] = f"{number(value)} at step {row['step']:,}"
    return last


def _grid(values: dict[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")  # a path that is cut cannot be copied
    for name, value in values.items():
        grid.add_row(text(f"  {name}"), text(value))
    return grid
