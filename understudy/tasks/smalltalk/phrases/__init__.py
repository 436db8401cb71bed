"""Everything that is said, topic by topic, in the TOML files beside this one: a line added there will be said."""

import re
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

from understudy.tasks.smalltalk import words
from understudy.tasks.smalltalk.topic import Exchange, Lines, Topic, read_toml

_files = {name: read_toml(f"phrases/{name}.toml") for name in ("beyond", "chat", "likes", "others", "questions", "you")}
# Talk beside the facts, questions, what is said of several facts at once, and what is beyond a small model:
# chat.greetings, questions.count_pets, ...
chat, questions, others, beyond = (
    SimpleNamespace(**_files[name]) for name in ("chat", "questions", "others", "beyond")
)


def _favourite(shared: dict[str, Any], own: dict[str, Any]) -> Topic:
    """Return a topic of the shape "my favourite NOUN is VALUE": the shared lines, and the topic's own after them."""

    def filled(line: str) -> str:
        for name in ("noun", "kinds", "kind"):
            line = line.replace(f"{{{name}}}", own[name])
        return line

    fields: dict[str, Any] = {
        name: filled(lines) if isinstance(lines, str) else (*map(filled, lines), *own.get(name, ()))
        for name, lines in shared.items()
    }
    clauses: Lines = tuple(line.rstrip(".") for line in own["tell"] if line.startswith("I "))
    return Topic(**fields | {"clause": fields["clause"] + clauses, "more": own["more"]})


def _topics() -> Iterator[tuple[str, Topic]]:
    for file in ("you", "likes", "others"):
        for name, table in _files[file].items():
            if isinstance(table, dict) and "like" in table:
                yield name, _favourite(_files[file][table["like"]], table)
            elif isinstance(table, dict) and "mine" in table and name != "favourite":
                yield name, Topic(**table)


TOPICS: dict[str, Topic] = dict(_topics())


@cache
def closed_words() -> frozenset[str]:
    """Return every word, in lower case, that stands in some phrase or list: no name or town may be one of them.

    >>> {"name", "iguana", "saturday"} <= closed_words()
    True
    """
    beside = [value for table in (chat, questions, others, beyond) for value in vars(table).values()]
    tables = [value for name, value in vars(words).items() if name.isupper()]
    tables += [value for value in beside if not (isinstance(value, dict) and "mine" in value)]  # topics come as such
    texts = _texts((*tables, *TOPICS.values()))
    said = {word for text in texts for word in re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text.lower()))}
    # "kin" is the name of a topic, and nobody says it.
    return frozenset(said - {"kin"})


def _texts(item: Any) -> Iterator[str]:
    """Yield all strings in a table, the names of its parts among them."""
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        for key, value in item.items():
            yield from _texts((key, value))
    elif isinstance(item, tuple):
        for part in item:
            yield from _texts(part)
    elif isinstance(item, Topic | Exchange):
        yield from _texts(vars(item))
