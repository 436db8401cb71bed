"""Comparisons as pages."""

import math
import os
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from runs.pages.reading import Page
from understudy.runs.commands import main
from understudy.runs.compare.runs import ComparedRun
from understudy.runs.record import change_marks, set_note
from understudy.runs.run import Run

MakeRun = Callable[..., Path]
RunsOf = Callable[..., list[ComparedRun]]
SCRIPT = "<script>alert(1)</script>"


def page_of(*argv: str) -> Page:
    with Console(width=120).capture():
        assert main(["compare", *argv, "--html", "found.html"], Console(quiet=True)) == 0
    return Page(Path("found.html").read_text(encoding="utf-8"))


def test_a_comparison(repository: Path) -> None:
    ids = []
    odd = os.fsdecode(b"caf\xe9 <b>.py")
    for rate in (0.5, 0.25):
        (repository / "helper.py").write_text(f"RATE = {rate}  # {SCRIPT}\n")
        (repository / odd).write_bytes(b"x = '\xff%d'\n" % (rate * 100))
        with Run.create("pretrain", ["understudy", SCRIPT], {"lr": rate, SCRIPT: SCRIPT + str(rate)}) as run:
            for step in range(300):
                run.log(step, loss=math.nan if step == 7 else rate * math.exp(-step / 90), **{SCRIPT: step})
        set_note(run.folder, f"a note {SCRIPT}")
        ids.append(run.id)
    change_marks(run.folder, bad=f"shifted {SCRIPT}")
    found = page_of(*ids)
    for expected in (
        "-RATE = 0.5",
        "+RATE = 0.25",
        "caf\\xe9 <b>.py",
        "+x = '\\xff25'",
        "no winner can be named",
        "lr",
    ):
        assert expected in found.text
    assert f"is marked bad: shifted {SCRIPT}" in found.text
    assert f"a note {SCRIPT}" in found.text
    assert "loss was not a finite number at 1 step, first at step 7" in found.text
    assert found.tags.count("svg") >= 3  # the legend's, and two curves
    assert ("meta", "name", "viewport") in found.attributes


def test_runs_without_anything(make_run: MakeRun) -> None:
    found = page_of(str(make_run("brave-otter")), str(make_run("calm-heron", status="failed", error="Oops")))
    assert "No metric was logged more than once." in found.text
    assert "no code was kept with run" in found.text


def test_many_runs(make_run: MakeRun) -> None:
    folders = [str(make_run(f"run-{i}", {"loss": [3.0, 2.0 + i]}, config={"i": i})) for i in range(12)]
    assert "12 runs compared" in page_of(*folders).text


def test_groups(runs_of: RunsOf) -> None:
    runs = runs_of({"lstm <script>": {1: 2.0, 2: 2.1, 3: 1.9}, "gru": {1: 1.5, 2: 1.62, 3: 1.4}})
    found = page_of("2026", "--group-by", "model.core")
    assert "gru wins: its val_bpb is better" in found.text
    assert "model.core = lstm <script>" in found.text
    assert all(run.record.id in found.text for run in runs)


def test_groups_with_nothing_to_plot(make_run: MakeRun) -> None:
    for i in range(2):
        make_run(f"run-{i}", {"loss": [math.nan]}, config={"i": i})
    assert "No winner can be named: in 0, seed 0 gave nan" in page_of("2026", "--group-by", "i").text
