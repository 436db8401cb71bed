"""Published weights in a folder: read in transformers' format or that of 2018, saved in transformers'."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from understudy.data.tokenizers import Tokenizer
from understudy.errors import CheckpointError, ConfigError
from understudy.files import fingerprint, reading, whole, write_json
from understudy.models.language_model import LanguageModel, empty_model
from understudy.models.pretrained import config, release
from understudy.models.pretrained.names import EMBEDDING, OUTSIDE, to_ours, to_theirs
from understudy.models.pretrained.vocabulary import read_tokenizer, vocabulary_files, write_tokenizer
from understudy.models.spec import CoreSpec

WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def is_pretrained(folder: Path) -> bool:
    """Whether the folder looks like published weights, whole or not."""
    names = (config.NAME, release.SHAPES, *PICKLES)
    return any((folder / name).is_file() for name in names) and not (folder / "state.json").exists()


def read_pretrained(folder: Path) -> tuple[LanguageModel, Tokenizer]:
    """Return the model and the tokenizer in a folder, with our special tokens after its own.

    Raises:
        CheckpointError: something is missing, damaged, or does not fit together.
    """
    tokenizer, named = read_tokenizer(folder)
    spec, rows = describe(folder)
    if rows != named:
        raise CheckpointError(
            f"{folder}: the weights have {rows:,} tokens and the vocabulary names {named:,}; expected one model's files"
        )
    state = to_ours(_tensors(folder), spec, rows, str(folder))

    # New special tokens get the mean of all vectors (Hewitt 2021).
    embedding_VD = state[EMBEDDING]
    mean_1D = embedding_VD.mean(dim=0, keepdim=True)
    state[EMBEDDING] = torch.cat([embedding_VD, mean_1D.expand(tokenizer.vocab_size - rows, -1)])

    # The model; what it learned is known of those of our own.
    model = empty_model(spec, tokenizer.vocab_size)
    model.load_state_dict(state, assign=True)
    model.requires_grad_(True)
    model.speakers = tuple(config.read_learned(folder).get("speakers", ()))
    return model.eval(), tokenizer


def describe(folder: Path) -> tuple[CoreSpec, int]:
    """Return the core of the weights in a folder and their number of tokens, without reading the weights."""
    if release.is_release(folder):
        return release.read_spec(folder)
    present = [name for name in PICKLES if (folder / name).exists()]
    if present and not (folder / WEIGHTS).exists() and not (folder / SHARDS).exists():
        raise CheckpointError(
            f"{folder} holds its weights as {present[0]}, a pickle, which can run any code when it is read; expected "
            f'{WEIGHTS}: if you trust it, convert it with python -c "from transformers import AutoModelForCausalLM; '
            f"AutoModelForCausalLM.from_pretrained('{folder}').save_pretrained('{folder}')\""
        )
    return config.read_config(folder)


def files_of(folder: Path) -> list[dict[str, Any]]:
    """Return path, size and sha256 of each file that `read_pretrained` reads."""
    weights = release.files(folder) if release.is_release(folder) else [folder / config.NAME, *_weight_files(folder)]
    return [fingerprint(path) for path in [*weights, *vocabulary_files(folder)]]


def _tensors(folder: Path) -> dict[str, Tensor]:
    if release.is_release(folder):
        return release.read_tensors(folder)
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        with reading(path, "expected the weights there: fetch them again"):
            tensors |= load_file(path)
    return tensors


def _weight_files(folder: Path) -> list[Path]:
    """Return the one file, or those that an index names."""
    index = folder / SHARDS
    if (folder / WEIGHTS).exists() or not index.exists():
        return [folder / WEIGHTS]
    with reading(index, "fetch it again"):
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return [folder / Path(name).name for name in sorted(names)]


def export(model: LanguageModel, tokenizer: Tokenizer, folder: Path, kind: str = "text") -> None:
    """Write config.json, model.safetensors and the tokenizer's files into a new folder, which appears whole.

    `kind` says what the model was trained on, text or chats, for when it is read again.

    Raises:
        ConfigError: the folder already exists, or the model is neither GPT-1's kind nor GPT-2's.
    """
    spec = model.spec
    if spec.core != "transformer" or spec.block not in OUTSIDE:
        kind = spec.core if spec.core == "lstm" else f"{spec.block} block"
        raise ConfigError(
            f"transformers has no model like this one ({kind}); only those trained with --block gpt1 or gpt2, or from "
            "--base gpt1 or gpt2, can be exported"
        )
    if folder.exists():
        raise ConfigError(f"{folder} already exists; name a folder that is not")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole(folder) as building:
        building.mkdir()
        names = empty_model(spec, model.vocab_size).state_dict()  # without the heads that only training uses
        state = {name: tensor.float().cpu() for name, tensor in model.state_dict().items() if name in names}
        save_file(to_theirs(state, spec), building / WEIGHTS, metadata={"format": "pt"})
        learned = {"kind": kind, "speakers": model.speakers}
        write_json(building / config.NAME, config.config_of(spec, tokenizer, learned))
        write_tokenizer(building, tokenizer)
