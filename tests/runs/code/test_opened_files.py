"""Real programs that read files of all kinds: what of it stands in the record."""

import hashlib
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from understudy.runs.code.kept import open_code
from understudy.runs.journal import read_lines
from understudy.runs.record import read_record
from understudy.runs.run import Run

KEY = "AK" + "IA" + "IOSFODNN7EXAMPLE"


def program(folder: Path, text: str, **files: str) -> Path:
    """Runs `train.py` with this text in the folder; returns the folder of the run that it created."""
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    (folder / "train.py").write_text(textwrap.dedent(text))
    done = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return max((folder / "runs").glob("2*"))


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    return {entry["path"]: entry for entry in read_lines(folder / "code" / "read.jsonl")}


def test_what_git_ignores_and_what_lies_outside_comes_along_when_it_is_read(repository: Path) -> None:
    (repository / ".gitignore").write_text("local*\nruns\n")
    (repository / "local_unused.py").write_text("unused = 1\n")
    (repository / "local.json").write_text('{"rate": 0.1}')
    outside = repository.parent / "elsewhere"
    outside.mkdir()
    (outside / "shared_helper.py").write_text("factor = 3\n")
    folder = program(
        repository,
        """
        import json, sys
        sys.path.insert(0, "../elsewhere")
        import kept, local_early, shared_helper
        from understudy.runs.run import Run
        with Run.create("train", sys.argv, {}) as run:
            run.update(config=json.load(open("local.json")))
            import local_late
            open("local_output.txt", "w").write("written, not read")
        """,
        local_early="early = 1\n",
        local_late="late = 1\n",
    )
    found = entries(folder)
    assert {name: entry["why"] for name, entry in found.items()} == {
        "local_early.py": "not in the snapshot",
        str(outside / "shared_helper.py"): "outside the repository",
        "local.json": "not in the snapshot",
        "local_late.py": "not in the snapshot",
    }
    (repository / "local_early.py").write_text("early = 2\n")
    with open_code(folder) as code:
        assert code.read("local_early.py") == b"early = 1\n"
        assert code.read(str(outside / "shared_helper.py")) == b"factor = 3\n"
        assert code.read("kept.py") == b"kept = 1\n"


def test_a_program_without_a_run_is_not_watched(here: Path) -> None:
    program = "import understudy.runs.run; from understudy.runs.code import opened_files; print(opened_files._opened)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "{}\n"


def test_a_second_start_reads_compiled_files_and_records_the_sources(repository: Path) -> None:
    (repository / ".gitignore").write_text("local*\nruns\n__pycache__\n")
    text = """
        import sys
        import local
        from understudy.runs.run import Run
        with Run.create("train", sys.argv, {}) as run:
            pass
        """
    for _ in range(2):
        folder = program(repository, text, local="value = 1\n")
    assert list(entries(folder)) == ["local.py"]


def test_large_files_are_hashed(repository: Path) -> None:
    content = os.urandom(1_000_001)
    (repository / "big.ignored").write_bytes(content)
    folder = program(
        repository,
        """
        import sys
        from understudy.runs.run import Run
        with Run.create("train", sys.argv, {}) as run:
            open("big.ignored", "rb").read()
        """,
    )
    entry = entries(folder)["big.ignored"]
    assert (entry["bytes"], entry["id"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert "kept" not in entry
    with open_code(folder) as code, pytest.raises(KeyError):
        code.read("big.ignored")


def test_secrets_in_what_is_read_stay_out(repository: Path) -> None:
    (repository / ".gitignore").write_text(".env\n*.ignored\nruns\n")
    (repository / ".env").write_text(f"KEY={KEY}\n")
    (repository / "config.ignored").write_text(f"rate = 1\nkey = {KEY}\n")
    folder = program(
        repository,
        f"""
        import sys
        from understudy.runs.run import Run
        with Run.create("train", [*sys.argv, "--key={KEY[:4]}" "{KEY[4:]}"], {{"key": open(".env").read()}}) as run:
            open("config.ignored").read()
            run.say(open(".env").read())
        """,
    )
    found = entries(folder)
    assert found[".env"]["id"] == "not recorded"
    assert found[".env"]["left_out"] == "its name says that it holds secrets"
    assert found["config.ignored"]["left_out"] == "redacted: AWS key on line 2"
    everything = b"".join(path.read_bytes() for path in (repository / "runs").rglob("*") if path.is_file())
    assert KEY.encode() not in everything
    assert read_record(folder).data["argv"] == ["train.py", "--key=***"]


def test_a_module_changed_between_the_snapshot_and_its_import(repository: Path) -> None:
    folder = program(
        repository,
        """
        import sys, time
        from understudy.runs.run import Run
        with Run.create("train", sys.argv, {}) as run:
            time.sleep(0.02)
            open("edited.py", "w").write("between = 1\\n")
            time.sleep(0.02)
            import edited, kept
            assert edited.between
            time.sleep(0.02)
            open("kept.py", "w").write("later = 1\\n")
        """,
    )
    assert {name: entry["why"] for name, entry in entries(folder).items()} == {
        "edited.py": "changed between the snapshot and the moment it was read"
    }
    with open_code(folder) as code:
        assert code.read("edited.py") == b"between = 1\n"
        assert code.read("kept.py") == b"kept = 1\n"


def test_data_that_is_recorded_as_data_is_not_kept_twice(repository: Path) -> None:
    (repository / "data.ignored").write_text("much data")
    folder = program(
        repository,
        """
        import sys
        from understudy.runs.run import Run
        with Run.create("train", sys.argv, {}) as run:
            run.add_data("data.ignored")
            open("data.ignored").read()
        """,
    )
    assert entries(folder) == {}


def test_what_is_noted_while_a_run_goes_on_survives_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.runs.process.BEAT_SECONDS", 0.05)
    (here / "notes.txt").write_text("read")
    with Run.create("train", ["x"], {}) as run:
        Path("notes.txt").read_text()
        deadline = time.monotonic() + 600
        while "notes.txt" not in entries(run.folder):
            assert time.monotonic() < deadline
            time.sleep(0.02)
