"""JSON read piece by piece: the reader walks through objects and arrays of any size and takes what it needs."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from understudy.errors import BrokenJsonError

CHUNK = 1 << 18  # characters read at a time
LONGEST_VALUE = 1 << 22  # characters of one value that is taken whole
# Each of these matches anywhere, if only nothing.
WHITESPACE = re.compile(r"[ \t\r\n]*")
WITHIN = re.compile(r'[^"{}\[\]]*')  # what neither opens nor closes anything
IN_STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
NUMBER_GOES_ON = re.compile(r"[0-9.eE+-]*")  # up to the window's end

ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)


class JsonReader:
    r"""Walks through JSON text over a sliding window of it.

    Args:
        stream: the text.
        begun: what was read from the stream before.
        line: the line on which that begins.
        strict: refuse control characters in strings. Some apps write them, as they are or as \x0B.
        longest: characters of the longest value that may be taken whole.

    Every method raises BrokenJsonError where the text is not JSON.

    >>> reader = JsonReader(io.StringIO('{"name": "x", "big": [[1], [2]], "list": [3, 4]}'))
    >>> for key in reader.members():
    ...     if key == "list":
    ...         print(list(reader.values()))
    ...     else:
    ...         reader.skip()
    [3, 4]
    """

    def __init__(
        self, stream: io.TextIOBase, begun: str = "", line: int = 1, strict: bool = False, longest: int = LONGEST_VALUE
    ) -> None:
        self.line = line
        """The line of the next character."""
        self._stream, self._longest = stream, longest
        self._window, self._position = begun, 0
        self._decoder = json.JSONDecoder(strict=strict)

    def peek(self) -> str:
        """Return the next character that is not white space, and leave it there; "" at the end."""
        while True:
            self._pass(WHITESPACE)
            if self._position < len(self._window):
                return self._window[self._position]
            if not self._slide():
                return ""

    def members(self) -> Iterator[str]:
        """Yield the keys of the next object. Take or skip each value before going on."""
        for _ in self._items("{", "}"):
            if self.peek() != '"':
                raise self._broken("expected a key in quotes")
            key = self.value()
            self._take(":")
            yield key

    def elements(self) -> Iterator[None]:
        """Stop at each element of the next array. Take or skip it before going on."""
        yield from self._items("[", "]")

    def values(self) -> Iterator[Any]:
        """Yield the elements of the next array, each taken whole."""
        return (self.value() for _ in self.elements())

    def value(self) -> Any:
        """Take the next value whole."""
        return self.value_and_text()[0]

    def value_and_text(self) -> tuple[Any, str]:
        """Take the next value whole, and the text that spells it."""
        self.peek()
        # Until the window holds the value whole.
        while True:
            try:
                value, end = self._decoder.raw_decode(self._window, self._position)
                # At the window's end a number may go on, so it is decoded again if there is more.
                if not NUMBER_GOES_ON.fullmatch(self._window, end) or not self._slide():
                    text = self._window[self._position : end]
                    self._move_to(end)
                    return value, text
            except json.JSONDecodeError as error:
                # An error at the window's end may come of the cut, as of an open string, or of a word or escape cut.
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self._window) - 16
                if not self._mend(error) and not (cut and self._slide()):
                    raise self._broken(what_is_wrong(error), error.pos) from None
            except (ValueError, RecursionError) as error:  # a number of 5,000 digits; brackets nested too deep
                raise self._broken(what_is_wrong(error)) from None

    def skip(self) -> None:
        """Pass over the next value, of whatever size and depth, without keeping any of it."""
        depth = 0
        while True:
            character = self.peek()
            if character == '"':
                self._move_to(self._position + 1)
                self._pass(IN_STRING)
                while not self._window.startswith('"', self._position):
                    if not self._slide():
                        raise self._broken("the text ends within a string")
                    self._pass(IN_STRING)
                self._move_to(self._position + 1)
            elif not character:
                raise self._broken("the text ends within a value")
            elif character in "{[" or (depth and character in "}]"):
                depth += 1 if character in "{[" else -1
                self._move_to(self._position + 1)
            elif not depth:
                self.value()
            else:
                self._pass(WITHIN)
            if not depth:
                return

    def _items(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self.peek() == closing:
            return self._take(closing)
        while True:
            yield
            if self.peek() == closing:
                return self._take(closing)
            self._take(",", f"',' or {closing!r}")

    def _take(self, expected: str, named: str = "") -> None:
        if (found := self.peek()) != expected:
            shown = repr(found) if found else "the end of the text"
            raise self._broken(f"expected {named or repr(expected)}, found {shown}")
        self._move_to(self._position + 1)

    def _mend(self, error: json.JSONDecodeError) -> bool:
        r"""Rewrite \x0B, as Telegram writes control characters, in JSON's way; return whether that was the error."""
        is_escape = error.msg.startswith("Invalid \\escape") and self._window.startswith("\\x", error.pos)
        if self._decoder.strict or not is_escape:
            return False
        rest = ESCAPE.sub(lambda found: f"\\u00{found[1]}" if found[1] else found[0], self._window[self._position :])
        mended = rest != self._window[self._position :]
        self._window, self._position = rest, 0
        return mended

    def _pass(self, pattern: "re.Pattern[str]") -> None:
        found = pattern.match(self._window, self._position)
        assert found is not None
        self._move_to(found.end())

    def _move_to(self, position: int) -> None:
        self.line += self._window.count("\n", self._position, position)
        self._position = position

    def _slide(self) -> bool:
        """Drop what is done and read on; return False, with nothing moved, at the end of the text."""
        rest = self._window[self._position :]
        if len(rest) >= self._longest:
            raise self._broken(f"a value longer than {self._longest:,} characters")
        # Doubling keeps the cost of a long value linear.
        more = self._stream.read(max(CHUNK, len(rest)))
        if more:
            self._window, self._position = rest + more, 0
        return bool(more)

    def _broken(self, problem: str, position: int | None = None) -> BrokenJsonError:
        down = self._window.count("\n", self._position, position) if position is not None else 0
        return BrokenJsonError(self.line + down, problem)


def what_is_wrong(error: Exception) -> str:
    """Return what a JSON decoder found, without its remarks on where."""
    what = error.msg if isinstance(error, json.JSONDecodeError) else str(error).split(":")[0]
    return what.removesuffix(" at").removesuffix(" starting")
