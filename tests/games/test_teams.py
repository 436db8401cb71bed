"""A scenario says who decides where, who sees what, and who earns what."""

import numpy as np
import pytest

from understudy.errors import ConfigError, ScenarioError
from understudy.games.env import Buffers
from understudy.games.kitchen import kernels
from understudy.games.minari_files import write
from understudy.games.names import make
from understudy.games.recordings import Recording
from understudy.games.teams import LATEST, Scenario, Side, Teams, check, read_scenario

from .test_recordings import record

COOKS = ("cook 1", "cook 2")


def scenario(control=(LATEST, "idle"), **options):
    side = {name: options.pop(name) for name in ("share_observation", "team_spirit") if name in options}
    return Scenario("kitchen/cramped_room", (Side("cooks", COOKS, control, **side),), **options)


class Interacting:
    """Always interacts, and notes for which rows."""

    def __init__(self):
        self.began, self.acted = [], []

    def reset(self, rows, seeds):
        self.began.append((rows.tolist(), seeds.tolist()))

    def act(self, rows, observations, masks):
        self.acted.append(rows.tolist())
        assert len(observations) == len(masks) == len(rows)
        return np.full((len(rows), 1), kernels.INTERACT)


def test_each_controller_decides_for_its_rows():
    env = make("kitchen/cramped_room", worlds=2)
    out, mine = Buffers.of(env), Interacting()
    teams = Teams(scenario((LATEST, "script:random")), env, {LATEST: mine})
    teams.reset([5, 6], out)
    assert mine.began == [([0, 2], [5, 6])]
    drawn = set()
    for _ in range(30):
        actions = teams.decide(out)
        assert actions[[0, 2]].ravel().tolist() == [kernels.INTERACT] * 2
        drawn |= set(actions[[1, 3]].ravel().tolist())
        teams.step(actions, out)
    assert drawn == set(range(6))
    teams.reset([7, 8], out, np.array([False, True]))
    assert mine.began[1:] == [([2], [8])]


def test_chance_depends_on_the_seed_alone():
    drawn = []
    for worlds, row in ((1, 1), (3, 5)):
        env = make("kitchen/cramped_room", worlds=worlds)
        out, teams = Buffers.of(env), Teams(scenario((LATEST, "script:random")), env)
        teams.reset([9] * worlds, out)
        drawn.append([int(teams.decide(out)[row, 0]) for _ in range(20)])
    # Another place in the batch draws other numbers, the same place the same
    assert drawn[0] != drawn[1]
    env = make("kitchen/cramped_room", worlds=1)
    out, teams = Buffers.of(env), Teams(scenario((LATEST, "script:random")), env)
    teams.reset([9], out)
    assert [int(teams.decide(out)[1, 0]) for _ in range(20)] == drawn[0]


def test_a_recording_decides_as_its_agent_did(tmp_path):
    env = make("kitchen/cramped_room", worlds=2, horizon=20)
    recording = Recording.of(env, record(env, 41))
    folder = write(tmp_path / "mine", recording)
    out, teams = Buffers.of(env), Teams(scenario((LATEST, f"recording:{folder}")), env)
    teams.reset([1, 4], out)
    played = []
    for _ in range(20):
        actions = teams.decide(out)
        played.append(actions[[1, 3]])
        teams.step(actions, out)
    for place, episode in enumerate((1, 4 % len(recording.episodes))):
        assert np.array_equal(np.stack(played)[:, place], recording.episodes[episode].actions[:, 1])
    assert teams.decide(out)[[1, 3]].ravel().tolist() == [kernels.STAY] * 2
    with pytest.raises(ScenarioError, match="kitchen/cramped_room cannot decide in kitchen/coordination_ring"):
        Teams(scenario((LATEST, f"recording:{folder}")), make("kitchen/coordination_ring"))


def test_who_is_not_known_here_idles():
    env = make("kitchen/cramped_room", worlds=1)
    out, teams = Buffers.of(env), Teams(scenario((LATEST, "human")), env)
    teams.reset([0], out)
    assert teams.decide(out).ravel().tolist() == [kernels.STAY] * 2
    assert teams.rows("human").tolist() == [1]


@pytest.mark.parametrize(("swap", "seats"), [("none", [0, 0, 0, 0]), ("places", [0, 1, 0, 1])])
def test_places_go_round_with_the_seed(swap, seats):
    env = make("kitchen/cramped_room", worlds=4)
    out, teams = Buffers.of(env), Teams(scenario(swap=swap), env)
    teams.reset([10, 11, 12, 13], out)
    assert (teams.rows(LATEST) % 2).tolist() == seats
    teams.reset([11, 0, 0, 0], out, np.array([True, False, False, False]))
    assert teams.rows(LATEST)[0] == (swap == "places")


def test_sides_go_round_with_the_seed():
    sides = (Side("left", COOKS[:1], (LATEST,)), Side("right", COOKS[1:], ("idle",)))
    env = make("kitchen/cramped_room", worlds=2)
    out, teams = Buffers.of(env), Teams(Scenario("kitchen/cramped_room", sides, "sides"), env)
    teams.reset([0, 1], out)
    assert teams.controls.tolist() == [[LATEST, "idle"], ["idle", LATEST]]


def test_shared_observations_have_ones_own_first():
    env = make("kitchen/cramped_room", worlds=2)
    out, teams = Buffers.of(env), Teams(scenario(share_observation=True), env)
    teams.reset([0, 1], out)
    assert teams.observation.shape == (2, 20, 4, 5)
    seen, own = teams.seen(out.observations), out.observations
    assert np.array_equal(seen[3], np.stack([own[3], own[2]]))
    assert np.array_equal(seen[0], np.stack([own[0], own[1]]))


@pytest.mark.parametrize(("spirit", "rewards"), [(0.0, [3, 0]), (0.5, [2.25, 0.75]), (1.0, [1.5, 1.5])])
def test_team_spirit_mixes_rewards(spirit, rewards):
    env = make("kitchen/cramped_room", worlds=1, shaping=1.0)
    out, teams = Buffers.of(env), Teams(scenario(team_spirit=spirit), env)
    teams.reset([0], out)
    env.kitchens[0, [kernels.PLACE, kernels.HELD]] = (7, kernels.ONION)
    teams.step(np.array([[kernels.INTERACT], [kernels.STAY]]), out)
    assert out.rewards.tolist() == rewards


def test_a_scenario_from_a_file(tmp_path):
    file = tmp_path / "pair.yaml"
    file.write_text(
        "game: kitchen/cramped_room\noptions: {horizon: 50}\nswap: places\n"
        "sides:\n  - {name: cooks, agents: [cook 1, cook 2], control: [latest, 'script:random'], team_spirit: 0.5}\n"
    )
    read = read_scenario(file)
    assert read == scenario((LATEST, "script:random"), swap="places", options={"horizon": 50}, team_spirit=0.5)
    file.write_text("game: kitchen/cramped_room\nside: []\n")
    with pytest.raises(ConfigError, match=r"unknown field 'side'.*did you mean sides"):
        read_scenario(file)
    file.write_text("game: [")
    with pytest.raises(ScenarioError, match="cannot be read as a scenario"):
        read_scenario(file)
    file.write_text("kitchen")
    with pytest.raises(ScenarioError, match="holds no scenario"):
        read_scenario(file)


def sides(*parts, swap="none"):
    return Scenario("kitchen/cramped_room", tuple(Side(**part) for part in parts), swap)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (scenario(("latests",)), "'latests' is unknown; .*did you mean latest"),
        (scenario(("frozen",)), "'frozen' is unknown"),
        (scenario((LATEST, "script:rondom")), "no script 'rondom'; .*did you mean random"),
        (scenario((LATEST, "idle", "idle")), "3 controls for 2 agents"),
        (sides({"name": "a", "agents": ("cook 1", "cock 2")}), "agent 'cock 2'; .*did you mean cook"),
        (sides({"name": "a", "agents": ("cook 1",)}), "leaves out cook 2"),
        (sides({"name": "a", "agents": ("cook 1", "cook 1", "cook 2")}), "'cook 1' twice"),
        (
            sides(
                {"name": "a", "agents": ("cook 1",), "share_observation": True}, {"name": "b", "agents": ("cook 2",)}
            ),
            "either all sides share",
        ),
    ],
)
def test_a_scenario_that_does_not_fit_is_an_error(wrong, problem):
    with pytest.raises(ScenarioError, match=problem):
        Teams(wrong, make("kitchen/cramped_room"))


def test_team_spirit_is_a_share():
    with pytest.raises(ConfigError, match="team-spirit"):
        check(scenario(team_spirit=1.5), make("kitchen/cramped_room"))
