"""A checkpoint is a folder, written atomically, with everything needed to resume.

checkpoints/step-000400/
    model.safetensors      the weights
    training.safetensors   the optimizer's moments and the state of the random numbers; after LoRA also the factors and
                           the matrices beside them, which model.safetensors holds merged
    state.json             what the model is, and where the training stood
    tokenizer.json         of a language model; a policy has game.json: what it plays
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from understudy.config import from_dict
from understudy.errors import CheckpointError
from understudy.files import reading, whole
from understudy.models.lora import plain_state, unmerged_state
from understudy.models.policy import PolicySpec
from understudy.models.sequence_model import SequenceModel
from understudy.models.spec import CoreSpec
from understudy.runs.record import list_checkpoints
from understudy.training.distributed import all_gather
from understudy.training.learner import Learner

KEPT = 2
"""How many checkpoints of a run stay on disk: the last, and the one before it."""

WEIGHT = "weight"
"""The slot of training.safetensors for weights that model.safetensors holds merged."""

BEFORE = "remove its folder to resume from the checkpoint before it"


class Companion(Protocol):
    """What a model cannot be used without, such as its tokenizer."""

    def save(self, folder: Path) -> None:
        """Write it into a checkpoint's folder."""


def save_checkpoint(run_folder: Path, learner: Learner, companion: Companion, **progress: Any) -> Path:
    """Write the learner's state, with `progress` (JSON) beside it, and delete older checkpoints. Returns the folder.

    All processes must call this at the same step; the first one writes.
    """
    folder = run_folder / "checkpoints" / f"step-{learner.steps_done:06d}"

    # What resuming needs beside the weights. Every process contributes the state of its random numbers.
    names: dict[Tensor, str] = {parameter: name for name, parameter in learner.model.named_parameters()}
    training = {"rng": all_gather(torch.get_rng_state(), learner.dist)}
    if learner.device.type == "cuda":
        training["rng_cuda"] = all_gather(torch.cuda.get_rng_state(learner.device), learner.dist)
    for parameter, slots in learner.optimizer.state.items():
        training |= {f"{slot}:{names[parameter]}": value.contiguous() for slot, value in slots.items()}
    training |= {f"{WEIGHT}:{name}": tensor.contiguous() for name, tensor in unmerged_state(learner.model).items()}
    if not learner.dist.is_main or (folder / "state.json").exists():
        return folder

    # A killed process may have left a folder half written or half deleted.
    for torn in (folder, *folder.parent.glob(".step-*")):
        shutil.rmtree(torn, ignore_errors=True)
    with whole(folder) as building:
        building.mkdir(parents=True)
        weights = {name: tensor.contiguous() for name, tensor in plain_state(learner.model).items()}
        save_file(weights, building / "model.safetensors")
        save_file(training, building / "training.safetensors")
        companion.save(building)
        state = {
            "steps_done": learner.steps_done,
            **learner.model.description(),
            "dtype": str(learner.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "progress": progress,
        }
        (building / "state.json").write_text(json.dumps(state, indent=2))
        # Onto the disk, so that not even a power cut leaves a checkpoint with holes under its final name.
        for path in building.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    for old in list_checkpoints(run_folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def restore(learner: Learner, folder: Path) -> dict[str, Any]:
    """Put the learner, and this process's random numbers, into the state of a checkpoint. Returns its state.json."""
    state = read_state(folder)
    tensors = _read(folder / "training.safetensors", "cpu")
    weights = read_weights(learner.model, folder, learner.device)

    # The layers that LoRA adapts are in training.safetensors as the learner holds them.
    unmerged = [key for key in tensors if key.startswith(f"{WEIGHT}:")]
    weights |= {key.partition(":")[2]: tensors.pop(key) for key in unmerged}
    learner.model.load_state_dict(weights)

    for kind, set_state in (("rng", torch.set_rng_state), ("rng_cuda", torch.cuda.set_rng_state)):
        if kind in tensors:
            states = tensors.pop(kind)  # one per process; with more processes than before, some draw alike
            set_state(states[learner.dist.rank % len(states)].clone())  # torch ignores where a view begins

    parameters = dict(learner.model.named_parameters())
    for key, tensor in tensors.items():
        slot, name = key.split(":", 1)
        where = "cpu" if slot == "step" else parameters[name].device
        learner.optimizer.state[parameters[name]][slot] = tensor.to(where)
    learner.steps_done = state["steps_done"]
    return state


def read_state(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's state.json. Raises CheckpointError where it describes no model that can be built."""
    path = folder / "state.json"
    with reading(path, BEFORE):
        state: dict[str, Any] = json.loads(path.read_text())
        names = ["steps_done", "threads"]
        if "policy" in state:
            from_dict(PolicySpec, state["policy"])
        else:
            from_dict(CoreSpec, state["spec"])
            names.append("vocab_size")
            # Older checkpoints of models without token types or a next-reply head do not mention them.
            state = {"speakers": [], "choice_head": False, **state}
        numbers = {name: int(state[name]) for name in names}
        return {**state, **numbers, "progress": dict(state["progress"])}


def read_weights(model: SequenceModel, folder: Path, device: torch.device | str) -> dict[str, Tensor]:
    """Return a checkpoint's weights. Raises CheckpointError where names or shapes are not those of the model."""
    tensors = _read(folder / "model.safetensors", device)
    wanted = plain_state(model)
    for name in sorted(wanted.keys() | tensors.keys()):
        here = tuple(wanted[name].shape) if name in wanted else "no such tensor"
        there = tuple(tensors[name].shape) if name in tensors else "no such tensor"
        if here != there:
            raise CheckpointError(
                f"{folder} is of another shape: its {name} is {there}, this model's is {here}; "
                "expected a checkpoint of this very model"
            )
    return tensors


def _read(path: Path, device: torch.device | str) -> dict[str, Tensor]:
    with reading(path, BEFORE):
        return load_file(path, device=str(device))
