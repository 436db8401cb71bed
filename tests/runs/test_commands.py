"""The commands that find, mark, move and delete runs, as they are typed."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from understudy.errors import ArchiveError, RunNotFoundError, UserError
from understudy.runs.commands import main
from understudy.runs.find import list_runs
from understudy.runs.record import change_marks, read_record, set_note
from understudy.runs.run import Run

RUNS = Path("runs")


def said(*argv: str, width: int = 120) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        assert main(argv, console) == 0
    return capture.get()


def ids(output: str) -> list[str]:
    return re.findall(r"^\d{8}\S+", output, re.MULTILINE)


def make(number: int, **record: Any) -> str:
    name = f"20261123-14{number:02d}-brave-otter"
    folder = RUNS / name
    folder.mkdir(parents=True)
    record = {"verb": "pretrain", "status": "finished", "created": f"2026-11-23T14:{number:02d}:00+00:00"} | record
    (folder / "run.json").write_text(json.dumps(record))
    return name


def test_no_runs_yet(here: Path) -> None:
    assert said() == f"No runs in {here}/runs yet.\n"


def test_the_latest_thirty_newest_last(here: Path) -> None:
    names = [make(number) for number in range(33)]
    assert re.findall(r"^\d{8}\S+", said(), re.MULTILINE) == names[3:]
    assert said().startswith("3 older runs: `understudy runs --all` lists them.\n")
    assert re.findall(r"^\d{8}\S+", said("--all"), re.MULTILINE) == names
    assert "older" not in said("--all")


def test_show(here: Path) -> None:
    run = make(0, config={"width": 64})
    assert "width" in said("show", "last")
    assert "width" in said("show", run[:20])


def test_note(here: Path) -> None:
    names = [make(number) for number in range(2)]
    said("note", "last", "--rate", "was", "too high", "-h")
    assert read_record(RUNS / names[1]).note == "--rate was too high -h"
    assert "--rate was too high" in said()
    said("note", names[1])
    assert read_record(RUNS / names[1]).note == ""
    assert read_record(RUNS / names[0]).note == ""


def test_a_query_in_one_word_or_in_several(here: Path) -> None:
    names = [make(number, verb=verb) for number, verb in enumerate(("pretrain", "finetune", "eval"))]
    assert ids(said("list", "verb!=pretrain and verb!=eval")) == names[1:2]
    assert ids(said("list", "not", "verb=pretrain", "and", "not", "bad")) == names[1:]
    assert ids(said("list", "--all", "not verb=eval")) == names[:2]
    assert said("list", "verb=nothing") == "No run fits `verb=nothing`.\n"
    assert "No runs in" not in said("list", "verb=eval")


def test_order_and_limit(here: Path) -> None:
    figures = [3.0, 1.0, 2.0, None]
    names = [make(number, outcome={} if figure is None else {"x": figure}) for number, figure in enumerate(figures)]
    assert ids(said("list", "--sort", "x")) == [names[1], names[2], names[0]]
    assert ids(said("list", "--sort", "x", "--reverse")) == [names[0], names[2], names[1]]
    assert ids(said("list", "--reverse")) == names[::-1]
    assert ids(said("list", "--limit", "2")) == names[2:]
    assert ids(said("--limit", "2")) == names[2:]
    assert said("list", "--sort", "x", "--limit", "2").startswith("1 more run: --all lists them.\n")
    assert ids(said("list", "--sort", "x", "--limit", "2")) == [names[1], names[2]]
    assert ids(said("list", "--reverse", "--limit", "2")) == [names[3], names[2]]
    assert ids(said("list", "status=finished", "--limit", "2")) == names[2:]
    assert said("list", "status=finished", "--limit", "2").startswith("2 more runs: --all lists them.\n")
    with pytest.raises(UserError, match="--limit 0 is out of range; expected 1 or more"):
        said("list", "--limit", "0")
    with pytest.raises(UserError, match="no run has 'y'"):
        said("list", "--sort", "y")


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_marks_in_the_list_at_any_width(width: int, here: Path) -> None:
    names = [make(number, outcome={"headline": ["val_loss", 2.708]}) for number in range(4)]
    change_marks(
        RUNS / names[0], bad="the labels were shifted by one in the loader", tags=("paper", "two"), pinned=True
    )
    set_note(RUNS / names[0], "see the journal")
    set_note(RUNS / names[2], "[a] note " * 12)
    output = said(width=width)
    lines = output.splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert ids(output) == names
    together = " ".join(output.split())
    between = together[together.index(names[0]) : together.index(names[1])]
    for word in ("bad: the labels", "in the loader", "· pinned ·", "#paper #two", "· see the journal"):
        assert word in between
    assert output.count("[a] note") + output.count("[a]\n") + len(re.findall(r"\[a\] *\n", output)) >= 12
    if width >= 80:
        assert output.count("val_loss 2.708") == 4
    one_line_each = width >= 200
    assert (len(lines) == 5) == one_line_each


def test_tags(here: Path) -> None:
    first, second = make(0), make(1)
    assert said("tag", first, "baseline", "paper") == f"{first}  #baseline #paper\n"
    said("tag", first, "paper", "two")
    assert read_record(RUNS / first).marks.tags == ("baseline", "paper", "two")
    said("tag", "id=brave-otter", "both")
    assert ids(said("list", "tag=both")) == [first, second]
    assert ids(said("list", "tag=paper")) == [first]
    said("untag", first, "paper", "two")
    assert read_record(RUNS / first).marks.tags == ("baseline", "both")
    assert said("untag", second, "both") == f"{second}  no marks\n"
    with pytest.raises(UserError, match=f"{first} has no tag 'basline'; did you mean baseline"):
        said("untag", first, "basline")
    for tag in ("two words", "a=b", "(a", ""):
        with pytest.raises(UserError, match="is not a tag: expected a word without"):
            said("tag", first, tag)
    for command in ("tag", "untag"):
        with pytest.raises(UserError, match=f"{command} needs a tag: understudy runs {command} {first} baseline"):
            said(command, first)


def test_pins(here: Path) -> None:
    names = [make(number) for number in range(3)]
    assert said("pin", names[0], "last") == f"{names[0]}  pinned\n{names[2]}  pinned\n"
    assert ids(said("list", "pinned")) == [names[0], names[2]]
    assert "pinned" in said("show", names[0])
    said("unpin", "pinned")
    assert said("list", "pinned") == "No run fits `pinned`.\n"


def test_bad_and_good(here: Path) -> None:
    names = [make(number, verb=verb) for number, verb in enumerate(("pretrain", "eval", "eval"))]
    assert said("mark-bad", names[0], "labels", "were --shifted -h") == f"{names[0]}  bad: labels were --shifted -h\n"
    assert "bad: labels were --shifted -h" in said()
    assert said("show", names[0]).splitlines()[1] == "bad: labels were --shifted -h"
    said("mark-bad", "verb=eval and not bad", "other", "data")
    assert [record.marks.bad for record in list_runs()] == ["labels were --shifted -h", "other data", "other data"]
    said("mark-good", "bad~other", names[0])
    assert [record.marks.bad for record in list_runs()] == ["", "", ""]
    with pytest.raises(UserError, match="mark-bad needs a reason: understudy runs mark-bad last labels were shifted"):
        said("mark-bad", "last")
    with pytest.raises(RunNotFoundError, match="no run fits `verb=nothing`"):
        said("mark-bad", "verb=nothing", "why")
    with pytest.raises(RunNotFoundError, match="did you mean brave-otter"):
        said("mark-bad", "brave-oter", "why")


def test_export_and_import(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make(0)
    with Run.create("finetune", ["understudy"], {}, parents=[base]) as run:
        run.log(1, loss=2.0)
    assert said("export", run.id).splitlines()[1:] == [
        f"{run.id} builds on {base}, which is not in the archive: --parents takes it along"
    ]
    assert said("export", run.id, "--parents", "--to", "both.tar.gz").startswith("2 runs (")
    with pytest.raises(ArchiveError, match=r"both\.tar\.gz already exists"):
        said("export", run.id, "--to", "both.tar.gz")
    monkeypatch.setenv("UNDERSTUDY_RUNS", "elsewhere")
    assert said("import", f"{run.id}.tar.gz") == f"imported {run.id}\n{base}, which they build on, is not here\n"
    assert said("import", "both.tar.gz") == f"imported {base}\n{run.id} already exists, with the same content\n"
    assert Path("elsewhere", ".gitignore").read_text() == "*\n"
    assert sorted(ids(said())) == sorted([base, run.id])
    assert "loss 2" in said()
    with pytest.raises(UserError, match="needs the id of a run"):
        said("export")
    with pytest.raises(UserError, match="FILE"):
        said("import")


def test_gc_only_says_what_it_would_do(here: Path) -> None:
    names = [make(number) for number in range(6)]
    make(6, parents=[names[0]])
    change_marks(RUNS / names[1], pinned=True)
    output = said("gc", "--keep", "3")
    assert "To delete: 2 runs" in output
    assert ids(output) == names[2:4]
    assert f"  {names[0]}: 20261123-1406-brave-otter builds on it\n  {names[1]}: it is pinned\n" in output
    assert "would come free. Nothing is deleted yet: add --delete." in output
    assert len(list_runs()) == 7
    assert re.search(r"^\d+ kB freed\.$", said("gc", "--keep", "3", "--delete"), re.MULTILINE)
    assert [record.id for record in list_runs()] == [*names[:2], *names[4:], "20261123-1406-brave-otter"]


def test_gc_deletes_runs_only_where_they_are_named(here: Path) -> None:
    names = [make(number, status="failed" if number % 2 else "finished") for number in range(4)]
    assert said("gc", "--delete") == "Nothing to delete.\n"
    assert len(list_runs()) == 4
    assert ids(said("gc", "status=failed", "--keep", "1")) == names[1:2]
    assert "Nothing to delete." in said("gc", "--older-than", "9999w")
    assert ids(said("gc", "--older-than", "0s", "status=finished")) == [names[0], names[2]]
    for argv, message in (
        (("--older-than", "5x"), "--older-than 5x is not a duration"),
        (("--keep", "-1"), "--keep -1 is out of range"),
        (("status=fialed",), "did you mean failed"),
    ):
        with pytest.raises(UserError, match=message):
            said("gc", *argv, "--delete")
    assert len(list_runs()) == 4


def test_gc_of_many(here: Path) -> None:
    for number in range(40):
        make(number)
    output = said("gc", "--keep", "0")
    assert "To delete: 40 runs" in output
    assert "and 10 more" in output
    assert len(ids(output)) == 30


def test_disk(here: Path) -> None:
    names = [make(number) for number in range(33)]
    weights = RUNS / names[5] / "checkpoints" / "step-000001"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_bytes(os.urandom(2_000_000))
    output = said("disk")
    assert ids(output)[0] == names[5]
    assert len(ids(output)) == 30
    assert "2.0 MB" in output.splitlines()[1]
    assert "3 smaller runs (--all)" in output
    assert re.search(r"^all +2\.\d MB$", output.strip().splitlines()[-1])
    assert len(ids(said("disk", "--all"))) == 33


def test_without_a_runs_folder(here: Path) -> None:
    for command in ("gc", "disk"):
        with pytest.raises(UserError, match=r"no folder .*runs to .*; UNDERSTUDY_RUNS names another"):
            said(command)
    assert not RUNS.exists()


def test_a_path_is_no_query(here: Path) -> None:
    name = make(0)
    odd = here / "lr=1 (copy)"
    shutil.move(RUNS, odd)
    said("pin", str(odd / name))
    assert read_record(odd / name).marks.pinned


MISTAKES = [
    (["shwo"], "unknown command `understudy runs shwo`; did you mean show"),
    (["zzz"], "`understudy runs --help` lists the commands"),
    (["show"], "`understudy runs show` needs the id of a run"),
    (["note"], "`understudy runs note` needs the id of a run"),
    (["--al"], "does not know '--al'; did you mean --all"),
    (["show", "last", "more"], "does not know 'more'"),
    (["show", "last", "--all"], "does not know '--all'"),
]


@pytest.mark.parametrize(("argv", "message"), MISTAKES)
def test_mistakes_are_named(argv: list[str], message: str, here: Path) -> None:
    make(0)
    with pytest.raises(UserError, match=re.escape(message)):
        said(*argv)


def test_a_run_that_is_not_there(here: Path) -> None:
    make(0)
    with pytest.raises(RunNotFoundError, match="did you mean brave-otter"):
        said("show", "brave-oter")


HELP = [
    (
        ["list", "--help"],
        ["--all", "List every run", "default: False"],
    ),
    (["show", "--help"], ["ID", "The run: its id or any beginning"]),
    (["note", "--help"], ["TEXT", "The note, in as many words"]),
]


@pytest.mark.parametrize(("argv", "expected"), HELP)
def test_help(argv: list[str], expected: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        said(*argv)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for part in expected:
        assert part in text


def test_a_reason_may_be_written_as_an_option(here: Path) -> None:
    name = make(0)
    main(["mark-bad", name, "--reason", "labels were shifted"], Console())
    assert read_record(RUNS / name).marks.bad == "labels were shifted"
