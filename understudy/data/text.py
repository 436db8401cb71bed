"""Plain text, cut into documents of a size that can be shuffled and held out."""

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from understudy.data.files import Report, check_encoding, expand, open_text, usable
from understudy.errors import DataError, EntryError

SEPARATOR = "<|endoftext|>"
SECTION = 10_000  # characters after which a text without separators is cut at the next blank line
LONGEST_LINE = 40_000  # characters after which a line is cut wherever it is
LONGEST_DOCUMENT = 1_000_000  # characters after which a document between separators is cut all the same
HEAD = 1 << 16  # characters that decide what a file holds


def read_documents(paths: Sequence[str | Path], report: Report, strict: bool = False) -> Iterator[str]:
    """Stream the documents of all files; one with invalid UTF-8 is left out and goes to the report by file and line.

    A file that has lines of exactly `<|endoftext|>` is cut there. Any other is cut into sections of about 10,000
    characters (see `cut`), which give the file's text again when joined. Documents of white space are passed over.

    Args:
        paths: text files or globs, plain or gzip.
        report: counts what was read and what was left out.
        strict: stop at the first problem instead.

    Raises:
        DataError: at once for a path that names no file; while reading for a file that is empty, unreadable or
            without one good document, and (strict) for the first problem.
    """
    files = expand(paths)
    return (text for file in files for text in usable(file, _entries(file), report, strict))


def kind_of(path: str | Path) -> str:
    """What a file, or each file of a glob, holds by its content: "chats" (a JSON array, or JSON lines) or "text".

    Raises:
        DataError: there is no such file, it is empty, or a glob's files are not all of one kind.
    """
    kinds = {file: _kind(file) for file in expand([path])}
    first, *others = kinds
    for other in others:
        if kinds[other] != kinds[first]:
            raise DataError(f"{path} mixes {kinds[first]} ({first}) and {kinds[other]} ({other}); expected one kind")
    return kinds[first]


def _kind(file: Path) -> str:
    with open_text(file) as stream:
        lines = [line.strip() for line in stream.read(HEAD).split("\n") if line.strip()]
    if not lines:
        raise DataError(f"{file} is empty; expected text or conversations")
    opening = "".join("".join(lines[:20]).split())[:2]
    is_array = opening.startswith("[") and opening[1:] in ("", "{", "[", '"', "]")
    # A malformed line among good ones, the first included, does not make the file a text.
    like_objects = sum(line.startswith("{") and line[1:].lstrip().startswith('"') for line in lines)
    return "chats" if is_array or opening == '{"' or 2 * like_objects >= len(lines) else "text"


def cut(lines: Iterable[str], section: int) -> Iterator[str]:
    r"""Join lines to sections that end, once `section` characters long, where a paragraph ends.

    Where no blank line comes, a section ends at the line end that takes it past twice that length. Lines keep their
    ends; nothing is lost or added.

    >>> list(cut(["one\n", "\n", "two\n", "\n", "\n", "three\n"], section=6))
    ['one\n\ntwo\n\n\n', 'three\n']
    """
    kept: list[str] = []
    length, after_blank = 0, False
    for line in lines:
        blank = line.isspace()
        if (length >= section and after_blank and not blank) or length >= 2 * section:
            yield "".join(kept)
            kept, length = [], 0
        kept.append(line)
        length += len(line)
        after_blank = blank
    if kept:
        yield "".join(kept)


def _entries(file: Path) -> Iterator[tuple[int, str | EntryError]]:
    with open_text(file) as stream:
        section = LONGEST_DOCUMENT if any(map(_is_separator, _lines(stream))) else SECTION
    line = 1
    with open_text(file) as stream:
        for is_separator, run in groupby(_lines(stream), key=_is_separator):
            for text in run if is_separator else cut(run, section):
                if not is_separator and not text.isspace():
                    yield line, _checked(text)
                line += text.count("\n")


def _lines(stream: io.TextIOBase) -> Iterator[str]:
    return iter(lambda: stream.readline(LONGEST_LINE), "")


def _is_separator(line: str) -> bool:
    return line.rstrip("\r\n") == SEPARATOR


def _checked(text: str) -> str | EntryError:
    try:
        check_encoding(text)
        return text
    except EntryError as error:
        return error
