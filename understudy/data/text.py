"""Plain text, cut into documents of a size that can be shuffled and held out."""

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from understudy.data.files import Opener, Report, check_encoding, open_text, usable
from understudy.errors import EntryError

SEPARATOR = "<|endoftext|>"
SECTION = 10_000  # characters after which a text without separators is cut at the next blank line
LONGEST_LINE = 40_000  # characters after which a line is cut wherever it is
LONGEST_DOCUMENT = 1_000_000  # characters after which a document between separators is cut all the same


def read_documents(
    paths: Sequence[Path], report: Report, strict: bool = False, opener: Opener = open_text
) -> Iterator[str]:
    """Stream the documents of all files; those with invalid UTF-8 are left out and reported by file and line.

    A file with lines of exactly `<|endoftext|>` is cut there. Any other is cut into sections of about 10,000 characters
    (see `cut`), which make up the file's text when joined. Documents of white space are skipped.

    Args:
        paths: text files, plain or gzip.
        report: counts what was read and what was left out.
        strict: stop at the first problem instead.
        opener: opens a file as text.

    Raises:
        DataError: a file is empty, unreadable or without one good document, or (strict) there is any problem.
    """
    for path in paths:
        with opener(path) as stream:
            yield from usable(path, _entries(stream), report, strict)


def cut(lines: Iterable[str], section: int) -> Iterator[str]:
    r"""Join lines to sections that end where a paragraph ends, once they are `section` characters long.

    If no blank line comes, a section ends with the line that takes it past twice that length. Lines keep their ends;
    nothing is lost or added.

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


def _entries(stream: io.TextIOWrapper) -> Iterator[tuple[int, str | EntryError]]:
    # Only the whole file can tell whether there are separators, so it is read twice.
    start = stream.tell()
    section = LONGEST_DOCUMENT if any(map(_is_separator, _lines(stream))) else SECTION
    stream.seek(start)
    line = 1
    for is_separator, run in groupby(_lines(stream), key=_is_separator):
        for text in run if is_separator else cut(run, section):
            if not is_separator and not text.isspace():
                try:
                    check_encoding(text)
                    yield line, text
                except EntryError as error:
                    yield line, error
            line += text.count("\n")


def _lines(stream: io.TextIOBase) -> Iterator[str]:
    return iter(lambda: stream.readline(LONGEST_LINE), "")


def _is_separator(line: str) -> bool:
    return line.rstrip("\r\n") == SEPARATOR
