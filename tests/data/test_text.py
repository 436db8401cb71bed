import gzip
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.files import Report
from understudy.data.text import cut, read_documents
from understudy.errors import DataError


def read(tmp_path: Path, content: str | bytes, strict: bool = False) -> tuple[list[str], Report]:
    path = tmp_path / "book.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    report = Report()
    return list(read_documents([path], report, strict)), report


def test_separator_lines_part_documents(tmp_path: Path) -> None:
    content = (
        "one\n\nstill one\n<|endoftext|>\ntwo <|endoftext|>\n <|endoftext|>\n<|endoftext|>\r\n<|endoftext|>\nthree"
    )
    documents, report = read(tmp_path, content)
    assert documents == ["one\n\nstill one\n", "two <|endoftext|>\n <|endoftext|>\n", "three"]
    assert report.good == 3


def test_documents_between_separators_stay_whole(tmp_path: Path) -> None:
    long = "A line.\n\n" * 5000
    assert read(tmp_path, f"{long}<|endoftext|>\nshort")[0] == [long, "short"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_text_without_separators_is_cut_at_blank_lines(tmp_path: Path, newline: str) -> None:
    paragraph = (("A line of forty characters, more or less." + newline) * 20) + newline
    documents, _ = read(tmp_path, paragraph * 100)
    assert "".join(documents) == paragraph * 100
    assert all(10_000 <= len(document) < 11_000 for document in documents[:-1])
    assert all(document.endswith(newline * 2) for document in documents)


def test_text_without_blank_lines_is_cut_at_line_ends(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, "A line.\n" * 10_000)
    assert "".join(documents) == "A line.\n" * 10_000
    assert all(20_000 <= len(document) < 20_010 for document in documents[:-1])


def test_a_line_without_end_is_cut_hard(tmp_path: Path) -> None:
    documents, _ = read(tmp_path, "é" * 100_000)
    assert [len(document) for document in documents] == [40_000, 40_000, 20_000]


@given(text=st.text(alphabet="ab \n", max_size=80), section=st.integers(1, 10))
def test_sections_joined_are_the_text(text: str, section: int) -> None:
    lines = text.splitlines(keepends=True)
    sections = list(cut(lines, section))
    assert "".join(sections) == text
    assert all(len(piece) >= section for piece in sections[:-1])


def test_gzip_mark_and_globs(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfsecond")
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"first", mtime=0))
    assert list(read_documents(sorted(tmp_path.glob("*.txt")), Report())) == ["first", "second"]


def test_invalid_utf8_costs_its_document_and_is_named(tmp_path: Path) -> None:
    content = b"one\n<|endoftext|>\nfine\ncaf\xe9\n<|endoftext|>\nthree"
    documents, report = read(tmp_path, content)
    assert documents == ["one\n", "three"]
    assert report.problems == [f"{tmp_path}/book.txt:4: invalid UTF-8 (byte 0xe9 at column 4)"]
    with pytest.raises(DataError, match=r"book\.txt:4: invalid UTF-8"):
        read(tmp_path, content, strict=True)


def test_a_file_in_another_encoding_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing usable in .*book\.txt:1: invalid UTF-8 \(byte 0xfc"):
        read(tmp_path, "für\n".encode("latin-1"))


@pytest.mark.parametrize("content", ["", " \n\n", "<|endoftext|>\n<|endoftext|>\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_said(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(DataError, match=r"book\.txt is empty"):
        read(tmp_path, content)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(gzip.compress((b"A longer line." * 50 + b"\n") * 30_000, compresslevel=1))
    tracemalloc.start()
    characters = sum(map(len, read_documents([path], Report())))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert characters == 30_000 * 701
    assert peak < 2e6
