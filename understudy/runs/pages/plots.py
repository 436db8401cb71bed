"""Curves as SVG inside a page, drawn by Matplotlib."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.runs.pages.curves import thin
from understudy.runs.pages.render import Html, element

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = 8  # --c0 to --c7 of the page's style
DASHES = ("solid", "dashed", "dotted", "dashdot")
DASH_ARRAYS = ("", "5 2", "1.5 2", "5 2 1 2")
SIZE_INCHES = (5.0, 3.0)
MOST_POINTS = 1500
SMOOTH_FROM = 200  # points from which a running mean is drawn over the noise
WINDOW = 50  # it goes over one part in so many of the points
LOG_FROM = 30  # the ratio of the largest value to the smallest from which a logarithmic scale shows more
# Colours that Matplotlib writes for us to replace by the page's own, which follow light and dark.
INK, GRID = "#0a0b0c", "#0d0e0f"


@dataclass(frozen=True)
class Series:
    """One line of a plot: finite values over steps. `place` gives its colour and its dashes."""

    steps: Sequence[int]
    values: Sequence[float]
    place: int


def line_plot(name: str, series: Sequence[Series], number: int) -> Html:
    """The series over their steps, under their name. `number` is unique on the page."""
    is_log = _is_log([value for one in series for value in one.values])
    with _settings():
        figure, axes = _new_figure()
        for one in series:
            _draw(axes, one)
        if is_log:
            axes.set_yscale("log")
        axes.set_xlabel("step")
        svg = _svg(figure, number)
    smoothed = any(len(one.values) >= SMOOTH_FROM for one in series)
    remarks = ["logarithmic" if is_log else "", "faint: each value; bold: running mean" if smoothed else ""]
    return _captioned(svg, name, "; ".join(filter(None, remarks)))


def seeds_plot(name: str, samples: Sequence[tuple[str, Sequence[tuple[object, float]]]], number: int) -> Html:
    """The values of each group's seeds, the mean as a bar; lines join values of one seed."""
    seeds: dict[object, list[tuple[int, float]]] = {}
    for place, (_, values) in enumerate(samples):
        for seed, value in values:
            seeds.setdefault(seed, []).append((place, value))
    with _settings():
        figure, axes = _new_figure()
        for points in seeds.values():
            axes.plot(*zip(*points, strict=True), color=GRID, linewidth=1, zorder=1)
        for place, (_, values) in enumerate(samples):
            _draw_sample(axes, place, [value for _, value in values])
        axes.set_xlim(-0.6, len(samples) - 0.4)
        axes.set_xticks([])
        svg = _svg(figure, number)
    return _captioned(svg, name, "a dot: a seed; bar: the mean; lines join one seed")


def legend(names: Sequence[str]) -> Html:
    """Which line is whose."""
    return element("ul", *(element("li", _sample(place), name) for place, name in enumerate(names)), class_="legend")


def _sample(place: int) -> Html:
    stroke = {"stroke": f"var(--c{place % COLORS})", "stroke-width": "3"}
    if dashes := DASH_ARRAYS[place // COLORS % len(DASHES)]:
        stroke["stroke-dasharray"] = dashes
    line = element("path", d="M0 5H24", **stroke)
    return element("svg", line, viewBox="0 0 24 10", **{"aria-hidden": "true"})


@contextmanager
def _settings() -> Iterator[None]:
    """Matplotlib as we want it, whatever the user's own settings are."""
    import matplotlib  # half a second, which only a page with plots is worth

    ours: dict[Any, Any] = {"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GRID}
    ours |= {"xtick.color": INK, "ytick.color": INK, "axes.formatter.useoffset": False}
    ours |= {"svg.hashsalt": "understudy", "svg.fonttype": "none"}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(ours)
        yield


def _new_figure() -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color=GRID, linewidth=0.6, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _draw_sample(axes: "Axes", place: int, values: Sequence[float]) -> None:
    color = _color(place)
    axes.scatter([place] * len(values), values, s=26, color=color, zorder=3)
    if values:
        axes.hlines(float(np.mean(values)), place - 0.2, place + 0.2, color=color, linewidth=2, zorder=2)


def _draw(axes: "Axes", series: Series) -> None:
    kept = thin(series.values, MOST_POINTS)
    steps, values = np.asarray(series.steps), np.asarray(series.values, dtype=np.float64)
    style: dict[str, Any] = {"color": _color(series.place), "linestyle": DASHES[series.place // COLORS % len(DASHES)]}
    if len(values) < SMOOTH_FROM:
        marker = "o" if len(values) <= 30 else None
        axes.plot(steps, values, linewidth=1.5, marker=marker, markersize=3, **style)
        return
    axes.plot(steps[kept], values[kept], linewidth=0.7, alpha=0.35, **style)
    mean = _running_mean(values, len(values) // WINDOW)
    kept = thin(mean.tolist(), MOST_POINTS)
    axes.plot(steps[kept], mean[kept], linewidth=1.6, **style)


def _running_mean(values: "np.ndarray", window: int) -> "np.ndarray":
    """The mean of the last `window` values; of fewer at the beginning."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(0, ends - window)
    return (sums[ends] - sums[begins]) / (ends - begins)


def _is_log(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) >= LOG_FROM


def _color(place: int) -> str:
    return f"#0f0f{place % COLORS:02x}"


def _captioned(svg: Html, name: str, remark: str) -> Html:
    about = element("span", f" ({remark})", class_="soft") if remark else ""
    return element("figure", element("figcaption", name, about), svg)


def _svg(figure: "Figure", number: int) -> Html:
    """The picture as it may stand in a page: no declarations, no metadata, ids of its own, the page's colours."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>p{number}-", svg)
    svg = svg.replace(INK, "var(--ink)").replace(GRID, "var(--line)")
    return Html(re.sub(r"#0f0f0([0-7])", r"var(--c\1)", svg))
