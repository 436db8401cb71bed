"""Games of others by name: names, shapes, padding, failures. What they promise is in tests/contracts/test_games.py."""

import os
import signal
import sys
import types

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from understudy.errors import ConfigError, GameError, MissingPackageError
from understudy.games.env import Buffers
from understudy.games.names import make


@pytest.fixture
def registered():
    """Registers a small environment of Gymnasium, by the way in which it behaves."""
    names = []

    def register(behaviour, **spaces_):
        name = f"Odd{len(names)}-v0"
        gymnasium.register(name, lambda: Odd(behaviour, **spaces_))
        names.append(name)
        return f"gym:{name}"

    yield register
    for name in names:
        del gymnasium.registry[name]


class Odd(gymnasium.Env):
    """Counts its steps; the third one is odd."""

    def __init__(self, behaviour, observation=None, action=None):
        self.behaviour = behaviour
        self.observation_space = observation or spaces.Box(-10, 10, (2,), np.float64)
        self.action_space = action or spaces.Discrete(3, start=5)
        self.acted = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def seen(self):
        odd = self.steps == 3
        if isinstance(self.observation_space, spaces.Dict):
            return {"place": 2, "way": np.array([0.5], np.float32)}
        if odd and self.behaviour == "another shape":
            return np.zeros(3)
        return np.array([self.steps, np.nan if odd and self.behaviour == "nan" else 0])

    def step(self, action):
        self.acted.append(action)
        self.steps += 1
        if self.steps == 3 and self.behaviour == "raises":
            raise RuntimeError("it broke")
        if self.steps == 3 and self.behaviour == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        reward = np.nan if self.steps == 3 and self.behaviour == "nan reward" else 1.0
        return self.seen(), reward, self.steps == 5, self.steps == 5, {}


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        ("raises", "world 0 failed in step 3 of its episode: RuntimeError: it broke"),
        ("another shape", r"world 0 failed in step 3 .*observation of shape \[3\]; its space has \[2\]"),
        ("nan", "world 0 gave an observation that is not a number"),
        ("nan reward", "world 0 gave a reward that is not a number"),
    ],
)
def test_what_goes_wrong_is_named(registered, behaviour, problem):
    env = make(registered(behaviour), worlds=2)
    out = Buffers.of(env)
    env.reset([1, 2], out)
    for _ in range(2):
        env.step(env.action.idling(2), out)
    with pytest.raises(GameError, match=problem):
        env.step(env.action.idling(2), out)


def test_termination_wins_over_truncation_and_choices_may_start_anywhere(registered):
    env = make(registered("plain"), worlds=1)
    out = Buffers.of(env)
    env.reset([1], out)
    for _ in range(5):
        env.step(np.array([[2]]), out)
    assert out.terminated.tolist() == [True]
    assert out.truncated.tolist() == [False]
    assert env._worlds.worlds[0]._env.unwrapped.acted == [7] * 5


def test_it_is_not_stepped_before_its_first_reset(registered):
    env = make(registered("plain"), worlds=2)
    out = Buffers.of(env)
    env.reset([1, 2], out, np.array([True, False]))
    with pytest.raises(GameError, match="before all of its worlds were reset"):
        env.step(env.action.idling(2), out)


def test_dictionaries_are_laid_flat(registered):
    space = spaces.Dict({"place": spaces.Discrete(4), "way": spaces.Box(-1, 1, (1,))})
    env = make(registered("plain", observation=space))
    out = Buffers.of(env)
    env.reset([1], out)
    assert out.observations.tolist() == [[0, 0, 1, 0, 0.5]]


@pytest.mark.parametrize(
    ("space", "action", "given"),
    [
        (spaces.MultiDiscrete([3, 2], start=[1, 0]), [[2, 1]], [3, 1]),
        (spaces.MultiBinary(3), [[1, 0, 1]], [1, 0, 1]),
        (spaces.Box(-1, 1, (2, 2)), [[0.5, 0, -0.5, 1]], [[0.5, 0], [-0.5, 1]]),
    ],
)
def test_actions_arrive_in_the_form_of_their_space(registered, space, action, given):
    env = make(registered("plain", action=space))
    out = Buffers.of(env)
    env.reset([1], out)
    env.step(np.array(action, env.action.dtype), out)
    (acted,) = env._worlds.worlds[0]._env.unwrapped.acted
    assert space.contains(acted)
    assert acted.tolist() == given


def test_what_cannot_be_rows_of_an_array_is_an_error(registered):
    with pytest.raises(GameError, match="neither choices nor numbers"):
        make(registered("plain", action=spaces.Dict({"a": spaces.Discrete(2)})))
    with pytest.raises(GameError, match=r"no fixed size|cannot be laid flat"):
        make(registered("plain", observation=spaces.Sequence(spaces.Discrete(2))))


@pytest.mark.slow
def test_processes_change_nothing():
    seen = []
    for processes in (0, 2):
        env = make("gym:CartPole-v1", worlds=3, processes=processes)
        out = Buffers.of(env)
        env.reset([1, 2, 3], out)
        for step in range(40):
            env.step(np.full((3, 1), step % 2), out)
        seen.append({name: array.copy() for name, array in vars(out).items()})
        env.close()
    assert all(np.array_equal(seen[0][name], seen[1][name]) for name in seen[0])


MODULE = """
import gymnasium, sys
sys.path.insert(0, {tests!r})
from games.test_adapters import Odd
gymnasium.register("Odd-v0", lambda: Odd({behaviour!r}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        ("dies", r"the process of worlds 0 to 0 died \(SIGKILL\)"),
        ("raises", "world 0 failed in step 3 of its episode: RuntimeError: it broke"),
    ],
)
def test_a_failure_in_a_process_is_named(tmp_path, monkeypatch, behaviour, problem):
    (tmp_path / f"odd_{behaviour}.py").write_text(MODULE.format(tests=sys.path[0], behaviour=behaviour))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(tmp_path)
    env = make(f"gym:odd_{behaviour}:Odd-v0", worlds=2, processes=2)
    out = Buffers.of(env)
    env.reset([1, 2], out)
    for _ in range(2):
        env.step(env.action.idling(2), out)
    with pytest.raises(GameError, match=problem):
        env.step(env.action.idling(2), out)
    env.close()
    del gymnasium.registry["Odd-v0"]


def test_agents_that_see_and_may_do_less_are_padded(monkeypatch):
    from pettingzoo import ParallelEnv

    class Uneven(ParallelEnv):
        """The second sees and may do more, and leaves after two steps."""

        def __init__(self):
            self.possible_agents, self.agents, self.acted = ["small", "large"], [], []

        def observation_space(self, agent):
            return spaces.Box(0, 9, (2,) if agent == "small" else (2, 2), np.float32)

        def action_space(self, agent):
            return spaces.Discrete(2 if agent == "small" else 4)

        def reset(self, seed=None, options=None):
            self.agents, self.steps = self.possible_agents.copy(), 0
            return self.seen(), {agent: {} for agent in self.agents}

        def seen(self):
            return {agent: np.full(self.observation_space(agent).shape, self.steps + 1.0) for agent in self.agents}

        def step(self, actions):
            self.acted.append(actions)
            self.steps += 1
            seen, ended = self.seen(), {agent: self.steps == (4 if agent == "small" else 2) for agent in self.agents}
            found = seen, dict.fromkeys(self.agents, 1.0), ended, dict.fromkeys(self.agents, False)
            infos = {agent: {} for agent in self.agents}
            self.agents = [agent for agent in self.agents if not ended[agent]]
            return *found, infos

    module = types.ModuleType("uneven_game")
    module.parallel_env = Uneven
    monkeypatch.setitem(sys.modules, "uneven_game", module)
    env = make("pettingzoo:uneven_game")
    out = Buffers.of(env)
    env.reset([1], out)
    assert out.observations.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert out.masks.tolist() == [[True, True, False, False], [True] * 4]
    rewards = []
    for _ in range(4):
        # The first may not do this, so it idles
        env.step(np.array([[3], [3]]), out)
        rewards.append(out.rewards.tolist())
    assert rewards == [[1, 1], [1, 1], [1, 0], [1, 0]]
    assert out.observations.tolist() == [[5, 5, 0, 0], [3, 3, 3, 3]]
    assert out.terminated.all()
    acted = env._worlds.worlds[0]._env.acted
    assert acted == [{"small": 0, "large": 3}] * 2 + [{"small": 0}] * 2


@pytest.mark.parametrize(
    ("name", "error", "problem"),
    [
        ("gym:CartPol-v1", GameError, "did you mean CartPole"),
        ("gym:CartPole-v7", GameError, "there is no gym:CartPole-v7"),
        ("pettingzoo:classic/nothing_v1", GameError, "there is no pettingzoo:classic/nothing_v1"),
        ("pettingzoo:gymnasium", GameError, "has no parallel_env"),
        ("pettingzoo:classic/chess_v6", GameError, "move in turn"),
        ("chess", GameError, "games are kitchen/LAYOUT, lane/TASK, gym:ID, pettingzoo:ID"),
        ("kitchen/", GameError, "there is no game"),
    ],
)
def test_an_unknown_game_is_an_error(name, error, problem):
    with pytest.raises(error, match=problem):
        make(name)


def test_numbers_of_worlds_and_processes_are_checked():
    with pytest.raises(ConfigError, match="--worlds 0"):
        make("kitchen/cramped_room", worlds=0)
    with pytest.raises(ConfigError, match="--processes 3"):
        make("gym:CartPole-v1", worlds=2, processes=3)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(MissingPackageError, match="pip install ale-py"):
        make("gym:ALE/Pong-v5")
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingPackageError, match="understudy\\[games\\]"):
        make("gym:CartPole-v1")
