"""Everything that is said, topic by topic; adding a line here is all it takes to hear it."""

import re
from collections.abc import Iterator
from functools import cache

from understudy.tasks.smalltalk import words
from understudy.tasks.smalltalk.phrases import chat, likes, others, questions, you
from understudy.tasks.smalltalk.phrases.topic import Exchange, Topic

TOPICS: dict[str, Topic] = {
    "name": you.NAME,
    "home": you.HOME,
    "age": you.AGE,
    "job": you.JOB,
    "birthday": you.BIRTHDAY,
    "food": likes.FOOD,
    "drink": likes.DRINK,
    "colour": likes.COLOUR,
    "music": likes.MUSIC,
    "dislike": likes.DISLIKE,
    "hobby": likes.HOBBY,
    "instrument": likes.INSTRUMENT,
    "language": likes.LANGUAGE,
    "pet": others.PET,
    "pair": others.PAIR,
    "pet age": others.PET_AGE,
    "kin": others.KIN,
    "kin age": others.KIN_AGE,
    "plan": others.PLAN,
}


@cache
def closed_words() -> frozenset[str]:
    """Every word, in lower case, that stands in some phrase or list: no name or town may be one of them.

    >>> {"name", "iguana", "saturday"} <= closed_words()
    True
    """
    texts = (text for module in (words, chat, likes, others, questions, you) for text in _texts(vars(module)))
    return frozenset(word for text in texts for word in re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text.lower())))


def _texts(item: object) -> Iterator[str]:
    """All strings in the upper-case tables of a module, and in what they hold."""
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        tables = item if "__name__" not in item else {name: table for name, table in item.items() if name.isupper()}
        for key, value in tables.items():
            yield from _texts(key if tables is item else ())
            yield from _texts(value)
    elif isinstance(item, tuple):
        for part in item:
            yield from _texts(part)
    elif isinstance(item, Topic | Exchange):
        yield from _texts(vars(item))
