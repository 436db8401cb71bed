import hashlib
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from understudy.files import fingerprint, is_temporary, locked, plain, whole, write_atomically, write_json


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_writing_replaces_the_whole_file(here: Path) -> None:
    for data in ("long " * 1000, "short", b"\x00\xff", "ünïcode"):
        write_atomically(here / "file", data)
        assert (here / "file").read_bytes() == (data if isinstance(data, bytes) else data.encode())
    assert os.listdir(here) == ["file"]


def test_a_reader_keeps_the_file_it_opened(here: Path) -> None:
    write_atomically(here / "file", "old")
    with open(here / "file") as reader:
        write_atomically(here / "file", "new and longer")
        assert reader.read() == "old"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(here: Path) -> None:
    write_atomically(here / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(here / "file", "new \udcff")
    with pytest.raises(TypeError):
        write_json(here / "file", {"value": object()})
    assert (here / "file").read_text() == "old"
    assert os.listdir(here) == ["file"]


def test_files_get_the_usual_permissions(here: Path) -> None:
    (here / "usual").write_text("")
    write_atomically(here / "file", "")
    assert (here / "file").stat().st_mode == (here / "usual").stat().st_mode


def make_folder(path: Path) -> None:
    with whole(path) as building:
        building.mkdir()
        assert is_temporary(building.name)


def test_a_failure_leaves_the_old_folder_and_nothing_else(here: Path) -> None:
    make_folder(here / "model")
    full = here / "full" / "file"
    full.parent.mkdir()
    full.touch()
    with pytest.raises(OSError, match="not empty"):
        make_folder(full.parent)
    assert sorted(os.listdir(here)) == ["full", "model"]
    assert not os.listdir(here / "model")
    assert full.exists()


@pytest.mark.parametrize("name", ["lock", "."])
def test_a_lock_is_held_by_one_at_a_time(name: str, here: Path) -> None:
    with locked(here / name) as first, locked(here / name, blocking=False) as second:
        assert (first, second) == (True, False)
    with locked(here / name, blocking=False) as third:
        assert third


def test_fingerprint_streams(here: Path) -> None:
    content = os.urandom(1 << 20) * 16 + b"end"
    (here / "file").write_bytes(content)
    tracemalloc.start()
    found = fingerprint("file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = hashlib.sha256(content).hexdigest()
    assert found == {"path": str(here / "file"), "bytes": len(content), "sha256": expected}
    assert peak < 4 << 20


def test_plain_takes_numbers_of_numpy() -> None:
    value = {"a": np.float32(0.5), "b": np.array([1, 2]), "c": np.float64("inf"), 3: np.bool_(True)}
    found = plain(value)
    assert found == {"a": 0.5, "b": [1, 2], "c": "inf", "3": True}
    assert [type(inner) for inner in found.values()] == [float, list, str, bool]
