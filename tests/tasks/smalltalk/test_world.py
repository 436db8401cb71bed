from collections import Counter
from random import Random

import pytest

from understudy.tasks.smalltalk import words
from understudy.tasks.smalltalk.agenda import draw_agenda
from understudy.tasks.smalltalk.mix import MIX, Mix, Shares
from understudy.tasks.smalltalk.world import World, combination_split, partners

SPLITS = ("train", "valid", "test")


def test_shares_are_drawn_in_proportion():
    rand = Random(0).random
    drawn = Counter(Shares({"a": 1, "b": 3, "never": 0}).draw(rand) for _ in range(4000))
    assert set(drawn) == {"a", "b"}
    assert 0.7 < drawn["b"] / 4000 < 0.8


@pytest.mark.parametrize("split", SPLITS)
def test_combinations_are_dealt_out_without_overlap(split: str):
    jobs, hobbies = words.VALUES["job"], words.VALUES["hobby"]
    for job in jobs:
        assert all(combination_split("spare", job, hobby) == split for hobby in partners("spare", split, job))
    for hobby in hobbies:
        assert any(hobby in partners("spare", split, job) for job in jobs)


@pytest.mark.parametrize("split", SPLITS)
def test_a_world_draws_no_value_twice(split: str):
    world = World(split, Mix(two_words=0), Random(1).random)
    drawn = [world.word(kind) for kind in ("person", "town", "pet", "woman", "man") for _ in range(20)]
    assert len({word.lower() for word in drawn}) == 100


@pytest.mark.parametrize("split", SPLITS)
def test_jobs_and_hobbies_of_one_world_always_agree(split: str):
    for seed in range(200):
        world = World(split, MIX, Random(seed).random)
        facts = [world.fact(topic) for topic in ("job", "hobby", "job", "hobby")]
        jobs = [fact.value for fact in facts[::2] if fact]
        hobbies = [fact.value for fact in facts[1::2] if fact]
        assert jobs
        assert hobbies
        assert all(combination_split("spare", job, hobby) == split for job in jobs for hobby in hobbies)


def test_relatives_have_names_that_suit_them():
    from understudy.tasks.smalltalk.names import COMMON

    world = World("train", Mix(common_words=1, foreign=0, two_words=0), Random(2).random)
    assert all(world.fact("kin", "sister").value in COMMON["woman"] for _ in range(30))
    assert all(world.fact("kin", "grandfather").value in COMMON["man"] for _ in range(30))


def test_an_agenda_never_tells_of_two_alike():
    for seed in range(400):
        agenda = draw_agenda(World("train", MIX, Random(seed).random))
        keys = [fact.key for item in agenda for fact in item]
        assert len(keys) == len(set(keys))
        kinds = [about for topic, about in keys if topic in ("pet", "pair")]
        assert len(kinds) == len(set(kinds))
