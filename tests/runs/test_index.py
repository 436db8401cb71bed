import json
import math
import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.runs import index
from understudy.runs.find import Record, find_run, latest_runs, list_runs, read_record
from understudy.runs.journal import Journal
from understudy.runs.marks import change_marks, set_note

RUNS = Path("runs")


def make(name: str, **record: Any) -> Path:
    folder = RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    day, clock = name.split("-")[:2]
    created = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:]}:00+00:00"
    (folder / "run.json").write_text(
        json.dumps({"verb": "pretrain", "created": created, "status": "finished"} | record)
    )
    return folder


def names(count: int) -> list[str]:
    return [f"20261123-{14 + n // 60:02d}{n % 60:02d}-brave-otter" for n in range(count)]


def make_settled(count: int) -> list[Path]:
    """Runs that the index trusts: they have lain there for longer than a file system's clock takes to tick."""
    folders = [make(name) for name in names(count)]
    time.sleep(index.TICK_SECONDS + 0.2)
    list_runs()
    return folders


def as_the_folders_say() -> list[Any]:
    """What the list must be, read without the index."""
    records = [Record(path.parent.absolute()) for path in RUNS.glob("*/run.json")]
    return [seen(r) for r in sorted(records, key=lambda r: (r.facts.created, r.id))]


def seen(record: Record) -> Any:
    figures = json.dumps(vars(record.figures))  # text, so that nan equals nan
    return record.id, record.facts, figures, record.status, record.marks, record.note


def as_listed() -> list[Any]:
    return [seen(record) for record in list_runs()]


def test_the_second_list_reads_no_run_again(here: Path) -> None:
    folders = make_settled(3)
    database = sqlite3.connect(RUNS / index.NAME)
    marker = json.dumps(vars(list_runs()[0].facts) | {"verb": "planted"}).encode()
    row = list(database.execute("SELECT * FROM runs ORDER BY name LIMIT 1").fetchone())
    row[2] = marker
    row[-1] = index._sum(row)
    database.execute("REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    database.commit()
    assert [record.verb for record in list_runs()] == ["planted", "pretrain", "pretrain"]
    assert [record.verb for record in latest_runs(2)[0]] == ["pretrain", "pretrain"]
    os.utime(folders[0] / "run.json", ns=(0, 0))  # a change that leaves size and inode
    assert [record.verb for record in list_runs()] == ["pretrain"] * 3


CHANGES = {
    "status": lambda folder: make(folder.name, status="failed", error="out of memory"),
    "bad": lambda folder: change_marks(folder, bad="labels were shifted"),
    "tag": lambda folder: change_marks(folder, tags=("a",)),
    "note": lambda folder: set_note(folder, "good"),
    "in place": lambda folder: (folder / "run.json").write_text(
        (folder / "run.json").read_text().replace("pre", "sub")
    ),
    "metric": lambda folder: Journal(folder / "metrics.jsonl").log(3, loss=math.nan),
    "broken": lambda folder: (folder / "run.json").write_text("{"),
    "no run": lambda folder: (folder / "run.json").unlink(),
    "gone": shutil.rmtree,
    "renamed": lambda folder: folder.rename(folder.with_name("20250101-0000-brave-otter")),
    "new": lambda folder: make("20270101-0000-calm-heron"),
    "begun earlier": lambda folder: make(folder.name, created="2020-01-01T00:00:00+00:00"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_is_seen_at_once(what: str, here: Path) -> None:
    folders = make_settled(3)
    before = as_listed()
    CHANGES[what](folders[2])
    assert as_listed() == as_the_folders_say() != before
    assert [seen(record) for record in latest_runs(1)[0]] == as_the_folders_say()[-1:]


def test_two_changes_in_one_tick_of_the_clock_are_both_seen(here: Path) -> None:
    folder = make("20261123-1412-brave-otter")
    for number in range(200):  # in place and of one length, far quicker than the clock of a file system ticks
        (folder / "run.json").write_text(f'{{"verb": "v{number:03d}", "created": "2026-11-23T14:12:00+00:00"}}')
        assert [record.verb for record in list_runs()] == [f"v{number:03d}"]


def test_a_run_is_trusted_only_when_its_clock_has_ticked(here: Path) -> None:
    def trusted() -> bool:
        return sqlite3.connect(RUNS / index.NAME).execute("SELECT seen FROM runs").fetchone()[0] != b""

    make("20261123-1412-brave-otter")
    list_runs()
    assert not trusted()
    time.sleep(index.TICK_SECONDS + 0.2)
    list_runs()
    assert trusted()


def test_the_latest_are_the_end_of_all(here: Path) -> None:
    make_settled(40)
    make("20261125-0000-calm-heron", created="2020-01-01T00:00:00+00:00")
    everything = as_listed()
    for latest in (0, 1, 30, 41, 99):
        assert [seen(record) for record in latest_runs(latest)[0]] == (everything[-latest:] if latest else [])


def test_a_run_is_running_only_while_it_lives(here: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    from understudy.runs.process import process_start, this_process

    mine = this_process() | {"pid": process.pid, "process_start": process_start(process.pid)}
    make("20261123-1412-brave-otter", status="running", **mine)
    time.sleep(index.TICK_SECONDS + 0.2)
    assert [record.status for record in list_runs()] == ["running"]
    assert [record.status for record in list_runs()] == ["running"]
    process.kill()
    process.wait()
    assert [record.status for record in list_runs()] == ["dead"]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def blank(path: Path) -> None:
    path.write_bytes(b"not a database " * 5000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def another_version(path: Path) -> None:
    database = sqlite3.connect(path)
    database.executescript("DROP TABLE runs; CREATE TABLE runs (id TEXT); PRAGMA user_version = 999")


def no_table(path: Path) -> None:
    sqlite3.connect(path).executescript("DROP TABLE runs")


@pytest.mark.parametrize("damage", [cut, blank, empty, another_version, no_table, Path.unlink])
def test_a_damaged_index_is_made_anew(damage: Any, here: Path) -> None:
    make_settled(60)
    damage(RUNS / index.NAME)
    assert as_listed() == as_the_folders_say()
    database = sqlite3.connect(RUNS / index.NAME)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert database.execute("SELECT count(*) FROM runs").fetchone() == (60,)


def test_any_damaged_bytes_are_noticed(here: Path) -> None:
    make_settled(60)
    whole, expected, dice = (RUNS / index.NAME).read_bytes(), as_the_folders_say(), random.Random(1)
    for _ in range(60):
        at = dice.randrange(len(whole))
        (RUNS / index.NAME).write_bytes(whole[:at] + dice.randbytes(200) + whole[at + 200 :])
        assert as_listed() == expected
        assert as_listed() == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a read-only folder needs root")
def test_a_folder_that_cannot_be_written_still_lists(here: Path) -> None:
    make_settled(5)
    for prepare in (lambda: None, (RUNS / index.NAME).unlink):
        prepare()
        subprocess.run(["mount", "--bind", "runs", "runs"], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", "runs"], check=True)
            with pytest.raises(OSError, match="Read-only"):
                (RUNS / "file").touch()
            assert as_listed() == as_the_folders_say()
            assert find_run("last") == here / "runs" / names(5)[-1]
        finally:
            subprocess.run(["umount", "runs"], check=True)


def test_a_process_that_holds_the_index_for_long_is_not_waited_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_settled(5)
    monkeypatch.setattr(index, "PATIENCE_SECONDS", 0.1)
    with index._alone(RUNS) as alone:
        assert alone
        change_marks(RUNS / names(5)[0], bad="labels were shifted")
        assert as_listed() == as_the_folders_say()


def churn(seed: int) -> None:
    """Makes, changes and deletes runs of its own, and lists in between."""
    dice = random.Random(seed)
    for number in range(40):
        folder = make(f"20261123-1{seed}{number:02d}-brave-otter", seed=seed)
        if dice.random() < 0.5:
            change_marks(folder, bad=f"for {number}")
        if dice.random() < 0.2:
            shutil.rmtree(folder)
        if dice.random() < 0.05:
            (RUNS / index.NAME).write_bytes(b"damaged " * 2000)
        own = [record for record in list_runs() if record.facts.seed == seed]
        there = {path.parent.name for path in RUNS.glob(f"*-1{seed}*/run.json")}
        assert {record.id for record in own} == there
        assert all(record.marks == read_record(record.folder).marks for record in own)


def test_many_processes_use_it_at_once(here: Path) -> None:
    make("20261123-0000-brave-otter")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=churn, args=(seed,)) for seed in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert as_listed() == as_the_folders_say()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=6,
)
fields = ("verb", "status", "created", "ended", "host", "pid", "process_start", "error", "seed", "code", "parents")
records = st.fixed_dictionaries({}, optional=dict.fromkeys((*fields, "config", "outcome"), values))


@settings(max_examples=60, deadline=None)
@given(record=records | values, metrics=st.lists(values, max_size=3))
def test_no_content_of_a_run_is_too_odd(
    tmp_path_factory: pytest.TempPathFactory, record: Any, metrics: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("runs") / "odd"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in metrics))
    (listed,) = list_runs(folder.parent)
    assert str(seen(listed)) == str(seen(Record(folder)))
    assert (folder.parent / index.NAME).exists()


def test_names_that_are_no_unicode(here: Path) -> None:
    folder = RUNS / os.fsdecode(b"caf\xe9-1-2")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"verb": "\udcff", "created": "2026-11-23T14:12:00+00:00"}))
    assert as_listed() == as_the_folders_say()
    assert as_listed()[0][0] == folder.name
