from pathlib import Path

import pytest

import understudy
from understudy.runs.code import sources
from understudy.runs.code.sources import read_sources


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_sources_and_nothing_else(here: Path) -> None:
    kept = ["Makefile", "a b.toml", "main.py", "package/runs/__init__.py", "sub/deep/x.yaml", "sub/run.sh"]
    other = ["data.csv", ".hidden/a.py", "env/pyvenv.cfg", "env/b.py", "runs/c.py", "x/site-packages/d.py"]
    other += ["node_modules/e.json", "mine/f.py"]
    fill(here, kept + other)
    (here / "loop").symlink_to(here)
    (here / "gone.py").symlink_to("nowhere")
    read = read_sources(here, exclude=[here / "mine"])
    assert sorted(read.files) == kept
    assert read.left_out == []
    assert read.files["a b.toml"] == b"a b.toml"


def test_large_files_are_named(here: Path) -> None:
    (here / "large.json").write_bytes(b" " * 1_000_001)
    fill(here, ["small.py"])
    read = read_sources(here)
    assert list(read.files) == ["small.py"]
    assert read.left_out == [{"path": "large.json", "bytes": 1_000_001, "reason": "above 1 MB"}]


def test_a_full_copy_names_the_rest(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST_TOTAL", 9)
    fill(here, ["a.py", "b.py", "c.py"])
    read = read_sources(here)
    assert list(read.files) == ["a.py", "b.py"]
    assert [entry["path"] for entry in read.left_out] == ["c.py"]


def test_a_huge_folder_is_not_walked_to_its_end(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_ENTRIES", 4)
    fill(here, ["a.py", "b.py", "sub/c.py", "sub/d.py"])
    read = read_sources(here)
    assert list(read.files) == ["a.py", "b.py"]
    assert "not looked at" in read.left_out[0]["reason"]


def test_every_kind_of_file_in_this_package_is_a_source() -> None:
    """Templates and data files too: where the package is installed, a run keeps it this way."""
    package = Path(understudy.__file__).parent
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {str(path) for path in files if path.suffix not in sources.SUFFIXES} == set()
