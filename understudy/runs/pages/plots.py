"""Curves as SVG inside a page, drawn by Matplotlib."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from understudy.runs.pages.curves import Points, thin

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Curves take the colours --c0 to --c7 of style.css, then the same ones dashed. The legend in parts.html.j2 does, too.
COLORS = 8
DASHES = ("solid", "dashed", "dotted", "dashdot")
SIZE_INCHES = (5.0, 3.0)
MOST_POINTS = 1500
SMOOTH_FROM = 200  # points from which a running mean is drawn over the noise
WINDOW = 50  # it goes over a fiftieth of the points
LOG_FROM = 30  # ratio of the largest value to the smallest from which a logarithmic scale shows more
# Colours that Matplotlib writes, to be replaced by the page's own, which follow light and dark.
INK, GRID = "#0a0b0c", "#0d0e0f"
SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.formatter.useoffset": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "understudy",  # makes the ids, and so the page, the same each time
}


@dataclass(frozen=True)
class Plot:
    """A picture as SVG for a page, with its name and a remark on how to read it."""

    name: str
    remark: str
    svg: "Markup"


def line_plot(name: str, curves: Sequence[Points], number: int) -> Plot:
    """Plot curves; their places decide on their colours and dashes. `number` must be unique on the page."""
    remarks = []
    with _new_figure() as (figure, axes):
        for place, (steps, values) in enumerate(map(np.asarray, curve) for curve in curves):
            style: dict[str, Any] = {"color": _color(place), "linestyle": DASHES[place // COLORS % len(DASHES)]}
            if len(values) < SMOOTH_FROM:
                marker = "o" if len(values) <= 30 else None
                axes.plot(steps, values, linewidth=1.5, marker=marker, markersize=3, **style)
                continue
            # A long one is drawn faintly, and over it the mean of the last values: a fiftieth of all, fewer at first.
            sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
            ends = np.arange(1, len(values) + 1)
            begins = np.maximum(0, ends - len(values) // WINDOW)
            mean = (sums[ends] - sums[begins]) / (ends - begins)
            for shown, width, alpha in ((values, 0.7, 0.35), (mean, 1.6, None)):
                kept = thin(shown.tolist(), MOST_POINTS)
                axes.plot(steps[kept], shown[kept], linewidth=width, alpha=alpha, **style)
            remarks = ["faint: each value; bold: running mean"]

        everything = [value for _, values in curves for value in values]
        if everything and min(everything) > 0 and max(everything) / min(everything) >= LOG_FROM:
            axes.set_yscale("log")
            remarks = ["logarithmic", *remarks]
        axes.set_xlabel("step")
        return Plot(name, "; ".join(remarks), _svg(figure, number))


def seeds_plot(name: str, groups: Sequence[Mapping[Any, float]], number: int) -> Plot:
    """Plot the values of each group's seeds, with their mean as a bar. `number` must be unique on the page."""
    with _new_figure() as (figure, axes):
        # Lines between the values of one seed show whether a difference holds for each of them.
        for seed in dict.fromkeys(seed for group in groups for seed in group):
            points = [(place, group[seed]) for place, group in enumerate(groups) if seed in group]
            axes.plot(*zip(*points, strict=True), color=GRID, linewidth=1, zorder=1)
        for place, group in enumerate(groups):
            values = list(group.values())
            axes.scatter([place] * len(values), values, s=26, color=_color(place), zorder=3)
            if values:
                mean = float(np.mean(values))
                axes.hlines(mean, place - 0.2, place + 0.2, color=_color(place), linewidth=2, zorder=2)
        axes.set_xlim(-0.6, len(groups) - 0.4)
        axes.set_xticks([])
        return Plot(name, "dot: a seed; bar: the mean; lines join values of one seed", _svg(figure, number))


@contextmanager
def _new_figure() -> Iterator[tuple["Figure", "Axes"]]:
    """Yield an empty figure. In the block Matplotlib has our settings, whatever the user's own are."""
    from matplotlib import style  # half a second, which only a page with plots is worth
    from matplotlib.figure import Figure

    with style.context(["default", SETTINGS]):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=GRID, linewidth=0.6, alpha=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        yield figure, axes


def _color(place: int) -> str:
    return f"#0f0f{place % COLORS:02x}"


def _svg(figure: "Figure", number: int) -> "Markup":
    """Return the picture as it may be part of a page: no declarations, no metadata, unique ids, the page's colours."""
    from markupsafe import Markup

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    svg = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>p{number}-", svg)
    svg = svg.replace(INK, "var(--ink)").replace(GRID, "var(--line)")
    return Markup(re.sub(r"#0f0f0([0-7])", r"var(--c\1)", svg))
