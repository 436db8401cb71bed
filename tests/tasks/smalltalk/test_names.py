from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.tasks.smalltalk import names
from understudy.tasks.smalltalk.phrases import closed_words


@given(st.text(min_size=1))
def test_capitals_do_not_change_the_split(word: str):
    assert names.split_of(word.lower()) == names.split_of(word.lower().lower())
    if word.upper().lower() == word.lower():
        assert names.split_of(word.upper()) == names.split_of(word)


@pytest.mark.parametrize("kind", ["person", "town", "pet"])
def test_coined_words_are_new_nearly_every_time(kind: str):
    rand = Random(0).random
    coined = [names.coin(kind, rand) for _ in range(3000)]
    assert len(set(coined)) > 2800
    assert all(word.isalpha() and word.istitle() for word in coined)


def test_names_of_other_scripts_are_new_and_stay_whole():
    rand = Random(0).random
    made = [names.foreign("person", rand) for _ in range(3000)]
    assert len(set(made)) > 2200
    assert all(word.isalpha() and not word.isascii() for word in made)


@pytest.mark.parametrize("kind", ["person", "town", "pet"])
def test_splits_get_eight_one_and_one_tenth(kind: str):
    rand = Random(0).random
    shares = Counter(names.split_of(names.coin(kind, rand)) for _ in range(3000))
    assert 0.77 < shares["train"] / 3000 < 0.83
    assert 0.08 < shares["valid"] / 3000 < 0.12


@pytest.mark.parametrize("kind", ["woman", "man", "town", "pet"])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_every_split_has_real_names_of_each_kind(kind: str, split: str):
    usable = [
        word for word in names.COMMON[kind] if names.split_of(word) == split and word.lower() not in closed_words()
    ]
    assert len(usable) >= 8


def test_lists_hold_no_name_twice():
    for listed in (*(names.COMMON[kind] for kind in ("woman", "man", "town", "pet")), names.SURNAMES):
        assert not [word for word, count in Counter(listed).items() if count > 1]
