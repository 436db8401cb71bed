"""Conversations, as people wrote them, from the two formats in common use, told apart by their content.

The messages form, an object a line (JSONL) or one JSON array of them; further keys are ignored:
    {"messages": [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]}
The ShareGPT form, likewise:
    {"conversations": [{"from": "human", "value": "Hi!"}, {"from": "gpt", "value": "Hello."}]}
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from understudy.data.files import Opener, Report, check_encoding, open_text, usable
from understudy.errors import EntryError, suggestion

ROLES = ("system", "user", "assistant")
SHAREGPT_ROLES = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}

CHUNK = 1 << 20  # characters read at a time from a JSON array
LONGEST_ENTRY = 1 << 26  # characters; what is longer is no conversation but a file of some other kind
DECODER = json.JSONDecoder()
SURROGATE = re.compile(r"[\ud800-\udfff]")
WHITESPACE = re.compile(r"[ \t\r\n]*")
JSON_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


@dataclass(frozen=True)
class Message:
    """One turn: who speaks (a role of ROLES) and what they say."""

    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    """Messages in the order in which they were said."""

    messages: tuple[Message, ...]
    source: str = field(default="", compare=False)
    """File and line that it stands in, if it was read from one."""


def read_conversations(
    paths: Sequence[Path], report: Report, strict: bool = False, opener: Opener = open_text
) -> Iterator[Conversation]:
    """Stream the conversations of all files; malformed ones are left out and go to the report by file and line.

    Args:
        paths: files, plain or gzip, of any of this module's formats.
        report: counts what was read and what was left out.
        strict: stop at the first malformed entry instead.
        opener: opens a file as text.

    Raises:
        DataError: a file is empty, unreadable or without one good conversation, or (strict) an entry is malformed.
    """
    for path in paths:
        with opener(path) as stream:
            yield from usable(path, _entries(path, stream), report, strict)


def conversation_to_json(conversation: Conversation) -> str:
    """One line of the messages form, without the line end.

    >>> conversation_to_json(Conversation((Message("user", "Hi!"), Message("assistant", "Hello."))))
    '{"messages": [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]}'
    """
    messages = [{"role": message.role, "content": message.content} for message in conversation.messages]
    return json.dumps({"messages": messages}, ensure_ascii=False)


def _entries(path: Path, stream: io.TextIOBase) -> Iterator[tuple[int, Conversation | EntryError]]:
    first, line = _first_character(stream)
    values = _ArrayReader(stream, line).values() if first == "[" else _line_values(stream, first, line)
    for line, value in values:
        checked = value if isinstance(value, EntryError) else _checked(value)
        yield line, checked if isinstance(checked, EntryError) else replace(checked, source=f"{path}:{line}")


def _first_character(stream: io.TextIOBase) -> tuple[str, int]:
    """Read up to the first character that is not white space: that character ("" at the end) and its line."""
    line = 1
    while (character := stream.read(1)).isspace():
        line += character == "\n"
    return character, line


def _line_values(stream: io.TextIOBase, first: str, line: int) -> Iterator[tuple[int, object]]:
    """The JSON value of each line that is not blank, after `first`, which was read already."""
    text = first + stream.readline(LONGEST_ENTRY)
    while text:
        if len(text) >= LONGEST_ENTRY:
            yield line, _too_long()
            return
        if not text.isspace():
            yield line, _parsed(text)
        text = stream.readline(LONGEST_ENTRY)
        line += 1


def _parsed(text: str) -> object:
    try:
        check_encoding(text)
        return json.loads(text)
    except EntryError as error:
        return error
    except json.JSONDecodeError as error:
        return EntryError(f"invalid JSON ({_what(error)} at column {error.colno})")
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; brackets nested too deep
        return EntryError(f"invalid JSON ({_what(error)})")


def _what(error: Exception) -> str:
    """What the JSON decoder found, without its remarks on where."""
    what = error.msg if isinstance(error, json.JSONDecodeError) else str(error).split(":")[0]
    return what.removesuffix(" at").removesuffix(" starting")


def _too_long() -> EntryError:
    return EntryError(f"an entry longer than {LONGEST_ENTRY:,} characters; the rest of the file is left out")


class _ArrayReader:
    """Decodes a JSON array element by element over a sliding window of its text, which starts after the `[`."""

    def __init__(self, stream: io.TextIOBase, line: int) -> None:
        self.stream = stream
        self.line = line  # of the character at `position`
        self.window = ""
        self.position = 0

    def values(self) -> Iterator[tuple[int, object]]:
        """(line, value) of each element; an EntryError as the last one where the array's syntax breaks off."""
        try:
            closed = self._next_character() == "]"
            while not closed:
                line = self.line
                yield line, self._element()
                closed = self._delimiter() == "]"
            self._move_to(self.position + 1)
            if self._next_character():
                raise EntryError("invalid JSON (more text after the array's end)")
        except EntryError as error:
            yield self.line, error

    def _element(self) -> object:
        while True:
            try:
                value, end = DECODER.raw_decode(self.window, self.position)
                if end < len(self.window) or not self._slide():  # at the window's end a number may go on
                    break
            except json.JSONDecodeError as error:
                if not (self._cut_short(error) and self._slide()):
                    self._move_to(error.pos)
                    raise EntryError(f"invalid JSON ({_what(error)}); the rest of the file is left out") from None
            except (ValueError, RecursionError) as error:
                raise EntryError(f"invalid JSON ({_what(error)}); the rest of the file is left out") from None
        text = self.window[self.position : end]
        self._move_to(end)
        try:
            check_encoding(text)
        except EntryError as error:
            return error
        return value

    def _cut_short(self, error: json.JSONDecodeError) -> bool:
        """Whether the error may come of the window's end: a string that is not closed, or a word or escape cut."""
        return error.msg.startswith("Unterminated string") or error.pos > len(self.window) - 16

    def _delimiter(self) -> str:
        delimiter = self._next_character()
        if delimiter == ",":
            self._move_to(self.position + 1)
            self._next_character()
        elif delimiter != "]":
            found = f"found {delimiter!r}" if delimiter else "found the file's end"
            raise EntryError(f"invalid JSON (expected ',' or ']', {found}); the rest of the file is left out")
        return delimiter

    def _next_character(self) -> str:
        """Move past white space, to the next character, which is returned ("" at the end) and not consumed."""
        while True:
            space = WHITESPACE.match(self.window, self.position)
            assert space is not None
            self._move_to(space.end())
            if self.position < len(self.window):
                return self.window[self.position]
            if not self._slide():
                return ""

    def _move_to(self, position: int) -> None:
        self.line += self.window.count("\n", self.position, position)
        self.position = position

    def _slide(self) -> bool:
        """Drop what is done and read on; False, and nothing moves, at the file's end."""
        rest = self.window[self.position :]
        if len(rest) >= LONGEST_ENTRY:
            raise _too_long()
        more = self.stream.read(max(CHUNK, len(rest)))  # doubling keeps the cost of a long element linear
        if more:
            self.window, self.position = rest + more, 0
        return bool(more)


def _checked(value: object) -> Conversation | EntryError:
    try:
        return _conversation(value)
    except EntryError as error:
        return error


def _conversation(value: object) -> Conversation:
    if not isinstance(value, dict):
        raise EntryError(f"expected an object with messages, found {_json_name(value)}")
    if "messages" in value:
        messages = _messages(value["messages"], "messages", "role", "content", {role: role for role in ROLES})
    elif "conversations" in value:
        messages = _messages(value["conversations"], "conversations", "from", "value", SHAREGPT_ROLES)
    else:
        keys = ", ".join(map(repr, list(value)[:5])) or "none"
        raise EntryError(f"no messages; expected a list under 'messages' or 'conversations', found keys: {keys}")
    if not any(message.role == "assistant" for message in messages):
        raise EntryError("no assistant message; expected at least one to learn from")
    return Conversation(messages)


def _messages(
    values: object, list_key: str, role_key: str, content_key: str, roles: dict[str, str]
) -> tuple[Message, ...]:
    if not isinstance(values, list):
        raise EntryError(f"{list_key} is {_json_name(values)}; expected a list")
    if not values:
        raise EntryError("empty conversation; expected at least one message")
    messages = []
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise EntryError(f"message {number} is {_json_name(value)}; expected an object")
        role = _text(value, role_key, number)
        if role not in roles:
            raise EntryError(f"unknown role {role!r}; expected {_either(roles)}{suggestion(role, roles)}")
        content = _text(value, content_key, number)
        if not content.strip():
            raise EntryError(f"message {number} has empty {content_key}")
        messages.append(Message(roles[role], content))
    return tuple(messages)


def _text(message: dict[str, object], key: str, number: int) -> str:
    if key not in message:
        raise EntryError(f"message {number} has no {key}")
    text = message[key]
    if not isinstance(text, str):
        raise EntryError(f"message {number}: {key} is {_json_name(text)}; expected a string")
    if SURROGATE.search(text):  # JSON can spell half a character, "\ud83d", which no UTF-8 text can hold
        raise EntryError(f"message {number}: {key} has half a character (a lone surrogate); expected valid Unicode")
    return text


def _json_name(value: object) -> str:
    return JSON_NAMES.get(type(value), "a number")


def _either(names: Sequence[str] | dict[str, str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
