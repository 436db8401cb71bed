"""Published weights that are incomplete, damaged or of another kind: one line each that says what is wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from published.checkpoints import random_model, write_checkpoint, write_release
from published.vocabularies import small_gpt1
from safetensors.torch import load_file, save_file

from understudy.errors import CheckpointError
from understudy.models.pretrained.folder import is_pretrained, read_pretrained

Break = Callable[[Path], None]


@pytest.fixture(scope="module", params=["gpt1", "gpt2"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    write_checkpoint(request.param, folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def release(tmp_path: Path) -> Path:
    write_release(random_model("gpt1", width=64, heads=1, layers=1), tmp_path)
    return tmp_path


def tensors(**changed: torch.Tensor | None) -> Break:
    """Sets a tensor of the checkpoint, whatever its prefix, or takes it away."""

    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        there = load_file(path)
        for name, tensor in changed.items():
            name = next((key for key in there if key.endswith(name)), name)
            there.pop(name, None)
            if tensor is not None:
                there[name] = tensor
        save_file(there, path)

    return change


def config(**changed: object) -> Break:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return change


def without(*names: str) -> Break:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def cut(name: str, share: float) -> Break:
    def change(folder: Path) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(len(whole) * share)])

    return change


def content(name: str, text: str) -> Break:
    return lambda folder: (folder / name).write_text(text) and None


CASES: list[tuple[Break, str]] = [
    (tensors(**{"h.1.mlp.c_fc.weight": None}), r"lacks 1 of \d+ tensors, the first h.1.mlp.c_fc.weight"),
    (
        tensors(**{"multiple_choice_head.summary.weight": torch.ones(1, 32)}),
        "holds 1 tensors that the model has no",
    ),
    (tensors(**{"h.0.ln_1.bias": torch.ones(31)}), r"tensor h.0.ln_1.bias is \[31\] of float32; expected \[32\]"),
    (tensors(**{"h.0.attn.c_attn.weight": torch.ones(96, 32)}), r"is \[96, 32\] of float32; expected \[32, 96\]"),
    (tensors(**{"h.0.ln_1.bias": torch.ones(32, dtype=torch.int8)}), r"is \[32\] of int8; expected \[32\] of floats"),
    (tensors(**{"lm_head.weight": torch.ones(2, 32)}), "lm_head.weight differs from .*; expected a tied head"),
    (cut("model.safetensors", 0.5), "model.safetensors cannot be read"),
    (cut("model.safetensors", 0.0), "model.safetensors cannot be read"),
    (without("model.safetensors"), "model.safetensors is missing; expected the weights there"),
    (content("config.json", "{"), r"config.json cannot be read"),
    (content("config.json", "[]"), r"config.json cannot be read"),
    (config(model_type="llama"), "is of a model_type 'llama'; expected 'openai-gpt' or 'gpt2'"),
    (config(n_layer=2), r"holds 12 tensors that the model has no place for, the first h.2.attn.c_attn.bias"),
    (config(n_layer=4), r"lacks 12 of \d+ tensors, the first h.3.attn.c_attn.bias"),
    (config(n_positions=64), r"is \[48, 32\] of float32; expected \[64, 32\]"),
    (config(n_head=5), r"a width \(n_embd\) of 32 does not split into 5 heads \(n_head\)"),
    (config(n_embd="wide"), "says n_embd is 'wide'; expected a whole number above 0"),
    (config(afn="relu", activation_function="relu"), "says (afn|activation_function) is 'relu'; only 'gelu"),
    (config(layer_norm_epsilon=1e-6), "says layer_norm_epsilon is 1e-06; only 1e-05 is known here"),
    (config(vocab_size=1000), "the weights have 1,000 tokens and the vocabulary names"),
    (without("vocab.json"), "holds no vocabulary; expected tokenizer.json, vocab.json and merges.txt, or"),
    (cut("vocab.json", 0.5), "vocab.json is not a vocabulary of GPT-1 or GPT-2"),
    (content("vocab.json", '{"a": 0, "b": 2}'), "its ids are not 0, 1, 2 and so on"),
    (content("merges.txt", "#version: 0.2\na b c\n"), "vocab.json is not a vocabulary of GPT-1 or GPT-2"),
    (content("merges.txt", "#version: 0.2\nqqq zzz\n"), "vocab.json is not a vocabulary of GPT-1 or GPT-2"),
]


@pytest.mark.parametrize(("break_it", "problem"), CASES, ids=[problem[:30] for _, problem in CASES])
def test_what_is_wrong_is_said(folder: Path, break_it: Break, problem: str) -> None:
    break_it(folder)
    with pytest.raises(CheckpointError, match=problem) as caught:
        read_pretrained(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_refused_with_the_way_out(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="a pickle, which can run any code when it is read; expected") as e:
        read_pretrained(folder)
    assert f"AutoModelForCausalLM.from_pretrained('{folder}').save_pretrained('{folder}')" in str(e.value)


def test_the_way_out_of_a_pickle_works(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    before = read_pretrained(folder)[0].state_dict()
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError) as caught:
        read_pretrained(folder)
    (code,) = re.findall(r'python -c "(.*)"', str(caught.value))
    exec(code)
    after = read_pretrained(folder)[0].state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_an_index_without_its_files(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../model-1.safetensors"}}))
    with pytest.raises(CheckpointError, match=re.escape(f"{folder}/model-1.safetensors is missing")):
        read_pretrained(folder)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match=r"index.json cannot be read"):
        read_pretrained(folder)


def shorten(folder: Path) -> None:
    path = folder / "params_9.npy"
    np.save(path, np.load(path)[:-5])


RELEASE_CASES: list[tuple[Break, str]] = [
    (without("params_4.npy"), "params_4.npy is missing; expected params_0 to params_9.npy"),
    (without("params_9.npy"), "params_9.npy is missing"),
    (cut("params_3.npy", 0.7), "params_3.npy cannot be read"),
    (shorten, r"the params files hold [\d,]+ numbers and params_shapes.json takes [\d,]+"),
    (content("params_shapes.json", "[[1, 2]]"), "params_shapes.json cannot be read .not two matrices, and twelve"),
    (without("encoder_bpe_40000.json"), "holds no vocabulary; expected .* encoder_bpe_40000.json and vocab_40000.bpe"),
    (lambda folder: np.save(folder / "params_0.npy", np.array([{}])), "params_0.npy cannot be read"),
]


@pytest.mark.parametrize(("break_it", "problem"), RELEASE_CASES, ids=[problem[:24] for _, problem in RELEASE_CASES])
def test_what_is_wrong_with_the_layout_of_2018_is_said(release: Path, break_it: Break, problem: str) -> None:
    break_it(release)
    with pytest.raises(CheckpointError, match=problem):
        read_pretrained(release)


def test_what_is_published_weights_and_what_is_not(whole: Path, release: Path, tmp_path_factory) -> None:
    assert is_pretrained(whole)
    assert is_pretrained(release)
    empty = tmp_path_factory.mktemp("empty")
    assert not is_pretrained(empty)
    (empty / "config.json").write_text("{}")
    (empty / "state.json").write_text("{}")  # a checkpoint of our own, beside whatever else
    assert not is_pretrained(empty)


def test_a_vocabulary_in_one_file_is_read_first(folder: Path) -> None:
    tokens, merges = small_gpt1()
    added = [{"id": 0, "content": "<unk>"}]
    model = {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": [" ".join(pair) for pair in merges]}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": added}))
    if "openai" in (folder / "config.json").read_text():
        assert read_pretrained(folder)[1].definition()["vocabulary"] == tokens
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer.json is not a vocabulary of GPT-1 or GPT-2"):
        read_pretrained(folder)
