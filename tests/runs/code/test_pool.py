from pathlib import Path

import pytest

from understudy.runs.code.snapshot import keep_in_pool


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "pool").mkdir()
    return tmp_path / "pool"


def test_one_file_for_all(pool: Path, tmp_path: Path) -> None:
    made = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("content")

    for name in "ab":
        keep_in_pool(pool, "content", tmp_path / name, make)
    assert len(made) == 1
    assert (tmp_path / "a").stat().st_ino == (tmp_path / "b").stat().st_ino


def test_nothing_is_left_of_what_could_not_be_made(pool: Path, tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        keep_in_pool(pool, "content", tmp_path / "a", fail)
    assert list((pool).iterdir()) == []


def test_a_file_that_is_cleaned_away_meanwhile_is_made_again(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pool / "content").write_text("content")
    link = __import__("os").link

    def clean_then_link(source: Path, target: Path) -> None:
        monkeypatch.setattr("os.link", link)
        Path(source).unlink()
        link(source, target)

    monkeypatch.setattr("os.link", clean_then_link)
    keep_in_pool(pool, "content", tmp_path / "a", lambda path: path.write_text("made again") and None)
    assert (tmp_path / "a").read_text() == "made again"


def test_where_there_are_no_hard_links(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr("os.link", refuse)
    keep_in_pool(pool, "content", tmp_path / "a", lambda path: path.write_text("content") and None)
    assert (tmp_path / "a").read_text() == "content"
