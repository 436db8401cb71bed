"""One topic that a user can tell about, with everything that both sides say about it.

Slots, filled by `Talk.slots`:
    {v} the value    {V} with a capital    {va} with a/an    {Va}    {vs} plural
    {a} whom or when it is about (the pet's kind, the relation, "on Monday")    {A}    {aa}    {as}    {d} the bare day
    {p} the pet's name, or "my cat"    {y} "year" or "years"    {n} the user's name
    {x} what a question asks about, which may be so or not    {xa} with a/an
A line that begins with an open-class word begins with {v} or {p}: these always keep the spelling as it was told.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Lines = tuple[str, ...]


@dataclass(frozen=True)
class Exchange:
    """Things that a user may say, all alike, and what may be answered to any of them."""

    user: Lines
    reply: Lines
    then: str = ""  # what the assistant's reply asks for: a key of `answers` in chat.toml


@dataclass(frozen=True)
class Topic:
    """The phrasings of one topic; the user's first, then the assistant's."""

    tell: Lines  # the user says it
    mine: Lines  # what the user calls it: "my name"
    ask: Lines  # the user asks for it
    yours: str  # what the assistant calls it: "your name"
    echo: Lines  # the assistant, on being told
    reply: Lines  # the assistant, on being asked; the plainest form first
    tell_asking: Lines = ()  # the user says it and asks the same of the assistant
    echo_answering: Lines = ()  # the assistant, on that
    clause: Lines = ()  # said as part of a longer sentence
    short: Lines = ()  # said in answer to `prompt`
    prompt: Lines = ()  # the assistant asks for it
    polar_prompt: Lines = ()  # the assistant asks whether there is any
    polar_short: Lines = ()  # said in answer to that
    terse: Lines = ()  # said in a few words
    terse_ask: Lines = ()  # asked in a few words
    fix: Lines = ()  # the user takes back what was told and says it differently
    fix_echo: Lines = ()  # the assistant, on that
    polar: Lines = ()  # questions that can be answered with "yes"
    check: Lines = ()  # questions whether the value is {x}, answered with yes or no
    check_about: Lines = ()  # questions whether the value is that of {x}
    have: Lines = ()  # questions whether there is any {x}
    lack: Lines = ()  # the assistant, where there is none
    when: Lines = ()  # the other way round: the value is given, {a} is asked for
    when_reply: Lines = ()
    liking: Lines = ()  # the assistant asks how the user finds it
    more: tuple[Exchange, ...] = ()  # the user talks on about it, saying nothing new


def read_toml(name: str) -> dict[str, Any]:
    """Return the tables of a file here: arrays as tuples, a text of several lines as its words, exchanges made."""
    text = (Path(__file__).parent / name).read_text("utf-8")
    return {name: _frozen(value) for name, value in tomllib.loads(text).items()}


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        made = {name: _frozen(inner) for name, inner in value.items()}
        return Exchange(**made) if "user" in made else made
    return tuple(value.split()) if isinstance(value, str) and "\n" in value else value
