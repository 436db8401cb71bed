"""Trained players play with people, and are watched with what they think beside them."""

from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console

from understudy.errors import RecordingError, ScenarioError
from understudy.games.env import Buffers
from understudy.games.minari_files import read, write
from understudy.games.names import make
from understudy.games.recordings import Recording, replay
from understudy.games.teams import everyone
from understudy.models.policy import Policy, PolicySpec
from understudy.models.spec import CoreConfig
from understudy.serving.play.match import Match
from understudy.serving.play.replays import Panel, Thoughts
from understudy.serving.play.watch import Config, main, replays_of
from understudy.training.checkpoint import save_checkpoint
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.loading import load_policy
from understudy.training.objectives import ImitationLoss
from understudy.training.play import Play

STEPS = 15


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a policy of the cramped room, seen in features, which would rather go east."""
    env = make("kitchen/cramped_room", view="features", horizon=STEPS)
    torch.manual_seed(0)
    core = CoreConfig(core="lstm", layers=1, width=8).resolved()
    policy = Policy(PolicySpec(core, env.observation.shape, env.action.choices))
    with torch.no_grad():
        policy.action.bias[2] += 2.0
        policy.value.bias += 7.5
    learner = Learner(ImitationLoss(policy), LearnerConfig(), torch.device("cpu"))
    return str(
        save_checkpoint(tmp_path_factory.mktemp("trained"), learner, Play(Recording.of(env), [], []), kind="play")
    )


def test_a_run_plays_beside_a_person(trained, tmp_path):
    scenario = everyone("kitchen/cramped_room", {"cook 1": "human", "cook 2": f"frozen:{trained}"}, {})
    match = Match(scenario, tmp_path / "mine")
    # The game is as the policy knows it
    assert (match.env.options["view"], match.env.options["horizon"]) == ("features", STEPS)
    match.begin(3)
    while not match.over:
        match.decide()
        match.step({0: match.env.action.idling(1)[0]})
    match.finish({0: "Ann"})
    (episode,) = read(tmp_path / "mine").episodes
    assert episode.provenance["players"] == {"cook 1": "person Ann", "cook 2": f"frozen:{trained}"}
    assert set(episode.actions[:, 0, 0]) == {4}
    assert (episode.actions[:, 1, 0] == 2).mean() > 0.3


def test_a_run_of_another_game_is_an_error(trained, tmp_path):
    scenario = everyone("kitchen/coordination_ring", {"cook 1": "human", "cook 2": f"frozen:{trained}"}, {})
    with pytest.raises(ScenarioError, match="plays kitchen/cramped_room, not kitchen/coordination_ring"):
        Match(scenario, tmp_path / "mine")
    scenario = everyone("kitchen/cramped_room", {"cook 1": "human", "cook 2": "latest"}, {})
    with pytest.raises(ScenarioError, match="has latest; name a run instead, as frozen:RUN"):
        Match(scenario, tmp_path / "mine")


def test_a_run_is_watched_with_what_it_thinks(trained):
    replays = replays_of(Config(trained, games=2, seed=4), Console(file=StringIO()))
    recording = replays.recording()
    assert [one.seed for one in recording.episodes] == [4, 5]
    assert [one["steps"] for one in replays.listed()["episodes"]] == [STEPS, STEPS]
    told = replays.told(1)
    east = [shape.text for shape in told["frames"][0]["shapes"] if shape.text.endswith("%")][2]
    assert int(east[:-1]) > 50
    titles = [shape.text for shape in told["frames"][0]["shapes"] if "value" in shape.text]
    assert [title.partition(".")[0] for title in titles] == ["cook 1: value 7", "cook 2: value 7"]
    assert "likeliest east" in told["frames"][0]["said"][0][-1]
    # Thoughts are those behind what it did: by its own probabilities its actions are no surprise
    mind, env = replays._mind, make(recording.game, **recording.options)
    thoughts = mind.think(env, recording.episodes[1])
    for row in (0, 1):
        done = recording.episodes[1].actions[:, row, 0]
        assert thoughts[row].probabilities.shape == (STEPS, 6)
        assert np.allclose(thoughts[row].probabilities.sum(1), 1)
        assert np.log(thoughts[row].probabilities[np.arange(STEPS), done]).mean() > -2.0


@pytest.mark.parametrize("last_action", [False, True])
def test_a_run_is_asked_what_it_would_do_in_games_of_others(last_action, tmp_path):
    env = make("kitchen/cramped_room", view="features", horizon=STEPS)
    torch.manual_seed(1)
    core = CoreConfig(core="lstm", layers=1, width=8).resolved()
    policy = Policy(PolicySpec(core, env.observation.shape, env.action.choices, last_action=last_action)).eval()
    with torch.no_grad():
        policy.action.weight.normal_()
    learner = Learner(ImitationLoss(policy), LearnerConfig(), torch.device("cpu"))
    run = str(save_checkpoint(tmp_path / "run", learner, Play(Recording.of(env), [], []), kind="play"))
    # Games seen in the grid, of which two differ in one action
    grid = make("kitchen/cramped_room", worlds=2, horizon=STEPS)
    actions = np.full((2, STEPS, 2, 1), 4)
    actions[1, 7, 0] = 5
    folder = write(tmp_path / "mine", Recording.of(grid, replay(grid, list(actions), [0, 0])))
    replays = replays_of(Config(str(folder), beside=run), Console(file=StringIO()))
    one, other = (replays._mind.think(grid, episode)[0] for episode in read(folder).episodes)
    assert one.values is None
    assert np.array_equal(one.probabilities[:8], other.probabilities[:8])
    # Nothing changed in the kitchen, so only one who sees what it did last thinks otherwise
    assert np.array_equal(one.probabilities[8:], other.probabilities[8:]) != last_action
    assert "cook 1" in [shape.text for shape in replays.told(0)["frames"][0]["shapes"]]


def test_a_run_becomes_a_video(trained, tmp_path):
    said = StringIO()
    main(Config(trained, games=1, save=str(tmp_path / "run.gif")), Console(file=said, width=300))
    assert "Game 0 of" in said.getvalue()
    assert (tmp_path / "run.gif").stat().st_size > 1000


def test_neither_recording_nor_run_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordingError, match=r"there is no recording 'brave'.*; and as a run: "):
        main(Config("brave"), Console(file=StringIO()))


def test_real_numbers_are_told_in_words(trained):
    policy = load_policy(trained)
    env = make(policy.recording.game, **policy.recording.options)
    scene = env.scene()
    episode = replays_of(Config(trained, games=1), Console(file=StringIO())).recording().episodes[0]
    action = replace(env.action, choices=(), names=(), low=(-1.0, -1.0), high=(1.0, 1.0))
    episode.actions = np.zeros((STEPS, 2, 2), np.float32)
    thoughts = {1: Thoughts("run brave", np.tile((0.5, -0.25, 0.1, 0.2), (STEPS, 1)), np.zeros(STEPS))}
    panel = Panel(scene, thoughts, action, env.agents)
    env.reset([0], Buffers.of(env))
    frame = panel.beside(env.frame(), episode, 0)
    assert [shape.text for shape in frame.shapes if shape.text] == [
        *("cook 2: value 0.0", "number 1", "0.50 ± 0.10", "number 2", "-0.25 ± 0.20"),
    ]
    assert frame.said[1][-1] == "run brave: number 1 0.50 ± 0.10; number 2 -0.25 ± 0.20."
