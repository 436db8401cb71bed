import json
import os
import re
import subprocess
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from understudy.errors import RunNotFoundError, UserError
from understudy.runs import find
from understudy.runs.find import SLOT, claim_folder, find_run, latest_runs, list_runs, run_id, runs_folder
from understudy.runs.listing import print_runs
from understudy.runs.record import read_record

OTTER, OTTER_LATER, NEWT, HERON = (
    "20261123-1412-brave-otter",
    "20261130-0900-brave-otter",
    "20261124-0900-bright-newt",
    "20261125-1000-calm-heron",
)


def make(folder: Path, name: str, verb: str = "pretrain", **record: Any) -> Path:
    run = folder / name
    run.mkdir(parents=True)
    day, clock = name.split("-")[:2]
    created = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:]}:00+00:00"
    (run / "run.json").write_text(json.dumps({"verb": verb, "status": "finished", "created": created, **record}))
    return run


@pytest.fixture
def runs(here: Path) -> Path:
    """Three runs, and things that are none."""
    make(here / "runs", NEWT, "finetune")
    make(here / "runs", OTTER)
    make(here / "runs", HERON, "clone", status="failed")
    (here / "runs" / "no-run").mkdir()
    (here / "runs" / "file").write_text("")
    return here / "runs"


def test_runs_come_oldest_first_by_the_clock_not_the_name(runs: Path) -> None:
    # Clocks go back in autumn: a later run may have an earlier name.
    make(runs, "20261123-1000-tidy-wren", created="2026-11-23T10:00:00-08:00")
    assert [record.id for record in list_runs()] == [OTTER, "20261123-1000-tidy-wren", NEWT, HERON]
    assert [record.verb for record in list_runs(runs)] == ["pretrain", "pretrain", "finetune", "clone"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"status": "running"}', '{"created": 5, "outcome": null}'])
def test_broken_runs_do_not_hide_the_others(content: str, runs: Path) -> None:
    (runs / "broken").mkdir()
    (runs / "broken" / "run.json").write_text(content)
    found = {record.id: record.status for record in list_runs()}
    assert len(found) == 4
    assert found["broken"] in ("broken", "dead")


def test_the_latest_are_told_by_their_ids(runs: Path) -> None:
    make(runs, "20261126-1000-calm-heron", created="2020-01-01T00:00:00+00:00")
    assert [record.id for record in latest_runs(2)[0]] == ["20261126-1000-calm-heron", HERON]
    assert latest_runs(0) == ([], 4)
    assert [record.id for record in latest_runs(99)[0]] == [record.id for record in list_runs()]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=6,
)
fields = ("verb", "status", "created", "ended", "host", "pid", "process_start", "error", "seed", "code", "parents")
contents = st.fixed_dictionaries({}, optional=dict.fromkeys((*fields, "config", "outcome"), values))


@settings(max_examples=60, deadline=None)
@given(content=contents | values, metrics=st.lists(values, max_size=3), marks=values)
def test_no_content_of_a_run_is_too_odd(
    tmp_path_factory: pytest.TempPathFactory, content: Any, metrics: list[Any], marks: Any
) -> None:
    folder = tmp_path_factory.mktemp("runs") / "odd"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(content))
    (folder / "marks.json").write_text(json.dumps(marks))
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in metrics))
    console = Console(width=120)
    with console.capture():
        print_runs(list_runs(folder.parent), console)


def test_a_progress_bar_over_many_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True)
    with console.capture() as few:
        list_runs(console=console)
    monkeypatch.setattr(find, "MANY", 3)
    with console.capture() as many:
        assert len(list_runs(console=console)) == 3
    assert few.get() == ""
    assert "reading runs" in many.get()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a read-only folder needs root")
def test_runs_in_a_folder_that_cannot_be_written(runs: Path) -> None:
    subprocess.run(["mount", "--bind", "runs", "runs"], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", "runs"], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (runs / "file").touch()
        assert len(list_runs()) == 3
        assert find_run("last") == runs / HERON
    finally:
        subprocess.run(["umount", "runs"], check=True)


def test_names_that_are_not_unicode(here: Path) -> None:
    folder = here / "runs" / os.fsdecode(b"caf\xe9-1-2")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"verb": "\udcff", "created": "2026-11-23T14:12:00+00:00"}))
    console = Console(width=120)
    with console.capture() as said:
        print_runs(list_runs(), console)
    assert "caf\\udce9-1-2" in said.get()


def test_no_folder_has_no_runs(here: Path) -> None:
    assert list_runs() == []
    with pytest.raises(RunNotFoundError, match="no run yet"):
        find_run("last")
    with pytest.raises(RunNotFoundError, match=r"no runs in .* yet"):
        find_run("brave-otter")


def test_the_folder_of_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs_folder() == here / "runs"
    monkeypatch.setenv("UNDERSTUDY_RUNS", "elsewhere")
    assert runs_folder() == here / "elsewhere"
    (here / "elsewhere").write_text("")
    with pytest.raises(UserError, match="is a file"):
        runs_folder()


REFERENCES = [
    (OTTER, OTTER),
    ("20261123", OTTER),
    ("20261124-09", NEWT),
    ("brave-otter", OTTER),
    ("brav", OTTER),
    ("bri", NEWT),
    ("last", HERON),
    ("last:finetune", NEWT),
]


@pytest.mark.parametrize(("reference", "expected"), REFERENCES)
def test_a_reference_finds_its_run(reference: str, expected: str, runs: Path) -> None:
    assert find_run(reference) == runs / expected


def test_a_path_finds_its_run(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_run(f"runs/{OTTER}/") == runs / OTTER
    assert find_run(str(runs / OTTER), folder=Path("/nowhere")) == runs / OTTER
    monkeypatch.chdir(runs / OTTER)
    assert find_run(".") == runs / OTTER


def test_last_may_be_restricted(runs: Path) -> None:
    assert find_run("last", verbs=["pretrain", "finetune"]) == runs / NEWT
    assert find_run("last:pretrain", verbs=["pretrain", "finetune"]) == runs / OTTER
    assert find_run(HERON, verbs=["pretrain"]) == runs / HERON


def test_last_is_never_broken(runs: Path) -> None:
    make(runs, OTTER_LATER)
    (runs / OTTER_LATER / "run.json").write_text("{")
    assert find_run("last") == runs / HERON


def test_an_exact_word_wins_over_a_longer_one(runs: Path) -> None:
    make(runs, "20261201-0900-brave-otters")
    assert find_run("brave-otter") == runs / OTTER


MISTAKES = [
    ("brave-oter", {}, "no run 'brave-oter' in .*; did you mean brave-otter"),
    ("20261123-1413-brave-otter", {}, f"did you mean {OTTER}"),
    ("zzz", {}, "`understudy runs` lists them"),
    ("", {}, "no run ''"),
    ("b", {}, re.escape(f"'b' may be any of {OTTER}, {NEWT}: write more of the id")),
    ("2026", {}, re.escape(f"{OTTER}, {NEWT}, {HERON}: write more")),
    ("last:pretain", {}, "no run of pretain yet; there are runs of clone, finetune, pretrain; did you mean pretrain"),
    ("last", {"verbs": ["selfplay"]}, "no run of selfplay yet; there are runs of clone, finetune, pretrain"),
    ("last:clone", {"verbs": ["pretrain"]}, "a run of 'clone' does not fit here: expected one of pretrain"),
    ("runs/nowhere", {}, "no run at .*runs/nowhere: a run's folder holds a run.json"),
]


@pytest.mark.parametrize(("reference", "options", "message"), MISTAKES)
def test_mistakes_are_named(reference: str, options: dict[str, Any], message: str, runs: Path) -> None:
    with pytest.raises(RunNotFoundError, match=message) as caught:
        find_run(reference, **options)
    assert "\n" not in str(caught.value)


def test_many_candidates_are_counted(runs: Path) -> None:
    for hour in range(10):
        make(runs, f"20270101-{hour:02d}00-tidy-wren")
    with pytest.raises(RunNotFoundError, match=r"20270101-0900-tidy-wren and 4 more: write more"):
        find_run("tidy-wren")


def test_a_note(runs: Path) -> None:
    assert read_record(runs / OTTER).note == ""
    (runs / OTTER / "note.txt").write_text("good\n")
    assert read_record(runs / OTTER).note == "good"


MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))


@given(moment=MOMENTS, later=st.timedeltas(SLOT * 1.01, timedelta(days=900)))
def test_ids_sort_by_time(moment: datetime, later: timedelta) -> None:
    assert run_id(moment) < run_id(moment + later)


def test_no_two_runs_share_a_folder(here: Path) -> None:
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.extend(claim_folder(here) for _ in range(20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(folders)) == 160
    assert all(folder.is_dir() for folder in folders)
