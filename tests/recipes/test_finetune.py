"""Fine-tuning with LoRA, types of tokens and next-reply classification: whole runs, resumed, in two processes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from recipes.conftest import TINY, Understudy, last_run, metrics_of, pretend_killed, record_of, weights_of
from recipes.test_distributed import Together, largest_difference, together  # noqa: F401 - a fixture
from understudy.evaluation.ranking import candidate_scores
from understudy.recipes.finetune import OWN, PUBLISHED, Basis, Config, preset
from understudy.training.loading import load_model

BASE = ["pretrain", "--data", "talk.jsonl", *TINY, "--block", "gpt1", "--steps", 4, "--lr", 3e-3]
TUNE = ["finetune", "--data", "talk.jsonl", "--steps", 6, "--save-every", 3, "--batch-size", 8, "--lr", 1e-3]
TUNE += ["--sample-every", 0, "--dtype", "float32"]
WAYS: list[list[Any]] = [
    ["--lora", 2, "--dropout", 0.1],
    ["--candidates", 3, "--token-types", "--dropout", 0.1],
    ["--lora", 2, "--candidates", 3, "--token-types", "--micro-batch-size", 3, "--checkpoint-activations"],
]


def tuned(understudy: Understudy, *options: Any) -> Path:
    assert understudy(*TUNE, *options) == 0
    return last_run()


@pytest.fixture
def base(trained: Callable[..., Path]) -> Path:
    return trained(*BASE)


@pytest.mark.checks
@pytest.mark.parametrize("options", WAYS)
def test_a_resumed_run_is_the_undisturbed_one_bit_for_bit(
    options: list[Any], base: Path, understudy: Understudy
) -> None:
    run = tuned(understudy, *options)
    weights, metrics = weights_of(run), metrics_of(run)
    failed = [check["name"] for check in record_of(run)["checks"] if check["verdict"] == "failed"]
    assert not failed
    shutil.rmtree(run / "checkpoints" / "step-000006")
    shutil.rmtree(base)  # which is not needed any more
    pretend_killed(run)
    assert understudy("finetune", "--resume", run.name) == 0
    assert (weights_of(run), metrics_of(run)) == (weights, metrics)


@pytest.mark.parametrize("options", WAYS)
def test_two_processes_end_with_the_weights_of_one(
    options: list[Any],
    base: Path,
    together: Together,  # noqa: F811
    understudy: Understudy,
) -> None:
    options = [0.0 if before == "--dropout" else one for before, one in zip(["", *options], options, strict=False)]
    done = together(*TUNE, *options)
    assert done.codes == [0, 0], done.errors
    two = last_run()
    one = tuned(understudy, "--base", base.name, *options)
    assert largest_difference(two, one) < 5e-6
    for ours, theirs in zip(metrics_of(two), metrics_of(one), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_checkpoints_of_lora_hold_plain_weights_that_compute_what_was_learned(
    base: Path, understudy: Understudy, capsys: Any
) -> None:
    run = tuned(understudy, "--lora", 2)
    folder = run / "checkpoints" / "step-000006"
    plain, before = load_file(folder / "model.safetensors"), load_model(base).model.state_dict()
    assert plain.keys() == before.keys()
    changed = {name for name in plain if not torch.equal(plain[name], before[name])}
    matrices = {name for name in plain if name.endswith((".qkv.weight", ".out.weight", ".up.weight"))}
    assert changed == {*matrices, "embedding.weight"}
    training = load_file(folder / "training.safetensors")
    weight, factors = (training[f"weight:core.blocks.0.mlp.up.{name}"] for name in ("weight", "lora_A"))
    assert torch.equal(weight, before["core.blocks.0.mlp.up.weight"])
    assert factors.shape == (2, 32)
    count = 2 * ((32 + 96) + (32 + 32) + (32 + 128) + (128 + 32)) + 6 * 32
    assert record_of(run)["model"]["learned_parameters"] == count
    assert f"parameters, of which {count:,} learn" in capsys.readouterr().out
    figures = [row for row in metrics_of(run) if "val_loss" in row][-1]
    assert understudy("eval", run.name, "--conversations", 0) == 0
    assert record_of(last_run())["outcome"]["loss"] == pytest.approx(figures["val_loss"], rel=1e-4)


def test_all_parameters_learn_without_lora(base: Path, understudy: Understudy) -> None:
    run = tuned(understudy)
    plain, before = (load_model(one).model.state_dict() for one in (run, base))
    assert all(not torch.equal(plain[name], before[name]) for name in plain)
    model = record_of(run)["model"]
    assert model["learned_parameters"] == model["parameters"]


def test_types_and_head_are_part_of_the_checkpoint_and_of_what_is_tuned_from_it(
    base: Path, understudy: Understudy
) -> None:
    run = tuned(understudy, "--candidates", 3, "--token-types")
    loaded = load_model(run)
    assert loaded.model.speakers == tuple(
        loaded.tokenizer.special[f"<|{role}|>"] for role in ("system", "user", "assistant")
    )
    assert loaded.model.choice is not None
    assert "choice_loss" in metrics_of(run)[0]
    prompt = [loaded.tokenizer.special["<|bos|>"], loaded.tokenizer.special["<|assistant|>"]]
    replies = [[65, loaded.tokenizer.special["<|end|>"]], [66, 67, loaded.tokenizer.special["<|end|>"]]]
    with torch.no_grad():
        alone = [
            float(loaded.model.choice(loaded.model.hidden(torch.tensor([[*prompt, *reply]]))[0][0, -1]))
            for reply in replies
        ]
    torch.testing.assert_close(candidate_scores(loaded.model, prompt, replies), torch.tensor(alone))
    assert tuned(understudy, "--candidates", 0, "--no-token-types") != run
    plain = load_model(last_run()).model
    assert (plain.choice, plain.speakers) == (None, ())


def test_epochs_stand_for_steps(base: Path, understudy: Understudy) -> None:
    run = tuned(understudy, "--epochs", 2, "--warmup", 0)
    rows = [row for row in metrics_of(run) if "loss" in row]
    one = tuned(understudy, "--base", base.name, "--epochs", 1)
    assert len(rows) == 2 * len([row for row in metrics_of(one) if "loss" in row])
    assert record_of(run)["config"]["epochs"] == 2
    assert rows[-1]["lr"] == pytest.approx(1e-3 / len(rows))  # the schedule is made for those steps


def test_what_the_defaults_depend_on(base: Path, understudy: Understudy) -> None:
    assert preset(Basis()) == preset(Basis(base=base.name)) == Config()
    lora = preset(Basis(lora=4))
    assert lora.learner.lr == 10 * OWN.lr
    assert lora.lora == 0  # which the command line says
    published = preset(Basis(base="gpt1"))
    assert (published.learner, published.dropout, published.token_types) == (PUBLISHED, 0.1, True)
    assert (published.epochs, published.candidates) == (1.0, 0)
    assert preset(Basis(base="gpt1", steps=9)).epochs == 0
    assert preset(Basis(base="gpt1", resume="last")) == Config()
    assert preset(Basis(base="no-such-run")) == Config()
    typed = tuned(understudy, "--token-types")
    assert preset(Basis(base=typed.name)).learner == PUBLISHED  # its like was fine-tuned so before


def test_the_help_shows_the_defaults_of_the_base(understudy: Understudy, capsys: Any) -> None:
    for base, rate in (
        ([], "0.0003"),
        (["--base=gpt1"], "6.25e-05"),
        (["--base", "gpt1", "--lora", "4"], "0.000625"),
    ):
        with pytest.raises(SystemExit) as ended:
            understudy("finetune", *base, "--help")
        assert ended.value.code == 0
        assert f"Peak learning rate of AdamW. (default: {rate})" in " ".join(capsys.readouterr().out.split())


def test_the_run_records_the_defaults_it_took(base: Path, understudy: Understudy) -> None:
    tuned(understudy, "--token-types")
    assert understudy("finetune", "--data", "talk.jsonl", "--steps", 2, "--sample-every", 0) == 0
    config = record_of(last_run())["config"]
    assert (config["learner"]["lr"], config["learner"]["beta2"], config["dropout"]) == (6.25e-5, 0.999, 0.1)
    assert (config["token_types"], config["epochs"], config["learner"]["steps"]) == (True, 0.0, 2)


MISTAKES: list[tuple[list[Any], str]] = [
    (["--lora", 99], "--lora 99 is out of range; expected 0 to 32"),
    (["--lora", -1], "--lora -1 is out of range"),
    (["--candidates", 1], "--candidates 1 is out of range; expected 0, or 2 to 100"),
    (["--epochs", -1], "--epochs -1.0 is out of range; expected 0 or more"),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES)
def test_mistakes(options: list[Any], words: str, base: Path, understudy: Understudy, capsys: Any) -> None:
    assert understudy(*TUNE, *options) == 2
    assert words in capsys.readouterr().err
    assert last_run() == base


def test_a_base_without_attention(understudy: Understudy, capsys: Any) -> None:
    assert understudy(*BASE, "--core", "lstm") == 0
    for option, value in (("--lora", 2), ("--token-types", None)):
        assert understudy(*TUNE, *[one for one in (option, value) if one]) == 2
        assert f"{option} takes a Transformer, and this base is an LSTM" in capsys.readouterr().err
    tuned(understudy, "--candidates", 2)


def test_conversations_of_the_hub(here: Path, base: Path, understudy: Understudy) -> None:
    pytest.importorskip("datasets", reason="needs the extra hub")
    (here / "talks").mkdir()
    rows = [json.loads(line)["messages"] for line in (here / "talk.jsonl").read_text().splitlines()]
    lines = [json.dumps({"dialog": [message["content"] for message in messages]}) for messages in rows]
    (here / "talks" / "train.jsonl").write_text("\n".join(lines))
    assert understudy(*TUNE, "--data", "hub:talks") == 0
    record = record_of(last_run())
    assert record["config"]["data"]["data"] == ["hub:talks"]
    assert [Path(entry["path"]).parent.name for entry in record["data"]] == ["hub"]
    by_name = weights_of(last_run())
    assert weights_of(tuned(understudy, "--base", base.name)) == by_name


@pytest.mark.parametrize("options", [[], ["--lora", 2]])
def test_published_weights_take_transfertransfos_way_and_learn_the_tokens_they_lack(
    options: list[Any], here: Path, understudy: Understudy
) -> None:
    for package in ("transformers", "spacy", "ftfy"):
        pytest.importorskip(package, reason="the extra gpt1 and transformers are needed")
    from published.checkpoints import write_checkpoint

    write_checkpoint("gpt1", here / "small-gpt1")
    command = ["finetune", "--base", "./small-gpt1", "--data", "talk.jsonl", "--sample-every", 0]
    assert understudy(*command, *options) == 0
    run = last_run()
    config = record_of(run)["config"]
    rate = 6.25e-4 if options else 6.25e-5
    assert (config["learner"]["lr"], config["epochs"], config["dropout"]) == (pytest.approx(rate), 1.0, 0.1)
    loaded = load_model(run)
    assert len(loaded.model.speakers) == 3
    met = [loaded.tokenizer.special[name] for name in ("<|bos|>", "<|user|>", "<|assistant|>", "<|end|>")]
    assert len(loaded.model.embedding.weight[met].unique(dim=0)) == 4  # alike at first: the mean of all others
    assert understudy("finetune", "--data", "talk.jsonl", "--steps", 1, "--sample-every", 0) == 0
    assert record_of(last_run())["config"]["learner"]["lr"] == 6.25e-5
