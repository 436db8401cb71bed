import gzip
import tracemalloc
from pathlib import Path

import pytest

from understudy.data.files import DataFile, DataFiles, Report, check_encoding, expand, open_text, usable
from understudy.errors import DataError, EntryError
from understudy.files import fingerprint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "a.txt", "chats.jsonl"):
        (tmp_path / name).write_text("x")
    (tmp_path / "sub.txt").mkdir()
    return tmp_path


def test_globs_and_names_are_expanded_once_each(folder: Path) -> None:
    assert [file.path for file in DataFiles.resolve(["b.txt", "*.txt"]).train] == [Path("b.txt"), Path("a.txt")]


def test_a_name_that_looks_like_a_glob_is_a_name(folder: Path) -> None:
    (folder / "a[1].txt").write_text("x")
    assert expand("a[1].txt") == [Path("a[1].txt")]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("chat.jsonl", "no such file: chat.jsonl; did you mean chats.jsonl?"),
        ("zzz", "no such file: zzz"),
        ("*.json", "no file matches *.json"),
        ("chat*.json", "no file matches chat*.json; did you mean chats.jsonl?"),
        ("sub*", "no file matches sub*"),
        ("none/a.txt", "no such file: none/a.txt; there is no folder none"),
        ("sub.txt", "sub.txt is a folder; expected a file or a glob; try 'sub.txt/*'"),
    ],
)
def test_what_names_no_file_is_said(folder: Path, path: str, problem: str) -> None:
    with pytest.raises(DataError) as error:
        expand(path)
    assert str(error.value).startswith(problem)


def test_no_paths_at_all(folder: Path) -> None:
    with pytest.raises(DataError, match="no data files given"):
        DataFiles.resolve([])


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_text_is_unpacked_by_content_and_kept_as_it_is(tmp_path: Path, mark: bytes, pack: type) -> None:
    path = tmp_path / "name.says.nothing"
    path.write_bytes(pack(mark + "a\r\nb\u2028é\n\ufeff".encode()))
    with open_text(path) as stream:
        assert list(stream) == ["a\r\n", "b\u2028é\n", "\ufeff"]


def test_damaged_gzip_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(range(256)) * 50)[:-20])
    with pytest.raises(DataError, match=r"a\.gz: damaged gzip data"), open_text(path) as stream:
        stream.read()
    path.write_bytes(b"\x1f\x8bnot really gzip")
    with pytest.raises(DataError, match=r"a\.gz: damaged gzip data"), open_text(path) as stream:
        stream.read()


def test_invalid_utf8_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntw\xe9o\n")
    with open_text(path) as stream:
        text = stream.read()
    with pytest.raises(EntryError, match="invalid UTF-8 \\(byte 0xe9 at column 3\\)") as error:
        check_encoding(text)
    assert error.value.lines_down == 1


def test_usable_counts_and_names() -> None:
    report = Report()
    entries = [(1, "a"), (2, EntryError("odd", lines_down=3)), (9, "b")]
    assert list(usable(Path("f"), entries, report, strict=False)) == ["a", "b"]
    assert (report.good, report.bad, report.problems) == (2, 1, ["f:5: odd"])


def test_strict_stops_at_the_first() -> None:
    stream = usable(Path("f"), [(1, "a"), (2, EntryError("odd"))], Report(), strict=True)
    assert next(stream) == "a"
    with pytest.raises(DataError, match=r"^f:2: odd$"):
        next(stream)


def test_nothing_usable_names_the_first_problem() -> None:
    with pytest.raises(DataError, match="nothing usable in f: f:2: odd"):
        list(usable(Path("f"), [(2, EntryError("odd")), (3, EntryError("even"))], Report(), strict=False))
    with pytest.raises(DataError, match="f is empty"):
        list(usable(Path("f"), [], Report(good=5), strict=False))


def test_the_report_keeps_the_first_twenty() -> None:
    report = Report(good=1234)
    for line in range(25):
        report.add_problem(f"f:{line}: odd")
    lines = report.summary().splitlines()
    assert lines[0] == "f:0: odd"
    assert lines[19:] == ["f:19: odd", "... and 5 more", "1,234 entries read, 25 left out as malformed"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ('{"messages": []}', "chats"),
        ('\ufeff\n {\n "id": 3,', "chats"),
        ('[{"a": 1}', "chats"),
        ('[\n  {\n"a": 1}', "chats"),
        ("[]", "chats"),
        ('nope\n{"a": 1}\n', "chats"),
        ("Call me Ishmael.", "text"),
        ("[Enter Hamlet]\nTo be {or not}", "text"),
        ("{curly} words", "text"),
        ('One\n{"a": 1}\ntwo\nthree', "text"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_kind_is_told_by_content(tmp_path: Path, content: str, kind: str, pack: type) -> None:
    (tmp_path / "file").write_bytes(pack(content.encode()))
    assert DataFile.inspect(tmp_path / "file").kind == kind


def test_kind_of_a_glob_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("words")
    (tmp_path / "b").write_text("more words")
    assert DataFiles.resolve([str(tmp_path / "*")]).kind == "text"
    (tmp_path / "c").write_text('{"messages": []}')
    with pytest.raises(DataError, match=r"mixes text \(.*a\) and chats \(.*c\)"):
        DataFiles.resolve([str(tmp_path / "*")])


def test_kind_of_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("\n")
    with pytest.raises(DataError, match="file is empty"):
        DataFile.inspect(tmp_path / "file")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_is_hashed_as_it_lies_there(tmp_path: Path, pack: type) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack(b'{"messages": []}\n' * 50_000))
    assert DataFile.inspect(path).fingerprint == fingerprint(path)


def test_memory_does_not_grow_with_an_inspected_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"A line.\n" * 2_000_000)
    tracemalloc.start()
    DataFile.inspect(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_kept_open_is_read_again_from_its_beginning(tmp_path: Path, pack: type) -> None:
    path = tmp_path / "file"
    path.write_bytes(pack(b"\xef\xbb\xbfone\ntwo\n"))
    files = DataFiles.resolve([str(path)])
    with files.kept_open():
        with files.text(path) as first:
            assert first.readline() == "one\n"
        with files.text(path) as second:
            assert second is first
            assert second.read() == "one\ntwo\n"
    assert first.closed
    with files.text(path) as third:
        assert third.read() == "one\ntwo\n"


def test_a_file_named_twice_is_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("words")
    files = DataFiles.resolve([str(path), str(tmp_path / "*")], [str(path)])
    assert files.train == files.valid == (DataFile.inspect(path),)
