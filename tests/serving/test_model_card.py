"""What is said of a served model."""

import json
from pathlib import Path

import pytest

from understudy.runs.record import change_marks
from understudy.serving.model_card import model_card
from understudy.training.loading import Loaded, load_model

SHA = "0123456789abcdef" * 4
RUN = {
    "verb": "pretrain",
    "created": "2026-11-23T14:12:03+00:00",
    "ended": "2026-11-23T14:20:03+00:00",
    "status": "finished",
    "seed": 3,
    "config": {"data": {"data": ["smalltalk"]}},
    "data": [{"path": "/home/ann/chats.jsonl", "bytes": 25_000, "sha256": SHA}],
    "parents": ["20261123-1400-brave-otter"],
    "outcome": {"val_bpb": 1.23456, "headline": ["recall", 0.96]},
    "code": {"commit": SHA[:40], "branch": "main", "dirty": True, "dirty_files": ["a.py"], "untracked_files": ["b.py"]},
    "checks": [
        {"name": "reply_mask", "verdict": "ok", "measured": "", "expected": ""},
        {"name": "train_valid_overlap", "verdict": "failed", "measured": "60 of 60", "expected": "0"},
    ],
}


@pytest.fixture(scope="module")
def checkpoint(save, sharp_model) -> Loaded:
    return load_model(Path(save(sharp_model("modern"))))


@pytest.fixture
def run(checkpoint, tmp_path) -> Loaded:
    """The checkpoint in a run's folder."""
    folder = tmp_path / "20261123-1412-calm-heron"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(RUN))
    return Loaded(checkpoint.model, checkpoint.tokenizer, folder / "checkpoints" / "step-000010", checkpoint.state)


def test_a_run_says_what_it_learned_from_how_well_and_what_the_checks_found(run):
    card = model_card("calm-heron", run)
    assert card.summary == f"Transformer (modern), {run.model.parameter_count():,} parameters, 1.235 bits per byte"
    assert card.sections["Quality"] == {"bits per byte": "1.235", "recall": "0.96"}
    assert card.sections["Data"] == {"chats.jsonl": "25 kB, sha256 0123456789ab"}
    assert card.sections["Code"]["commit"] == "0123456789ab on main"
    assert card.sections["Code"]["state"] == "2 files edited or new, kept with the run"
    assert card.sections["Run"]["builds on"] == "20261123-1400-brave-otter"
    assert card.sections["Run"]["verified"] == "not yet"
    assert card.sections["Checks"] == {
        "all": "1 ok, 1 failed",
        "train_valid_overlap": "failed: 60 of 60; expected 0",
    }
    assert card.warnings == ["1 of 2 checks for silent bugs failed"]
    assert card.chats


def test_marks_and_verification_count_as_they_are_when_asked(run):
    folder = run.folder.parent.parent
    change_marks(folder, bad="wrong data", tags=("demo",))
    (folder / "verified.json").write_text('{"identical": true}')
    card = model_card("calm-heron", run)
    assert "The run is marked bad: wrong data" in card.warnings
    assert card.sections["Run"]["tags"] == "demo"
    assert card.sections["Run"]["verified"] == "the same floats again, bit for bit"
    (folder / "verified.json").write_text('{"identical": false}')
    assert model_card("calm-heron", run).sections["Run"]["verified"] == "differs when run again"


def test_no_path_of_the_machine_is_told(run):
    assert "/home" not in str(model_card("calm-heron", run))
    assert str(run.folder.parent) not in str(model_card("calm-heron", run))


@pytest.mark.parametrize("written", ["{}", "no JSON", '{"checks": null, "code": null, "data": null, "outcome": []}'])
def test_a_run_of_which_little_is_known_still_has_a_card(run, written):
    (run.folder.parent.parent / "run.json").write_text(written)
    assert model_card("calm-heron", run).sections["Model"]["kind"] == "Transformer (modern)"


def test_weights_without_a_run_say_so(checkpoint, save, sharp_model):
    assert "no recorded run" in model_card("here", checkpoint).sections["Origin"]["record"]
    assert not model_card("plain", load_model(Path(save(sharp_model("lstm"), "text")))).chats
