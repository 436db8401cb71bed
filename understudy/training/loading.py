"""Trained models: which one a reference means, where it comes from, and how it is loaded."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from understudy.config import from_dict
from understudy.data.tokenizers import Tokenizer, load_tokenizer
from understudy.errors import CheckpointError, RunNotFoundError, suggestion
from understudy.files import reading
from understudy.games.recordings import Recording
from understudy.models.device import ServingDtype, pick_serving_dtype
from understudy.models.huge_pages import settle
from understudy.models.language_model import LanguageModel, empty_model
from understudy.models.policy import Policy, PolicySpec
from understudy.models.pretrained import folder as pretrained
from understudy.models.pretrained.config import read_learned
from understudy.models.pretrained.hub import PUBLISHED, fetch, published
from understudy.models.spec import CoreSpec
from understudy.runs.find import find_run
from understudy.runs.record import list_checkpoints
from understudy.training.checkpoint import BEFORE, read_state, read_weights
from understudy.training.play import GAME, MANNER, Manner

TEXT_VERBS = ("pretrain", "finetune")
PLAY_VERBS = ("clone", "selfplay")
TRAINING_VERBS = (*TEXT_VERBS, *PLAY_VERBS)


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy ready to play, and what it plays."""

    policy: Policy
    recording: Recording
    """What it learned from, without its episodes: `names.make(recording.game, **recording.options)` is its game."""
    folder: Path
    state: dict[str, Any]
    """Its state.json."""
    move_temperature: float = 1.0
    """With which it plays (`Manner`)."""


@dataclass(frozen=True)
class Loaded:
    """A model ready to use, and where it came from."""

    model: LanguageModel
    tokenizer: Tokenizer
    folder: Path
    state: dict[str, Any]
    """Its state.json (see `describe`)."""


def resolve(reference: str) -> Path:
    """Return the folder that a reference means: that of a checkpoint, of a training run, or of published weights.

    A reference is a path, a run as `find_run` takes it, or the name of published weights, which are then fetched.
    """
    if weights := published(reference):
        return fetch(weights)
    if (Path(reference) / "state.json").exists() or pretrained.is_pretrained(Path(reference)):
        return Path(reference).absolute()
    try:
        return find_run(reference, verbs=TEXT_VERBS)
    except RunNotFoundError as error:
        raise RunNotFoundError(f"{error}{suggestion(reference, PUBLISHED)}") from error


def latest_checkpoint(path: Path) -> Path:
    """Return `path` itself if it is a checkpoint or published weights, else the last checkpoint of the run there."""
    if (path / "state.json").exists() or pretrained.is_pretrained(path):
        return path
    checkpoints = list_checkpoints(path)
    if not checkpoints:
        raise CheckpointError(f"{path} holds no checkpoint yet; train longer, or name another run (understudy runs)")
    return checkpoints[-1]


def pin(reference: str) -> str:
    """Return a reference that will mean the same weights tomorrow, when "last" is another run."""
    folder = latest_checkpoint(resolve(reference))
    return reference if published(reference) else str(folder)


def provenance(reference: str, loaded: Loaded) -> dict[str, Any]:
    """Return fields for a run's record: the run that a model is from, or the source and files of published weights."""
    run = loaded.folder.parent.parent
    found: dict[str, Any] = {"parents": [run.name] if (run / "run.json").exists() else []}
    if pretrained.is_pretrained(loaded.folder):
        source, revision = published(reference) or (str(loaded.folder), None)
        found["base"] = {"source": source, "revision": revision, "files": pretrained.files_of(loaded.folder)}
    return found


def describe(folder: Path) -> dict[str, Any]:
    """Return the state.json of a checkpoint, or what it would say of published weights, which learned from text."""
    if not pretrained.is_pretrained(folder):
        return read_state(folder)
    spec, _ = pretrained.describe(folder)
    progress = {"kind": read_learned(folder).get("kind", "text")}
    return {"spec": asdict(spec), "steps_done": 0, "dtype": "float32", "progress": progress, "speakers": []}


def load_model(path: Path, device: torch.device | str = "cpu") -> Loaded:
    """Load a checkpoint, a run's last one or published weights, in evaluation mode."""
    folder = latest_checkpoint(path)
    state = describe(folder)
    if pretrained.is_pretrained(folder):
        model, tokenizer = pretrained.read_pretrained(folder)
        return Loaded(model.to(device), tokenizer, folder, state)
    if "policy" in state:
        raise CheckpointError(f"{folder} holds a player's policy, not a language model; name another run")
    model = empty_model(CoreSpec(**state["spec"]), state["vocab_size"], next_reply_head=state["choice_head"])
    model.speakers = tuple(state["speakers"])
    model.load_state_dict(read_weights(model, folder, device), assign=True)
    model.requires_grad_(True)
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size != model.vocab_size:
        raise CheckpointError(
            f"{folder} has a tokenizer of {tokenizer.vocab_size} tokens and a model of {model.vocab_size}"
        )
    return Loaded(model.eval(), tokenizer, folder, state)


def load_policy(reference: str, device: torch.device | str = "cpu") -> LoadedPolicy:
    """Load a run's last policy, or that of a checkpoint, in evaluation mode.

    Raises:
        RunNotFoundError: no run is meant by the reference.
        CheckpointError: it has no checkpoint, a damaged one, or one of a language model.
    """
    given = Path(reference)
    folder = latest_checkpoint(
        given.absolute() if (given / "state.json").exists() else find_run(reference, verbs=PLAY_VERBS)
    )
    state = read_state(folder)
    if "policy" not in state:
        raise CheckpointError(f"{folder} holds a language model, not a player's policy; name a run of understudy clone")
    with reading(folder / GAME, BEFORE):
        said = json.loads((folder / GAME).read_text("utf-8"))
    manner = Manner()
    if (folder / MANNER).exists():
        with reading(folder / MANNER, BEFORE):
            manner = from_dict(Manner, json.loads((folder / MANNER).read_text("utf-8")))
    policy = Policy(from_dict(PolicySpec, state["policy"])).to(device)
    policy.load_state_dict(read_weights(policy, folder, device))
    policy.soften(manner.softening)
    recording = Recording.described(said, str(folder / GAME))
    return LoadedPolicy(policy.eval(), recording, folder, state, manner.move_temperature)


def load_to_serve(path: Path, device: torch.device, dtype: ServingDtype) -> Loaded:
    """Load a model as `load_model` does, with its weights in the number format to sample with."""
    loaded = load_model(path, device)
    loaded.model.to(pick_serving_dtype(dtype, device, loaded.model.spec, str(loaded.state.get("dtype"))))
    loaded.model.int8 = dtype == "int8"
    settle(loaded.model)
    return loaded
