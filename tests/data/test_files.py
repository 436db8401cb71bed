import gzip
from pathlib import Path

import pytest

from understudy.data.files import Report, check_encoding, expand, open_text, usable
from understudy.errors import DataError, EntryError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "a.txt", "chats.jsonl"):
        (tmp_path / name).write_text("x")
    (tmp_path / "sub.txt").mkdir()
    return tmp_path


def test_globs_and_names_are_expanded_once_each(folder: Path) -> None:
    assert expand(["b.txt", "*.txt"]) == [Path("b.txt"), Path("a.txt")]
    assert expand("a.txt") == [Path("a.txt")]


def test_a_name_that_looks_like_a_glob_is_a_name(folder: Path) -> None:
    (folder / "a[1].txt").write_text("x")
    assert expand(["a[1].txt"]) == [Path("a[1].txt")]


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
        expand([path])
    assert str(error.value).startswith(problem)


def test_no_paths_at_all(folder: Path) -> None:
    with pytest.raises(DataError, match="no data files given"):
        expand([])


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
