import json
import math
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.runs.journal import Journal, last_value, last_values, read_lines, read_metrics, series


@settings(deadline=None)
@given(values=st.lists(st.floats(allow_nan=False), min_size=1))
def test_floats_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path = tmp_path_factory.mktemp("journal") / "metrics.jsonl"
    journal = Journal(path)
    for step, value in enumerate(values):
        journal.log(step, value=value)
    journal.close()
    found = series(read_metrics(path), "value")[1]
    assert [struct.pack("d", value) for value in found] == [struct.pack("d", value) for value in values]


def test_what_json_cannot_hold_is_written_as_strings(here: Path) -> None:
    journal = Journal("metrics.jsonl")
    journal.log(0, loss=float("nan"), high=float("inf"), low=float("-inf"), name="a", none=None)
    line = json.loads((here / "metrics.jsonl").read_text())
    assert (line["loss"], line["high"], line["low"]) == ("nan", "inf", "-inf")
    row = read_metrics("metrics.jsonl")[0]
    assert math.isnan(row["loss"])
    assert (row["high"], row["low"], row["name"], row["none"]) == (math.inf, -math.inf, "a", None)


def test_samples_keep_their_strings() -> None:
    samples: list[dict[str, Any]] = [{"step": 1, "text": "nan"}, {"text": "a\nb \u2028 ü \udcff"}]
    journal = Journal("samples.jsonl")
    for sample in samples:
        journal.append(sample)
    assert read_lines("samples.jsonl") == samples


def test_each_line_has_its_step_and_time() -> None:
    before = time.time()
    Journal("metrics.jsonl").log(7, loss=1)
    after = time.time()
    row = read_metrics("metrics.jsonl")[0]
    assert list(row) == ["step", "time", "loss"]
    assert row["step"] == 7
    assert before <= row["time"] <= after


@pytest.mark.parametrize("kept", range(1, 40))
def test_a_torn_line_is_skipped_and_does_not_swallow_the_next(kept: int, here: Path) -> None:
    path = here / "metrics.jsonl"
    Journal(path).log(0, loss=1.0)
    whole = path.read_bytes()
    line = b'{"step": 1, "time": 2.0, "loss": "\xc3\xa4bcdef"}\n'
    path.write_bytes(whole + line[:kept])
    assert [row["step"] for row in read_metrics(path)] == [0]
    assert last_value(path, "loss") == last_values(path)["loss"] == 1.0
    Journal(path).log(2, loss=3.0)
    assert [row["step"] for row in read_metrics(path)] == [0, 2]


def test_after_a_resume_the_last_line_of_a_step_counts() -> None:
    journal = Journal("metrics.jsonl")
    for step in (0, 1, 2, 3):
        journal.log(step, loss=float(step))
    journal.log(2, val_loss=20.0)
    for step in (2, 3, 4):  # resumed from step 2
        journal.log(step, loss=step + 0.5)
    rows = read_metrics("metrics.jsonl")
    assert series(rows, "loss") == ([0, 1, 2, 3, 4], [0.0, 1.0, 2.5, 3.5, 4.5])
    assert series(rows, "val_loss") == ([2], [20.0])
    raw = read_lines("metrics.jsonl")
    assert series(raw, "loss") == ([0, 1, 2, 3, 2, 3, 4], [0.0, 1.0, 2.0, 3.0, 2.5, 3.5, 4.5])


def test_two_writers_mix_whole_lines() -> None:
    first, second = Journal("metrics.jsonl"), Journal("metrics.jsonl")
    for step in range(100):
        first.log(step, a=step)
        second.log(step, b=step)
    assert len(read_metrics("metrics.jsonl")) == 200


def test_the_last_values_wherever_they_were_logged() -> None:
    path = Path("metrics.jsonl")
    assert last_values(path) == {}
    journal = Journal(path)
    journal.log(0, val_bpb=2.0, only=1)
    journal.log(1, loss=math.inf)
    for step in range(2, 2000):  # far more than is read at first
        journal.log(step, lr=0.5, text="x" * 100)
    path.open("a").write('{"step": 2000, "lo')
    last = last_values(path)
    assert last == {"step": 1999, "val_bpb": 2.0, "only": 1, "loss": math.inf, "lr": 0.5, "text": "x" * 100}
    assert {name: last_value(path, name) for name in last} == last
    assert last_value(path, "nested") is None
    journal.append({"sample": {"loss": 3.0}, "note": '"loss": 4.0'})
    assert last_value(path, "loss") == math.inf
    Journal(path).log(2000, loss=1.0)
    assert last_value(path, "loss") == 1.0


def test_a_missing_file_has_no_lines() -> None:
    assert read_metrics("missing.jsonl") == []
    assert last_value("missing.jsonl", "loss") is None
