from pathlib import Path

import pytest

from understudy.lab.code import sources
from understudy.lab.code.sources import copy_sources


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def found(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_sources_and_nothing_else(here: Path, tmp_path: Path) -> None:
    kept = ["Makefile", "a b.toml", "main.py", "sub/deep/x.yaml", "sub/run.sh"]
    other = ["data.csv", ".hidden/a.py", "env/pyvenv.cfg", "env/b.py", "runs/c.py", "x/site-packages/d.py"]
    other += ["node_modules/e.json", "mine/f.py"]
    fill(here, kept + other)
    (here / "loop").symlink_to(here)
    (here / "gone.py").symlink_to("nowhere")
    record = copy_sources(here, tmp_path / "copy", exclude=[here / "mine"])
    assert found(tmp_path / "copy") == kept
    assert record == {"files": 5, "left_out": []}
    assert (tmp_path / "copy" / "a b.toml").read_text() == "a b.toml"


def test_large_files_are_named(here: Path, tmp_path: Path) -> None:
    (here / "large.json").write_bytes(b" " * 1_000_001)
    fill(here, ["small.py"])
    record = copy_sources(here, tmp_path / "copy")
    assert found(tmp_path / "copy") == ["small.py"]
    assert record["left_out"] == [{"path": "large.json", "bytes": 1_000_001, "reason": "above 1 MB"}]


def test_a_full_copy_names_the_rest(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_COPY", 9)
    fill(here, ["a.py", "b.py", "c.py"])
    record = copy_sources(here, tmp_path / "copy")
    assert found(tmp_path / "copy") == ["a.py", "b.py"]
    assert [entry["path"] for entry in record["left_out"]] == ["c.py"]


def test_a_huge_folder_is_not_walked_to_its_end(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_ENTRIES", 4)
    fill(here, ["a.py", "b.py", "sub/c.py", "sub/d.py"])
    record = copy_sources(here, tmp_path / "copy")
    assert found(tmp_path / "copy") == ["a.py", "b.py"]
    assert "not looked at" in record["left_out"][0]["reason"]
