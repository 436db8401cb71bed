"""`understudy export-model`, and runs that begin with published weights in a folder."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from published.checkpoints import random_model, write_checkpoint, write_release

from recipes.conftest import TINY, Understudy, last_run, record_of
from understudy.data.tokenizers.gpt1 import GPT1Tokenizer
from understudy.errors import CheckpointError
from understudy.training.loading import load_model

SHORT = ["--steps", 2, "--batch-size", 2, "--sample-every", 0, "--device", "cpu"]


def test_a_run_is_saved_for_transformers_and_is_a_base_again(understudy: Understudy, here: Path, capsys: Any) -> None:
    from transformers import AutoModelForCausalLM

    assert understudy("pretrain", "--data", "talk.jsonl", *TINY, "--block", "gpt2", "--steps", 3) == 0
    run = last_run()
    assert understudy("export-model", "last", "saved") == 0
    ours = load_model(run)
    assert f"Saved {ours.model.parameter_count():,} parameters to saved." in capsys.readouterr().out
    theirs = AutoModelForCausalLM.from_pretrained("saved").eval()
    ids_BT = torch.randint(0, ours.model.vocab_size, (2, 12))
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids_BT).logits, ours.model(ids_BT)[0], rtol=0, atol=1e-4)

    assert understudy("finetune", "--base", "saved", "--data", "talk.jsonl", *SHORT) == 0
    record = record_of(last_run())
    assert record["base"]["source"] == str(here / "saved")
    assert [Path(entry["path"]).name for entry in record["base"]["files"]] == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


@pytest.mark.parametrize("layout", ["transformers", "2018"])
def test_gpt1_in_a_folder_is_tuned_and_stands_alone(
    understudy: Understudy, here: Path, capsys: Any, layout: str
) -> None:
    if layout == "2018":
        (here / "gpt1-files").mkdir()
        write_release(random_model("gpt1", width=64, heads=1, layers=1, context=64), here / "gpt1-files")
    else:
        write_checkpoint("gpt1", here / "gpt1-files", width=64, heads=1, layers=1, context=64)
    assert understudy("finetune", "--base", "gpt1-files", "--data", "talk.jsonl", *SHORT) == 0
    run = last_run()
    assert understudy("chat", "gpt1-files") == 2
    assert record_of(run)["base"]["source"] == str(here / "gpt1-files")
    assert understudy("sample", "gpt1-files", "--max-tokens", 5) == 0
    (here / "story.txt").write_text("The  cat sat here.\n" * 30)
    assert understudy("eval", "gpt1-files", "--data", "story.txt", "--device", "cpu") == 0
    measured = record_of(last_run())
    assert (measured["verb"], measured["base"]["source"]) == ("eval", str(here / "gpt1-files"))
    assert measured["outcome"]["bpb"] > 0
    shutil.rmtree(here / "gpt1-files")  # the checkpoint holds the vocabulary too
    loaded = load_model(run)
    assert isinstance(loaded.tokenizer, GPT1Tokenizer)
    assert understudy("sample", str(run), "--prompt", "the cat", "--max-tokens", 5) == 0
    capsys.readouterr()
    assert understudy("export-model", str(run), "saved") == 0
    told = capsys.readouterr().out
    assert "transformers cuts words by BERT's rules" in told
    assert "give transformers token_type_ids" in told
    again = load_model(here / "saved")
    assert again.state["progress"]["kind"] == "chats"
    assert again.model.speakers == loaded.model.speakers != ()
    assert again.tokenizer.fingerprint == loaded.tokenizer.fingerprint
    assert torch.equal(again.model.embedding.weight, loaded.model.embedding.weight)


def test_a_base_that_is_damaged_makes_no_run(understudy: Understudy, here: Path, capsys: Any) -> None:
    write_checkpoint("gpt1", here / "files")
    (here / "files" / "config.json").write_text("{")
    assert understudy("finetune", "--base", "files", "--data", "talk.jsonl", *SHORT) == 2
    assert "config.json cannot be read" in capsys.readouterr().err
    assert not list((here / "runs").glob("2*"))
    with pytest.raises(CheckpointError):
        load_model(here / "files")
