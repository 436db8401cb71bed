"""Templates, and the plots in pages."""

import html
import math
import tomllib
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup

from understudy.runs.pages.curves import thin
from understudy.runs.pages.plots import line_plot, seeds_plot
from understudy.runs.pages.render import templates

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><b>",
    "$\\frac{&amp;<!--",
    "]]>\x00\x1b",
]


PARTS = """{% import "parts.html.j2" as parts %}
<p title="{{ text }}">{{ text }}</p>{{ parts.table((text,), [(text, text)]) }}{{ parts.pairs({text: text}) }}
{{ parts.legend(names) }}{{ parts.figure(plot) }}"""


def shown(text: str) -> str:
    """What a template makes of the text, wherever it may appear."""
    plot = replace(line_plot("loss", [([0, 1], [1.0, 2.0])], 0), name=text, remark=text, svg=Markup(""))
    return templates().from_string(PARTS).render(text=text, names=[text], plot=plot)


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_page_says_is_only_text(text: str) -> None:
    source = shown(text)
    for forbidden in ("<script", "<img", "<b>", "<!--", "\x00", "\x1b"):
        assert forbidden not in source


@given(st.text())
def test_escaping_can_be_undone_and_holds_no_markup(text: str) -> None:
    found = templates().from_string("{{ text }}").render(text=text)
    assert not set("<>\"'") & set(found)
    if text.isprintable():
        assert html.unescape(found) == text


def test_a_value_that_a_template_forgot_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        templates().from_string("{{ text }}").render()


def svg_of(figure: str) -> ElementTree.Element:
    start = figure.index("<svg")
    return ElementTree.fromstring(figure[start : figure.index("</svg>") + 6].replace("xlink:href", "href"))


def test_a_plot_is_the_same_each_time() -> None:
    curves = [(range(50), [1 / (i + 1) for i in range(50)]), ([0, 9], [1.0, 0.5])]
    assert line_plot("loss", curves, 3) == line_plot("loss", curves, 3)


def test_plots_on_one_page_share_no_ids() -> None:
    curves = [([0, 1, 2], [1.0, 2.0, 3.0])]
    ids = [[e.get("id") for e in svg_of(line_plot("loss", curves, i).svg).iter() if e.get("id")] for i in (0, 1)]
    assert not set(ids[0]) & set(ids[1])


def test_colours_are_the_pages_own() -> None:
    figure = line_plot("loss", [([0, 1], [1.0, 2.0])] * 10, 0).svg
    for place in range(8):
        assert f"var(--c{place})" in figure
    assert "var(--ink)" in figure
    assert "#0a0b0c" not in figure
    assert "#0f0f" not in figure


@pytest.mark.parametrize(
    ("values", "is_log"), [([1.0, 2.0], False), ([0.01, 2.0], True), ([-1.0, 90.0], False), ([0.0, 90.0], False)]
)
def test_a_logarithmic_scale_where_it_shows_more(values: list[float], is_log: bool) -> None:
    assert ("logarithmic" in line_plot("x", [([0, 1], values)], 0).remark) is is_log


def test_noise_gets_a_running_mean() -> None:
    noisy = [5.0 + (-1) ** i for i in range(1000)]
    assert "running mean" in line_plot("x", [(range(1000), noisy)], 0).remark
    assert "running mean" not in line_plot("x", [(range(100), noisy[:100])], 0).remark


def test_long_curves_make_no_long_pages() -> None:
    values = [1 + math.sin(i) for i in range(100_000)]
    assert len(line_plot("x", [(range(100_000), values)], 0).svg) < 100_000


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(4, 50))
def test_thinning_keeps_the_ends_and_the_extremes(values: list[float], most: int) -> None:
    kept = thin(values, most)
    assert kept == sorted(set(kept))
    assert len(kept) <= most + 3
    chosen = [values[i] for i in kept]
    assert (min(chosen), max(chosen), chosen[-1]) == (min(values), max(values), values[-1])


def test_seeds_of_groups() -> None:
    figure = seeds_plot("loss", [{1: 2.0, 2: 2.1}, {1: 1.0}, {}], 0).svg
    assert "var(--c0)" in figure
    assert "var(--c1)" in figure


def test_lines_are_told_apart_by_colour_and_then_by_dashes() -> None:
    template = templates().from_string("{% import 'parts.html.j2' as parts %}{{ parts.legend(names) }}")
    first, *_, ninth = template.render(names=[str(place) for place in range(9)]).split("<li>")[1:]
    assert 'stroke="var(--c0)"' in first
    assert "none" in first
    assert 'stroke="var(--c0)"' in ninth
    assert "5 2" in ninth


def test_an_installed_package_has_its_templates() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    patterns = pyproject["tool"]["setuptools"]["package-data"]["*"]
    for name in [*templates().list_templates(extensions=["j2"]), "style.css"]:
        assert any(fnmatch(name, pattern) for pattern in patterns)
