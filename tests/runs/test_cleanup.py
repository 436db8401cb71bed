import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.runs import cleanup
from understudy.runs.cleanup import Plan, apply, plan
from understudy.runs.disk import freed, usage
from understudy.runs.find import list_runs
from understudy.runs.process import process_start, this_process
from understudy.runs.record import change_marks
from understudy.runs.run import Run

RUNS = Path("runs")
LONG_AGO = 1_700_000_000


def make(number: int, **record: Any) -> str:
    """A finished run, the later the higher its number; its id."""
    name = f"20261123-14{number:02d}-brave-otter"
    folder = RUNS / name
    folder.mkdir(parents=True)
    record = {"verb": "pretrain", "status": "finished", "created": f"2026-11-23T14:{number:02d}:00+00:00"} | record
    (folder / "run.json").write_text(json.dumps(record))
    return name


def checkpoint(run: str, step: int, size: int = 10_000) -> Path:
    folder = RUNS / run / "checkpoints" / f"step-{step:06d}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(size))
    (folder / "state.json").write_text("{}")
    return folder


def planned(*chosen: str, checkpoints: bool = False) -> Plan:
    records = list_runs()
    return plan(RUNS.absolute(), records, [record for record in records if record.id in chosen], checkpoints)


def reasons(found: Plan) -> dict[str, str]:
    return found.stay


def going(found: Plan) -> list[str]:
    return [record.id for record in found.runs]


def deleted(found: Plan) -> list[str]:
    return list(apply(found))


def test_what_is_not_needed_is_deleted_and_nothing_else(here: Path) -> None:
    first, second, third = make(0), make(1), make(2)
    before = sorted(RUNS.rglob("*"))
    found = planned(first, third)
    assert (going(found), reasons(found)) == ([first, third], {})
    assert sorted(RUNS.rglob("*")) == before  # a plan only
    assert deleted(found) == []
    assert [record.id for record in list_runs()] == [second]
    assert {path.name for path in RUNS.iterdir()} == {second}


def test_a_pinned_run_and_all_that_it_builds_on_stay(here: Path) -> None:
    base = make(0)
    middle = make(1, parents=[base])
    leaf = make(2, parents=[middle, "20200101-0000-gone-otter"])
    other = make(3, parents=[base])
    change_marks(RUNS / leaf, pinned=True)
    found = planned(base, middle, leaf, other)
    assert going(found) == [other]
    assert reasons(found) == {
        leaf: "it is pinned",
        middle: f"{leaf} builds on it",
        base: f"{middle} builds on it",
    }
    deleted(found)
    assert [record.id for record in list_runs()] == [base, middle, leaf]


def test_a_parent_goes_only_with_all_that_build_on_it(here: Path) -> None:
    base = make(0)
    one, two = make(1, parents=[base]), make(2, parents=[base])
    assert reasons(planned(base, one)) == {base: f"{two} builds on it"}
    assert going(planned(base, one, two)) == [base, one, two]
    assert going(planned(one)) == [one]


def test_runs_that_build_on_each_other_or_themselves(here: Path) -> None:
    one, two = "20261123-1400-brave-otter", "20261123-1401-brave-otter"
    make(0, parents=[one, two])
    make(1, parents=[one])
    assert going(planned(one, two)) == [one, two]
    change_marks(RUNS / two, pinned=True)
    assert reasons(planned(one, two)) == {two: "it is pinned", one: f"{two} builds on it"}


def running(**more: Any) -> tuple[str, subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mine = this_process() | {"pid": process.pid, "process_start": process_start(process.pid)}
    return make(0, status="running", **mine, **more), process


def test_a_running_run_stays_until_it_has_ended(here: Path) -> None:
    run, process = running()
    assert reasons(planned(run)) == {run: "it is running"}
    process.kill()
    process.wait()
    assert going(planned(run)) == [run]


def test_changes_after_the_plan_count(here: Path) -> None:
    pinned, resumed, gone = make(1), make(2), make(3)
    found = planned(pinned, resumed, gone)
    assert len(going(found)) == 3
    change_marks(RUNS / pinned, pinned=True)
    record = json.loads((RUNS / resumed / "run.json").read_text()) | this_process() | {"status": "running"}
    (RUNS / resumed / "run.json").write_text(json.dumps(record))
    shutil.rmtree(RUNS / gone)
    assert deleted(found) == [f"{pinned} stays: it is pinned", f"{resumed} stays: it is running"]
    assert [record.id for record in list_runs()] == [pinned, resumed]


def test_old_checkpoints_go_but_never_the_last(here: Path) -> None:
    plain, pinned, base, single = make(1), make(2), make(3), make(4)
    make(5, parents=[base])
    change_marks(RUNS / pinned, pinned=True)
    for run in (plain, pinned, base):
        for step in (1, 2, 1_000_000):
            checkpoint(run, step)
    checkpoint(single, 1)
    assert planned().checkpoints == []
    found = planned(checkpoints=True)
    assert [(path.parent.parent.name, path.name) for path in found.checkpoints] == [
        (plain, "step-000001"),
        (plain, "step-000002"),
    ]
    deleted(found)
    assert [path.name for path in (RUNS / plain / "checkpoints").iterdir()] == ["step-1000000"]
    assert len(list((RUNS / pinned / "checkpoints").iterdir())) == 3


def old(path: Path, seconds: float = LONG_AGO) -> Path:
    for inner in (*path.rglob("*"), path):
        os.utime(inner, (seconds, seconds))
    return path


def folder_with_a_file(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "file").write_text("x")
    return path


def test_leftovers_go_when_they_are_old(here: Path) -> None:
    run = make(0)
    checkpoint(run, 1)
    kept = [
        folder_with_a_file(RUNS / ".import-1234.tmp"),
        folder_with_a_file(RUNS / "cache" / ".abcd-12"),
        folder_with_a_file(RUNS / run / "checkpoints" / ".step-000002"),
        old(folder_with_a_file(RUNS / "cache" / "used"), time.time() - 86_400),
        old(folder_with_a_file(RUNS / "other")),
    ]
    gone = {
        old(folder_with_a_file(RUNS / ".import-5678.tmp")): "half written",
        old(folder_with_a_file(RUNS / "cache" / ".efgh-12")): "half written",
        old(folder_with_a_file(RUNS / "cache" / "unused")): "tokenized data that has not been read for 30 days",
        old(folder_with_a_file(RUNS / run / "checkpoints" / ".step-000003")): "half written",
        old(folder_with_a_file(RUNS / ".reruns" / run)): "a tree in which a run was run again",
        RUNS / "index.sqlite": "an index of runs that only earlier versions used",
    }
    (RUNS / "index.sqlite").write_text("")
    half = RUNS / run / ".run.json.abc.tmp"
    half.write_text("{")
    gone[old(half)] = "half written"
    empty = RUNS / "20261123-1159-calm-heron"
    empty.mkdir()
    gone[old(empty)] = "a run that never began"
    (RUNS / "20261123-1158-calm-heron").mkdir()
    found = planned()
    assert found.leftovers == {path.absolute(): reason for path, reason in gone.items()}
    deleted(found)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
    assert (RUNS / "20261123-1158-calm-heron").exists()


def test_the_cache_and_the_files_of_a_running_run_are_left_alone(here: Path) -> None:
    run, process = running()
    old(folder_with_a_file(RUNS / "cache" / "unused"))
    old(folder_with_a_file(RUNS / run / "checkpoints" / ".step-000003"))
    assert planned().leftovers == {}
    process.kill()
    process.wait()
    assert len(planned().leftovers) == 2


def link_code(run: str, name: str, target: str) -> None:
    (RUNS / run / "code").mkdir(exist_ok=True)
    os.link(RUNS / ".code" / name, RUNS / run / "code" / target)


def test_code_goes_with_the_last_run_that_has_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = make(1), make(2)
    (RUNS / ".code").mkdir()
    for name in ("both", "one", "orphan"):
        (RUNS / ".code" / name).write_bytes(os.urandom(100_000))
    link_code(one, "both", "base.bundle")
    link_code(two, "both", "base.bundle")
    link_code(one, "one", "edits.bundle")
    link_code(one, "one", "again.bundle")
    names = lambda found: sorted(path.name for path in found.leftovers)  # noqa: E731
    assert names(planned()) == []
    assert names(planned(one)) == ["one"]
    assert names(planned(one, two)) == ["both", "one"]
    assert 100_000 <= freed(planned(one).paths()) < 130_000
    assert 200_000 <= freed(planned(one, two).paths()) < 230_000
    deleted(planned(one))
    assert sorted(os.listdir(RUNS / ".code")) == ["both", "orphan"]
    monkeypatch.setattr(cleanup, "LEFTOVER_SECONDS", -1)  # the time of a link cannot be set back
    assert names(planned()) == ["orphan"]
    assert (RUNS / two / "code" / "base.bundle").stat().st_size == 100_000


def test_the_commits_of_deleted_runs_are_let_go(repository: Path, git: Callable[..., str]) -> None:
    with Run.create("pretrain", ["understudy"], {}) as first:
        pass
    with Run.create("pretrain", ["understudy"], {}) as second:
        pass
    with Run.create("pretrain", ["understudy"], {}) as moved:
        pass
    refs = lambda: git("for-each-ref", "--format=%(refname)", "refs/runs").split()  # noqa: E731
    assert refs() == sorted(f"refs/runs/{run.id}" for run in (first, second, moved))
    git("update-ref", f"refs/runs/{moved.id}", "HEAD")  # put to another use
    assert git("rev-parse", f"refs/runs/{moved.id}").strip() != moved.record["code"]["snapshot"]
    deleted(planned(first.id, moved.id))
    assert refs() == sorted((f"refs/runs/{second.id}", f"refs/runs/{moved.id}"))
    shutil.rmtree(repository / ".git")
    assert deleted(planned(second.id)) == []
    assert list_runs() == []


def test_what_runs_take_is_what_du_says(here: Path) -> None:
    with Run.create("pretrain", ["understudy"], {}) as run:
        run.log(1, loss=1.0)
    one, two = make(1), make(2)
    checkpoint(one, 1, 500_000)
    (RUNS / ".code").mkdir(exist_ok=True)
    (RUNS / ".code" / "both").write_bytes(os.urandom(300_000))
    link_code(one, "both", "base.bundle")
    link_code(two, "both", "base.bundle")
    folder_with_a_file(RUNS / "cache" / "tokens")
    list_runs()
    (RUNS / "link").symlink_to("/usr")
    found, beside = usage(RUNS)
    du = int(subprocess.run(["du", "-s", "--block-size=1", "runs"], capture_output=True, text=True).stdout.split()[0])
    assert beside.total() + sum(kinds.total() for kinds in found.values()) == du
    assert set(found) == {run.id, one, two}
    assert 500_000 <= found[one]["checkpoints"] < 530_000
    assert found[one]["code"] < 10_000  # a folder: the code itself counts once, beside the runs
    assert beside["code that runs share"] >= 300_000
    assert beside["tokenized data (cache)"] > 0
    assert found[run.id]["journals"] > 0
