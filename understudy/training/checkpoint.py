"""Checkpoints: a folder that holds all of a moment, and appears whole or not at all.

checkpoints/step-000400/
    model.safetensors      the weights
    training.safetensors   the optimizer's moments and the state of the random numbers
    state.json             what the model is, and where the training stood
    tokenizer.json
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from understudy.data.tokenizers import Tokenizer, load_tokenizer
from understudy.lab.errors import CheckpointError
from understudy.lab.store import find_run
from understudy.models.cores import CoreSpec
from understudy.models.language_model import LanguageModel
from understudy.training.learner import Learner

TRAINING_VERBS = ("pretrain", "finetune")

KEPT = 2
"""How many checkpoints of a run stay on disk: the last, and the one before it."""


@dataclass(frozen=True)
class Loaded:
    """A model ready to use, and where it came from."""

    model: LanguageModel
    tokenizer: Tokenizer
    folder: Path
    state: dict[str, Any]


def save_checkpoint(run_folder: Path, learner: Learner, tokenizer: Tokenizer, **progress: Any) -> Path:
    """Write the learner's present state; `progress` (JSON) is kept beside it. Older checkpoints make room."""
    folder = run_folder / "checkpoints" / f"step-{learner.steps_done:06d}"
    if folder.exists():
        return folder
    building = folder.with_name(f".{folder.name}-{os.getpid()}")
    building.mkdir(parents=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in learner.model.state_dict().items()},
        building / "model.safetensors",
    )
    save_file(_training_tensors(learner), building / "training.safetensors")
    tokenizer.save(building)
    state = {
        "steps_done": learner.steps_done,
        "spec": asdict(learner.model.spec),
        "vocab_size": learner.model.vocab_size,
        "dtype": str(learner.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "progress": progress,
    }
    (building / "state.json").write_text(json.dumps(state, indent=2))
    _sync(building)
    os.rename(building, folder)
    for old in list_checkpoints(run_folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def list_checkpoints(run_folder: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted(path.parent for path in (run_folder / "checkpoints").glob("step-*/state.json"))


def find_checkpoint(path: Path) -> Path:
    """`path` itself if it is a checkpoint, else the last one of the run it names."""
    if (path / "state.json").exists():
        return path
    checkpoints = list_checkpoints(path)
    if not checkpoints:
        raise CheckpointError(f"{path} holds no checkpoint yet; train longer, or name another run (understudy runs)")
    return checkpoints[-1]


def locate(reference: str) -> Path:
    """The folder of a checkpoint or of a training run: a path, or whatever `find_run` understands."""
    if (Path(reference) / "state.json").exists():
        return Path(reference).absolute()
    return find_run(reference, verbs=TRAINING_VERBS)


def load_model(path: Path, device: torch.device | str = "cpu") -> Loaded:
    """The model and tokenizer of a checkpoint, or of a run's last one, in evaluation mode."""
    folder = find_checkpoint(path)
    try:
        state = json.loads((folder / "state.json").read_text())
        spec, vocab_size = CoreSpec(**state["spec"]), int(state["vocab_size"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / 'state.json'} cannot be read ({error}); expected a checkpoint's") from error
    with torch.device("meta"):  # the weights come from the file: initialising them first would take seconds
        model = LanguageModel(spec, vocab_size)
    load_weights(model, folder, device)
    return Loaded(model.eval(), load_tokenizer(folder), folder, state)


def load_weights(model: LanguageModel, folder: Path, device: torch.device | str = "cpu") -> None:
    """Fill the model from a checkpoint; CheckpointError where names or shapes differ."""
    tensors = _read(folder / "model.safetensors", device)
    wanted = model.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        here = tuple(wanted[name].shape) if name in wanted else "no such tensor"
        there = tuple(tensors[name].shape) if name in tensors else "no such tensor"
        if here != there:
            raise CheckpointError(
                f"{folder} is of another shape: its {name} is {there}, this model's is {here}; "
                "give the size it was trained with, or leave the size out"
            )
    model.load_state_dict(tensors, assign=True)
    model.requires_grad_(True)


def restore(learner: Learner, folder: Path) -> dict[str, Any]:
    """Put the learner where the checkpoint's stood, random numbers included; returns the progress kept with it."""
    with torch.no_grad():
        for name, tensor in _read(folder / "model.safetensors", learner.device).items():
            learner.model.state_dict()[name].copy_(tensor)
    tensors = _read(folder / "training.safetensors", "cpu")
    torch.set_rng_state(tensors.pop("rng"))
    if "rng_cuda" in tensors:
        torch.cuda.set_rng_state(tensors.pop("rng_cuda"), learner.device)
    names = dict(learner.model.named_parameters())
    for key, tensor in tensors.items():
        slot, name = key.split(":", 1)
        where = "cpu" if slot == "step" else names[name].device
        learner.optimizer.state[names[name]][slot] = tensor.to(where)
    state = json.loads((folder / "state.json").read_text())
    learner.steps_done = state["steps_done"]
    progress: dict[str, Any] = state["progress"]
    return progress


def _training_tensors(learner: Learner) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in learner.model.named_parameters()}
    tensors = {"rng": torch.get_rng_state()}
    if learner.device.type == "cuda":
        tensors["rng_cuda"] = torch.cuda.get_rng_state(learner.device)
    for parameter, slots in learner.optimizer.state.items():
        for slot, value in slots.items():
            tensors[f"{slot}:{names[parameter]}"] = value.contiguous()
    return tensors


def _read(path: Path, device: torch.device | str) -> dict[str, Tensor]:
    try:
        return load_file(path, device=str(device))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; the checkpoint is incomplete") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}); take an earlier checkpoint") from error


def _sync(folder: Path) -> None:
    """Onto the disk, so that not even a power cut leaves a checkpoint with holes behind its name."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
