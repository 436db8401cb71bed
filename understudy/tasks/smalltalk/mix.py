"""How much of everything: the one place where the blend of the conversations is set."""

from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Generic, TypeVar

from understudy.tasks.smalltalk.topic import read_toml

T = TypeVar("T")


class Shares(Generic[T]):
    """Things to draw, each as likely as its share of the whole.

    >>> Shares({"rarely": 1, "mostly": 9}).draw(lambda: 0.5)
    'mostly'
    """

    def __init__(self, shares: Mapping[T, float]):
        self._shares = dict(shares)
        self.names = tuple(name for name, share in shares.items() if share > 0)
        self._sums = list(accumulate(shares[name] for name in self.names))

    def but(self, changed: Mapping[T, float]) -> "Shares[T]":
        """Return the same with some shares changed."""
        return Shares({**self._shares, **changed})

    def draw(self, rand: Callable[[], float]) -> T:
        """Return one of the things; `rand` gives numbers from 0 up to 1."""
        return self.names[bisect(self._sums, rand() * self._sums[-1])]


_tables = read_toml("mix.toml")
_practice = _tables.pop("practice")
_asked = _practice.pop("asked")
_shares = {name: Shares[str](table) for name, table in _tables.items()}


@dataclass(frozen=True)
class Mix:
    """Shares are relative weights; chances lie in 0 to 1."""

    registers: Shares[str] = _shares["registers"]
    drift: float = 0.06  # chance that one line is written in another register
    typo: float = 0.02  # chance that a line has a slip in a function word
    american: float = 0.3  # chance that the user writes "color" and "favorite"

    name_told: float = 0.9  # chance that the user means to tell the name
    name_first: float = 0.75  # chance that it then comes before everything else
    told: Shares[str] = _shares["told"]  # what else the user means to tell ...
    facts: Shares[str] = _shares["facts"]  # ... and how many things of it
    several: float = 0.45  # chance that several facts are told in one line where they can be
    kind_first: float = 0.15  # chance that a pet or relative is mentioned without the name, which is then asked for
    common_words: float = 0.35  # share of names and towns that really exist; the others are made up
    foreign: float = 0.12  # share of all names with accents or in other scripts
    two_words: float = 0.03  # share of names with a surname, and of towns such as "Port Zelmar"

    beats: Shares[str] = _shares["beats"]  # what happens next
    exchanges: Shares[str] = _shares["exchanges"]  # at least this many
    characters: int = 720  # past this many the conversation comes to its end
    recalls: Shares[str] = _shares["recalls"]  # how many recall questions
    asked: Mapping[str, float] = field(default_factory=lambda: {"name": 4, "home": 2.4, "pet": 3, "kin": 3})  # else 1
    asked_again: float = 0.5  # factor on that weight for each time the fact was asked for before
    strange_start: float = 0.05  # chance that first of all something is asked that is beyond the assistant, and again
    unknown: Shares[str] = _shares["unknown"]  # what is asked for though it was not told
    compared: float = 0.85  # chance that two told ages are compared before the end
    plain_reply: float = 0.65  # chance that an answer takes the topic's plainest form

    ask_back: float = 0.45  # chance that the assistant asks for a fact after being told another
    praise: float = 0.1  # chance that the user comments on an answer
    lead_in: float = 0.22  # chance of "By the way, " and the like
    greeting: float = 0.5  # chance that the conversation opens with a greeting
    goodbye: float = 0.25  # chance that it closes with one


MIX = Mix()
_changed = {name: getattr(MIX, name).but(table) for name, table in _practice.items()}
PRACTICE = replace(MIX, asked=_asked, kind_first=0.25, characters=1040, foreign=0.25, strange_start=0.2, **_changed)
"""Of training conversations, which hold more of what is hard."""
