"""Runs on the terminal: the list, and one run with its curve."""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from understudy.lab.journal import last_value, read_metrics, series
from understudy.lab.store import Record, read_record

STATUS_STYLES = {"running": "cyan", "finished": "green", "failed": "red", "broken": "red"}
# What a curve shows together, best first: the unit, then the names of its training and validation series.
CURVES = (("bits a byte", ("bpb", "val_bpb")), ("loss, nats a token", ("loss", "val_loss")))
PENS = (("braille", "cyan", "⠒"), ("hd", "magenta", "▚"))  # for the training and the validation series
CURVE_HEIGHT = 16
WIDEST_CURVE = 100


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
        cells = (record.verb, status, _age(record.created), _headline(record), note)
        table.add_row(Text(record.id), *(cell if isinstance(cell, Text) else _text(cell) for cell in cells))
    return table


def show(folder: Path, console: Console) -> None:
    """Prints a run: its configuration, code, data, parents, seeds, outcome, last metrics and curves."""
    record = read_record(folder)
    console.print(_text(f"{record.id}  {record.verb}  {record.status}  {_age(record.created)} ago"), style="bold")
    for title, values in _sections(record):
        if values:
            console.print(_text(f"\n{title}"), style="bold")
            console.print(_grid(values))
    rows = read_metrics(folder / "metrics.jsonl")
    for unit, names in CURVES:
        points = {name: _finite(*series(rows, name)) for name in names}
        if any(len(steps) > 1 for steps, _ in points.values()):
            console.print()
            console.print(_curve(unit, points, min(console.width, WIDEST_CURVE)))


def _headline(record: Record) -> str:
    """The figure that sums the run up: the one its outcome names, or else the last validation figure or loss."""
    named = (record.data.get("outcome") or {}).get("headline")
    if isinstance(named, list) and len(named) == 2:
        return f"{named[0]} {_number(named[1])}"
    for name in ("val_bpb", "loss"):
        value = last_value(record.folder / "metrics.jsonl", name)
        if value is not None:
            return f"{name} {_number(value)}"
    return ""


def _sections(record: Record) -> list[tuple[str, dict[str, Any]]]:
    data = record.data
    files = {
        entry["path"]: f"{entry['bytes']:,} bytes, sha256 {entry['sha256'][:12]}" for entry in data.get("data", [])
    }
    return [
        ("run", _beginning_and_end(record)),
        ("configuration", _flat(data.get("config") or {})),
        ("code", _code(record)),
        ("data", files),
        ("parents", {str(parent): "" for parent in data.get("parents", [])}),
        ("seeds", {"all from": data["seed"], **data.get("seeds", {})} if "seed" in data else {}),
        ("outcome", _flat(data.get("outcome") or {})),
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
                last[name] = f"{_number(value)} at step {row['step']:,}"
    return last


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return flat


def _grid(values: dict[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")  # a path that is cut cannot be copied
    for name, value in values.items():
        grid.add_row(_text(f"  {name}"), _text(value))
    return grid


def _curve(unit: str, points: dict[str, tuple[list[int], list[float]]], width: int) -> Text:
    """The series over their steps: training thin, validation thick."""
    import plotext  # type: ignore[import-untyped]  # takes a fifth of a second, which only a curve is worth

    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, CURVE_HEIGHT)
    figure.theme("colorless")
    title = Text(unit, style="bold")
    for (marker, color, sign), (name, (steps, values)) in zip(PENS, points.items(), strict=True):
        if len(steps) > 1:
            thinned = _thin(len(steps), most=8 * width)
            marks = plotext.marker(marker, color)
            signal = figure.signal([steps[i] for i in thinned], [values[i] for i in thinned], marker=marks)
            signal.lines()
            figure.draw(signal)
            title.append(f"   {sign} {name} {values[-1]:.4g}", style=color)
    return Text("\n").join([title, Text.from_ansi(figure.build().string())])


def _thin(count: int, most: int) -> Sequence[int]:
    """At most about `most` indices of a series, spread evenly, the last one included."""
    stride = math.ceil(count / most)
    return range((count - 1) % stride, count, stride)


def _finite(steps: list[int], values: list[Any]) -> tuple[list[int], list[float]]:
    kept = [(step, value) for step, value in zip(steps, values, strict=True) if _is_finite(value)]
    return [step for step, _ in kept], [value for _, value in kept]


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _age(created: datetime) -> str:
    seconds = max(0, int((datetime.now().astimezone() - created).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _text(value: Any) -> Text:
    """Text as it is: no markup, and file names that are no valid Unicode made printable."""
    return Text(str(value).encode("utf-8", "backslashreplace").decode())
