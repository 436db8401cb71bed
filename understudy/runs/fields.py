"""What a run can be asked for by name: see `FIELDS` and `Fields`."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from understudy.console import flat
from understudy.errors import QueryError, suggestion
from understudy.runs.record import Record

STATUSES = ("running", "finished", "failed", "interrupted", "dead", "broken")
TEXT, SHORTENED, TIME, AGE, ANY = "text", "shortened", "time", "age", "any"


@dataclass(frozen=True)
class Field:
    """A name and the values that a run has under it: none, one, or several (tags, lists).

    `kind` says how they compare: "time" in seconds since 1970, "age" in seconds, "shortened" where the beginning of a
    value stands for it. `choices` are all the values there can be, where they are few.
    """

    name: str
    read: Callable[[Record], Iterable[Any]]
    kind: str = ANY
    choices: Sequence[str] = ()


def _headline(record: Record) -> Iterable[Any]:
    return record.headline[1:] if record.headline else ()


FIELDS = {
    field.name: field
    for field in (
        Field("id", lambda record: [record.id], SHORTENED),
        Field("verb", lambda record: [record.verb], TEXT),
        Field("status", lambda record: [record.status], TEXT, STATUSES),
        Field("created", lambda record: [record.created.timestamp()], TIME),
        Field("ended", lambda record: _present(record.ended), TIME),
        Field("age", lambda record: [time.time() - record.created.timestamp()], AGE),
        Field("seed", lambda record: _present(record.seed)),
        Field("note", lambda record: [record.note], TEXT),
        Field("error", lambda record: [record.error], TEXT),
        Field("bad", lambda record: [record.marks.bad], TEXT),
        Field("tag", lambda record: record.marks.tags, TEXT),
        Field("parent", lambda record: record.parents, SHORTENED),
        Field("commit", lambda record: [record.commit], SHORTENED),
        Field("host", lambda record: [record.host], TEXT),
        Field("headline", _headline),
    )
}
FLAGS: dict[str, Callable[[Record], bool]] = {
    "bad": lambda record: bool(record.marks.bad),
    "pinned": lambda record: record.marks.pinned,
    "dirty": lambda record: record.dirty,
}


SOURCES: dict[str, Callable[[Record], dict[str, Any]]] = {
    "outcome": lambda record: record.outcome,
    "config": lambda record: record.config,
    "metric": lambda record: record.metrics,
}


class Fields:
    """The names that the given runs can be asked for: those of `FIELDS`, and those of their figures.

    The figures are the outcome, the configuration and the last metrics. A name that several of them have is looked up
    in this order, run by run; `outcome.NAME`, `config.NAME` and `metric.NAME` say which is meant. A configuration's
    names are dotted, and their last parts do where only one name ends so.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def find(self, name: str) -> Field | None:
        """The field of that name; None where no run has it. QueryError where it may be any of several."""
        if name in FIELDS:
            return FIELDS[name]
        source, _, short = name.partition(".")
        if short and source in SOURCES:
            full = {source: self._full(source, short)}
        else:
            full = {source: self._full(source, name) for source in SOURCES}
        found = [(source, names.pop()) for source, names in full.items() if len(names) == 1]
        if found:
            return Field(name, lambda record: _first(record, found))
        if several := set().union(*full.values()):
            raise QueryError(f"{name!r} may be any of {', '.join(sorted(several))}: write more of it")
        return None

    def suggestion(self, name: str) -> str:
        """A hint for a name that no run has."""
        known = set().union(*self._names.values())
        return suggestion(name, {*FIELDS, *FLAGS, *known, *(config.rpartition(".")[2] for config in known)})

    @cached_property
    def _names(self) -> dict[str, set[str]]:
        names: dict[str, set[str]] = {source: set() for source in SOURCES}
        for record in self._records:
            for source, values in SOURCES.items():
                names[source].update(flat(values(record)))
        return names

    def _full(self, source: str, name: str) -> set[str]:
        """The full names that `name` may mean there."""
        names = self._names[source]
        if name in names:
            return {name}
        return {full for full in names if full.endswith(f".{name}")} if source == "config" else set()


def _first(record: Record, places: list[tuple[str, str]]) -> Iterable[Any]:
    """The values at the first of the places (a source and a full name) where the run has any."""
    for source, name in places:
        values = flat(SOURCES[source](record))
        if name in values:
            value = values[name]
            return value if isinstance(value, list) else [value]
    return ()


def _present(value: Any) -> list[Any]:
    return [] if value is None else [value]
