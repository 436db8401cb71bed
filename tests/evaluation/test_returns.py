import numpy as np
import pytest

from understudy.evaluation.play import calibration_error, play, returns
from understudy.games.names import make
from understudy.games.teams import Random


@pytest.mark.parametrize("worlds", [1, 3, 8])
def test_each_seed_is_played_once_whatever_the_number_of_worlds(worlds: int) -> None:
    pytest.importorskip("gymnasium")
    env = make("gym:CartPole-v1", worlds)
    try:
        episodes = play(env, Always(env, 1), range(7))
    finally:
        env.close()
    assert [one.seed for one in episodes] == list(range(7))
    alone = make("gym:CartPole-v1", 1)
    for episode in episodes:
        (again,) = play(alone, Always(alone, 1), [episode.seed])
        assert np.array_equal(again.observations, episode.observations)
    assert returns(episodes).tolist() == [float(len(one.actions)) for one in episodes]


class Always:
    def __init__(self, env, action: int) -> None:
        self.action = action

    def reset(self, rows, seeds) -> None: ...

    def act(self, rows, observations, masks):
        return np.full((len(rows), 1), self.action)


def test_a_return_is_the_mean_of_the_agents() -> None:
    env = make("kitchen/cramped_room", 2, horizon=30, shaping=1.0)
    episodes = play(env, Random(env), [1, 2, 3])
    assert [len(one.actions) for one in episodes] == [30, 30, 30]
    assert returns(episodes).tolist() == [one.rewards.sum() / 2 for one in episodes]


def test_calibration() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.2, 1, 20_000)
    right = (random.random(20_000) < confidence).astype(float)
    assert calibration_error(confidence, right) < 0.02
    assert calibration_error(confidence * 0 + 1.0, right) == pytest.approx(1 - right.mean())
