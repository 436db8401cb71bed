"""JSON read piece by piece: whoever reads walks through objects and arrays of any size, and takes what they need."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from understudy.errors import BrokenJsonError

CHUNK = 1 << 18  # characters read at a time
LONGEST_VALUE = 1 << 22  # characters of one value that is taken whole
DECODER = json.JSONDecoder(strict=False)  # control characters within strings are let pass
WHITESPACE = re.compile(r"[ \t\r\n]*")
WITHIN = re.compile(r'[^"{}\[\]]*')  # what neither opens nor closes anything
STRING_RUN = re.compile(r'[^"\\]*')
NUMBER_GOES_ON = re.compile(r"[0-9.eE+-]*")  # up to the window's end
ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)


class JsonReader:
    r"""Walks through JSON text over a sliding window of it.

    >>> reader = JsonReader(io.StringIO('{"name": "x", "big": [[1], [2]], "list": [3, 4]}'))
    >>> for key in reader.members():
    ...     if key == "list":
    ...         print([reader.value() for _ in reader.elements()])
    ...     else:
    ...         reader.skip()
    [3, 4]
    """

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream
        self._window = ""
        self._position = 0
        self._line = 1

    def peek(self) -> str:
        """The next character that is no white space, which stays; "" at the end."""
        while True:
            space = WHITESPACE.match(self._window, self._position)
            assert space is not None
            self._move_to(space.end())
            if self._position < len(self._window):
                return self._window[self._position]
            if not self._slide():
                return ""

    def members(self) -> Iterator[str]:
        """The keys of the object that comes next. Take or skip each one's value before going on."""
        for _ in self._items("{", "}"):
            if self.peek() != '"':
                raise self._broken("expected a key in quotes")
            key = self.value()
            self._take(":")
            yield key

    def elements(self) -> Iterator[None]:
        """Stops at each element of the array that comes next. Take or skip it before going on."""
        yield from self._items("[", "]")

    def value(self) -> Any:
        """The value that comes next, whole."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._window, self._position)
                if not NUMBER_GOES_ON.fullmatch(self._window, end) or not self._slide():
                    break
            except json.JSONDecodeError as error:
                if not self._mended(error) and not (self._cut_short(error) and self._slide()):
                    raise self._broken(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:  # a number of 5,000 digits; brackets nested too deep
                raise self._broken(str(error)) from None
        self._move_to(end)
        return value

    def skip(self) -> None:
        """Pass over the value that comes next, of whatever size and depth, without keeping any of it."""
        depth = 0
        while True:
            character = self.peek()
            if character == '"':
                self._skip_string()
            elif character and character in "{[":
                depth += 1
                self._move_to(self._position + 1)
            elif not character:
                raise self._broken("the text ends within a value")
            elif not depth:
                self.value()
            elif character in "}]":
                depth -= 1
                self._move_to(self._position + 1)
            else:
                within = WITHIN.match(self._window, self._position)
                assert within is not None
                self._move_to(within.end())
            if not depth:
                return

    def _skip_string(self) -> None:
        self._move_to(self._position + 1)
        while True:
            run = STRING_RUN.match(self._window, self._position)
            assert run is not None
            self._move_to(run.end())
            if self._position + 1 >= len(self._window) and self._slide():
                continue
            if self._position >= len(self._window):
                raise self._broken("the text ends within a string")
            if self._window[self._position] == '"':
                return self._move_to(self._position + 1)
            self._move_to(min(self._position + 2, len(self._window)))  # a backslash and what it escapes

    def _items(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self.peek() == closing:
            return self._take(closing)
        while True:
            yield
            if self.peek() == closing:
                return self._take(closing)
            self._take(",")

    def _take(self, expected: str) -> None:
        if (found := self.peek()) != expected:
            raise self._broken(f"expected {expected!r}, found {repr(found) if found else 'the end of the text'}")
        self._move_to(self._position + 1)

    def _mended(self, error: json.JSONDecodeError) -> bool:
        r"""Telegram writes control characters as \x0B, which is no JSON; whether that was it, and is put right."""
        if not error.msg.startswith("Invalid \\escape") or self._window[error.pos : error.pos + 2] != "\\x":
            return False
        rest = ESCAPE.sub(lambda found: f"\\u00{found[1]}" if found[1] else found[0], self._window[self._position :])
        mended = rest != self._window[self._position :]
        self._window, self._position = rest, 0
        return mended

    def _cut_short(self, error: json.JSONDecodeError) -> bool:
        """Whether the error may come of the window's end: a string that is not closed, or a word or escape cut."""
        return error.msg.startswith("Unterminated string") or error.pos > len(self._window) - 16

    def _move_to(self, position: int) -> None:
        self._line += self._window.count("\n", self._position, position)
        self._position = position

    def _slide(self) -> bool:
        """Drop what is done and read on; False, and nothing moves, at the text's end."""
        rest = self._window[self._position :]
        if len(rest) >= LONGEST_VALUE:
            raise self._broken(f"a value longer than {LONGEST_VALUE:,} characters")
        more = self._stream.read(max(CHUNK, len(rest)))  # doubling keeps the cost of a long value linear
        if more:
            self._window, self._position = rest + more, 0
        return bool(more)

    def _broken(self, problem: str, position: int | None = None) -> BrokenJsonError:
        down = self._window.count("\n", self._position, position) if position is not None else 0
        return BrokenJsonError(self._line + down, problem)
