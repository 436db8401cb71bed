"""Recordings on disk: Minari data sets, which `minari` loads [1].

A recording is a folder:

    NAME-v0/data/metadata.json     what Minari asks for; and under "understudy" the game, its version, options, agents
    NAME-v0/data/main_data.hdf5    an episode per group

In a game of several agents, observations and actions are dictionaries by agent; `rewards` is the agents' mean, and
`infos/rewards` has each agent's own. An episode's attribute "understudy" says in JSON where it comes from: who played,
when, by which code, in which scenario.

[1] https://minari.farama.org/content/dataset_standards/
"""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from understudy.console import counted
from understudy.errors import MissingPackageError, RecordingError
from understudy.files import locked, plain, whole, write_json
from understudy.games.env import Action, Array, Observation
from understudy.games.recordings import Episode, Recording, fits

FORMAT = 1
MINARI = "0.5.4"
"""The version of Minari's format."""
OURS = "understudy"


def write(path: str | Path, recording: Recording) -> Path:
    """Add the episodes to the recording in the folder `path`, which is made if there is none; return the folder.

    A reader, or a crash, meets the recording with all of them or with none. Where the folder's name does not end in
    -v0 or the like, as Minari wants it, -v0 is added.

    Raises:
        RecordingError: the folder holds a recording of another game, version or view.
    """
    folder = _folder(path)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    with locked(data):
        before = None
        if (data / "metadata.json").exists():
            before = _metadata(folder)
            fits(Recording.described(before[OURS], str(folder)), recording, str(folder))
        episodes, steps = (before["total_episodes"], before["total_steps"]) if before else (0, 0)
        with whole(data / "main_data.hdf5") as file:
            if before:
                shutil.copyfile(data / "main_data.hdf5", file)
            with _h5py().File(file, "a", track_order=True) as store:
                for number, episode in enumerate(recording.episodes, episodes):
                    # There is one already where an earlier writer was killed
                    store.pop(f"episode_{number}", None)
                    _write_episode(store.create_group(f"episode_{number}"), number, episode, recording)
        # Last, as it says how many episodes count
        write_json(
            data / "metadata.json",
            {
                "total_episodes": episodes + len(recording.episodes),
                "total_steps": steps + sum(len(episode.actions) for episode in recording.episodes),
                "data_format": "hdf5",
                "jpeg_encoding": False,
                "observation_space": json.dumps(_spaces(recording, _box(recording.observation))),
                "action_space": json.dumps(_spaces(recording, _choices(recording.action))),
                "dataset_id": folder.name,
                "minari_version": MINARI,
                "author": [],
                "author_email": [],
                OURS: {"format": FORMAT, **recording.description()},
            },
        )
    return folder


def exists(path: str | Path) -> bool:
    """Return whether there is a recording in a folder, sound or not."""
    return (_folder(path) / "data" / "metadata.json").exists()


def describe(path: str | Path) -> tuple[Recording, int]:
    """Return the recording in a folder without its episodes, and how many these are.

    Raises:
        RecordingError: there is none, or it was made by something else.
    """
    folder = _folder(path)
    metadata = _metadata(folder)
    return Recording.described(metadata[OURS], str(folder)), metadata["total_episodes"]


def read(path: str | Path, chosen: Sequence[int] | None = None) -> Recording:
    """Return the recording in a folder that `write` made, with the episodes of these numbers, or with all.

    Raises:
        RecordingError: there is none, it was made by something else, or its arrays do not fit together.
        GameError: an action is out of range.
    """
    folder = _folder(path)
    recording, count = describe(folder)
    for number in chosen or ():
        if not 0 <= number < count:
            raise RecordingError(f"{folder} has no episode {number}; it has {counted(count, 'episode')}, from 0 on")
    with _reading(folder), _h5py().File(folder / "data" / "main_data.hdf5", "r") as store:
        for number in range(count) if chosen is None else chosen:
            recording.episodes.append(
                _read_episode(store[f"episode_{number}"], recording, f"{folder}, episode {number}")
            )
    return recording


def _write_episode(group: Any, number: int, episode: Episode, recording: Recording) -> None:
    steps = len(episode.actions)
    group.attrs.update(id=number, seed=episode.seed, total_steps=steps)
    group.attrs[OURS] = json.dumps(plain(episode.provenance))
    several = len(recording.agents) > 1
    # Minari keeps one choice as a number, several as an array
    actions = episode.actions[..., 0] if len(recording.action.choices) == 1 else episode.actions
    for name, array in (("observations", episode.observations), ("actions", actions)):
        for agent, who in enumerate(recording.agents):
            to = f"{name}/{who}" if several else name
            group.create_dataset(to, data=array[:, agent], compression="gzip", compression_opts=1)
    group["rewards"] = episode.rewards.mean(1)
    for agent, who in enumerate(recording.agents):
        group[f"infos/rewards/{who}"] = episode.rewards[:, agent]
        group[f"infos/terminated/{who}"] = episode.terminated[agent]
        if episode.masks is not None:
            group[f"infos/masks/{who}"] = episode.masks[:, agent]
    ends = np.arange(steps) == steps - 1
    group["terminations"] = ends & episode.terminated.all()
    group["truncations"] = ends & ~episode.terminated.all()


def _read_episode(group: Any, recording: Recording, where: str) -> Episode:
    several = len(recording.agents) > 1

    def each(name: str) -> Array:
        return np.stack([group[f"{name}/{who}" if several else name][()] for who in recording.agents], 1)

    masks = None
    if "masks" in group["infos"]:
        masks = np.stack([group[f"infos/masks/{who}"][()] for who in recording.agents], 1)
    episode = Episode(
        observations=each("observations"),
        actions=each("actions").reshape(-1, len(recording.agents), recording.action.width),
        rewards=np.stack([group[f"infos/rewards/{who}"][()] for who in recording.agents], 1),
        terminated=np.array([group[f"infos/terminated/{who}"][()] for who in recording.agents]),
        seed=int(group.attrs["seed"]),
        masks=masks,
        provenance=json.loads(group.attrs[OURS]),
    )
    steps = len(episode.actions)
    if len(episode.observations) != steps + 1 or len(episode.rewards) != steps:
        found = f"{len(episode.observations)} observations, {steps} actions and {len(episode.rewards)} rewards"
        raise RecordingError(f"{where} has missing steps: {found}; expected one observation more than actions")
    if episode.observations.shape[2:] != recording.observation.shape:
        given, expected = list(episode.observations.shape[2:]), list(recording.observation.shape)
        raise RecordingError(f"{where} has observations of shape {given}; the recording says {expected}")
    recording.action.check(
        episode.actions.reshape(steps * len(recording.agents), -1), steps * len(recording.agents), where
    )
    return episode


def _metadata(folder: Path) -> dict[str, Any]:
    """Return what metadata.json says. Raises RecordingError where it is missing or none of ours."""
    try:
        metadata: dict[str, Any] = json.loads((folder / "data" / "metadata.json").read_text("utf-8"))
    except FileNotFoundError as error:
        raise RecordingError(
            f"there is no recording {str(folder)!r}; `understudy demos` lists what there is"
        ) from error
    except (OSError, ValueError) as error:
        raise RecordingError(f"{folder} holds no recording: {error}") from error
    if OURS not in metadata:
        raise RecordingError(f"{folder} is a Minari data set, but not one of this program: it does not name its game")
    if metadata[OURS]["format"] != FORMAT:
        raise RecordingError(f"{folder} has format {metadata[OURS]['format']}; this version reads {FORMAT}")
    return metadata


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, ValueError) as error:
        raise RecordingError(f"{folder} is damaged: {error}") from error


def _folder(path: str | Path) -> Path:
    path = Path(path)
    return path if re.search(r"-v\d+$", path.name) else path.with_name(f"{path.name}-v0")


def _spaces(recording: Recording, space: dict[str, Any]) -> dict[str, Any]:
    """Return a space in Minari's JSON: the same for each agent, where there are several."""
    if len(recording.agents) == 1:
        return space
    return {"type": "Dict", "subspaces": dict.fromkeys(recording.agents, space)}


def _box(observation: Observation) -> dict[str, Any]:
    low, high = (np.full(observation.shape, bound, observation.dtype) for bound in (observation.low, observation.high))
    return {
        "type": "Box",
        "dtype": observation.dtype,
        "shape": observation.shape,
        "low": low.tolist(),
        "high": high.tolist(),
    }


def _choices(action: Action) -> dict[str, Any]:
    if not action.choices:
        return {"type": "Box", "dtype": "float32", "shape": [action.width], "low": action.low, "high": action.high}
    if len(action.choices) == 1:
        return {"type": "Discrete", "dtype": "int64", "start": 0, "n": action.choices[0]}
    return {"type": "MultiDiscrete", "dtype": "int64", "nvec": action.choices, "start": [0] * action.width}


def _h5py() -> Any:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingPackageError("recordings need h5py: pip install 'understudy[games]'") from error
    return h5py
