import re
from pathlib import Path

import pytest
from rich.console import Console

from understudy.errors import RunNotFoundError, UserError
from understudy.runs.commands import main
from understudy.runs.record import read_record
from understudy.runs.run import Run


def said(*argv: str) -> str:
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        assert main(argv, console) == 0
    return capture.get()


def make(count: int) -> list[str]:
    names = [f"20261123-14{minute:02d}-brave-otter" for minute in range(count)]
    for minute, name in enumerate(names):
        Path("runs", name).mkdir(parents=True)
        record = f'{{"verb": "pretrain", "status": "finished", "created": "2026-11-23T14:{minute:02d}:00+00:00"}}'
        Path("runs", name, "run.json").write_text(record)
    return names


def test_no_runs_yet(here: Path) -> None:
    assert said() == f"No runs in {here}/runs yet.\n"


def test_the_latest_thirty_newest_last(here: Path) -> None:
    names = make(33)
    assert re.findall(r"^\d{8}\S+", said(), re.MULTILINE) == names[3:]
    assert said().startswith("3 older runs: `understudy runs --all` lists them.\n")
    assert re.findall(r"^\d{8}\S+", said("--all"), re.MULTILINE) == names
    assert "older" not in said("--all")


def test_show(here: Path) -> None:
    with Run.create("pretrain", ["understudy"], {"width": 64}) as run:
        pass
    assert "width" in said("show", "last")
    assert "width" in said("show", run.id[:20])


def test_note(here: Path) -> None:
    names = make(2)
    said("note", "last", "--rate", "was", "too high", "-h")
    assert read_record(Path("runs", names[1])).note == "--rate was too high -h"
    assert "--rate was too high" in said()
    said("note", names[1])
    assert read_record(Path("runs", names[1])).note == ""
    assert read_record(Path("runs", names[0])).note == ""


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
    make(1)
    with pytest.raises(UserError, match=re.escape(message)):
        said(*argv)


def test_a_run_that_is_not_there(here: Path) -> None:
    make(1)
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
