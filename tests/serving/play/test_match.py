"""A match plays game after game, each recorded with who played it."""

import pytest

from understudy.errors import ConfigError, RecordingError, RunNotFoundError, ScenarioError
from understudy.games.minari_files import read
from understudy.games.names import make
from understudy.games.teams import control_of, everyone
from understudy.serving.play.match import Match, default_name
from understudy.serving.play.play import Config, scenario_of

STEPS = 8


def scenario(*control, **options):
    control = control or ("human", "script:random")
    agents = dict(zip(("cook 1", "cook 2"), control, strict=True))
    return everyone("kitchen/cramped_room", agents, {"horizon": STEPS, **options})


def play(match, seed, steps=STEPS):
    match.begin(seed)
    for _ in range(steps):
        match.decide()
        match.step({place: match.env.action.idling(1)[0] for place in match.people})
    return match


def test_games_go_to_one_recording(tmp_path):
    match = Match(scenario(), tmp_path / "mine")
    for seed in (3, 4):
        result = play(match, seed).finish({0: "Ann"})
        assert (result.episode, result.steps, result.cut) == (seed - 3, STEPS, False)
    first, second = read(tmp_path / "mine").episodes
    assert (first.seed, second.seed) == (3, 4)
    assert first.actions[:, 0, 0].tolist() == [4] * STEPS
    assert first.actions[:, 1, 0].tolist() != second.actions[:, 1, 0].tolist()
    assert first.provenance["players"] == {"cook 1": "person Ann", "cook 2": "script:random"}


def test_a_game_that_breaks_off_is_cut_short(tmp_path):
    match = Match(scenario(), tmp_path / "mine")
    result = play(match, 1, 3).finish({0: ""}, "the cat walked by")
    assert (result.steps, result.cut) == (3, True)
    (episode,) = read(tmp_path / "mine").episodes
    assert (len(episode.actions), len(episode.observations)) == (3, 4)
    assert episode.provenance["ended"] == "the cat walked by"
    assert episode.provenance["players"]["cook 1"] == "person"
    # Of what was not played there is nothing to record; of a single step there is
    assert play(match, 2, 0).finish({0: ""}) is None
    assert play(match, 3, 1).finish({0: ""}).steps == 1
    assert [len(one.actions) for one in read(tmp_path / "mine").episodes] == [3, 1]


def test_where_a_game_goes_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_RECORDINGS", str(tmp_path / "kept"))
    match = Match(scenario())
    play(match, 1).finish({0: ""})
    assert [one.name for one in (tmp_path / "kept").iterdir() if one.is_dir()] == ["kitchen-cramped_room-horizon-8-v0"]
    assert default_name(everyone("gym:ALE/Pong-v5", {}, {})) == "gym-ALE-Pong-v5"


def test_games_of_other_options_are_not_added(tmp_path):
    play(Match(scenario(), tmp_path / "mine"), 1).finish({0: ""})
    with pytest.raises(RecordingError, match=r"has games with the options .*'horizon': 8.* name another folder"):
        Match(scenario(horizon=9), tmp_path / "mine")
    # How many threads step it is nobody's matter
    Match(scenario(threads=1), tmp_path / "mine")


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    (tmp_path / "mine").write_text("in the way")
    with pytest.raises(RecordingError, match=r"nothing can be written to .*mine; name another folder with --to"):
        Match(scenario(), tmp_path / "mine" / "more")


def test_a_partner_that_is_neither_script_nor_run_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunNotFoundError, match=r"no run 'nobody'.*; scripts of kitchen/cramped_room are random, cook"):
        Match(scenario("human", "frozen:nobody"), tmp_path / "mine")


def test_a_scenario_without_people_is_an_error(tmp_path):
    with pytest.raises(ScenarioError, match="nobody in the scenario of kitchen/cramped_room is human"):
        Match(scenario("idle", "script:random"), tmp_path / "mine")


def test_partners_by_name():
    env = make("kitchen/cramped_room")
    controls = {name: control_of(env, name) for name in ("human", "idle", "random", "cook", "recording:x", "brave")}
    assert controls == {
        "human": "human",
        "idle": "idle",
        "random": "script:random",
        "cook": "script:cook",
        "recording:x": "recording:x",
        "brave": "frozen:brave",
    }


def test_the_scenario_of_a_command_line():
    found = scenario_of(Config(partner=("random",), place=2, option=("horizon=30", "view=features")))
    assert found.options == {"horizon": 30, "view": "features"}
    assert found.sides[0].control == ("script:random", "human")
    # Nobody has to say who cooks along
    assert scenario_of(Config()).sides[0].control == ("human", "script:cook")


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (Config(place=3), "--place 3 is out of range; expected 1 to 2"),
        (Config(partner=("idle", "idle")), "--partner names 2; expected one for all, or 1"),
        (Config(option=("horizon",)), "--option horizon: expected NAME=VALUE"),
        (Config(option=("horizn=3",)), "unknown field 'horizn'.*did you mean horizon"),
    ],
)
def test_a_wrong_command_line_is_an_error(config, problem):
    with pytest.raises(ConfigError, match=problem):
        scenario_of(config)
