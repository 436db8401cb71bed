"""Every recorded step of people reproduces, and nothing else is taken for such a recording."""

import pickle

import numpy as np
import pytest

from understudy.errors import RecordingError
from understudy.games.env import Buffers
from understudy.games.kitchen import kernels, people
from understudy.games.kitchen.env import Kitchen, Options
from understudy.games.kitchen.layout import LAYOUTS

STEPS = {
    "cramped_room": (9564, 9626),
    "asymmetric_advantages": (10768, 9617),
    "coordination_ring": (9619, 9562),
    "forced_coordination": (7151, 7224),
    "counter_circuit": (9627, 8344),
}


def test_all_games_are_there():
    assert set(STEPS) == set(LAYOUTS)
    assert sum(map(sum, STEPS.values())) == 91_102


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("layout", STEPS)
def test_every_recorded_step_reproduces(layout, split):
    games = people.read_games(layout, split)
    steps = sum(len(game.actions) for game in games)
    assert steps == STEPS[layout][split == "test"]
    # Each step from the recorded state, so that no step hides behind an earlier one
    env = Kitchen(layout, steps, Options(horizon=30_000))
    out = Buffers.of(env)
    env.reset(np.zeros(steps), out)
    states = [np.stack([people.to_kitchen(state, game.layout) for state in game.states]) for game in games]
    env.kitchens[:] = np.concatenate([one[:-1] for one in states])
    env.step(np.concatenate([game.actions for game in games]).reshape(-1, 1), out)
    env.kitchens[:, kernels.CLOCK] = 0
    assert np.array_equal(env.kitchens, np.concatenate([one[1:] for one in states]))
    soups = np.concatenate([game.soups for game in games])
    assert np.array_equal(out.rewards.reshape(-1, 2), np.stack([20.0 * soups] * 2, 1))


def test_games_replay_from_their_beginning():
    games, episodes = (
        people.read_games("forced_coordination", "train"),
        people.read_episodes("forced_coordination", "train"),
    )
    assert len(games) == len(episodes) == 6
    for game, episode in zip(games, episodes, strict=True):
        assert episode.observations.shape == (len(game.actions) + 1, 2, kernels.FEATURES)
        assert episode.rewards.sum() == 40 * game.soups.sum()
        assert episode.provenance["split"] == "train"
        assert not episode.terminated.any()
    # What is seen at the end is the recorded end
    env = Kitchen("forced_coordination", 1, Options(view="features"))
    out = Buffers.of(env)
    env.reset([0], out)
    env.kitchens[0] = people.to_kitchen(games[0].states[-1], games[0].layout)
    env.see(out.observations)
    assert np.array_equal(out.observations, episodes[0].observations[-1])


@pytest.fixture
def changed(monkeypatch):
    """Has people's games read from a table that was changed."""

    def change(edit):
        table = {
            name: values.copy()
            for name, values in people.read_table(people.path_of("train").read_bytes(), "train").items()
        }
        edit(table)
        monkeypatch.setattr(people, "read_table", lambda *_: table)

    return change


def read_all():
    for layout in LAYOUTS:
        people.read_episodes(layout, "train")


def drop_a_step(table):
    for name in table:
        table[name] = np.delete(table[name], 20_500)


def shift_actions(table):
    table["joint_action"] = np.roll(table["joint_action"], 1)


def other_kitchen(table):
    table["layout"][:] = "['XXPXX', 'O1 2O', 'XDXSX']"


@pytest.mark.parametrize(
    ("edit", "problem"),
    [(drop_a_step, "lacks steps"), (shift_actions, "earns something else"), (other_kitchen, "another kitchen")],
)
def test_a_game_that_does_not_fit_is_an_error(changed, edit, problem):
    changed(edit)
    with pytest.raises(RecordingError, match=problem):
        read_all()


def test_an_unknown_layout_has_no_games():
    with pytest.raises(RecordingError, match="no people's games"):
        people.read_games("cramped_corridor", "train")


class Foreign:
    def __reduce__(self):
        return print, ("called",)


def test_a_pickle_with_a_foreign_global_is_not_read(capsys):
    with pytest.raises(RecordingError, match=r"builtins[.]print"):
        people.read_table(pickle.dumps(Foreign()), "games.pickle")
    assert "called" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1, 2])])
def test_another_file_is_not_read(content):
    with pytest.raises(RecordingError, match=r"games[.]pickle cannot be read"):
        people.read_table(content, "games.pickle")
