"""Names, towns and pet names: real ones and made-up ones, each belonging to exactly one split."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from zlib import crc32

from understudy.tasks.smalltalk.topic import Lines, read_toml

Split = Literal["train", "valid", "test"]

# With this salt "Ottoline" belongs to "test": she is the guest of our demonstrations and must never be trained on.
_SALT = "prompter "

_tables = read_toml(Path(__file__).with_name("names.toml"))
WOMEN: Lines = _tables["women"]
MEN: Lines = _tables["men"]
SURNAMES: Lines = _tables["surnames"]
TOWNS: Lines = _tables["towns"]
TOWN_FIRSTS: Lines = _tables["town_firsts"]
PET_NAMES: Lines = _tables["pet_names"]

_ONSETS: Lines = _tables["common_onsets"] * 3 + _tables["onsets"]
_VOWELS: Lines = _tables["common_vowels"] * 12 + _tables["vowels"]
_MIDDLES: Lines = _tables["common_middles"] * 3 + _tables["middles"]
_CODAS: Lines = _tables["codas"]
_PERSON_ENDINGS: Lines = _tables["person_endings"]
_TOWN_ENDINGS: Lines = _tables["town_endings"]
_PET_ENDINGS: Lines = _tables["pet_endings"]
_COMMON_STARTS: Lines = _tables["common_starts"]

RUDE = re.compile(
    "fuc|fuk|shit|cunt|nig|fag|cum|tit|dick|cock|puss|rape|slut|who?re|nazi|anal|anus|peni|arse|wank|pric"
)

COMMON_START = 0.15
"""Share of made-up names and towns that begin like a common word."""

Rand = Callable[[], float]


def split_of(word: str) -> Split:
    """Return the only split in which an open-class word may occur, by its hash: eight tenths train, a tenth each other.

    >>> split_of("Ottoline"), split_of("ottoline")
    ('test', 'test')
    """
    share = crc32((_SALT + word.lower()).encode()) % 10
    return "valid" if share == 8 else "test" if share == 9 else "train"


def coin_person(rand: Rand) -> str:
    """Make up a first name, such as "Zorvia"."""
    if rand() < 0.15:
        return _coin_anything(rand)
    if rand() < COMMON_START:
        return (_pick(_COMMON_STARTS, rand) + _pick(_PERSON_ENDINGS, rand)).capitalize()
    stem = _pick(_ONSETS, rand) + _pick(_VOWELS, rand) if rand() < 0.85 else _pick(_VOWELS, rand)
    if rand() < 0.2:
        stem += _pick(_MIDDLES, rand) + _pick(_VOWELS, rand)
    return (stem + _pick(_MIDDLES, rand) + _pick(_PERSON_ENDINGS, rand)).capitalize()


def coin_town(rand: Rand) -> str:
    """Make up a town, such as "Plenmoor"."""
    if rand() < 0.2:
        return _coin_anything(rand)
    if rand() < COMMON_START:
        return (_pick(_COMMON_STARTS, rand) + _pick(_TOWN_ENDINGS, rand)).capitalize()
    stem = _pick(_ONSETS, rand) + _pick(_VOWELS, rand)
    if rand() < 0.15:
        stem += _pick(_MIDDLES, rand) + _pick(_VOWELS, rand)
    return (stem + _pick(_CODAS, rand) + _pick(_TOWN_ENDINGS, rand)).capitalize()


def coin_pet(rand: Rand) -> str:
    """Make up a pet name, such as "Bix"."""
    if rand() < 0.15:
        return coin_person(rand)
    return (_pick(_ONSETS, rand) + _pick(_VOWELS, rand) + _pick(_CODAS, rand) + _pick(_PET_ENDINGS, rand)).capitalize()


def _coin_anything(rand: Rand) -> str:
    """Make up a word of syllables in any order, so that no user's name looks too strange."""
    word = "" if rand() < 0.2 else _pick(_ONSETS, rand)
    for _ in range(1 + int(rand() * 2)):
        word += _pick(_VOWELS, rand) + _pick(_MIDDLES, rand)
    return (word + _pick(_VOWELS, rand) + (_pick(_CODAS, rand) if rand() < 0.4 else "")).capitalize()


def _pick(choices: tuple[str, ...], rand: Rand) -> str:
    return choices[int(rand() * len(choices))]


COINS: dict[str, Callable[[Rand], str]] = {
    "person": coin_person,
    "woman": coin_person,
    "man": coin_person,
    "town": coin_town,
    "pet": coin_pet,
}
COMMON = {"person": WOMEN + MEN, "woman": WOMEN, "man": MEN, "town": TOWNS, "pet": PET_NAMES}
