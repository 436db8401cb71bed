"""A disk that fills up under a run, on a small file system of its own."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.errors import DiskFullError
from understudy.runs.disk import full_disk
from understudy.runs.find import list_runs
from understudy.runs.journal import Journal, read_lines, read_metrics
from understudy.runs.record import read_record
from understudy.runs.run import Run


@pytest.fixture
def small_disk(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of two megabytes, where runs go."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = here / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    monkeypatch.setenv("UNDERSTUDY_RUNS", str(disk / "runs"))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path, leave: int = 0) -> None:
    """Fills the disk but for `leave` bytes."""
    with open(disk / "filler", "ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
        os.truncate(disk / "filler", file.tell() - leave)


TRAINING = """
import sys
from understudy import cli
from understudy.runs.run import Run

def train(argv: list, console: object):
    with Run.create("pretrain", ["understudy"], {"width": 8}) as run:
        print(run.id, flush=True)
        run.finish(best=0.5)
        for step in range(100_000):
            run.log(step, loss=float(step), filler="x" * 500)
            print(step, flush=True)

sys.modules["understudy.fill"] = sys.modules["__main__"]
cli.VERBS["fill"] = cli.Verb("fill.train", "")
sys.exit(cli.main(["fill"]))
"""


def test_a_run_on_a_full_disk_ends_clearly_and_keeps_what_it_has(small_disk: Path, here: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True)
    run_id, *said = done.stdout.split()
    assert done.returncode == 2
    folder = small_disk / "runs" / run_id
    assert done.stderr == f"no room left on the disk of {folder}: free some there\n"
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["outcome"]) == ("failed", {"best": 0.5})
    assert record["error"] == done.stderr.strip()
    assert record["ended"]
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [int(step) for step in said]
    assert len(rows) > 50  # how many depends on what the code before them takes
    assert [(row["step"], row["loss"]) for row in rows] == [(step, float(step)) for step in range(len(rows))]
    assert "No space left on device" in (folder / "console.log").read_text()
    assert not list(folder.glob(".*"))


def test_the_list_and_the_marks_on_a_full_disk(small_disk: Path) -> None:
    from understudy.runs.record import change_marks

    with Run.create("pretrain", ["understudy"], {}) as run:
        run.log(0, loss=1.0)
    change_marks(run.folder, tags=("kept",))
    fill(small_disk)
    for _ in range(2):
        (record,) = list_runs()
        assert (record.status, record.metrics["loss"], record.marks.tags) == ("finished", 1.0, ("kept",))
    with pytest.raises(OSError, match="No space left"):
        change_marks(run.folder, bad="a long story " * 1000)
    assert read_record(run.folder).marks.tags == ("kept",)


def test_no_run_begins_on_a_full_disk(small_disk: Path) -> None:
    Run.create("pretrain", ["understudy"], {})
    fill(small_disk)
    with pytest.raises(DiskFullError, match=f"no room left on the disk of {small_disk}/runs: free some there"):
        Run.create("pretrain", ["understudy"], {})
    assert [
        path.name for path in (small_disk / "runs").iterdir() if path.is_dir() and not (path / "run.json").exists()
    ] in (
        [],
        [".code"],
    )


def test_a_run_that_begins_with_hardly_any_room(small_disk: Path) -> None:
    run = Run.create("pretrain", ["understudy"], {})
    fill(small_disk, leave=100 << 10)  # less than the reserve
    with pytest.raises(DiskFullError):
        train(run)
    assert read_record(run.folder).status == "failed"


def train(run: Run) -> None:
    with run:
        for step in range(10_000):
            run.log(step, loss=1.0, filler="x" * 500)


def test_a_long_record_is_still_written(small_disk: Path) -> None:
    run = Run.create("pretrain", ["understudy"], {"names": ["x" * 60] * 8000})  # half a megabyte
    with pytest.raises(DiskFullError):
        train(run)
    assert read_record(run.folder).status == "failed"


def test_another_disk_that_is_full(small_disk: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_RUNS", str(here / "runs"))
    fill(small_disk)
    run = Run.create("pretrain", ["understudy"], {})
    with pytest.raises(DiskFullError, match=r"no room left on a disk, though there is on that of .*/runs/"), run:
        (small_disk / "mine").write_bytes(b"x" * 100_000)
    assert read_record(run.folder).status == "failed"


def test_a_line_that_was_torn_does_not_swallow_the_next(small_disk: Path) -> None:
    journal = Journal(small_disk / "metrics.jsonl")
    journal.log(0, loss=1.0)
    fill(small_disk)
    torn = False
    for step in range(1, 100):
        try:
            journal.log(step, loss=1.0, filler="x" * 100)
        except OSError:
            torn = True
            break
    assert torn
    (small_disk / "filler").unlink()
    journal.log(1000, loss=2.0)
    assert [row["step"] for row in read_lines(small_disk / "metrics.jsonl")] == [*range(step), 1000]


def test_errors_of_libraries_that_write_by_themselves() -> None:
    from safetensors import SafetensorError

    error = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert "no room left on" in full_disk(error, Path.cwd())
    wrapped = RuntimeError("cannot save")
    wrapped.__cause__ = error
    assert "no room left on" in full_disk(wrapped, Path.cwd())
    assert full_disk(RuntimeError("no"), Path.cwd()) == ""
    assert full_disk(None, Path.cwd()) == ""


def test_a_checkpoint_that_does_not_fit(small_disk: Path) -> None:
    script = """
    import torch
    from safetensors.torch import save_file
    from understudy.runs.run import Run
    with Run.create("pretrain", ["understudy"], {}) as run:
        run.log(0, loss=1.0)
        save_file({"w": torch.zeros(2_000_000)}, run.folder / "model.safetensors")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert "DiskFullError: no room left on the disk of" in done.stderr
    (record,) = list_runs()
    assert (record.status, record.metrics["loss"]) == ("failed", 1.0)
