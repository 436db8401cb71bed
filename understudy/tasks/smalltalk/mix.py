"""How much of everything: the one place where the blend of the conversations is set."""

from bisect import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Generic, TypeVar

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
        """The same with some shares changed."""
        return Shares({**self._shares, **changed})

    def draw(self, rand: Callable[[], float]) -> T:
        """One of the things; `rand` gives numbers from 0 up to 1."""
        return self.names[bisect(self._sums, rand() * self._sums[-1])]


TOLD = Shares(
    {
        "home": 20,
        "pet": 16,
        "two pets": 8,
        "a pair": 3,
        "kin": 10,
        "two kin": 3,
        "job": 8,
        "plan": 8,
        "food": 6,
        "colour": 5,
        "hobby": 5,
        "age": 4,
        "drink": 3,
        "music": 3,
        "instrument": 3,
        "language": 3,
        "birthday": 3,
        "dislike": 3,
    }
)

UNKNOWN = Shares(
    {
        "name": 6,
        "home": 3,
        "pet": 3,
        "pet age": 2,
        "kin": 3,
        "job": 2,
        "plan": 2,
        "age": 1,
        "birthday": 1,
        "food": 1,
        "drink": 1,
        "colour": 1,
        "music": 1,
        "hobby": 1,
        "instrument": 1,
        "language": 1,
        "dislike": 0.5,
    }
)

BEATS = Shares(
    {
        "tell": 5,
        "recall": 8,
        "reverse": 0.9,  # "Who is Bix?"
        "both": 0.5,  # two facts asked for at once
        "summary": 0.25,
        "compare": 5,  # where two ages are known, which is seldom
        "count": 3,  # where there are pets
        "told sum": 1.5,  # where the age of a pet is known
        "sum": 0.7,
        "unknown": 0.6,  # asked for what was not told
        "impossible": 0.45,  # asked for what it cannot know
        "correct": 0.6,
        "chat": 1.0,
        "about told": 0.5,
        "joke": 0.2,
        "self": 0.5,
    }
)

REGISTERS = Shares({"neat": 30, "casual": 22, "lower": 20, "chatty": 12, "formal": 7, "terse": 9})
FACTS = Shares({"1": 1, "2": 4, "3": 4, "4": 2, "5": 1})
EXCHANGES = Shares({"3": 4, "4": 5, "5": 5, "6": 3, "7": 2, "8": 1, "11": 0.8})
RECALLS = Shares({"2": 2, "3": 5, "4": 6, "5": 4, "6": 2})


@dataclass(frozen=True)
class Mix:
    """Shares are relative weights; chances lie in 0 to 1."""

    registers: Shares[str] = REGISTERS
    drift: float = 0.06  # chance that one line is written in another register
    typo: float = 0.02  # chance that a line has a slip in a function word
    american: float = 0.3  # chance that the user writes "color" and "favorite"

    name_told: float = 0.9  # chance that the user means to tell the name
    name_first: float = 0.75  # chance that it then comes before everything else
    told: Shares[str] = TOLD  # what else the user means to tell ...
    facts: Shares[str] = FACTS  # ... and how many things of it
    several: float = 0.45  # chance that several facts are told in one line where they can be
    kind_first: float = 0.15  # chance that a pet or relative is mentioned without the name, which is then asked for
    common_words: float = 0.35  # share of names and towns that really exist; the others are made up
    two_words: float = 0.03  # share of names with a surname, and of towns such as "Port Zelmar"

    beats: Shares[str] = BEATS  # what happens next
    exchanges: Shares[str] = EXCHANGES  # at least this many
    characters: int = 720  # past this many the conversation comes to its end
    recalls: Shares[str] = RECALLS  # how many recall questions
    asked: Mapping[str, float] = field(default_factory=lambda: {"name": 4, "home": 2.4, "pet": 3, "kin": 3})  # else 1
    asked_again: float = 0.5  # factor on that weight for each time the fact was asked for before
    unknown: Shares[str] = UNKNOWN  # what is asked for though it was not told
    compared: float = 0.85  # chance that two told ages are compared before the end
    plain_reply: float = 0.65  # chance that an answer takes the topic's plainest form

    ask_back: float = 0.45  # chance that the assistant asks for a fact after being told another
    praise: float = 0.1  # chance that the user comments on an answer
    lead_in: float = 0.22  # chance of "By the way, " and the like
    greeting: float = 0.5  # chance that the conversation opens with a greeting
    goodbye: float = 0.25  # chance that it closes with one


MIX = Mix()
# Training conversations hold more of what is hard: more facts to be told apart, several pets and relatives among them,
# and more questions. Held-out ones are as MIX has them.
PRACTICE = replace(
    MIX,
    told=TOLD.but({"two pets": 16, "two kin": 12, "kin": 14, "plan": 10, "music": 5, "colour": 7, "hobby": 7}),
    facts=Shares({"2": 1, "3": 4, "4": 4, "5": 3}),
    recalls=Shares({"3": 1, "4": 4, "5": 5, "6": 4, "7": 3}),
    asked={"name": 3, "home": 2, "pet": 3, "kin": 4, "plan": 2, "pet age": 2, "kin age": 2},
    kind_first=0.25,
    beats=BEATS.but(
        {
            "correct": 1.0,
            "both": 1.0,
            "summary": 0.5,
            "reverse": 1.2,
            "sum": 1.8,
            "count": 5,
            "unknown": 1.4,
            "chat": 0.7,
            "self": 0.3,
        }
    ),
    characters=860,
)
