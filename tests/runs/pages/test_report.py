"""report.html of runs that went well, and of those that did not."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runs.pages.reading import Page
from understudy.errors import UserError
from understudy.runs.commands import main
from understudy.runs.pages.report import previous_run
from understudy.runs.record import change_marks, read_record, set_note
from understudy.runs.run import Run

SCRIPT = "<script>alert(1)</script>"
Git = Callable[..., str]


def report(reference: str) -> Page:
    console = Console(width=400, force_terminal=False)
    with console.capture() as capture:
        assert main(["report", reference], console) == 0
    path = Path(capture.get().removeprefix("written: ").rstrip("\n"))
    assert path.name == "report.html"
    return Page(path.read_text(encoding="utf-8"))


def a_run(words: str, minute: int = 0, **record: Any) -> Path:
    folder = Path("runs", f"20261123-14{minute:02d}-{words}")
    folder.mkdir(parents=True)
    created = f"2026-11-23T14:{minute:02d}:00+00:00"
    facts = {"verb": "pretrain", "status": "finished", "created": created, **record}
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


def test_a_whole_run(repository: Path, git: Git) -> None:
    (repository / "edited.py").write_text("after = 1\n")
    (repository / os.fsdecode(b"caf\xe9 <b>.py")).write_bytes(b"x = '\xff'\n")
    (repository / "bin.dat").write_bytes(b"a\0b")
    (repository / "data.ignored").write_text("data")
    argv = ["understudy", "pretrain", "--note", "two words"]
    with Run.create("pretrain", argv, {"model": {"core": SCRIPT}}, parents=["an-older-run"], seed=3) as run:
        run.seed("init")
        run.add_data("data.ignored")
        for step in range(300):
            run.log(step, loss=math.nan if step > 250 else math.exp(-step / 90))
        for step in (0, 100):
            run.log(step, val_loss=2.0 - step / 100, val_bpb=1.5)
            run.sample(step, user=f"Hi {SCRIPT} at {step}", model="Hello\nyou")
        checks = [
            {"name": "shift", "verdict": "failed", "measured": "1", "expected": "0", "causes": ["a & b", SCRIPT]},
            {"name": "leakage", "verdict": "ok", "measured": "0", "expected": "0", "causes": []},
        ]
        run.update(checks=checks)
        run.finish(right_recall=0.97, headline=["recall", 0.97])
    set_note(run.folder, SCRIPT)
    found = report(run.id)
    expected = [
        f"understudy runs rerun {run.id}",
        f"cd {repository} understudy pretrain --note 'two words'",
        "right_recall 0.97",
        "1 of 2 failed.",
        f"a & b; {SCRIPT}",
        "failed checks: shift",
        "loss was not a finite number at 49 steps, first at step 251",
        f"user: Hi {SCRIPT} at 100",
        git("rev-parse", "HEAD").strip(),
        "-before = 1 +after = 1",
        "caf\\xe9 <b>.py",
        "+x = '\\xff'",
        "bin.dat added not text: 3 bytes",
        "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7",  # sha256 of "data"
        "an-older-run",
        f"model.core {SCRIPT}",
        "There is none that finished",
    ]
    for part in expected:
        assert part in found.text, part
    assert found.text.index("at 100") < found.text.index("at 0")
    assert ("meta", "name", "viewport") in [tuple(one) for one in found.attributes]


def test_what_changed_since_the_previous_run(repository: Path) -> None:
    for rate in (0.5, 0.25):
        (repository / "helper.py").write_text(f"RATE = {rate}\n")
        with Run.create("pretrain", ["understudy"], {"lr": rate}, seed=1) as run:
            run.log(0, loss=rate)
    found = report("last")
    assert "one run each, so no winner can be named" in found.text
    since = found.text[found.text.index("Since the previous") :]
    for part in ("lr 0.5 0.25", "loss 0.5 0.25 *", "-RATE = 0.5 +RATE = 0.25"):
        assert part in since
    assert run.id in report(run.id).text


def test_the_previous_run_is_the_last_good_one_of_the_same_verb(here: Path) -> None:
    good = a_run("good-otter", 0)
    bad = a_run("bad-otter", 1)
    change_marks(bad, bad="labels were shifted")
    a_run("failed-otter", 2, status="failed")
    a_run("other-otter", 3, verb="finetune")
    last = a_run("last-otter", 4)
    a_run("later-otter", 5)
    assert previous_run(read_record(last)).folder.name == good.name  # type: ignore[union-attr]
    assert previous_run(read_record(good)) is None


def test_a_run_that_failed(repository: Path) -> None:
    run = Run.create("pretrain", ["understudy"], {})
    run.say(f"on the way {SCRIPT}")

    def fail() -> None:
        with run:
            raise ZeroDivisionError(f"by {SCRIPT}")

    with pytest.raises(ZeroDivisionError):
        fail()
    found = report(run.id)
    assert f"ZeroDivisionError: by {SCRIPT}" in found.text
    assert f"on the way {SCRIPT}" in found.text
    assert "Traceback" in found.text
    assert "No metrics were logged." in found.text


def test_nothing_but_nan(repository: Path) -> None:
    with Run.create("pretrain", ["understudy"], {}) as run:
        for step in range(3):
            run.log(step, loss=math.nan, grad=math.inf)
    found = report(run.id)
    assert "loss nan" in found.text
    assert "loss was not a finite number at 3 steps, first at step 0" in found.text
    assert "grad was not a finite number at 3 steps" in found.text


def test_a_run_that_is_marked_bad(here: Path) -> None:
    change_marks(a_run("brave-otter"), bad=f"shifted {SCRIPT}")
    assert f"brave-otter is marked bad: shifted {SCRIPT}" in report("brave-otter").text


def test_a_bare_record(here: Path) -> None:
    """What an older version, or another program, may have left."""
    folder = Path("runs", "20261123-1412-brave-otter")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "samples.jsonl").write_text('{"step": 1, "user": "hi"}\n{"torn')
    found = report("brave-otter")
    assert "user: hi" in found.text
    assert "None were made." in found.text


def test_a_broken_record_is_a_mistake(here: Path) -> None:
    (a_run("brave-otter") / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"its run\.json is missing or damaged"):
        report("brave-otter")


def test_the_report_is_written_anew(here: Path) -> None:
    folder = a_run("brave-otter")
    assert "a later note" not in report("brave-otter").text
    set_note(folder, "a later note")
    assert "a later note" in report("brave-otter").text
    assert [path.name for path in folder.glob("*.html")] == ["report.html"]
