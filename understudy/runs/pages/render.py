"""Self-contained HTML pages: what stands in them is escaped unless it was made here.

A page needs no network and no script. It follows the reader's light or dark setting, and on a phone wide tables scroll
inside their boxes.
"""

import html
from collections.abc import Iterable, Mapping, Sequence

from understudy.console import visible

LONG = 32
VOID = ("br", "meta")

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5c6570; --paper: #ffffff; --panel: #f4f5f7; --line: #d9dde2;
  --add: #dcf5e1; --del: #fde3e1; --good: #0b7a3b; --bad: #b3261e; --warn: #8a5a00; --link: #0b57d0;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b4418e; --c4: #8a6d00; --c5: #5b5bd6; --c6: #a1333d;
  --c7: #4d6a78; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --soft: #9aa4b0; --paper: #14171a; --panel: #1e2327;
  --line: #343b42; --add: #12391f; --del: #47201f; --good: #5fd38d; --bad: #ff8a80; --warn: #f2b84b; --link: #8ab4f8;
  --c0: #56b4e9; --c1: #ff8f3f; --c2: #2fd0a0; --c3: #e59acb; --c4: #e6cf3a; --c5: #a5a5ff; --c6: #ff9aa2;
  --c7: #a9c0cc; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
p { margin: .5rem 0; }
.soft { color: var(--soft); } .bad { color: var(--bad); font-weight: 600; } .warn { color: var(--warn); }
.good { color: var(--good); font-weight: 600; }
.box { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .875rem; min-width: 100%; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.long { min-width: 14rem; max-width: 26rem; white-space: normal; overflow-wrap: anywhere; }
tr:last-child > * { border-bottom: 0; }
thead th { background: var(--panel); } tbody th { font-weight: 500; }
pre, code, .diff { font-family: ui-monospace, monospace; font-size: .8125rem; }
pre { margin: .5rem 0; padding: .6rem .8rem; background: var(--panel); border-radius: 6px; white-space: pre-wrap; }
details { margin: .5rem 0; } summary { cursor: pointer; padding: .15rem 0; }
.diff { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .3rem 0; line-height: 1.4; }
.diff > div { display: table; min-width: 100%; }
.diff span { display: block; white-space: pre; padding: 0 .6rem; overflow-wrap: normal; tab-size: 4;
  min-height: 1.4em; }
.diff .add { background: var(--add); } .diff .del { background: var(--del); } .diff .hunk { color: var(--soft); }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; max-width: 40rem; } figure svg { display: block; width: 100%; height: auto; }
figcaption { font-weight: 600; font-size: .875rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .5rem 0; padding: 0; list-style: none;
  font-size: .875rem; }
.legend svg { width: 1.6rem; height: .6rem; margin-right: .4rem; }
.talk { margin: .5rem 0 1rem; } .talk p { margin: .25rem 0; padding: .35rem .7rem; background: var(--panel);
  border-radius: 6px; white-space: pre-wrap; max-width: 40rem; } .talk b { color: var(--soft); font-weight: 600; }
"""


class Html(str):
    """Markup. Any other text that goes into an element is escaped."""


def element(name: str, /, *content: object, **attributes: str) -> Html:
    """An element with escaped content and attributes; `class_` is the attribute `class`.

    >>> element("p", "a < b, ", element("b", "bold"), class_="soft")
    '<p class="soft">a &lt; b, <b>bold</b></p>'
    """
    named = "".join(f' {key.rstrip("_")}="{escaped(value)}"' for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{named}>")
    return Html(f"<{name}{named}>{joined(content)}</{name}>")


def joined(parts: Iterable[object]) -> Html:
    """Parts one after another, each escaped unless it is markup."""
    return Html("".join(part if isinstance(part, Html) else escaped(part) for part in parts))


def escaped(value: object) -> Html:
    """Any value as text that HTML shows as it is, control characters spelt out.

    >>> escaped("<script>" + chr(27))
    '&lt;script&gt;\\\\x1b'
    """
    return Html(html.escape("\n".join(map(visible, str(value).split("\n")))))


def page(title: str, *sections: Html) -> Html:
    """A whole page."""
    head = joined(
        [
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
            Html(f"<style>{STYLE}</style>"),
        ]
    )
    body = joined([element("h1", title), *sections])
    return Html(f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n')


def section(title: str, *content: object) -> Html:
    """A part of a page under its title, on lines of its own."""
    return Html(f"\n{element('section', element('h2', title), *content)}")


def folded(summary: object, *content: object, is_open: bool = False) -> Html:
    """Content that the reader may unfold."""
    return element("details", element("summary", summary), *content, **({"open": ""} if is_open else {}))


def table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """A table that scrolls in its box. The first cell of a row is its heading; no columns: no head."""
    head = element("thead", element("tr", *(element("th", column, scope="col") for column in columns)))
    lines = [
        element("tr", _cell("th", name, scope="row"), *(_cell("td", cell) for cell in cells)) for name, *cells in rows
    ]
    inner = element("table", *([head] if columns else []), element("tbody", *lines))
    return element("div", inner, class_="box", tabindex="0")


def _cell(kind: str, content: object, **attributes: str) -> Html:
    """Short texts stay on one line, long ones get room: else a narrow screen makes columns of single words of them."""
    return element(kind, content, **attributes, **({"class_": "long"} if len(str(content)) > LONG else {}))


def pairs(values: Mapping[str, object]) -> Html:
    """Names and values, a line each."""
    return table((), values.items())
