"""Asking for runs: `verb=finetune and val_bpb<1.2 and not bad`.

    query      = both { "or" both }
    both       = condition { "and" condition }
    condition  = "not" condition | "(" query ")" | flag | name operator value
    flag       = "bad" | "pinned" | "dirty"
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~"
    name       = a word or a quoted text: see `fields.Fields`
    value      = a word or a quoted text; a word holds no spaces, brackets and operators, and begins with no quote

`~` means "contains". Case does not matter. Of a field with several values (tags, lists) one that fits is enough, and
`!=` is the opposite of `=`: it holds for a run without the field, for which every other comparison fails.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import ge, gt, le, lt
from typing import Any, NoReturn

from understudy.errors import QueryError, suggestion
from understudy.runs.fields import AGE, FLAGS, SHORTENED, TEXT, TIME, Field, Fields
from understudy.runs.find import matches
from understudy.runs.record import Record

Test = Callable[[Record], bool]
Fits = Callable[[Any], bool]

WORD = re.compile(r"""[^\s()=!<>~"'][^\s()=!<>~]*""")
TOKEN = re.compile(
    r"""\s*(?: (?P<operator> !=|<=|>=|=|<|>|~ ) | (?P<bracket> [()] )
    | (?P<quoted> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' ) | (?P<word> """
    + WORD.pattern
    + ") )",
    re.VERBOSE | re.DOTALL,
)
ORDER: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DATES = "a date such as 2026-11-20 or 2026-11-20T14:30"


@dataclass(frozen=True)
class Token:
    """A piece of a query, from the character `start` on; `kind` is a group of TOKEN, or "end"."""

    kind: str
    text: str
    start: int


def is_query(text: str) -> bool:
    """Whether a word of the command line is a query rather than the name of a run.

    >>> is_query("status=failed"), is_query("not bad"), is_query("bad"), is_query("brave-otter")
    (True, True, True, False)
    """
    return text.lower() in FLAGS or not WORD.fullmatch(text)


def matching(query: str, records: Sequence[Record]) -> list[Record]:
    """The runs that the query asks for, in their order; QueryError where it cannot be understood."""
    if not records:
        return []
    fits = _Parser(query, Fields(records)).parse()
    return [record for record in records if fits(record)]


def in_order(name: str, chosen: Sequence[Record], records: Sequence[Record]) -> list[Record]:
    """Of all the `records` the chosen ones that have a field of that name, sorted by it, numbers before texts."""
    fields = Fields(records)
    field = fields.find(name)
    if field is None:
        raise QueryError(f"no run has {name!r} to sort by{fields.suggestion(name)}")
    keyed = [(next(iter(field.read(record)), None), record) for record in chosen]
    present = [(value, record) for value, record in keyed if value is not None and value == value]  # nan has no place
    return [record for _, record in sorted(present, key=lambda pair: _rank(pair[0]))]


def duration(text: str) -> float | None:
    """The seconds that are written there; None where it is no duration.

    >>> duration("90m"), duration("2d"), duration("2")
    (5400.0, 172800.0, None)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.lower())
    return float(found[1]) * SECONDS[found[2]] if found else None


class _Parser:
    """Recursive descent: one method for each rule of the grammar."""

    def __init__(self, query: str, fields: Fields) -> None:
        self._query = query
        self._fields = fields
        self._tokens = self._split()
        self._at = 0

    def parse(self) -> Test:
        """What tells whether a run fits."""
        try:
            fits = self._either()
        except RecursionError:
            raise QueryError("the query has too many brackets inside brackets, or too many `not`") from None
        if self._next.kind != "end":
            self._fail("expected `and` or `or`", self._next)
        return fits

    def _split(self) -> list[Token]:
        tokens, at, end = [], 0, len(self._query.rstrip())
        while at < end:
            found = TOKEN.match(self._query, at)
            if not found:
                at += len(self._query[at:]) - len(self._query[at:].lstrip())
                what = "a quote that is not closed" if self._query[at] in "\"'" else "`!` stands only in `!=`"
                self._fail(what, Token("", "", at))
            kind = str(found.lastgroup)
            tokens.append(Token(kind, found[kind], found.start(kind)))
            at = found.end()
        return [*tokens, Token("end", "", end)]

    def _fail(self, what: str, token: Token, hint: str = "") -> NoReturn:
        shown = f"{self._query[: token.start]}^{self._query[token.start :]}"
        raise QueryError(f"cannot read the query at ^ in `{' '.join(shown.split())}`: {what}{hint}")

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _take_if(self, kind: str, text: str) -> bool:
        found = (self._next.kind, self._next.text.lower()) == (kind, text)
        if found:
            self._take()
        return found

    def _either(self) -> Test:
        parts = [self._both()]
        while self._take_if("word", "or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda record: any(part(record) for part in parts)

    def _both(self) -> Test:
        parts = [self._condition()]
        while self._take_if("word", "and"):
            parts.append(self._condition())
        return parts[0] if len(parts) == 1 else lambda record: all(part(record) for part in parts)

    def _condition(self) -> Test:
        if self._take_if("word", "not"):
            denied = self._condition()
            return lambda record: not denied(record)
        if self._take_if("bracket", "("):
            inner = self._either()
            if not self._take_if("bracket", ")"):
                self._fail("expected `)`, `and` or `or`", self._next)
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        name = self._take()
        if name.kind not in ("word", "quoted"):
            self._fail("expected a condition such as status=failed", name)
        if self._next.kind != "operator":
            return self._flag(name)
        operator, field = self._take().text, self._field(name)
        value = self._take()
        if value.kind not in ("word", "quoted"):
            self._fail(f"expected a value after `{operator}`", value)
        if operator == "!=":
            equal = self._fits(field, "=", value)
            return lambda record: not any(map(equal, field.read(record)))
        fits = self._fits(field, operator, value)
        return lambda record: any(map(fits, field.read(record)))

    def _flag(self, name: Token) -> Test:
        if name.kind == "word" and name.text.lower() in FLAGS:
            return FLAGS[name.text.lower()]
        self._fail(f"expected an operator after {name.text!r}", self._next, suggestion(name.text, FLAGS))

    def _field(self, token: Token) -> Field:
        name = _unquoted(token)
        try:
            field = self._fields.find(name)
        except QueryError as error:
            self._fail(str(error), token)
        return field or self._fail(f"no run has {name!r}", token, self._fields.suggestion(name))

    def _fits(self, field: Field, operator: str, token: Token) -> Fits:
        """What tells whether a value of the field is as the query wants it."""
        value = _unquoted(token)
        if operator == "~":
            if field.kind in (TIME, AGE):
                self._fail(f"{field.name} is a time: expected < <= > >=", token)
            return lambda found: value.casefold() in str(found).casefold()
        if field.kind == TIME:
            return self._in_time(operator, token)
        if field.kind == AGE:
            return self._of_age(operator, token)
        if operator in ORDER:
            return self._ordered(field, operator, token)
        if field.choices and value.lower() not in field.choices:
            close = suggestion(value, field.choices) or f"; expected one of {', '.join(field.choices)}"
            self._fail(f"{value!r} is no {field.name}", token, close)
        if field.kind == SHORTENED:
            return lambda found: matches(value.lower(), found.lower())
        return lambda found: _equal(found, value)

    def _ordered(self, field: Field, operator: str, token: Token) -> Fits:
        limit, holds = _number(_unquoted(token)), ORDER[operator]
        if field.kind in (TEXT, SHORTENED):
            self._fail(f"{field.name} is a text: expected =, != or ~", token)
        if limit is None:
            self._fail(f"expected a number after `{operator}`", token)
        return lambda found: _is_number(found) and holds(found, limit)

    def _in_time(self, operator: str, token: Token) -> Fits:
        """A date means its whole day, a time its whole minute or second."""
        found = _moment(_unquoted(token))
        if found is None:
            self._fail(f"expected {DATES}", token)
        start, end = found
        tests: dict[str, Fits] = {
            "=": lambda time: start <= time < end,
            "<": lambda time: time < start,
            "<=": lambda time: time < end,
            ">": lambda time: time >= end,
            ">=": lambda time: time >= start,
        }
        return tests[operator]

    def _of_age(self, operator: str, token: Token) -> Fits:
        limit = duration(_unquoted(token))
        if limit is None or operator not in ORDER:
            self._fail("age takes < <= > >= and a duration such as 90m, 12h, 2d or 1w", token)
        return lambda age: ORDER[operator](age, limit)


def _unquoted(token: Token) -> str:
    return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL) if token.kind == "quoted" else token.text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rank(value: Any) -> tuple[bool, float, str]:
    return (False, value, "") if _is_number(value) else (True, 0.0, str(value))


def _equal(found: Any, value: str) -> bool:
    number = _number(value)
    if number is not None and _is_number(found):
        return found == number or (math.isnan(number) and math.isnan(found))
    return str(found).casefold() == value.casefold()


def _moment(text: str) -> tuple[float, float] | None:
    """The beginning and end of the day, hour, minute or second that is written there."""
    sizes = {0: timedelta(hours=1), 1: timedelta(minutes=1)}
    try:
        start = datetime.fromisoformat(text.upper())
        size = timedelta(days=1) if len(text) <= len("2026-11-20") else sizes.get(text.count(":"), timedelta(seconds=1))
        return start.timestamp(), (start + size).timestamp()
    except (ValueError, OverflowError):
        return None
