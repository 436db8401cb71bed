"""The small world: draws the facts that one user may tell, from words and combinations that belong to the split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from zlib import crc32

from understudy.tasks.smalltalk import words
from understudy.tasks.smalltalk.mix import Mix
from understudy.tasks.smalltalk.names import (
    COMMON,
    RUDE,
    SURNAMES,
    TOWN_FIRSTS,
    Rand,
    Split,
    coin,
    foreign,
    pick,
    split_of,
)
from understudy.tasks.smalltalk.phrases import closed_words


@dataclass(frozen=True)
class Fact:
    """One thing to tell: the `value` of a `topic`, and whom or when it is about (pet kind, relation, "on Monday")."""

    topic: str
    value: str
    about: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Return what this is a fact about: a later fact of the same key replaces it."""
        return self.topic, self.about


def combination_split(family: str, first: str, second: str) -> Split:
    """Return the only split in which two facts may occur together: six tenths train, two tenths each of the others.

    Families: "spare" (job, hobby), "aged" (pet kind, age), "planned" (when, activity).
    """
    share = crc32(f"{family} {first} {second}".encode()) % 10
    return "train" if share < 6 else "valid" if share < 8 else "test"


PET_AGES = tuple(str(age) for age in range(1, 11))
_AGES = tuple(str(age) for age in range(16, 86))
_VALUES = words.VALUES | {"age": _AGES, "dislike": words.VALUES["food"]}
_PARTNERS = {"spare": _VALUES["hobby"], "aged": PET_AGES, "planned": _VALUES["plan"]}
_ODD_PETS = tuple(kind for kind in words.PETS if kind not in words.COMMON_PETS)
_CLOSED = closed_words()
_OPEN = {"name": "person", "home": "town", "pet": "pet", "kin": "person"}


@cache
def partners(family: str, split: Split, first: str) -> tuple[str, ...]:
    """Return all that may be combined with `first` in the split."""
    return tuple(other for other in _PARTNERS[family] if combination_split(family, first, other) == split)


@cache
def _common(kind: str, split: Split) -> tuple[str, ...]:
    return tuple(word for word in COMMON[kind] if split_of(word) == split and word.lower() not in _CLOSED)


class World:
    """Facts of one conversation: no value is ever drawn twice, and none that belongs to another split."""

    def __init__(self, split: Split, mix: Mix, rand: Rand):
        self.split, self.mix, self.rand = split, mix, rand
        # Small ages are told as "seven", not "7".
        self.number_words = rand() < 0.3
        self._used: set[str] = set()
        self._told: dict[str, list[str]] = {"job": [], "hobby": []}
        self._whens: set[str] = set()

    def fact(self, topic: str, about: str = "") -> Fact | None:
        """Return a new fact of the topic, or None where the split has none left that agrees with those drawn before."""
        if topic == "plan" and not about:
            about = self._unused(tuple(when for when in words.DAYS if when not in self._whens)) or ""
            self._whens.add(about)
        value = self.word(words.SEXES.get(about, _OPEN[topic])) if topic in _OPEN else self._closed_value(topic, about)
        return Fact(topic, value, about) if value else None

    def word(self, kind: str) -> str:
        """Return an unused name of a "person", "woman", "man", "town" or "pet"."""
        word = self._single(kind)
        if word.isascii() and self.rand() < self.mix.two_words:
            if kind in ("person", "woman", "man"):
                return f"{word} {pick([name for name in SURNAMES if split_of(name) == self.split], self.rand)}"
            if kind == "town":
                return f"{pick(TOWN_FIRSTS, self.rand)} {word}"
        return word

    def kind(self, taken: Iterable[str] = ()) -> str:
        """Return a kind of pet that is not taken."""
        free = words.COMMON_PETS if self.rand() < 0.5 else _ODD_PETS
        return pick([kind for kind in free if kind not in taken] or _ODD_PETS, self.rand)

    def relation(self, taken: Iterable[str] = (), young: bool = False) -> str:
        """Return a relation that is not taken; a young one has an age to tell."""
        free = words.ELDERS if not young and self.rand() < 0.5 else tuple(words.KIN_AGES)
        return pick([relation for relation in free if relation not in taken] or words.ELDERS, self.rand)

    def pair(self, kind: str) -> Fact:
        """Return two pets of one kind, as one fact: "Bix and Mofi"."""
        return Fact("pair", f"{self._single('pet')} and {self._single('pet')}", kind)

    def _single(self, kind: str) -> str:
        common = _common(kind, self.split)
        while True:
            if self.rand() < self.mix.foreign:
                word = foreign(kind, self.rand)
            else:
                word = pick(common, self.rand) if self.rand() < self.mix.common_words else coin(kind, self.rand)
            lower = word.lower()
            free = (3 if word.isascii() else 2) <= len(word) <= 12 and lower not in self._used and lower not in _CLOSED
            if free and split_of(word) == self.split and not RUDE.search(lower):
                self._used.add(lower)
                return word

    def _closed_value(self, topic: str, about: str) -> str | None:
        if topic in self._told:
            # Each job told must go with each hobby told.
            free = list(_VALUES[topic])
            for job in self._told["job"] if topic == "hobby" else ():
                free = [value for value in free if value in partners("spare", self.split, job)]
            for hobby in self._told["hobby"] if topic == "job" else ():
                free = [value for value in free if hobby in partners("spare", self.split, value)]
            value = self._unused(free)
            self._told[topic] += [value] if value else []
            return value
        if topic == "plan":
            return self._unused(partners("planned", self.split, about))
        if topic == "pet age":
            digits = pick(partners("aged", self.split, about) or ("",), self.rand)
            return words.NUMBERS[int(digits)] if digits and self.number_words else digits
        if topic == "kin age":
            youngest, oldest = words.KIN_AGES[about]
            return str(youngest + int(self.rand() * (oldest - youngest + 1)))
        return self._unused(_VALUES[topic])

    def _unused(self, choices: Sequence[str]) -> str | None:
        left = [choice for choice in choices if choice not in self._used]
        if not left:
            return None
        value = pick(left, self.rand)
        self._used.add(value)
        return value
