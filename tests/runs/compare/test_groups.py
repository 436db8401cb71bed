"""Seeds of settings: who belongs together, and what may be said of them."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import UserError
from understudy.runs.compare.groups import group_by
from understudy.runs.compare.runs import ComparedRun, compared
from understudy.runs.compare.verdicts import MetricVerdict, verdicts
from understudy.runs.record import change_marks
from understudy.runs.run import Run

MakeRun = Callable[..., Path]
RunsOf = Callable[..., list[ComparedRun]]
SEEDS = {1: 2.0, 2: 2.1, 3: 1.9, 4: 2.05}


def judged(runs: list[ComparedRun], *metrics: str) -> MetricVerdict:
    return verdicts(group_by("model.core", runs).groups, metrics)[0]


def shifted(by: float, jitter: float = 0.01) -> dict[int, float]:
    return {seed: value + by + jitter * (-1) ** seed for seed, value in SEEDS.items()}


def test_a_winner_is_named_when_the_intervals_exclude_zero(runs_of: RunsOf) -> None:
    found = judged(runs_of({"lstm": SEEDS, "transformer": shifted(-0.5)}))
    difference = found.differences["lstm"]
    assert (found.metric, found.winner, difference.paired) == ("val_bpb", "transformer", True)
    assert difference.high < 0
    assert found.sentence.startswith("transformer wins: its val_bpb is better, by at least 0.4")


def test_pairing_by_seed_finds_what_the_spread_between_seeds_hides(runs_of: RunsOf) -> None:
    """The order of the runs is not that of their seeds."""
    backwards = dict(reversed(shifted(-0.06).items()))
    found = judged(runs_of({"lstm": SEEDS, "transformer": backwards}))
    assert found.winner == "transformer"
    other_seeds = {seed + 10: value for seed, value in backwards.items()}
    apart = judged(runs_of({"gru": SEEDS, "rnn": other_seeds}))
    assert (apart.winner, [one.paired for one in apart.differences.values()]) == ("", [False])


def test_without_a_winner_the_missing_seeds_are_told(runs_of: RunsOf) -> None:
    found = judged(runs_of({"lstm": SEEDS, "transformer": shifted(-0.02, jitter=0.05)}))
    assert found.winner == ""
    more = found.differences["lstm"].more_seeds
    assert more is not None
    assert (
        f"the interval contains zero; about {more} more seeds of each would show a difference of this size"
        in found.sentence
    )


def test_single_runs_name_no_winner_however_far_apart(runs_of: RunsOf) -> None:
    found = judged(runs_of({"lstm": {1: 9.0}, "transformer": {1: 0.1}}))
    assert found.winner == ""
    assert found.sentence.startswith("One seed each: no winner can be named")
    lopsided = judged(runs_of({"gru": {1: 9.0}, "rnn": SEEDS}))
    assert (lopsided.winner, lopsided.sentence[:23]) == ("", "One side has a single s")


def test_higher_is_better_for_recall(runs_of: RunsOf) -> None:
    assert judged(runs_of({"lstm": SEEDS, "transformer": shifted(0.5)}, metric="recall")).winner == "transformer"


def test_no_winner_by_a_metric_whose_good_side_is_not_known(runs_of: RunsOf) -> None:
    found = judged(runs_of({"lstm": SEEDS, "transformer": shifted(0.5)}, metric="speed"))
    assert found.winner == ""
    assert "transformer has a higher speed than lstm; its name does not tell which is better" in found.sentence


def test_a_seed_that_went_astray_forbids_a_winner(runs_of: RunsOf) -> None:
    """The mean of the seeds that survived would flatter the setting."""
    found = judged(runs_of({"lstm": SEEDS, "transformer": shifted(-0.5) | {4: math.nan}}))
    assert found.winner == ""
    assert found.sentence == "No winner can be named: in transformer, seed 4 gave nan."


def test_a_run_without_the_metric_forbids_a_winner(runs_of: RunsOf, make_run: MakeRun) -> None:
    runs = runs_of({"lstm": SEEDS, "transformer": shifted(-0.5)})
    config = {"model": {"core": "transformer"}, "options": {"seed": 5}}
    found = judged([*runs, *compared([make_run("mute-mole", seed=5, config=config)])], "val_bpb")
    assert found.sentence == "No winner can be named: in transformer, mute-mole has no figure."


def test_of_three_settings_the_best_must_beat_both(runs_of: RunsOf) -> None:
    found = judged(runs_of({"a": SEEDS, "b": shifted(-0.5), "c": shifted(-0.9, jitter=0.02)}))
    assert (found.winner, found.best, list(found.differences)) == ("c", "c", ["a", "b"])
    assert [one.confidence for one in found.differences.values()] == [pytest.approx(1 - 0.05 / 3)] * 2
    close = judged(runs_of({"d": SEEDS, "e": shifted(-0.5), "f": shifted(-0.505, jitter=0.03)}))
    assert close.winner == ""
    assert "No winner between f and e" in close.sentence
    assert "f and d" not in close.sentence


def test_equal_differences_give_no_measure_of_chance(runs_of: RunsOf) -> None:
    found = judged(runs_of({"lstm": SEEDS, "transformer": {seed: value - 0.5 for seed, value in SEEDS.items()}}))
    assert found.winner == ""
    assert "a difference of exactly -0.5, so chance cannot be measured" in found.sentence


def test_the_means_and_what_stands_behind_them(runs_of: RunsOf) -> None:
    found = judged(runs_of({"lstm": {1: 1.0, 2: 2.0, 3: 3.0, 4: 100.0}, "transformer": SEEDS}))
    assert found.group_cells()[0][:4] == ("lstm", "4", "26.5", "2.5")


def test_runs_of_one_seed_count_once(runs_of: RunsOf, make_run: MakeRun) -> None:
    runs = runs_of({"lstm": SEEDS, "transformer": shifted(-0.5)})
    again = make_run(
        "spare-mole", {"val_bpb": [4.0]}, seed=1, config={"model": {"core": "lstm"}, "options": {"seed": 1}}
    )
    grouping = group_by("model.core", [*runs, *compared([again])])
    assert any("lstm has several runs of seed 1" in line for line in grouping.warnings)
    assert verdicts(grouping.groups)[0].stats["lstm"].values == {**SEEDS, 1: 3.0}


def test_metrics_that_were_asked_for(runs_of: RunsOf) -> None:
    runs = runs_of({"lstm": SEEDS, "transformer": SEEDS})
    groups = group_by("model.core", runs).groups
    assert [one.metric for one in verdicts(groups, ["val_bpb"])] == ["val_bpb"]
    with pytest.raises(UserError, match="--metric val_bbp: no run here has it; did you mean val_bpb"):
        verdicts(groups, ["val_bbp"])


def test_groups_stand_in_the_order_of_their_numbers(make_run: MakeRun) -> None:
    runs = compared([make_run(f"r-{lr}", config={"lr": lr}) for lr in (0.1, 2.0, 0.02, 10.0)])
    assert list(group_by("lr", runs).groups) == ["0.02", "0.1", "2.0", "10.0"]


def test_grouping_by_verb_and_by_tag(make_run: MakeRun) -> None:
    first, second, third = make_run("brave-otter"), make_run("calm-heron", verb="finetune"), make_run("keen-owl")
    change_marks(first, tags=("wide", "april"))
    change_marks(second, tags=("narrow",))
    runs = compared([first, second, third])
    assert list(group_by("verb", runs).groups) == ["finetune", "pretrain"]
    by_tag = group_by("tag", runs)
    assert list(by_tag.groups) == ["april, wide", "narrow"]
    assert by_tag.left_out == (f"{third.name}: has no tag",)


def test_bad_and_unfinished_runs_are_left_out_with_their_reason(runs_of: RunsOf, make_run: MakeRun) -> None:
    runs = runs_of({"lstm": SEEDS, "transformer": shifted(-0.5)})
    change_marks(runs[0].record.folder, bad="labels were shifted")
    failed = make_run("mute-mole", status="failed", error="Oops: it broke", config={"model": {"core": "lstm"}})
    runs = compared([*(run.record.folder for run in runs), failed])
    grouping = group_by("model.core", runs)
    assert [len(group) for group in grouping.groups.values()] == [3, 4]
    assert grouping.left_out == (
        f"{runs[0].record.id}: marked bad: labels were shifted (--include-bad takes it in)",
        f"{failed.name}: failed: Oops: it broke",
    )
    assert "mute-mole (model.core = lstm) failed: the runs that are left may be the lucky seeds" in grouping.warnings
    assert [len(group) for group in group_by("model.core", runs, include_bad=True).groups.values()] == [4, 4]


def test_what_speaks_against_reading_runs_as_seeds(make_run: MakeRun) -> None:
    def config(core: str, seed: int, lr: float) -> dict[str, object]:
        return {"model": {"core": core}, "options": {"seed": seed}, "lr": lr}

    settings = [("lstm", 1, 0.1), ("lstm", 2, 0.2), ("gru", 1, 0.3)]
    folders = [make_run(f"{core}-{seed}", seed=seed, config=config(core, seed, lr)) for core, seed, lr in settings]
    warnings = group_by("model.core", compared(folders)).warnings
    assert "runs of model.core = lstm are not seeds of one setting: they differ in lr" in warnings
    assert "the groups differ not only in model.core but also in lr" in warnings
    assert any(line.startswith("no code was kept with gru-1, lstm-1, lstm-2") for line in warnings)


def test_failed_checks_are_told(make_run: MakeRun) -> None:
    checks = [{"name": "leakage", "verdict": "failed"}, {"name": "shift", "verdict": "ok"}]
    runs = compared([make_run("lstm-1", config={"x": 1}, checks=checks), make_run("gru-1", config={"x": 2})])
    assert "checks for silent bugs failed in lstm-1 (leakage)" in group_by("x", runs).warnings


def test_different_code_is_told(repository: Path) -> None:
    def run(x: int, edit: str, seed: int = 0) -> Path:
        (repository / "helper.py").write_text(edit)
        with Run.create("pretrain", ["understudy"], {"x": x}, seed=seed) as made:
            return made.folder

    same, edited, other = run(1, "a = 1\n"), run(1, "a = 2\n", seed=1), run(2, "a = 1\n")
    assert group_by("x", compared([same, other])).warnings == ()
    assert group_by("x", compared([edited, other])).warnings == ("the groups ran on different code: helper.py",)
    within = group_by("x", compared([same, edited, other])).warnings
    assert within == ("runs of x = 1 ran on different code: helper.py",)


MISTAKES = [
    ("model.cor", "no run here has the configuration key 'model.cor'; did you mean model.core"),
    ("model.core", "needs runs with two or more values of it; there is model.core = lstm in 4 runs"),
    ("tag", "needs runs with two or more values of it; there is none in 4 runs; left out: 2026"),
]


@pytest.mark.parametrize(("key", "message"), MISTAKES)
def test_keys_that_make_no_groups(key: str, message: str, runs_of: RunsOf) -> None:
    with pytest.raises(UserError, match=message):
        group_by(key, runs_of({"lstm": SEEDS}))
