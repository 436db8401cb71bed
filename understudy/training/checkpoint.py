"""Checkpoints: a folder that holds all of a moment, and appears whole or not at all.

checkpoints/step-000400/
    model.safetensors      the weights
    training.safetensors   the optimizer's moments and the state of the random numbers; after LoRA also the factors and
                           the matrices beside them, which model.safetensors holds merged
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

from understudy.config import from_dict
from understudy.data.tokenizers import Tokenizer, load_tokenizer
from understudy.errors import CheckpointError, ConfigError, RunNotFoundError, suggestion
from understudy.models.device import ServingDtype, pick_serving_dtype
from understudy.models.language_model import LanguageModel, empty_model
from understudy.models.lora import plain_state, unmerged_state
from understudy.models.pretrained import folder as pretrained
from understudy.models.pretrained.config import read_learned
from understudy.models.pretrained.hub import PUBLISHED, fetch, origin, published
from understudy.models.pretrained.vocabulary import opening
from understudy.models.spec import CoreSpec
from understudy.runs.find import find_run
from understudy.runs.record import list_checkpoints
from understudy.training.distributed import everyones
from understudy.training.learner import Learner

TRAINING_VERBS = ("pretrain", "finetune")

KEPT = 2
"""How many checkpoints of a run stay on disk: the last, and the one before it."""

WEIGHT = "weight"
"""The slot of training.safetensors for weights that model.safetensors holds merged."""

BEFORE = "remove its folder to go on from the checkpoint before it"


@dataclass(frozen=True)
class Loaded:
    """A model ready to use, and where it came from."""

    model: LanguageModel
    tokenizer: Tokenizer
    folder: Path
    state: dict[str, Any]


def save_checkpoint(run_folder: Path, learner: Learner, tokenizer: Tokenizer, **progress: Any) -> Path:
    """Write the learner's present state; `progress` (JSON) is kept beside it. Older checkpoints make room.

    Of several processes all call this at the same step, and the first one writes.
    """
    folder = run_folder / "checkpoints" / f"step-{learner.steps_done:06d}"
    training = _training_tensors(learner)
    if not learner.world.is_main or (folder / "state.json").exists():
        return folder
    for torn in (folder, *folder.parent.glob(".step-*")):  # what a killed process left half written, or made half gone
        shutil.rmtree(torn, ignore_errors=True)
    building = folder.with_name(f".{folder.name}")
    building.mkdir(parents=True)
    try:
        _write(building, learner, training, tokenizer, progress)
        os.rename(building, folder)
    except BaseException:  # a full disk, Ctrl-C
        shutil.rmtree(building, ignore_errors=True)
        raise
    for old in list_checkpoints(run_folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _write(
    building: Path, learner: Learner, training: dict[str, Tensor], tokenizer: Tokenizer, progress: dict[str, Any]
) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in plain_state(learner.model).items()},
        building / "model.safetensors",
    )
    save_file(training, building / "training.safetensors")
    tokenizer.save(building)
    state = {
        "steps_done": learner.steps_done,
        "spec": asdict(learner.model.spec),
        "vocab_size": learner.model.vocab_size,
        "speakers": learner.model.speakers,
        "choice_head": learner.model.choice is not None,
        "dtype": str(learner.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "progress": progress,
    }
    (building / "state.json").write_text(json.dumps(state, indent=2))
    _sync(building)


def find_checkpoint(path: Path) -> Path:
    """`path` itself if it is a checkpoint or published weights, else the last checkpoint of the run it names."""
    if (path / "state.json").exists() or pretrained.is_pretrained(path):
        return path
    checkpoints = list_checkpoints(path)
    if not checkpoints:
        raise CheckpointError(f"{path} holds no checkpoint yet; train longer, or name another run (understudy runs)")
    return checkpoints[-1]


def locate(reference: str) -> Path:
    """The folder of a checkpoint or of a training run: a path, or whatever `find_run` understands.

    Or of published weights: its path, or their name, by which they are fetched (see `published`).
    """
    if weights := published(reference):
        return fetch(weights)
    if (Path(reference) / "state.json").exists() or pretrained.is_pretrained(Path(reference)):
        return Path(reference).absolute()
    try:
        return find_run(reference, verbs=TRAINING_VERBS)
    except RunNotFoundError as error:
        raise RunNotFoundError(f"{error}{suggestion(reference, PUBLISHED)}") from error


def spec_of(folder: Path) -> CoreSpec:
    """What core a checkpoint is of, without its weights."""
    return CoreSpec(**_state(folder)["spec"])


def speakers_of(folder: Path) -> tuple[int, ...]:
    """The speakers of a checkpoint's model (see `LanguageModel`), without its weights."""
    return tuple(_state(folder).get("speakers", ()))


def lasting(reference: str) -> str:
    """What will name the same weights tomorrow, when "last" is another run: published weights keep their name."""
    folder = find_checkpoint(locate(reference))
    return reference if published(reference) else str(folder)


def provenance(reference: str, loaded: Loaded) -> dict[str, Any]:
    """For a run's record: source, revision and files of published weights; nothing for a checkpoint of our own."""
    return {"base": origin(reference, loaded.folder)} if pretrained.is_pretrained(loaded.folder) else {}


def load_model(path: Path, device: torch.device | str = "cpu") -> Loaded:
    """The model and tokenizer of a checkpoint, of a run's last one, or of published weights, in evaluation mode."""
    folder = find_checkpoint(path)
    state = _state(folder)
    if pretrained.is_pretrained(folder):
        model, tokenizer = pretrained.read_pretrained(folder)
        return Loaded(model.to(device), tokenizer, folder, state)
    model = empty_model(CoreSpec(**state["spec"]), state["vocab_size"], choice_head=state["choice_head"])
    model.speakers = tuple(state["speakers"])
    load_weights(model, folder, device)
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size != model.vocab_size:
        raise CheckpointError(
            f"{folder} has a tokenizer of {tokenizer.vocab_size} tokens and a model of {model.vocab_size}"
        )
    return Loaded(model.eval(), tokenizer, folder, state)


def load_to_serve(path: Path, device: torch.device, dtype: ServingDtype) -> Loaded:
    """What `load_model` gives, with its weights in the number format to sample with (see `pick_serving_dtype`)."""
    loaded = load_model(path, device)
    loaded.model.to(pick_serving_dtype(dtype, device, loaded.model.spec, str(loaded.state.get("dtype"))))
    loaded.model.int8 = dtype == "int8"
    return loaded


def text_prompt(loaded: Loaded, text: str) -> list[int]:
    """The ids that a model of plain text goes on from. Published weights have never met `<|bos|>`."""
    said = loaded.tokenizer.encode(text)
    if pretrained.is_pretrained(loaded.folder) and not read_learned(loaded.folder):
        return said or opening(loaded.tokenizer)
    return [loaded.tokenizer.special["<|bos|>"], *said]


def load_weights(model: LanguageModel, folder: Path, device: torch.device | str = "cpu") -> None:
    """Fill the model from a checkpoint; CheckpointError where names or shapes differ."""
    model.load_state_dict(_weights(model, folder, device), assign=True)
    model.requires_grad_(True)


def restore(learner: Learner, folder: Path) -> dict[str, Any]:
    """Put the learner where the checkpoint's stood, random numbers included; returns the checkpoint's state."""
    state = _state(folder)
    tensors = _read(folder / "training.safetensors", "cpu")
    weights = _weights(learner.model, folder, learner.device)
    names = dict(learner.model.named_parameters())
    learner.model.load_state_dict(weights | _take_weights(tensors))
    for kind, set_state in (("rng", torch.set_rng_state), ("rng_cuda", torch.cuda.set_rng_state)):
        if kind in tensors:
            states = tensors.pop(kind)  # of each process; with more of them than before, some draw alike
            set_state(states[learner.world.rank % len(states)].clone())  # torch overlooks where a view begins
    for key, tensor in tensors.items():
        slot, name = key.split(":", 1)
        where = "cpu" if slot == "step" else names[name].device
        learner.optimizer.state[names[name]][slot] = tensor.to(where)
    learner.steps_done = state["steps_done"]
    return state


def _training_tensors(learner: Learner) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in learner.model.named_parameters()}
    tensors = {"rng": everyones(torch.get_rng_state(), learner.world)}
    if learner.device.type == "cuda":
        tensors["rng_cuda"] = everyones(torch.cuda.get_rng_state(learner.device), learner.world)
    for parameter, slots in learner.optimizer.state.items():
        for slot, value in slots.items():
            tensors[f"{slot}:{names[parameter]}"] = value.contiguous()
    own = unmerged_state(learner.model)
    return tensors | {f"{WEIGHT}:{name}": tensor.contiguous() for name, tensor in own.items()}


def _take_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take out what the model holds otherwise than model.safetensors says: the layers that LoRA adapts."""
    keys = [key for key in tensors if key.startswith(f"{WEIGHT}:")]
    return {key.partition(":")[2]: tensors.pop(key) for key in keys}


def _state(folder: Path) -> dict[str, Any]:
    """state.json, which names a model that can be; published weights, which have none, were trained on text."""
    if pretrained.is_pretrained(folder):
        (spec, _), learned = pretrained.describe(folder), read_learned(folder)
        kind = learned.kind if learned else "text"
        return {"spec": asdict(spec), "steps_done": 0, "dtype": "float32", "progress": {"kind": kind}}
    path = folder / "state.json"
    try:
        state: dict[str, Any] = json.loads(path.read_text())
        from_dict(CoreSpec, state["spec"])
        numbers = {name: int(state[name]) for name in ("vocab_size", "steps_done", "threads")}
        # Checkpoints of models without types or a next-reply head may say nothing of them.
        state = {"speakers": [], "choice_head": False, **state}
        return {**state, **numbers, "progress": dict(state["progress"])}
    except KeyError as error:
        raise CheckpointError(f"{path} says nothing of {error}; {BEFORE}") from error
    except (OSError, ValueError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); {BEFORE}") from error


def _weights(model: LanguageModel, folder: Path, device: torch.device | str) -> dict[str, Tensor]:
    """The checkpoint's weights, which have the model's names and shapes."""
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
    try:
        return load_file(path, device=str(device))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; {BEFORE}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged ({error}); {BEFORE}") from error


def _sync(folder: Path) -> None:
    """Onto the disk, so that not even a power cut leaves a checkpoint with holes behind its name."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
