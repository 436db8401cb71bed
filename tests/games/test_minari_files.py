"""Recordings on disk come back as they were, and Minari loads them."""

import json
import os

import numpy as np
import pytest

from understudy.errors import GameError, RecordingError
from understudy.games.minari_files import read, write
from understudy.games.names import make
from understudy.games.recordings import Recording

from .test_recordings import record


@pytest.fixture
def kitchen():
    env = make("kitchen/cramped_room", worlds=2, horizon=20)
    recording = Recording.of(env, record(env, 41))
    recording.episodes[0].provenance = {"players": {"cook 1": "Ann", "cook 2": "run brave-otter"}, "time": "2026-11-26"}
    return recording


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("observations", "actions", "rewards", "terminated", "seed", "provenance")
    )


def test_a_recording_comes_back(kitchen, tmp_path):
    folder = write(tmp_path / "mine", kitchen)
    assert folder.name == "mine-v0"
    for path in (folder, tmp_path / "mine"):
        back = read(path)
        assert all(same(one, other) for one, other in zip(back.episodes, kitchen.episodes, strict=True))
        assert (back.game, back.version, back.agents) == (kitchen.game, kitchen.version, kitchen.agents)
        assert (back.observation, back.action, back.options) == (kitchen.observation, kitchen.action, kitchen.options)
    # It says enough to make the game again
    again = make(back.game, worlds=1, **back.options)
    assert again.observation == kitchen.observation


def test_episodes_are_added(kitchen, tmp_path):
    folder = write(tmp_path / "mine", kitchen)
    write(folder, kitchen)
    assert len(read(folder).episodes) == 2 * len(kitchen.episodes)
    assert sorted(os.listdir(folder / "data")) == ["main_data.hdf5", "metadata.json"]


def test_a_writer_that_was_killed_leaves_what_was_there(kitchen, tmp_path):
    folder = write(tmp_path / "mine", kitchen)
    before = (folder / "data" / "metadata.json").read_bytes()
    write(folder, kitchen)
    # As if it had been killed between the two files
    (folder / "data" / "metadata.json").write_bytes(before)
    assert len(read(folder).episodes) == len(kitchen.episodes)
    write(folder, kitchen)
    assert len(read(folder).episodes) == 2 * len(kitchen.episodes)


def test_minari_loads_a_game_of_two(kitchen, tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    write(tmp_path / "mine", kitchen)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert list(minari.list_local_datasets()) == ["mine-v0"]
    loaded = minari.load_dataset("mine-v0")
    assert loaded.total_episodes == len(kitchen.episodes)
    assert loaded.total_steps == sum(len(one.actions) for one in kitchen.episodes)
    for theirs, ours in zip(loaded.iterate_episodes(), kitchen.episodes, strict=True):
        for place, agent in enumerate(kitchen.agents):
            assert np.array_equal(theirs.observations[agent], ours.observations[:, place])
            assert np.array_equal(theirs.actions[agent], ours.actions[:, place, 0])
            assert np.array_equal(theirs.infos["rewards"][agent], ours.rewards[:, place])
            assert loaded.observation_space[agent].contains(theirs.observations[agent][0])
            assert loaded.action_space[agent].contains(theirs.actions[agent][0])
        assert np.array_equal(theirs.rewards, ours.rewards.mean(1))
        assert theirs.truncations.tolist() == [False] * 19 + [True]
        assert not theirs.terminations.any()
    (first, *_) = loaded.storage.get_episode_metadata([0])
    assert json.loads(first["understudy"])["players"]["cook 1"] == "Ann"


def test_minari_loads_a_game_of_one(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    env = make("gym:CartPole-v1", worlds=2)
    episodes = record(env, 60)
    assert episodes
    write(tmp_path / "pole", Recording.of(env, episodes))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    loaded = minari.load_dataset("pole-v0")
    for theirs, ours in zip(loaded.iterate_episodes(), episodes, strict=True):
        assert np.array_equal(theirs.observations, ours.observations[:, 0])
        assert np.array_equal(theirs.actions, ours.actions[:, 0, 0])
        assert theirs.terminations[-1]
    assert loaded.observation_space.contains(theirs.observations[0])
    assert same(read(tmp_path / "pole").episodes[0], episodes[0])


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(RecordingError, match="there is no recording"):
        read(tmp_path / "mine")


def test_another_programs_data_set_is_an_error(kitchen, tmp_path):
    folder = write(tmp_path / "mine", kitchen)
    metadata = json.loads((folder / "data" / "metadata.json").read_text())
    del metadata["understudy"]
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(RecordingError, match="does not name its game"):
        read(folder)


def test_a_recording_of_another_game_is_not_added_to(kitchen, tmp_path):
    folder = write(tmp_path / "mine", kitchen)
    other = make("kitchen/coordination_ring")
    with pytest.raises(RecordingError, match="game is kitchen/coordination_ring, not kitchen/cramped_room"):
        write(folder, Recording.of(other))
    assert len(read(folder).episodes) == len(kitchen.episodes)


def edit(folder, change):
    import h5py

    with h5py.File(folder / "data" / "main_data.hdf5", "a") as store:
        change(store["episode_1"])


def fewer_actions(group):
    for agent in ("cook 1", "cook 2"):
        kept = group[f"actions/{agent}"][:-1]
        del group[f"actions/{agent}"]
        group[f"actions/{agent}"] = kept


def other_view(group):
    for agent in ("cook 1", "cook 2"):
        del group[f"observations/{agent}"]
        group[f"observations/{agent}"] = np.zeros((21, 20, 5, 5), np.uint8)


def unknown_action(group):
    group["actions/cook 2"][3] = 6


def no_rewards(group):
    del group["infos/rewards"]


@pytest.mark.parametrize(
    ("change", "error", "problem"),
    [
        (fewer_actions, RecordingError, "episode 1 has missing steps: 21 observations, 19 actions and 20 rewards"),
        (other_view, RecordingError, r"episode 1 has observations of shape \[20, 5, 5\]"),
        (unknown_action, GameError, "episode 1: action 6 of row 7 is out of range; expected 0 to 5"),
        (no_rewards, RecordingError, "is damaged"),
    ],
)
def test_damaged_episodes_are_errors(kitchen, tmp_path, change, error, problem):
    folder = write(tmp_path / "mine", kitchen)
    edit(folder, change)
    with pytest.raises(error, match=problem):
        read(folder)


def test_a_file_that_is_no_hdf5_is_an_error(kitchen, tmp_path):
    folder = write(tmp_path / "mine", kitchen)
    (folder / "data" / "main_data.hdf5").write_bytes(b"nothing")
    with pytest.raises(RecordingError, match="is damaged"):
        read(folder)
