"""Episodes are taken down as they were played, and play again."""

import numpy as np
import pytest

from understudy.errors import RecordingError
from understudy.games.env import Buffers
from understudy.games.names import make
from understudy.games.recordings import Recorder, Recording, check, replay


def record(env, rounds, seed=0):
    """Return the episodes of random play."""
    out, recorder, random = Buffers.of(env), Recorder(env), np.random.default_rng(seed)
    episodes = []
    seeds = np.arange(env.worlds)
    env.reset(seeds, out)
    recorder.reset(seeds, out)
    for _ in range(rounds):
        actions = np.stack([random.integers(many, size=env.rows) for many in env.action.choices], 1)
        env.step(actions, out)
        episodes += [episode for _, episode in recorder.step(actions, out)]
        seeds, over = seeds + env.worlds, out.over(env)
        env.reset(seeds, out, over)
        recorder.reset(seeds, out, over)
    return episodes


@pytest.fixture(scope="module")
def episodes():
    return record(make("kitchen/cramped_room", worlds=3, horizon=30), rounds=70)


def test_an_episode_holds_what_happened(episodes):
    assert len(episodes) == 6
    assert [episode.observations.shape for episode in episodes] == [(31, 2, 20, 4, 5)] * 6
    assert [episode.actions.shape for episode in episodes] == [(30, 2, 1)] * 6
    assert [episode.seed for episode in episodes] == [0, 1, 2, 90, 91, 92]
    assert not any(episode.terminated.any() for episode in episodes)


def test_it_plays_again(episodes):
    env = make("kitchen/cramped_room", worlds=6, horizon=30)
    check(Recording.of(env, episodes), env, "mine")
    again = replay(env, [one.actions for one in episodes], [one.seed for one in episodes])
    assert all(np.array_equal(one.observations, other.observations) for one, other in zip(episodes, again, strict=True))


def without_a_step(episode):
    for name in ("actions", "rewards"):
        setattr(episode, name, np.delete(getattr(episode, name), 9, 0))
    episode.observations = np.delete(episode.observations, 10, 0)


def swapped(episode):
    episode.actions = episode.actions[:, ::-1]


def shifted(episode):
    episode.actions = np.roll(episode.actions, 1, 0)


def begun_elsewhere(episode):
    episode.observations[0, 0, 0] = 0


def too_long(episode):
    episode.actions = np.concatenate([episode.actions, episode.actions])


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (without_a_step, "mine, episode 1: step .* does not follow"),
        (swapped, "does not follow"),
        (shifted, "does not follow"),
        (begun_elsewhere, "begins as no episode"),
        (too_long, "60 steps, but its game ends after 30"),
    ],
)
def test_an_episode_that_did_not_happen_is_an_error(edit, problem):
    env = make("kitchen/cramped_room", worlds=3, horizon=30)
    episodes = record(env, 31)
    edit(episodes[1])
    with pytest.raises(RecordingError, match=problem):
        check(Recording.of(env, episodes), env, "mine")


def test_a_recording_of_another_game_or_version_is_an_error(episodes):
    env = make("kitchen/cramped_room", worlds=6, horizon=30)
    other = make("kitchen/coordination_ring", worlds=6)
    with pytest.raises(RecordingError, match="game is kitchen/cramped_room, not kitchen/coordination_ring"):
        check(Recording.of(env, episodes), other, "mine")
    recording = Recording.of(env, episodes)
    recording.version = "2018"
    with pytest.raises(RecordingError, match="version is 2018"):
        check(recording, env, "mine")
    features = make("kitchen/cramped_room", worlds=6, view="features")
    with pytest.raises(RecordingError, match=r"observation is \[20, 4, 5\] uint8, not \[211\] float32"):
        check(Recording.of(env, episodes), features, "mine")
