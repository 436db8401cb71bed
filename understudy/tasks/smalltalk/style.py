"""How a user writes: one register for a conversation, laid over phrases that are all written neatly."""

import re
from dataclasses import dataclass
from functools import lru_cache

from understudy.tasks.smalltalk.names import Rand, pick
from understudy.tasks.smalltalk.topic import read_toml

_tables = read_toml("style.toml")
_EXPANSIONS, _AMERICAN, _SLIPS = (_tables[name] for name in ("expansions", "american", "slips"))


@dataclass(frozen=True)
class Style:
    """One way of writing; `lower` also writes names and towns without capitals."""

    register: str = "neat"
    lower: bool = False
    small_start: bool = False
    small_i: bool = False
    full_stops: bool = True
    question_marks: bool = True
    apostrophes: bool = True
    american: bool = False


def draw_style(register: str, american: bool, rand: Rand) -> Style:
    """Return a style of the register, with habits that differ between people."""
    if register == "casual":
        return Style(register, False, True, rand() < 0.4, False, rand() < 0.6, rand() < 0.8, american)
    if register == "lower":
        return Style(register, True, True, True, False, rand() < 0.3, rand() < 0.5, american)
    if register == "terse":
        return Style(register, False, rand() < 0.2, False, rand() < 0.5, rand() < 0.7, True, american)
    return Style(register, american=american)


@lru_cache(maxsize=10_000)
def decapitalised(template: str) -> str:
    """Return the phrase as it continues after a comma; "I" and names at its start stay as they are.

    >>> decapitalised("What's my name?"), decapitalised("I'm {v}."), decapitalised("{V}, for sure.")
    ("what's my name?", "I'm {v}.", '{v}, for sure.')
    """
    if template.startswith("{"):
        return "{" + template[1].lower() + template[2:]
    if re.match(r"I\b", template):
        return template
    return "ok" + template[2:] if template.startswith("OK") else template[0].lower() + template[1:]


def led_in(lead: str, template: str) -> str:
    """Return the phrase after a lead-in such as "By the way, "."""
    return lead + (template if lead.endswith(("! ", ". ")) else decapitalised(template))


@lru_cache(maxsize=100_000)
def dressed(template: str, style: Style) -> str:
    """Return a neat template in the given style, its slots untouched (`lower` also lowers the filled text, later).

    >>> dressed("What's my name?", Style("lower", True, True, True, False, False, False))
    'whats my name'
    >>> dressed("I'm {v}. What's yours?", Style("formal"))
    'I am {v}. What is yours?'
    """
    chatty = style.register == "chatty" and template.endswith(".")
    text = template[:-1] + "!" if chatty else template
    text = _replaced(text, _AMERICAN) if style.american else text
    text = _replaced(text, _EXPANSIONS) if style.register == "formal" else text
    text = decapitalised(text) if style.small_start else text
    text = re.sub(r"\bI\b", "i", text) if style.small_i else text
    # A line of nothing else keeps its marks.
    text = text if style.full_stops else text.rstrip(".!") or text
    text = text if style.question_marks else text.replace("?", "") or text
    text = text if style.apostrophes else text.replace("'", "")
    return (re.sub(r"[.,:!]", "", text) or text) if style.lower else text


def _replaced(text: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        text = re.sub(rf"\b{old}\b", new, text)
    return text


def slipped(template: str, rand: Rand) -> str:
    """Return the template with one function word mistyped, where it has one that often is.

    >>> slipped("What is {v}?", lambda: 0.0)
    'Waht is {v}?'
    """
    every = re.finditer(r"[A-Za-z']+", template)
    found = [m for m in every if m[0].lower() in _SLIPS and not template[: m.start()].endswith("{")]
    if not found:
        return template
    match = pick(found, rand)
    slip = _SLIPS[match[0].lower()]
    slip = slip.capitalize() if match[0][0].isupper() else slip
    return template[: match.start()] + slip + template[match.end() :]
