"""Curves as SVG inside a page, drawn by Matplotlib."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.runs.pages.curves import thin

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Series take the colours --c0 to --c7 of style.css, then the same ones dashed. The legend in parts.html.j2 does, too.
COLORS = 8
DASHES = ("solid", "dashed", "dotted", "dashdot")
SIZE_INCHES = (5.0, 3.0)
MOST_POINTS = 1500
SMOOTH_FROM = 200  # points from which a running mean is drawn over the noise
WINDOW = 50  # it goes over a fiftieth of the points
LOG_FROM = 30  # ratio of the largest value to the smallest from which a logarithmic scale shows more
# Colours that Matplotlib writes, to be replaced by the page's own, which follow light and dark.
INK, GRID = "#0a0b0c", "#0d0e0f"


@dataclass(frozen=True)
class Series:
    """One line of a plot: finite values over steps. `place` decides on its colour and its dashes."""

    steps: Sequence[int]
    values: Sequence[float]
    place: int


@dataclass(frozen=True)
class Plot:
    """A picture as SVG for a page, with its name and a remark on how to read it."""

    name: str
    remark: str
    svg: "Markup"


def line_plot(name: str, series: Sequence[Series], number: int) -> Plot:
    """Plot the series over their steps. `number` must be unique on the page."""
    values = [value for one in series for value in one.values]
    is_log = bool(values) and min(values) > 0 and max(values) / min(values) >= LOG_FROM
    with _new_figure() as (figure, axes):
        for one in series:
            _draw(axes, one)
        if is_log:
            axes.set_yscale("log")
        axes.set_xlabel("step")
        svg = _svg(figure, number)
    is_smooth = any(len(one.values) >= SMOOTH_FROM for one in series)
    remarks = ["logarithmic" if is_log else "", "faint: each value; bold: running mean" if is_smooth else ""]
    return Plot(name, "; ".join(filter(None, remarks)), svg)


def seeds_plot(name: str, groups: Sequence[tuple[str, Sequence[tuple[object, float]]]], number: int) -> Plot:
    """Plot the values of each group's seeds, given as (seed, value), with their mean as a bar."""
    seeds: dict[object, list[tuple[int, float]]] = {}
    for place, (_, values) in enumerate(groups):
        for seed, value in values:
            seeds.setdefault(seed, []).append((place, value))
    with _new_figure() as (figure, axes):
        # Lines between the values of one seed show whether a difference holds for each of them.
        for points in seeds.values():
            axes.plot(*zip(*points, strict=True), color=GRID, linewidth=1, zorder=1)
        for place, (_, pairs) in enumerate(groups):
            figures = [value for _, value in pairs]
            axes.scatter([place] * len(figures), figures, s=26, color=_color(place), zorder=3)
            if figures:
                mean = float(np.mean(figures))
                axes.hlines(mean, place - 0.2, place + 0.2, color=_color(place), linewidth=2, zorder=2)
        axes.set_xlim(-0.6, len(groups) - 0.4)
        axes.set_xticks([])
        svg = _svg(figure, number)
    return Plot(name, "dot: a seed; bar: the mean; lines join values of one seed", svg)


@contextmanager
def _new_figure() -> Iterator[tuple["Figure", "Axes"]]:
    """Yield an empty figure. In the block Matplotlib has our settings, whatever the user's own are."""
    import matplotlib  # half a second, which only a page with plots is worth
    from matplotlib.figure import Figure

    # svg.hashsalt makes the ids, and so the page, the same each time.
    ours: dict[Any, Any] = {"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GRID}
    ours |= {"xtick.color": INK, "ytick.color": INK, "axes.formatter.useoffset": False}
    ours |= {"svg.hashsalt": "understudy", "svg.fonttype": "none"}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(ours)
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=GRID, linewidth=0.6, alpha=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        yield figure, axes


def _draw(axes: "Axes", series: Series) -> None:
    """Draw a series; a long one faintly, with its running mean over it."""
    kept = thin(series.values, MOST_POINTS)
    steps, values = np.asarray(series.steps), np.asarray(series.values, dtype=np.float64)
    style: dict[str, Any] = {"color": _color(series.place), "linestyle": DASHES[series.place // COLORS % len(DASHES)]}
    if len(values) < SMOOTH_FROM:
        marker = "o" if len(values) <= 30 else None
        axes.plot(steps, values, linewidth=1.5, marker=marker, markersize=3, **style)
        return
    axes.plot(steps[kept], values[kept], linewidth=0.7, alpha=0.35, **style)

    # The mean of the last values, a fiftieth of all; of fewer at the beginning.
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(0, ends - len(values) // WINDOW)
    mean = (sums[ends] - sums[begins]) / (ends - begins)
    kept = thin(mean.tolist(), MOST_POINTS)
    axes.plot(steps[kept], mean[kept], linewidth=1.6, **style)


def _color(place: int) -> str:
    return f"#0f0f{place % COLORS:02x}"


def _svg(figure: "Figure", number: int) -> "Markup":
    """Return the picture as it may be part of a page: no declarations, no metadata, unique ids, the page's colours."""
    from markupsafe import Markup

    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>p{number}-", svg)
    svg = svg.replace(INK, "var(--ink)").replace(GRID, "var(--line)")
    return Markup(re.sub(r"#0f0f0([0-7])", r"var(--c\1)", svg))
