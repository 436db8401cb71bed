"""Curves of metrics: which points are shown, and how they look on the terminal."""

import math
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from understudy.console import text

HEIGHT = 16
WIDEST = 100
# The braille pen draws thin, the block pen thick; the signs stand for them in the legend.
THIN, THICK = ("braille", "⠒"), ("hd", "▚")

Points = tuple[Sequence[int], Sequence[float]]
"""The steps of a curve, and the values at them."""
Pen = tuple[str, tuple[str, str]]
"""A colour, and THIN or THICK."""


def finite(steps: Sequence[int], values: Sequence[Any]) -> Points:
    """Return the points whose value is a finite number.

    >>> finite([1, 2, 3], [0.5, float("nan"), "text"])
    ([1], [0.5])
    """
    numbers = [(step, value) for step, value in zip(steps, values, strict=True) if isinstance(value, int | float)]
    kept = [(step, value) for step, value in numbers if not isinstance(value, bool) and math.isfinite(value)]
    return [step for step, _ in kept], [value for _, value in kept]


def thin(values: Sequence[float], most: int) -> list[int]:
    """Return about `most` indices of finite values, spread evenly. Each stretch keeps its extremes, so spikes stay.

    >>> thin([5, 4, 3, 2, 1, 90, 1, 0, 0, 0, 0, 0], most=4)
    [4, 5, 6, 7, 11]
    """
    if len(values) <= most:
        return list(range(len(values)))
    # Two indices per stretch: those of its lowest and its highest value.
    stretch = math.ceil(2 * len(values) / most)
    kept = {len(values) - 1}
    for start in range(0, len(values), stretch):
        indices = range(start, min(start + stretch, len(values)))
        kept |= {min(indices, key=values.__getitem__), max(indices, key=values.__getitem__)}
    return sorted(kept)


def draw(title: str, curves: Sequence[tuple[str, Points]], pens: Sequence[Pen], width: int) -> Text:
    """Draw named curves on a picture of at most `width` columns, under a title and a legend with the last values.

    The curve at place i takes pen i, and after the last pen the first again. Curves of one point are left out.
    """
    import plotext  # type: ignore[import-untyped]  # takes a fifth of a second, which only a curve is worth

    width = min(width, WIDEST)
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, HEIGHT)
    figure.theme("colorless")
    heading = text(title, "bold")
    for place, (name, (steps, values)) in enumerate(curves):
        if len(steps) > 1:
            # A terminal shows few points, and plotext takes its time for each of them.
            color, (marker, sign) = pens[place % len(pens)]
            thinned = thin(values, most=8 * width)
            points = [steps[i] for i in thinned], [values[i] for i in thinned]
            signal = figure.signal(*points, marker=plotext.marker(marker, color))
            signal.lines()
            figure.draw(signal)
            heading.append_text(text(f"   {sign} {name} {values[-1]:.4g}", color))
    return Text("\n").join([heading, Text.from_ansi(figure.build().string())])
