"""Conversations, as people wrote them, from the two formats in common use, told apart by their content.

The messages form, one object per line (JSONL) or one JSON array of them; further keys are ignored:
    {"messages": [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]}
The ShareGPT form, likewise:
    {"conversations": [{"from": "human", "value": "Hi!"}, {"from": "gpt", "value": "Hello."}]}
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from understudy.data.files import Opener, Report, check_encoding, open_text, usable
from understudy.data.json_stream import JsonReader, what_is_wrong
from understudy.errors import BrokenJsonError, EntryError, suggestion

ROLES = ("system", "user", "assistant")
SHAREGPT_ROLES = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}

LONGEST_ENTRY = 1 << 26  # characters; anything longer is not a conversation but a file of some other kind
SURROGATE = re.compile(r"[\ud800-\udfff]")
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
    # The first character that is not white space tells an array from lines.
    line = 1
    while (first := stream.read(1)).isspace():
        line += first == "\n"
    values = _array_values(stream, line) if first == "[" else _line_values(stream, first, line)
    for line, value, text in values:
        try:
            check_encoding(text)
            if isinstance(value, EntryError):
                raise value
            yield line, Conversation(_messages(value), source=f"{path}:{line}")
        except EntryError as error:
            yield line, error


def _array_values(stream: io.TextIOBase, line: int) -> Iterator[tuple[int, object, str]]:
    """Yield the line, the value and the text of each element of an array whose "[" was read."""
    reader = JsonReader(stream, "[", line, strict=True, longest=LONGEST_ENTRY)
    try:
        for _ in reader.elements():
            reader.peek()
            line = reader.line
            yield line, *reader.value_and_text()
        if reader.peek():
            yield reader.line, EntryError("invalid JSON (more text after the array's end)"), ""
    except BrokenJsonError as error:
        yield error.line, EntryError(f"invalid JSON ({error.problem}); the rest of the file is left out"), ""


def _line_values(stream: io.TextIOBase, first: str, line: int) -> Iterator[tuple[int, object, str]]:
    """Yield the number, the value and the text of each line that is not blank; `first` was read before."""
    text = first + stream.readline(LONGEST_ENTRY)
    while text:
        if len(text) >= LONGEST_ENTRY:
            problem = f"an entry longer than {LONGEST_ENTRY:,} characters; the rest of the file is left out"
            yield line, EntryError(problem), ""
            return
        if not text.isspace():
            value: object
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                value = EntryError(f"invalid JSON ({what_is_wrong(error)}{column})")
            yield line, value, text
        text = stream.readline(LONGEST_ENTRY)
        line += 1


def _messages(value: object) -> tuple[Message, ...]:
    """Return the messages of an entry; raise EntryError where it is not a conversation to learn from."""
    if not isinstance(value, dict):
        raise EntryError(f"expected an object with messages, found {_json_name(value)}")
    if "messages" in value:
        list_key, role_key, content_key, roles = "messages", "role", "content", {role: role for role in ROLES}
    elif "conversations" in value:
        list_key, role_key, content_key, roles = "conversations", "from", "value", SHAREGPT_ROLES
    else:
        keys = ", ".join(map(repr, list(value)[:5])) or "none"
        raise EntryError(f"no messages; expected a list under 'messages' or 'conversations', found keys: {keys}")
    entries = value[list_key]
    if not isinstance(entries, list):
        raise EntryError(f"{list_key} is {_json_name(entries)}; expected a list")
    if not entries:
        raise EntryError("empty conversation; expected at least one message")
    messages = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise EntryError(f"message {number} is {_json_name(entry)}; expected an object")
        role = _text(entry, role_key, number)
        if role not in roles:
            *others, last = roles
            expected = f"{', '.join(others)} or {last}"
            raise EntryError(f"unknown role {role!r}; expected {expected}{suggestion(role, roles)}")
        content = _text(entry, content_key, number)
        if not content.strip():
            raise EntryError(f"message {number} has empty {content_key}")
        messages.append(Message(roles[role], content))
    if not any(message.role == "assistant" for message in messages):
        raise EntryError("no assistant message; expected at least one to learn from")
    return tuple(messages)


def _text(message: dict[str, object], key: str, number: int) -> str:
    if key not in message:
        raise EntryError(f"message {number} has no {key}")
    text = message[key]
    if not isinstance(text, str):
        raise EntryError(f"message {number}: {key} is {_json_name(text)}; expected a string")
    # JSON can spell half a character, "\ud83d", which UTF-8 cannot hold.
    if SURROGATE.search(text):
        raise EntryError(f"message {number}: {key} has half a character (a lone surrogate); expected valid Unicode")
    return text


def _json_name(value: object) -> str:
    return JSON_NAMES.get(type(value), "a number")
