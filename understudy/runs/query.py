"""Finding runs by what they are: `verb=finetune and val_bpb<1.2 and not bad`.

    query      = condition { "and" condition }
    condition  = { "not" } ( flag | name operator value )
    flag       = "bad" | "pinned" | "dirty"
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~"
    name       = a word or a quoted text: see `FIELDS` and `_field`
    value      = a word or a quoted text; a word has no spaces, brackets or operators, and does not begin with a quote

`~` means "contains". Case does not matter. Of a field with several values (tags, lists) one that fits is enough, and
`!=` is the opposite of `=`: it holds for a run without the field, for which every other comparison fails.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import Any, NoReturn

from understudy.console import flat
from understudy.errors import QueryError, suggestion
from understudy.runs.find import matches
from understudy.runs.journal import last_value
from understudy.runs.record import Record

WORD = re.compile(r"""[^\s()=!<>~"'][^\s()=!<>~]*""")
_TERM = rf"""{WORD.pattern}|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_CONDITION = re.compile(
    rf"\s*(?P<nots>(?:not\s+)*)(?P<name>{_TERM})\s*(?:(?P<operator>!=|<=|>=|=|<|>|~)\s*(?P<value>{_TERM})?)?\s*",
    re.IGNORECASE | re.DOTALL,
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
STATUSES = ("running", "finished", "failed", "interrupted", "dead", "broken")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Field:
    """A name, and the values that a run has under it: none, one, or several (tags, lists)."""

    name: str
    kind: str  # how they compare: time, age, text, status, id (by its beginning), any (as numbers where both sides are)
    read: Callable[[Record], Iterable[Any]]

    def test(self, operator: str, text: str) -> Callable[[Any], bool]:
        """Return the function that says whether a value is as `operator` (not `!=`) and `text` ask.

        Raises QueryError where the operator or the text does not go with the field.
        """
        if self.kind == "time":
            if operator == "~":
                raise QueryError(f"{self.name} is a time: expected = != < <= > >=")
            # A date means its whole day, a time its whole hour, minute or second; 0, 1 and 2: before, in and after it.
            start, end = _moment(text)
            return lambda value: _COMPARISONS[operator]((value >= start) + (value >= end), 1)
        if self.kind == "age":
            seconds = duration(text)
            if seconds is None or operator in ("=", "~"):
                raise QueryError("age takes < <= > >= and a duration such as 90m, 12h, 2d or 1w")
            return lambda value: _COMPARISONS[operator](value, seconds)

        if operator == "~":
            return lambda value: text.casefold() in str(value).casefold()
        try:
            number = float(text)
        except ValueError:
            number = None
        if operator != "=":
            if self.kind != "any":
                raise QueryError(f"{self.name} is a text: expected =, != or ~")
            if number is None:
                raise QueryError(f"expected a number after `{operator}`")
            return lambda value: _is_number(value) and _COMPARISONS[operator](value, number)
        if self.kind == "id":
            return lambda value: matches(text.lower(), value.lower())
        if self.kind == "status" and text.lower() not in STATUSES:
            close = suggestion(text, STATUSES) or f"; expected one of {', '.join(STATUSES)}"
            raise QueryError(f"{text!r} is not a {self.name}{close}")
        return lambda value: (_is_number(value) and value == number) or str(value).casefold() == text.casefold()


FIELDS = {
    field.name: field
    for field in (
        Field("id", "id", lambda record: [record.id]),
        Field("verb", "text", lambda record: [record.verb]),
        Field("status", "status", lambda record: [record.status]),
        Field("created", "time", lambda record: [record.created.timestamp()]),
        Field("ended", "time", lambda record: [record.ended.timestamp()] if record.ended else []),
        Field("age", "age", lambda record: [time.time() - record.created.timestamp()]),
        Field("seed", "any", lambda record: [] if record.seed is None else [record.seed]),
        Field("note", "text", lambda record: [record.note]),
        Field("error", "text", lambda record: [record.error]),
        Field("bad", "text", lambda record: [record.marks.bad]),
        Field("tag", "text", lambda record: record.marks.tags),
        Field("parent", "id", lambda record: record.parents),
        Field("commit", "id", lambda record: [record.commit]),
        Field("host", "text", lambda record: [record.host]),
        Field("headline", "any", lambda record: record.headline[1:] if record.headline else []),
    )
}
FLAGS: dict[str, Callable[[Record], Iterable[Any]]] = {
    "bad": lambda record: [record.marks.bad],
    "pinned": lambda record: [record.marks.pinned],
    "dirty": lambda record: [record.dirty],
}
Condition = tuple[Callable[[Record], Iterable[Any]], Callable[[Any], bool], bool]
"""What reads a run's values, what says whether one fits, and whether none may fit instead."""


def is_query(text: str) -> bool:
    """Whether a word of the command line is a query rather than the name or the folder of a run.

    >>> is_query("status=failed"), is_query("not bad"), is_query("bad"), is_query("brave-otter")
    (True, True, True, False)
    """
    return (text.lower() in FLAGS or not WORD.fullmatch(text)) and not Path(text, "run.json").is_file()


def matching(query: str, records: Sequence[Record]) -> list[Record]:
    """Return the runs that the query finds, in their order. Raises QueryError where it cannot be understood."""
    conditions = _conditions(query, records) if records else []

    def fits(record: Record) -> bool:
        return all(any(map(test, read(record))) != negated for read, test, negated in conditions)

    return list(filter(fits, records))


def in_order(name: str, chosen: Sequence[Record], records: Sequence[Record]) -> list[Record]:
    """Return the chosen ones of all `records` that have a field of that name, sorted by it, numbers before texts."""
    field = _field(name, records)
    keyed = [(next(iter(field.read(record)), None), record) for record in chosen]
    present = [(value, record) for value, record in keyed if value is not None and value == value]  # nan has no place

    def rank(pair: tuple[Any, Record]) -> tuple[bool, float, str]:
        return (False, pair[0], "") if _is_number(pair[0]) else (True, 0.0, str(pair[0]))

    return [record for _, record in sorted(present, key=rank)]


def duration(text: str) -> float | None:
    """Return the seconds of a duration such as 90m or 2d, None where it is not one."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.lower())
    return float(found[1]) * _SECONDS[found[2]] if found else None


def _conditions(query: str, records: Sequence[Record]) -> list[Condition]:
    """Return the conditions of the query, all of which must hold."""

    def fail(at: int, what: str) -> NoReturn:
        rest = query[at:].lstrip()
        if re.match(r"[()]|or\b", rest, re.IGNORECASE):
            what = "queries have no `or` and no brackets: join conditions by `and`, write `not` before one to negate "
            what += "it, and ask for alternatives one by one"
        elif rest[:1] in ("'", '"') and not re.match(_TERM, rest, re.DOTALL):
            what = "a quote that is not closed"
        raise QueryError(f"cannot read the query at ^ in `{' '.join(f'{query[:at]}^{query[at:]}'.split())}`: {what}")

    conditions: list[Condition] = []
    query = query.rstrip()
    at = 0
    while True:
        # A condition: how often it is negated, a name, and an operator and a value or neither.
        found = _CONDITION.match(query, at)
        if not found:
            fail(at, "expected a condition such as status=failed")
        operator, value, name = found["operator"], found["value"], _unquoted(found["name"])
        negated = len(found["nots"].split()) % 2 == 1
        if operator and value is None:
            fail(found.end(), f"expected a value after `{operator}`")
        if operator:
            at = found.start("name")
            try:
                field = _field(name, records)
                at = found.start("value")
                test = field.test("=" if operator == "!=" else operator, _unquoted(value))
            except QueryError as error:
                fail(at, str(error))
            conditions.append((field.read, test, negated != (operator == "!=")))
        elif found["name"].lower() in FLAGS:
            conditions.append((FLAGS[name.lower()], bool, negated))
        else:
            fail(found.end(), f"expected an operator after {name!r}{suggestion(name, FLAGS)}")

        # What joins it to the next one.
        at = found.end()
        if at == len(query):
            return conditions
        joint = re.compile(r"and\b", re.IGNORECASE).match(query, at)
        at = joint.end() if joint else fail(at, "expected `and`")


def _field(name: str, records: Sequence[Record]) -> Field:
    """Return the field of that name. Raises QueryError where no run has it, or where it may be any of several.

    Besides `FIELDS` there are the names of the outcome, the configuration and the last metrics, looked up in this order
    run by run; `outcome.NAME`, `config.NAME` and `metric.NAME` say which is meant. Names of the configuration are
    dotted, and their last part will do where only one of them ends so.
    """
    if name in FIELDS:
        return FIELDS[name]
    source, _, short = name.partition(".")
    if not short or source not in ("outcome", "config", "metric"):
        source, short = "", name
    # The options that the name may stand for, and the one that it does stand for.
    options = {option for record in records for option in flat(record.config) if f".{option}".endswith(f".{short}")}
    option = short if short in options else min(options, default="") if len(options) == 1 else ""

    def found(record: Record) -> list[Any]:
        if source in ("", "outcome") and short in (outcome := flat(record.outcome)):
            return [outcome[short]]
        if source in ("", "config") and option and option in (config := flat(record.config)):
            return [config[option]]
        if source in ("", "metric") and short != "time":  # each line has a time, which is not a metric
            value = last_value(record.folder / "metrics.jsonl", short)
            return [] if value is None else [value]
        return []

    def read(record: Record) -> Iterable[Any]:
        values = found(record)
        return values[0] if values and isinstance(values[0], list) else values

    if any(map(found, records)):
        return Field(name, "any", read)
    # No run has it, or only under several names: say which names there are.
    if len(options) > 1:
        raise QueryError(f"{name!r} may be any of {', '.join(sorted(options))}: write more of it")
    known = {key for record in records for key in flat(record.config)}
    known |= {key.rpartition(".")[2] for key in known}
    known |= {key for record in records for key in (*flat(record.outcome), *record.metrics)}
    raise QueryError(f"no run has {name!r}{suggestion(name, {*FIELDS, *FLAGS, *known})}")


def _unquoted(term: str) -> str:
    return re.sub(r"\\(.)", r"\1", term[1:-1], flags=re.DOTALL) if term[0] in "\"'" else term


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _moment(text: str) -> tuple[float, float]:
    """Return the beginning and end of the day, hour, minute or second that is written there."""
    sizes = {0: timedelta(hours=1), 1: timedelta(minutes=1)}
    try:
        start = datetime.fromisoformat(text.upper())
        size = timedelta(days=1) if len(text) <= len("2026-11-20") else sizes.get(text.count(":"), timedelta(seconds=1))
        return start.timestamp(), (start + size).timestamp()
    except (ValueError, OverflowError):
        raise QueryError("expected a date such as 2026-11-20 or 2026-11-20T14:30") from None
