"""What differs between runs, and their final metrics side by side."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import UserError
from understudy.runs.compare.differences import differences, differing, final_metrics, setting
from understudy.runs.compare.runs import ComparedRun, compared, curve_names, direction, metric_names

MakeRun = Callable[..., Path]


def rows_of(title: str, *folders: Path) -> dict[str, tuple[str, ...]]:
    return {row.name: row.cells for row in differences(compared(folders))[title]}


def run(folder: Path) -> ComparedRun:
    return compared([folder])[0]


def test_only_what_differs_in_the_configuration(make_run: MakeRun) -> None:
    first = make_run("brave-otter", config={"model": {"core": "lstm", "width": 64}, "lr": 0.1, "heads": None})
    second = make_run(
        "calm-heron", config={"model": {"core": "lstm", "width": 32}, "lr": 0.1, "heads": None, "new": [1, 2]}
    )
    assert rows_of("configuration", first, second) == {"model.width": ("64", "32"), "new": ("—", "1, 2")}


def test_one_and_true_and_one_point_nought_are_different_settings(make_run: MakeRun) -> None:
    first, second = make_run("brave-otter", config={"x": 1}), make_run("calm-heron", config={"x": True})
    assert rows_of("configuration", first, second) == {"x": ("1", "True")}


def test_the_verb_and_the_parents_belong_to_the_configuration(make_run: MakeRun) -> None:
    first, second = make_run("brave-otter"), make_run("calm-heron", verb="finetune", parents=["x-brave-otter"])
    found = rows_of("configuration", first, second)
    assert found == {"verb": ("pretrain", "finetune"), "parents": ("none", "x-brave-otter")}


def test_data_are_told_apart_by_content_not_by_place(make_run: MakeRun) -> None:
    def data(path: str, digest: str) -> list[dict[str, Any]]:
        return [{"path": path, "bytes": 1234, "sha256": digest * 16}]

    first, moved = make_run("brave-otter", data=data("/a/x", "abcd")), make_run("calm-heron", data=data("/b/x", "abcd"))
    other = make_run("keen-owl", data=data("/a/x", "ef01"))
    assert rows_of("data", first, moved) == {}
    assert rows_of("data", first, other) == {
        "/a/x": ("1,234 bytes, sha256 abcdabcdabcd", "1,234 bytes, sha256 ef01ef01ef01"),
    }


def test_the_environment(make_run: MakeRun) -> None:
    first = make_run("brave-otter", python="3.11.1", packages={"torch": "2.11", "rich": "15"}, compute={"threads": 1})
    second = make_run("calm-heron", python="3.12.0", packages={"torch": "2.13", "rich": "15"}, compute={"threads": 2})
    assert rows_of("environment", first, second) == {
        "python": ("3.11.1", "3.12.0"),
        "compute.threads": ("1", "2"),
        "package torch": ("2.11", "2.13"),
    }


def test_child_seeds_show_only_where_the_runs_seeds_are_equal(make_run: MakeRun) -> None:
    first = make_run("brave-otter", seed=1, seeds={"init": 5})
    second, third = make_run("calm-heron", seed=2, seeds={"init": 6}), make_run("keen-owl", seed=1, seeds={"init": 7})
    assert rows_of("seeds", first, second) == {"all from": ("1", "2")}
    assert rows_of("seeds", first, third) == {"init": ("5", "7")}


def test_command_lines_are_quoted_for_a_shell(make_run: MakeRun) -> None:
    first = make_run("brave-otter", argv=["understudy", "pretrain", "--data", "a b.txt"])
    second = make_run("calm-heron", argv=["understudy", "pretrain"])
    assert rows_of("command lines", first, second) == {
        "command line": ("understudy pretrain --data 'a b.txt'", "understudy pretrain"),
    }


def test_keys_that_seeds_may_differ_in(make_run: MakeRun) -> None:
    first = make_run("brave-otter", config={"options": {"seed": 1, "resume": None}, "lr": 1.0})
    second = make_run("calm-heron", config={"options": {"seed": 2, "resume": "last"}, "lr": 2.0})
    settings = [setting(run.record.data) for run in compared([first, second])]
    assert differing(settings) == {"lr": [1.0, 2.0]}


METRICS = [
    ("val_bpb", -1),
    ("loss", -1),
    ("val_perplexity", -1),
    ("right_recall", 1),
    ("eval/accuracy", 1),
    ("hits@10", 1),
    ("f1", 1),
    ("repetition", 0),
    ("lr", 0),
    ("lossless", 0),
    ("recall_loss", 0),
]


@pytest.mark.parametrize(("name", "expected"), METRICS)
def test_which_way_is_better(name: str, expected: int) -> None:
    assert direction(name) == expected


def best(*folders: Path) -> dict[str, set[int]]:
    return {row.name: set(row.best) for row in final_metrics(compared(folders))}


def test_the_better_figure_is_marked(make_run: MakeRun) -> None:
    first = make_run("brave-otter", {"loss": [3.0, 2.0], "recall": [0.5], "lr": [1.0]})
    second = make_run("calm-heron", {"loss": [3.0, 1.0], "recall": [0.4], "lr": [2.0]})
    third = make_run("keen-owl", {"loss": [3.0, 1.0], "recall": [math.nan]})
    assert best(first, second, third) == {"loss": {1, 2}, "recall": {0}, "lr": set()}


def test_equal_or_single_figures_have_no_better_one(make_run: MakeRun) -> None:
    assert best(make_run("brave-otter", {"loss": [2.0]}), make_run("calm-heron", {"loss": [2.0]})) == {"loss": set()}
    assert best(make_run("keen-owl", {"loss": [2.0]}), make_run("dry-newt", {"loss": [math.inf]})) == {"loss": set()}


def test_outcome_counts_beside_the_journal(make_run: MakeRun) -> None:
    outcome = {"recall": 0.75, "val_bpb": "nan", "headline": ["recall", 0.75], "kind": "chats", "exact": True}
    found = run(make_run("brave-otter", {"loss": [3.0, 2.0]}, outcome=outcome))
    assert found.figures["loss"] == 2.0
    assert found.figures["recall"] == 0.75
    assert math.isnan(found.figures["val_bpb"])
    assert found.figures.keys() == {"loss", "recall", "val_bpb"}
    assert metric_names([found]) == ["recall", "val_bpb", "loss"]


def test_the_headline_is_known_by_the_end_of_its_name(make_run: MakeRun) -> None:
    outcome = {"right_recall": 0.5, "headline": ["recall", 0.5]}
    assert run(make_run("brave-otter", outcome=outcome)).headline == "right_recall"
    assert run(make_run("calm-heron", outcome={"headline": ["recall", 0.5]})).headline is None


CURVES = [
    ([{"val_bpb": [2.0, 1.0], "loss": [3.0, 2.0]}] * 2, ["val_bpb", "loss"]),
    ([{"val_bpb": [2.0, 1.0], "loss": [3.0, 2.0]}, {"loss": [3.0, 2.0]}], ["loss"]),
    ([{"val_bpb": [2.0], "reward": [1.0, 2.0]}] * 2, ["reward"]),
    ([{"loss": [2.0, 1.0]}, {}], ["loss"]),
    ([{}, {}], []),
    ([{"loss": [math.nan, math.nan, 2.0]}] * 2, []),
]


@pytest.mark.parametrize(("metrics", "expected"), CURVES)
def test_the_curves_that_stand_on_one_picture(metrics: list[Any], expected: list[str], make_run: MakeRun) -> None:
    names = ["brave-otter", "calm-heron"]
    assert (
        curve_names(compared([make_run(name, values) for name, values in zip(names, metrics, strict=True)])) == expected
    )


def test_runs_are_called_by_their_words_where_these_are_their_own(make_run: MakeRun) -> None:
    first, second, third = make_run("brave-otter"), make_run("calm-heron"), make_run("brave-otter")
    assert [one.label for one in compared([first, second])] == ["brave-otter", "calm-heron"]
    assert [one.label for one in compared([first, second, third])] == [first.name, "calm-heron", third.name]
    assert len(compared([first, first, Path("runs/../runs") / first.name])) == 1


def test_a_broken_run_cannot_be_compared(make_run: MakeRun) -> None:
    folder = make_run("brave-otter")
    (folder / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"brave-otter cannot be compared: its run\.json"):
        compared([folder])
