"""`understudy runs compare` as a user sees it."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from understudy.errors import UserError
from understudy.runs.commands import main
from understudy.runs.compare.runs import ComparedRun
from understudy.runs.record import change_marks, set_note
from understudy.runs.run import Run

MakeRun = Callable[..., Path]
RunsOf = Callable[..., list[ComparedRun]]


def said(*argv: str, width: int = 120) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        assert main(["compare", *argv], console) == 0
    return capture.get()


def plainly(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def two(repository: Path) -> list[str]:
    """Two runs between which one line of an untracked helper, the rate and the loss changed."""
    ids = []
    for rate in (0.5, 0.25):
        (repository / "helper.py").write_text(f"import math\n\nRATE = {rate}\n")
        with Run.create("pretrain", ["understudy", "pretrain"], {"learner": {"lr": rate}, "layers": 2}) as run:
            for step in range(40):
                run.log(step, loss=rate * math.exp(-step / 9))
        ids.append(run.id)
    return ids


@pytest.mark.parametrize("width", [80, 120])
def test_a_plain_comparison(two: list[str], width: int) -> None:
    text = said(*two, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "-RATE = 0.5\n+RATE = 0.25\n" in text
    assert re.search(r"changed +helper.py +\+1 -1", text)
    assert re.search(r"learner.lr +0.5 +0.25", text)
    assert "layers" not in text
    assert text.count("┌") == 1
    assert re.search(r"loss +0.006\d+ +0.003\d+ \*", text)
    assert "so no winner can be named" in plainly(text)
    assert "the same in all: data, environment, seeds, command lines" in text
    assert " wins" not in text


def test_columns_that_do_not_fit_become_lines(make_run: MakeRun) -> None:
    folders = [make_run(f"long-name-{i}", config={"lr": i % 3, "text": "word " * 30}) for i in range(8)]
    text = said(*map(str, folders), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "long-name-0, long-name-3, long-name-6 0" in plainly(text)


def test_a_long_diff_is_cut_and_says_so(repository: Path) -> None:
    ids = []
    for word in ("a", "b"):
        (repository / "long.py").write_text("".join(f"{word} = {i}\n" for i in range(500)))
        with Run.create("pretrain", ["understudy"], {}) as run:
            ids.append(run.id)
    text = said(*ids)
    assert "+500 -500" in plainly(text)
    assert "881 more lines: --html FILE shows more" in text  # 1,000 lines and the hunk's head, less 120


def test_a_bad_run_that_is_named_is_shown_with_its_reason(make_run: MakeRun) -> None:
    first, second = make_run("brave-otter"), make_run("calm-heron")
    change_marks(second, bad="labels were [shifted]")
    set_note(first, "a [note]")
    text = said("brave", "calm")
    assert "bad: labels were [shifted]" in text
    assert "a [note]" in text
    console = Console(width=100, force_terminal=True)
    with console.capture() as capture:
        main(["compare", "brave", "calm"], console)
    assert "\x1b[1;31m    bad: labels were [shifted]" in capture.get()


def test_a_hostile_file_cannot_steer_the_terminal(repository: Path) -> None:
    ids = []
    for text in ("x = 1\n", "x = 1  \x1b[2J\x1b]0;title\x07\n"):
        (repository / "helper.py").write_text(text)
        with Run.create("pretrain", ["understudy"], {}) as run:
            ids.append(run.id)
    found = said(*ids)
    assert "\x1b" not in found
    assert "\\x1b[2J\\x1b]0;title\\x07" in found


def test_groups_and_their_winner(runs_of: RunsOf) -> None:
    runs_of({"lstm": {1: 2.0, 2: 2.1, 3: 1.9}, "transformer": {1: 1.5, 2: 1.62, 3: 1.4}})
    text = said("2026", "--group-by", "model.core")
    assert "transformer wins: its val_bpb is better, by at least 0." in text
    assert re.search(r"lstm +3 +2 +2 +0.1 +1.9 +2 +2.1", text)
    assert re.search(r"transformer vs lstm +-0.493 +\S+ … \S+ +\S+ … \S+ +3 pairs", text)
    assert "model.core = lstm  lstm-s1 (seed 1), lstm-s2 (seed 2), lstm-s3 (seed 3)" in text


def test_a_query_names_runs(runs_of: RunsOf) -> None:
    runs_of({"lstm": {1: 2.0, 2: 2.1, 3: 1.9}, "transformer": {1: 1.5, 2: 1.62, 3: 1.4}, "gru": {1: 1.0}})
    text = said("model.core=lstm", "model.core=transformer", "--group-by", "model.core")
    assert "transformer wins" in text
    assert "gru" not in text


def test_a_query_takes_in_no_bad_run(make_run: MakeRun) -> None:
    folders = [make_run(words) for words in ("brave-otter", "calm-heron", "keen-owl")]
    change_marks(folders[1], bad="no good")
    text = said("verb=pretrain")
    assert f"left out: {folders[1].name}: marked bad: no good" in text
    assert "keen-owl" in text
    assert "calm-heron" not in text.replace(folders[1].name, "")


def test_bad_runs_join_groups_when_asked(runs_of: RunsOf) -> None:
    runs = runs_of({"lstm": {1: 2.0, 2: 2.1}, "transformer": {1: 1.5, 2: 1.7}})
    change_marks(runs[0].record.folder, bad="no good")
    assert "left out: " in said("2026", "--group-by", "model.core")
    assert "left out: " not in said("2026", "--group-by", "model.core", "--include-bad")


MISTAKES = [
    (["brave"], "comparing takes two runs or more, and brave names only 20261123-1412-brave-otter"),
    (["brave", "brave-otter"], "comparing takes two runs or more"),
    (["brave", "calm", "--metric", "loss"], "--metric and --include-bad go with --group-by"),
    (["brave", "calm", "--group-by", "zzz"], "no run here has the configuration key 'zzz'"),
    (["brave", "zebra"], "no run 'zebra'"),
    (["brave", "calm", "--html", "nowhere/x.html"], "cannot write the page to nowhere/x.html: No such file"),
    (["verb=zzz", "--group-by", "verb"], "no run fits `verb=zzz`"),
]


@pytest.mark.parametrize(("argv", "message"), MISTAKES)
def test_mistakes_are_named(argv: list[str], message: str, make_run: MakeRun) -> None:
    make_run("brave-otter")
    make_run("calm-heron")
    with pytest.raises(UserError, match=re.escape(message)):
        said(*argv)
