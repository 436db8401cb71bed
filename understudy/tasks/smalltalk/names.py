"""Names, towns and pet names: real ones and made-up ones, each belonging to exactly one split."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar
from zlib import crc32

from understudy.tasks.smalltalk.topic import Lines, read_toml

T = TypeVar("T")
Split = Literal["train", "valid", "test"]
Rand = Callable[[], float]

# With this salt "Ottoline" belongs to "test": she is the guest of our demonstrations and must never be trained on.
_SALT = "prompter "

_tables = read_toml("names.toml")
COMMON: dict[str, Lines] = {kind: _tables[kind] for kind in ("woman", "man", "town", "pet")}
COMMON["person"] = COMMON["woman"] + COMMON["man"]
SURNAMES, TOWN_FIRSTS = _tables["surnames"], _tables["town_firsts"]
# The common sounds are drawn several times as often.
_ONSETS = _tables["common_onsets"] * 3 + _tables["onsets"]
_VOWELS = _tables["common_vowels"] * 12 + _tables["vowels"]
_MIDDLES = _tables["common_middles"] * 3 + _tables["middles"]
_CODAS = _tables["codas"]
_SCRIPTS: tuple[dict[str, Any], ...] = tuple(_tables["scripts"].values())

RUDE = re.compile(
    "fuc|fuk|shit|cunt|nig|fag|cum|tit|dick|cock|puss|rape|slut|who?re|nazi|anal|anus|peni|arse|wank|pric"
)

COMMON_START = 0.15
"""Share of made-up names and towns that begin like a common word."""


def split_of(word: str) -> Split:
    """Return the only split in which an open-class word may occur, by its hash: eight tenths train, a tenth each other.

    >>> split_of("Ottoline"), split_of("ottoline")
    ('test', 'test')
    """
    share = crc32((_SALT + word.lower()).encode()) % 10
    return "valid" if share == 8 else "test" if share == 9 else "train"


def pick(choices: Sequence[T], rand: Rand) -> T:
    """Return one of the choices, all equally likely."""
    return choices[int(rand() * len(choices))]


def coin(kind: str, rand: Rand) -> str:
    """Make up a word for a person, woman or man ("Zorvia"), a town ("Plenmoor") or a pet ("Bix")."""
    if kind == "pet":
        if rand() < 0.15:
            return coin("person", rand)
        return "".join(pick(part, rand) for part in (_ONSETS, _VOWELS, _CODAS, _tables["pet_endings"])).capitalize()
    is_town = kind == "town"
    endings = _tables["town_endings" if is_town else "person_endings"]
    # Syllables in any order, so that no user's name looks too strange.
    if rand() < (0.2 if is_town else 0.15):
        word = "" if rand() < 0.2 else pick(_ONSETS, rand)
        for _ in range(1 + int(rand() * 2)):
            word += pick(_VOWELS, rand) + pick(_MIDDLES, rand)
        return (word + pick(_VOWELS, rand) + (pick(_CODAS, rand) if rand() < 0.4 else "")).capitalize()
    if rand() < COMMON_START:
        return (pick(_tables["common_starts"], rand) + pick(endings, rand)).capitalize()
    # A stem of one syllable or two, and an ending.
    stem = (pick(_ONSETS, rand) if is_town or rand() < 0.85 else "") + pick(_VOWELS, rand)
    if rand() < (0.15 if is_town else 0.2):
        stem += pick(_MIDDLES, rand) + pick(_VOWELS, rand)
    return (stem + pick(_CODAS if is_town else _MIDDLES, rand) + pick(endings, rand)).capitalize()


def foreign(kind: str, rand: Rand) -> str:
    """Make up a word with accents ("Kópavøgur") or of another script ("Вобине", "李娜"), or return one that exists.

    Kinds look alike there: what is to be learned is to copy any run of bytes.
    """
    if rand() < 0.5:
        word = coin(kind, rand)
        accented = [letter for letter in word if letter in _tables["accents"]]
        if not accented:
            return foreign(kind, rand)
        sure, accents = pick(accented, rand), _tables["accents"]
        letters = (pick(accents[c], rand) if c in accents and (c == sure or rand() < 0.3) else c for c in word)
        return "".join(letters)
    script = pick(_SCRIPTS, rand)
    if rand() < 0.25:
        return pick(script["real"], rand)
    if "signs" in script:
        return "".join(pick("".join(script["signs"]), rand) for _ in range(2 + int(rand() * 3)))
    syllables = 1 + int(rand() * 3)
    word = "".join(pick(script["consonants"], rand) + pick(script["vowels"], rand) for _ in range(syllables))
    return (word + (pick(script["consonants"], rand) if syllables == 1 or rand() < 0.4 else "")).capitalize()
