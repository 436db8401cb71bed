"""Training, from the command line to the weights on disk."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from recipes.conftest import TINY, Understudy, last_run, metrics_of, record_of, talk, weights_of
from understudy.runs.journal import read_lines, series
from understudy.training.loading import load_model

CHATS = ["--data", "talk.jsonl", *TINY]


@pytest.mark.parametrize("core", ["transformer", "lstm"])
def test_a_run_learns_and_leaves_its_record(core: str, understudy: Understudy, capsys: Any) -> None:
    options = ["--steps", 40, "--lr", 2e-2, "--eval-every", 20, "--sample-every", 20, "--save-every", 15]
    assert understudy("pretrain", *CHATS, "--core", core, *options) == 0
    run = last_run()
    steps, losses = series(metrics_of(run), "loss")
    assert steps == list(range(1, 41))
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])
    assert series(metrics_of(run), "val_bpb")[0] == [20, 40]
    assert series(metrics_of(run), "val_bpb")[1][1] < series(metrics_of(run), "val_bpb")[1][0]

    record = record_of(run)
    assert record["status"] == "finished"
    assert record["outcome"]["headline"] == ["val_bpb", series(metrics_of(run), "val_bpb")[1][-1]]
    assert record["outcome"]["steps"] == 40
    assert record["config"]["model"]["core"] == core
    assert [Path(entry["path"]).name for entry in record["data"]] == ["talk.jsonl"]
    assert record["model"]["parameters"] == load_model(run).model.parameter_count()
    assert set(record["seeds"]) == {"init", "batches", "dropout"}

    assert [folder.name for folder in sorted((run / "checkpoints").iterdir())] == ["step-000030", "step-000040"]
    samples = read_lines(run / "samples.jsonl")
    assert {sample["step"] for sample in samples} == {20, 40}
    assert all({"user", "model"} <= set(sample) for sample in samples)
    said = (run / "console.log").read_text()
    assert "120 entries read, 0 left out" in said
    assert "validation" in said
    assert "bits per byte" in said
    assert said in capsys.readouterr().out.replace("\r", "")


def test_the_same_command_gives_the_same_floats(understudy: Understudy) -> None:
    runs = []
    for seed in (3, 3, 4):
        assert understudy("pretrain", *CHATS, "--steps", 6, "--dropout", 0.2, "--seed", seed, "--eval-every", 3) == 0
        runs.append(last_run())
    assert len(set(runs)) == 3
    assert metrics_of(runs[0]) == metrics_of(runs[1])
    assert weights_of(runs[0]) == weights_of(runs[1])
    assert weights_of(runs[0]) != weights_of(runs[2])
    assert metrics_of(runs[0])[0]["loss"] != metrics_of(runs[2])[0]["loss"]


def test_neither_evaluations_nor_samples_nor_checkpoints_change_what_is_learned(understudy: Understudy) -> None:
    weights = set()
    for every in (0, 1, 3):
        often = ["--eval-every", every, "--sample-every", every, "--save-every", every]
        assert understudy("pretrain", *CHATS, "--steps", 6, "--dropout", 0.2, *often) == 0
        weights.add(weights_of(last_run()))
    assert len(weights) == 1


def test_micro_batches_change_what_is_computed_at_once_and_little_else(understudy: Understudy) -> None:
    losses = []
    for size in (0, 3):
        assert understudy("pretrain", *CHATS, "--steps", 8, "--micro-batch-size", size) == 0
        losses.append(series(metrics_of(last_run()), "loss")[1])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_plain_text_with_a_bpe(here: Path, understudy: Understudy) -> None:
    line = "the cat sat on the mat and the owl flew over the hat."
    (here / "book.txt").write_text("\n\n".join([line * 3, line[::-1] * 3] * 200))
    shape = shlex.split("--layers 1 --width 32 --heads 2 --context 64 --batch-size 8 --vocab-size 300")
    options = ["--steps", 30, "--lr", 1e-2, "--valid-share", 0.3, "--eval-every", 15, "--sample-every", 30]
    assert understudy("pretrain", "--data", "book.txt", *shape, *options) == 0
    run = last_run()
    assert record_of(run)["outcome"]["kind"] == "text"
    bits = series(metrics_of(run), "val_bpb")[1]
    assert bits[1] < 0.8 * bits[0]
    assert load_model(run).tokenizer.vocab_size == 300
    assert (run / "tokenizer.json").read_bytes() == (run / "checkpoints/step-000030/tokenizer.json").read_bytes()
    assert all({"given", "model"} <= set(sample) for sample in read_lines(run / "samples.jsonl"))
    assert understudy("sample", "last", "--prompt", "the cat", "--max-tokens", 5) == 0


def test_the_built_in_conversations(understudy: Understudy) -> None:
    shape = shlex.split("--layers 1 --width 16 --heads 2 --context 512 --vocab-size 400 --batch-size 4")
    assert understudy("pretrain", *shape, "--steps", 2, "--smalltalk-conversations", 60, "--sample-every", 0) == 0
    outcome = record_of(last_run())["outcome"]
    assert outcome["headline"] == ["recall", outcome["right_recall"]]
    assert 0 <= outcome["right_recall"] < 0.5
    assert read_lines(last_run() / "samples.jsonl") == []


def test_other_weight_says_what_the_users_words_count(understudy: Understudy) -> None:
    losses = {}
    for weight in (0, 1):
        assert understudy("pretrain", *CHATS, "--steps", 1, "--other-weight", weight) == 0
        losses[weight] = metrics_of(last_run())[0]["loss"]
    assert losses[0] != losses[1]


@pytest.fixture
def base(understudy: Understudy) -> Path:
    assert understudy("pretrain", *CHATS, "--steps", 30, "--lr", 2e-2, "--eval-every", 0) == 0
    return last_run()


def test_fine_tuning_goes_on_from_the_last_run(base: Path, here: Path, understudy: Understudy) -> None:
    (here / "more.jsonl").write_text(talk(80, seed=2))
    options = ["--steps", 30, "--batch-size", 8, "--lr", 1e-2, "--eval-every", 0]
    assert understudy("finetune", "--data", "more.jsonl", *options) == 0
    run = last_run()
    record = record_of(run)
    assert record["parents"] == [base.name]
    assert record["config"]["base"] == str(base / "checkpoints" / "step-000030")
    assert load_model(run).model.spec == load_model(base).model.spec
    assert load_model(run).tokenizer.fingerprint == load_model(base).tokenizer.fingerprint
    losses = series(metrics_of(run), "loss")[1]
    before = series(metrics_of(base), "loss")[1]
    assert losses[0] < 0.8 * before[0]  # it begins where the base ended
    assert losses[-1] < losses[0]
    assert weights_of(run) != weights_of(base)


def test_fine_tuning_learns_the_replies_alone(base: Path, here: Path, understudy: Understudy) -> None:
    entry = {"messages": [{"role": "user", "content": "cat"}, {"role": "assistant", "content": "dog"}]}
    (here / "one.jsonl").write_text("\n".join(json.dumps({**entry, "id": i}) for i in range(4)))
    (here / "valid.jsonl").write_text(talk(1, seed=9))
    data = ["--data", "one.jsonl", "--valid", "valid.jsonl"]
    assert understudy("finetune", *data, "--steps", 1, "--batch-size", 1) == 0
    loss = metrics_of(last_run())[0]["loss"]
    loaded = load_model(base)
    assert loss == pytest.approx(reply_nats(loaded, "cat", "dog"), rel=1e-4)


def reply_nats(loaded: Any, question: str, answer: str) -> float:
    """Nats a token of an answer and its end, by hand."""
    import torch

    special = loaded.tokenizer.special
    asked = [special["<|bos|>"], special["<|user|>"], *question.encode(), special["<|end|>"], special["<|assistant|>"]]
    reply = [*answer.encode(), special["<|end|>"]]
    with torch.no_grad():
        log_p = loaded.model(torch.tensor([asked + reply]))[0][0].log_softmax(-1)
    return -sum(log_p[len(asked) - 1 + i, token].item() for i, token in enumerate(reply)) / len(reply)


def test_fine_tuning_from_a_checkpoint_outside_any_run(base: Path, here: Path, understudy: Understudy) -> None:
    (base / "checkpoints" / "step-000030").rename(here / "model")
    assert understudy("finetune", "--base", "./model", "--data", "talk.jsonl", "--steps", 1, "--batch-size", 8) == 0
    assert record_of(last_run())["parents"] == []


def test_an_evaluation_gives_the_last_figures_again(base: Path, understudy: Understudy, capsys: Any) -> None:
    outcome = record_of(base)["outcome"]
    capsys.readouterr()
    assert understudy("eval", "last", "--batch-size", 3) == 0
    record = record_of(last_run())
    assert record["verb"] == "eval"
    assert record["parents"] == [base.name]
    assert record["outcome"]["bpb"] == pytest.approx(outcome["val_bpb"], rel=1e-5)
    assert record["outcome"]["loss"] == pytest.approx(outcome["val_loss"], rel=1e-5)
    assert record["outcome"]["perplexity"] == pytest.approx(outcome["val_perplexity"], rel=1e-5)
    assert f"{outcome['val_bpb']:.4f}" in capsys.readouterr().out
    assert understudy("eval", base.name) == 0


def test_an_evaluation_on_files_takes_all_of_them(base: Path, here: Path, understudy: Understudy, capsys: Any) -> None:
    (here / "more.jsonl").write_text(talk(9, seed=2) + "{\n")
    assert understudy("eval", "last", "--data", "more.jsonl") == 0
    said = capsys.readouterr().out
    assert "more.jsonl:10: invalid JSON" in said
    assert "9 documents" in said
    assert [Path(entry["path"]).name for entry in record_of(last_run())["data"]] == ["more.jsonl"]


def test_a_finished_run_is_ready_to_talk(base: Path, understudy: Understudy, capsys: Any) -> None:
    capsys.readouterr()
    assert understudy("sample", "last", "--prompt", "cat dog", "--count", 2, "--sampling-seed", 1) == 0
    first = capsys.readouterr().out
    assert first
    assert understudy("sample", base.name, "--prompt", "cat dog", "--count", 2, "--sampling-seed", 1) == 0
    assert capsys.readouterr().out == first


def test_the_token_store_is_shared_between_runs(understudy: Understudy) -> None:
    for _ in range(2):
        assert understudy("pretrain", *CHATS, "--steps", 1) == 0
    assert len(list((last_run().parent / "cache").iterdir())) == 1
