import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.mlflow.conftest import finished_run, new_run
from understudy.runs.mlflow.contents import Point, batches, clean_name, parameters, tags, times
from understudy.runs.record import change_marks, read_record, set_note

ROWS = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.floats() | st.integers(-9, 9) | st.booleans(), max_size=4),
    max_size=30,
)


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


def points(path: Path, start: int = 0) -> list[Point]:
    return [point for found, _ in batches(path, start) for point in found]


def test_only_numbers_are_metrics(here: Path) -> None:
    row = {
        "step": 3,
        "time": 1.5,
        "loss": "nan",
        "norm": "-inf",
        "ok": True,
        "name": "cat",
        "list": [1],
        "big": 10**400,
    }
    found = {point.name: point.value for point in points(written(here / "m.jsonl", [json.dumps(row)]))}
    assert math.isnan(found.pop("loss"))
    assert found == {"norm": -math.inf, "ok": 1.0, "big": math.inf}


@pytest.mark.parametrize("line", ["{torn", "[1]", '{"loss": 1}', '{"step": "x", "time": 1.0, "loss": 1}', '"cat"', ""])
def test_lines_without_metrics_are_skipped(line: str, here: Path) -> None:
    good = json.dumps({"step": 1, "time": 2.0, "loss": 3.0})
    path = written(here / "m.jsonl", [good, line, good])
    assert points(path) == [Point("loss", 3.0, 2000, 1)] * 2


def test_a_line_that_is_being_written_waits(here: Path) -> None:
    path = written(here / "m.jsonl", [json.dumps({"step": 1, "time": 2.0, "loss": 3.0})])
    whole = path.stat().st_size
    with open(path, "a") as file:
        file.write('{"step": 2, "time": 3.0, "lo')
    ((found, end),) = batches(path, 0)
    assert (len(found), end) == (1, whole)
    with open(path, "a") as file:
        file.write('ss": 4.0}\n')
    assert points(path, whole) == [Point("loss", 4.0, 3000, 2)]


def test_a_batch_is_not_larger_than_mlflow_accepts(here: Path) -> None:
    rows = [{"step": step, "time": 1.0, **{f"m{i}": 1.0 for i in range(300)}} for step in range(10)]
    sizes = [len(found) for found, _ in batches(written(here / "m.jsonl", list(map(json.dumps, rows))), 0)]
    assert sizes == [900, 900, 900, 300]


@given(rows=ROWS, data=st.data())
def test_resuming_after_any_batch_gives_the_same_points(
    rows: list[dict[str, float]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [json.dumps({"step": step, "time": 1.0 + step, **row}) for step, row in enumerate(rows)]
    lines = [line.replace("NaN", '"nan"').replace("-Infinity", '"-inf"').replace("Infinity", '"inf"') for line in lines]
    path = written(tmp_path_factory.mktemp("rows") / "m.jsonl", lines)
    whole = points(path)
    assert len(whole) == sum(map(len, rows))
    at = [0]
    for line in lines:
        at.append(at[-1] + len(line) + 1)
    cut = data.draw(st.sampled_from(at))
    before = points(written(path.with_name("before"), lines[: at.index(cut)]))
    assert repr(before + points(path, cut)) == repr(whole)


def test_a_journal_that_became_shorter_is_read_from_its_start(here: Path) -> None:
    path = written(here / "m.jsonl", [json.dumps({"step": 1, "time": 2.0, "loss": 3.0})])
    assert points(path, 10_000) == points(path)


@given(st.text(max_size=300))
def test_mlflow_accepts_any_clean_name(name: str) -> None:
    validation = pytest.importorskip("mlflow.utils.validation", reason="the extra mlflow is not installed")
    clean = clean_name(name)
    validation._validate_metric_name(clean)
    assert 0 < len(clean) <= 250
    assert clean_name(clean) == clean


def test_parameters_and_tags(here: Path) -> None:
    run = finished_run(parents=["20261123-1412-brave-otter"])
    assert parameters(read_record(run.folder)) == {
        "options.seed": "7",
        "learner.steps": "40",
        "learner.learning_rate": "0.001",
        "data.data": '["a.txt"]',
    }
    run.update(argv=["understudy", "pretrain", "--layers", "1"])
    change_marks(run.folder, bad="labels were shifted", tags=("baseline", "small"), pinned=True)
    set_note(run.folder, "too high a rate")
    found = tags(read_record(run.folder))
    expected = {
        "understudy.run": run.id,
        "verb": "pretrain",
        "status": "finished",
        "host": run.record["host"],
        "seed": "7",
        "parents": "20261123-1412-brave-otter",
        "bad": "labels were shifted",
        "tags": "baseline, small",
        "pinned": "true",
        "mlflow.note.content": "too high a rate",
        "command": "understudy pretrain --layers 1",
        "mlflow.source.name": "understudy pretrain",
        "mlflow.source.type": "LOCAL",
    }
    assert found == expected


def test_the_code_of_a_run_is_in_its_tags(repository: Path) -> None:
    (repository / "edited.py").write_text("after = 1\n")
    run = new_run()
    found = tags(read_record(run.folder))
    commit = run.record["code"]["commit"]
    assert found["commit"] == found["mlflow.source.git.commit"] == commit
    assert len(commit) == 40
    assert found["dirty"] == "true"
    assert found["snapshot"] == f"refs/runs/{run.id}"


def test_times_are_those_of_the_record(here: Path) -> None:
    run = new_run()
    began, end = times(read_record(run.folder))
    assert end is None
    assert began == round(read_record(run.folder).created.timestamp() * 1000)
    with run:
        pass
    assert times(read_record(run.folder)) == (began, pytest.approx(began, abs=60_000))
