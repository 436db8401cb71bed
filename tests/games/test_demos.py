"""`understudy demos` lists what was recorded, shows it, and names each game that did not happen by the rules."""

import json
import shutil
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from understudy import cli
from understudy.errors import UserError
from understudy.games.demos import all_recordings, find_recording, main, make_recordings_folder
from understudy.games.minari_files import write
from understudy.games.names import make
from understudy.games.recordings import Recording

from .test_recordings import record


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A recording of four games of 20 steps."""
    monkeypatch.setenv("UNDERSTUDY_RECORDINGS", str(tmp_path / "recordings"))
    env = make("kitchen/cramped_room", worlds=2, horizon=20)
    recording = Recording.of(env, record(env, 41))
    for number, episode in enumerate(recording.episodes):
        episode.provenance = {
            "players": {"cook 1": "person Ann", "cook 2": "script:random"},
            "time": f"2026-11-2{number + 1}T12:00:00+00:00",
            "ended": "by the game",
            "code": {"version": "0.1.0", "commit": "0123456789abcdef", "dirty": True},
        }
    return write(make_recordings_folder() / "mine", recording)


def demos(*argv):
    """Return the exit code and what is printed."""
    said = StringIO()
    return main(argv, Console(file=said, width=200)), said.getvalue()


def test_recordings_are_listed(mine):
    code, said = demos()
    assert code == 0
    row = next(line for line in said.splitlines() if line.startswith("mine-v0")).split()
    assert row[1:4] == ["kitchen/cramped_room", "4", "80"]
    assert "person Ann, script:random" in said
    assert (mine.parent / ".gitignore").read_text() == "*\n"


def test_a_damaged_recording_does_not_hide_the_others(mine):
    broken = mine.with_name("broken-v0")
    shutil.copytree(mine, broken)
    (broken / "data" / "main_data.hdf5").write_bytes(b"not HDF5")
    code, said = demos("list")
    assert code == 0
    assert "is damaged" in said
    assert "person Ann" in said


def test_nothing_recorded_yet_is_no_mistake(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_RECORDINGS", str(tmp_path / "none"))
    assert "has no recordings yet" in demos()[1]
    assert demos("check")[0] == 0


def test_the_games_of_a_recording_are_shown(mine):
    code, said = demos("show", "min")
    assert code == 0
    rows = [line for line in said.splitlines() if "person Ann: " in line]
    assert [row.split()[0] for row in rows] == ["0", "1", "2", "3"]
    assert all("0123456+" in row and " 20 " in row for row in rows)


def test_a_recording_is_found_by_its_folder_its_name_or_its_beginning(mine, tmp_path):
    assert find_recording(str(mine)) == mine
    for name in ("mine-v0", "mine", "m"):
        assert find_recording(name) == mine
    shutil.copytree(mine, mine.with_name("more-v0"))
    assert len(all_recordings()) == 2
    with pytest.raises(UserError, match="several recordings begin with 'm'; there are mine-v0, more-v0"):
        find_recording("m")
    with pytest.raises(UserError, match="there is no recording 'other'; there are mine-v0, more-v0"):
        find_recording("other")


@pytest.mark.parametrize(
    ("argv", "problem"),
    [(("shwo",), "unknown command .*did you mean show"), (("show",), "needs the name of a recording")],
)
def test_a_wrong_command_line_says_what_to_write(argv, problem):
    with pytest.raises(UserError, match=problem):
        demos(*argv)


def test_a_sound_recording_passes(mine):
    assert demos("check") == (0, "mine-v0: 4 games played again, and all came out the same\n")


def in_store(change):
    """Changes game 2 in the file."""

    def edit(folder):
        import h5py

        with h5py.File(folder / "data" / "main_data.hdf5", "a") as store:
            change(store["episode_2"])

    return edit


def replaced(group, name, array):
    del group[name]
    group[name] = array


def without_a_step(group):
    for agent in ("cook 1", "cook 2"):
        for name in (f"observations/{agent}", f"actions/{agent}", f"infos/rewards/{agent}"):
            replaced(group, name, np.delete(group[name][()], 9, 0))


def without_an_action(group):
    replaced(group, "actions/cook 1", group["actions/cook 1"][:-1])
    replaced(group, "actions/cook 2", group["actions/cook 2"][:-1])


def with_an_action_too_large(group):
    group["actions/cook 2"][3] = 6


def swapped(group):
    first, second = group["actions/cook 1"][()], group["actions/cook 2"][()]
    group["actions/cook 1"][:], group["actions/cook 2"][:] = second, first


def in_metadata(**changes):
    """Changes what the metadata says."""

    def edit(folder):
        file = folder / "data" / "metadata.json"
        said = json.loads(file.read_text())
        said["understudy"].update(changes)
        file.write_text(json.dumps(said))

    return edit


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (in_store(without_a_step), "mine-v0, episode 2: step 8 does not follow from the one before"),
        (in_store(without_an_action), "mine-v0, episode 2 has missing steps: 21 observations, 19 actions"),
        (in_store(with_an_action_too_large), "mine-v0, episode 2: action 6 of row 7 is out of range"),
        (in_store(swapped), "mine-v0, episode 2: step 0 does not follow"),
        (in_metadata(version="2018"), "mine-v0: the recording's version is 2018, not 2019, kitchen"),
        (in_metadata(game="kitchen/coordination_ring"), "version is 2019, kitchen 7f1b06fc, not 2019, kitchen"),
        (in_metadata(game="kitchen/no_such_room"), "mine-v0: there is no kitchen 'no_such_room'"),
        (in_metadata(options={"horizon": 10}), "mine-v0: kitchen/cramped_room: recorded episode 0 has 20 steps"),
        (in_metadata(format=9), "mine-v0 has format 9"),
    ],
)
def test_what_did_not_happen_is_named(mine, edit, problem):
    edit(mine)
    code, said = demos("check", "mine")
    assert code == 1
    assert problem in said
    assert "all came out the same" not in said


def test_each_wrong_game_is_named(mine):
    in_store(swapped)(mine)
    in_store(with_an_action_too_large)(shutil.copytree(mine, mine.with_name("other-v0")))
    code, said = demos("check")
    assert code == 1
    assert len(said.splitlines()) == 2


def test_the_verb_is_there(mine, capsys):
    assert cli.main(["demos", "check"]) == 0
    assert "all came out the same" in capsys.readouterr().out.replace("\n", " ")
