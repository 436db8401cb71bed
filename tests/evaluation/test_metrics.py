"""Figures of replies, against values worked out by hand and the laws that hold for all texts."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.evaluation.metrics import (
    Distinct,
    f1,
    hit,
    ngrams,
    plain_words,
    repeats_earlier,
    repeats_itself,
    words,
)
from understudy.statistics import ratio_estimate

TEXTS = st.text("ab cAé.,!'", max_size=20) | st.sampled_from(["the cat sat on the mat", "i like the cat", ""])
REPLIES = st.lists(TEXTS, max_size=6)


def distinct(replies: list[str], n: int) -> float:
    return Distinct([[text] for text in replies], n).of(slice(None))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi! How are you?", ["hi", "!", "how", "are", "you", "?"]),
        ("don't; it's 3.50, no: so-so", ["don't", ";", "it's", "3", ".", "50", ",", "no", ":", "so-so"]),
        ("so... (yes)\n\tÉté", ["so", ".", ".", ".", "(yes)", "été"]),
        ("  ", []),
    ],
)
def test_words_are_cut_by_convai2s_rule(text, expected):
    assert words(text) == expected


def test_words_for_f1_are_without_punctuation_and_articles():
    assert plain_words("An apple, a day: THE doctor's away_now.") == ["apple", "day", "doctor", "s", "away", "now"]
    assert plain_words("Theatre and banana") == ["theatre", "and", "banana"], "articles are whole words"


@pytest.mark.parametrize(
    ("reply", "truth", "expected"),
    [
        ("i like dogs", "i like cats", 2 / 3),  # P 2/3, R 2/3
        ("yes", "yes i do like the sea", 2 * 1 * 0.2 / 1.2),  # P 1, R 1/5: the article is no word
        ("no no no", "no", 2 * (1 / 3) * 1 / (4 / 3)),  # a word counts as often as it stands in both
        ("no no", "no no no", 2 * 1 * (2 / 3) / (5 / 3)),
        ("The dog!", "a dog", 1.0),
        ("dogs", "dog", 0.0),
        ("", "dog", 0.0),
        ("the", "a", 0.0),  # nothing is left of either
    ],
)
def test_f1_by_hand(reply, truth, expected):
    assert f1(reply, truth) == pytest.approx(expected)


@given(TEXTS, TEXTS)
def test_f1_is_symmetric_bounded_and_1_only_for_the_same_words(one, other):
    assert f1(one, other) == f1(other, one)
    assert 0 <= f1(one, other) <= 1
    same = Counter(plain_words(one)) == Counter(plain_words(other))
    assert (f1(one, other) == 1) == (same and bool(plain_words(one)))


@pytest.mark.parametrize(
    ("replies", "n", "expected"),
    [
        (["i am here", "i am there"], 1, 4 / 6),
        (["i am here", "i am there"], 2, 3 / 6),  # i am, am here, am there: over all words, as Li has it
        (["yes", "Yes"], 1, 1 / 2),
        (["a b", "c d"], 2, 2 / 4),  # no run reaches from one reply into the next
        (["a b c", ""], 3, 1 / 3),
        ([], 1, 0.0),
        (["", " "], 2, 0.0),
    ],
)
def test_distinct_by_hand(replies, n, expected):
    assert distinct(replies, n) == pytest.approx(expected)


@given(REPLIES, st.integers(1, 3))
def test_distinct_is_at_most_1_falls_with_repetition_and_does_not_mind_the_order(replies, n):
    value = distinct(replies, n)
    assert 0 <= value <= 1
    assert distinct(replies[::-1], n) == value
    assert distinct(replies * 3, n) == pytest.approx(value / 3)
    said = [run for text in replies for run in ngrams(words(text), n)]
    size = sum(len(words(text)) for text in replies)
    assert value == pytest.approx(len(set(said)) / size if size else 0)


@given(st.lists(REPLIES, min_size=1, max_size=5), st.integers(1, 2), st.data())
def test_distinct_of_some_conversations_is_that_of_their_replies(replies_of_each, n, data):
    kept = data.draw(st.lists(st.integers(0, len(replies_of_each) - 1), unique=True))
    expected = distinct([text for index in kept for text in replies_of_each[index]], n)
    assert Distinct(replies_of_each, n).of(np.array(kept, dtype=np.int64)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("i like it i like it", True),
        ("i like i like", False),  # two in a row are not yet three
        ("no no no no", True),
        ("no no no", False),
        ("", False),
    ],
)
def test_repetition_within_a_reply_by_hand(reply, expected):
    assert repeats_itself(reply) is expected


@pytest.mark.parametrize(
    ("reply", "earlier", "expected"),
    [
        ("well I like it.", ["hm", "i like it too"], True),
        ("i like it", ["i like", "it i like"], False),  # no run reaches from one reply into the next
        ("no no no no", [], False),
        ("", ["i like it"], False),
    ],
)
def test_repetition_of_an_earlier_reply_by_hand(reply, earlier, expected):
    assert repeats_earlier(reply, earlier) is expected


@given(TEXTS, REPLIES)
def test_what_repeats_goes_on_repeating(reply, earlier):
    assert repeats_itself(f"{reply} {reply}") or len(words(reply)) < 3
    assert not repeats_itself(reply) or repeats_itself(f"{reply} x")
    assert repeats_earlier(reply, [*earlier, reply]) == (len(words(reply)) >= 3)
    assert not repeats_earlier(reply, earlier) or repeats_earlier(reply, [*earlier, "x"])


def test_hits_of_a_perfect_and_of_a_hopeless_scorer():
    assert hit([1.0] + [0.5] * 19) == 1
    assert hit([0.1] + [0.5] * 19) == 0
    assert hit([0.5] * 20) == 1 / 20, "a scorer that tells nothing apart does no better than chance"
    assert math.isclose(hit([0.5, 0.5, 0.2]), 1 / 2)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_the_hits_of_all_candidates_add_up_to_one(scores):
    rolled = [[scores[i], *scores[:i], *scores[i + 1 :]] for i in range(len(scores))]
    assert sum(map(hit, rolled)) == pytest.approx(1)


def test_a_random_scorer_hits_once_in_twenty_and_its_intervals_say_so():
    random = np.random.default_rng(0)
    found = []
    for _ in range(40):
        hits = [[hit(scores) for scores in random.normal(size=(5, 20))] for _ in range(60)]
        found.append(ratio_estimate(np.sum(hits, axis=1), np.full(60, 5)))
    assert np.mean([estimate.value for estimate in found]) == pytest.approx(1 / 20, abs=0.006)  # three standard errors
    assert sum(estimate.low <= 1 / 20 <= estimate.high for estimate in found) >= 34  # of 40, where 38 are expected
