import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from understudy.console import age
from understudy.runs.arguments import OneRun
from understudy.runs.find import list_runs
from understudy.runs.journal import Journal
from understudy.runs.listing import print_runs
from understudy.runs.pages.show import main
from understudy.runs.record import set_note
from understudy.runs.run import Run


def printed(thing: Any, width: int = 120) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        thing(console) if callable(thing) else console.print(thing)
    return capture.get()


def a_run(name: str, created: str | None = "2026-11-23T14:12:00+00:00", **record: Any) -> Path:
    folder = Path("runs", name)
    folder.mkdir(parents=True)
    record = {"verb": "pretrain", "status": "finished", "created": created, **record}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def listed(console: Console) -> None:
    print_runs(list_runs(), console)


def rows() -> list[list[str]]:
    return [line.split() for line in printed(listed).splitlines()[1:]]


def test_the_table_shows_each_run(here: Path) -> None:
    a_run("20261123-1412-brave-otter", outcome={"headline": ["recall", 0.97312]})
    folder = a_run("20261123-1413-calm-heron", "2026-11-23T14:13:00+00:00", status="running", host="elsewhere")
    set_note(folder, "too [hot]")
    (first, second) = rows()
    assert (first[:3], first[4:]) == (["20261123-1412-brave-otter", "pretrain", "finished"], ["recall", "0.9731"])
    assert (second[:3], second[4:]) == (["20261123-1413-calm-heron", "pretrain", "dead"], ["too", "[hot]"])


HEADLINES = [
    ([{"loss": 3.0}, {"val_bpb": 1.23456}, {"loss": 2.0}], ["val_bpb", "1.235"]),
    ([{"loss": 3.0}, {"loss": math.nan}], ["loss", "nan"]),
    ([{"reward": 3.0}], []),
]


@pytest.mark.parametrize(("logged", "expected"), HEADLINES)
def test_the_headline_metric(logged: list[dict[str, float]], expected: list[str], here: Path) -> None:
    journal = Journal(a_run("20261123-1412-brave-otter") / "metrics.jsonl")
    for step, values in enumerate(logged):
        journal.log(step, **values)
    assert rows()[0][4:] == expected


def test_the_id_is_never_cut(here: Path) -> None:
    folder = a_run("20261123-1412-brave-otter", outcome={"headline": ["recall", 0.9]})
    set_note(folder, "a long note " * 20)
    assert "20261123-1412-brave-otter" in printed(listed, width=80)


def test_a_broken_run_is_listed(here: Path) -> None:
    a_run("20261123-1412-brave-otter")
    a_run("odd", outcome=None, created=None)
    Path("runs", "20261123-1412-brave-otter", "run.json").write_text("{")
    assert sorted(row[2] for row in rows()) == ["broken", "finished"]
    for record in list_runs():
        assert record.id in printed(lambda console, folder=record.folder: main(OneRun(str(folder)), console))


def test_ages() -> None:
    from datetime import datetime, timedelta

    now = datetime.now().astimezone()
    spans = [(5, "5s"), (59, "59s"), (61, "1m"), (3700, "1h"), (90_000, "1d"), (-60, "0s")]
    assert [age(now - timedelta(seconds=seconds, milliseconds=1)) for seconds, _ in spans] == [
        expected for _, expected in spans
    ]


def test_a_whole_run_on_the_screen(repository: Path) -> None:
    (repository / "edited.py").write_text("after = 1\n")
    (repository / "new\udcff.py").write_text("new = 1\n")
    (repository / "data.ignored").write_text("data")
    config = {"core": {"width": 64, "kind": "[lstm]"}, "rate": 0.001}
    with Run.create("pretrain", ["understudy", "pretrain"], config, parents=["an-older-run"], seed=3) as run:
        run.seed("init")
        run.add_data("data.ignored")
        for step in range(100):
            run.log(step, loss=math.exp(-step / 30) + 1)
        for step in range(0, 101, 20):
            run.log(step, val_loss=math.exp(-step / 30) + 1.5, val_bpb=math.nan if step == 40 else 1 + 1 / (step + 1))
        run.finish(recall=0.97)
    text = printed(lambda console: main(OneRun(str(run.folder)), console), width=300)
    expected = [run.id, "finished", "understudy pretrain", "core.width", "64", "[lstm]", "rate", "0.001"]
    expected += [run.record["code"]["commit"], "on main", f"refs/runs/{run.id}", "git clone", "base.bundle"]
    expected += ["edited.py", "new\\udcff.py", "data.ignored", "4 bytes", "an-older-run", "init", "recall", "0.97"]
    expected += ["understudy: archived", "1 source files"]  # the package lies outside this repository
    expected += ["1.037 at step 99", "val_bpb 1.01", "bits per byte", "nats per token"]
    for part in expected:
        assert part in text
    assert text.count("┌") == 2


def test_a_long_curve_is_drawn_in_little_time(here: Path) -> None:
    folder = a_run("20261123-1412-brave-otter")
    lines = (json.dumps({"step": step, "time": 0.0, "loss": 1 / (step + 1)}) for step in range(50_000))
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    began = time.process_time()
    text = printed(lambda console: main(OneRun(str(folder)), console), width=80)
    assert time.process_time() - began < 5
    assert max(map(len, text.splitlines())) <= 80
    assert "loss 2e-05" in text
