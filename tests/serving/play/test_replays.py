"""Recorded games are shown as they were played, with what a policy thinks beside them, and as videos."""

import json
import shutil
import subprocess
from io import StringIO

import httpx
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from understudy.errors import RecordingError, UserError
from understudy.games.env import Buffers
from understudy.games.minari_files import read, write
from understudy.games.names import make
from understudy.games.recordings import Recording, replay
from understudy.serving.access import Access
from understudy.serving.play.app import build_play_app
from understudy.serving.play.replays import Replays, Thoughts
from understudy.serving.play.watch import Config, main

from .conftest import serving

STEPS = 12


@pytest.fixture
def folder(tmp_path):
    """A recording of two games, in the second of which cook 1 walks east and takes an onion."""
    env = make("kitchen/cramped_room", worlds=2, horizon=STEPS)
    actions = np.full((2, STEPS, 2, 1), 4)
    actions[1, :4, 0, 0] = (0, 3, 5, 2)
    recording = Recording.of(env, replay(env, list(actions), [0, 1]))
    for episode in recording.episodes:
        episode.provenance = {"players": {"cook 1": "person Ann", "cook 2": "idle"}, "ended": "by the game"}
    return write(tmp_path / "mine", recording)


def test_a_game_is_shown_moment_by_moment(folder):
    told = Replays(folder, "mine-v0").told(1)
    assert len(told["frames"]) == STEPS + 1
    assert len(told["actions"]) == len(told["returns"]) == STEPS
    assert told["actions"][0] == ["north", "stay"]
    assert told["players"]["cook 1"] == "person Ann"
    # The frames are those of the game as it goes
    env = make("kitchen/cramped_room")
    out = Buffers.of(env)
    env.reset([0], out)
    for frame, actions in zip(told["frames"], read(folder).episodes[1].actions, strict=False):
        assert frame["shapes"] == env.frame().shapes
        env.step(actions, out)
    assert told["frames"][2]["said"][0][1] == "Before you is the onions."
    assert told["frames"][3]["said"][0][0] == "You hold an onion."
    json.dumps(told)


def test_the_server_lists_and_tells_them(folder):
    replays = Replays(folder, "mine-v0")
    with serving(build_play_app(None, replays, Access())) as address:
        listed = httpx.get(f"{address}/api/episodes").json()
        assert [one["steps"] for one in listed["episodes"]] == [STEPS, STEPS]
        assert listed["agents"] == ["cook 1", "cook 2"]
        assert httpx.get(f"{address}/api/episodes/1").json() == json.loads(json.dumps(replays.told(1)))
        for path, status, problem in (
            ("7", 400, "has no episode 7; it has 2 episodes, from 0 on"),
            ("-1", 400, "has no episode -1"),
            ("one", 400, "number: expected a valid integer"),
        ):
            answer = httpx.get(f"{address}/api/episodes/{path}")
            assert answer.status_code == status
            assert problem in answer.json()["error"]["message"]
        # The page itself, and what it needs
        for path in ("/", "/watch", "/page/watch.js", "/page/board.js", "/page/play.css", "/page/controls.css"):
            assert httpx.get(address + path).status_code == 200
            assert "default-src 'self'" in httpx.get(address + path).headers["content-security-policy"]


def test_what_did_not_happen_is_not_shown(folder):
    recording = read(folder)
    recording.episodes[0].rewards[3] = 20
    with pytest.raises(RecordingError, match="mine-v0, episode 0: step 3 does not follow"):
        Replays(recording, "mine-v0").told(0)
    with pytest.raises(RecordingError, match="later has no games yet"):
        Replays(folder.with_name("later"), "later").listed()


class Sure:
    """Thinks that cook 1 goes south with probability 0.75."""

    def think(self, env, episode):
        steps = len(episode.actions)
        return {0: Thoughts("run brave", np.tile((0.05, 0.75, 0.05, 0.05, 0.05, 0.05), (steps, 1)), np.arange(steps))}


def test_what_a_policy_thinks_stands_beside_the_game(folder):
    plain, shown = (Replays(folder, "mine-v0", mind).replay(1) for mind in (None, Sure()))
    assert shown.scene.width > plain.scene.width
    beside = shown.frames[2].shapes[len(plain.frames[2].shapes) :]
    assert [one.text for one in beside if one.text] == [
        "cook 1: value 2.0",
        *("north", "5%", "south", "75%", "east", "5%", "west", "5%", "stay", "5%", "interact", "5%"),
    ]
    assert all(plain.scene.width <= one.at[0] <= shown.scene.width for one in beside)
    assert all(0 <= one.at[1] <= shown.scene.height for one in beside)
    bars = [one for one in beside if one.kind == "box"]
    assert bars[1].at[2] == pytest.approx(15 * bars[0].at[2])
    # The action that was taken has a colour of its own: interact
    assert [one.colour for one in bars] == ["shade"] * 5 + ["blue"]
    assert shown.frames[2].said[0][-1] == "run brave: likeliest south, 75%."
    # After the last step there is nothing to think of
    assert shown.frames[-1] == plain.frames[-1]


def watch(folder, **more):
    said = StringIO()
    main(Config(str(folder), **more), Console(file=said, width=200))
    return said.getvalue()


def test_a_game_becomes_a_gif(folder, tmp_path):
    said = watch(folder, episode=1, save=str(tmp_path / "game.gif"))
    assert "Game 1 of mine-v0 is in" in said
    with Image.open(tmp_path / "game.gif") as image:
        assert image.size == (600, 480)
        # Moments that look alike are one
        moving = image.n_frames
        assert 4 <= moving <= STEPS + 1
        total = 0
        for number in range(moving):
            image.seek(number)
            total += image.info["duration"]
        assert total == 150 * (STEPS + 1)


def test_a_game_becomes_an_mp4(folder, tmp_path):
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed (extra video)")
    import imageio_ffmpeg

    watch(folder, save=str(tmp_path / "game.mp4"), dark=True)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "game.mp4"))
    assert frames == STEPS + 1
    assert seconds == pytest.approx(0.15 * frames, abs=0.1)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"save": "game.avi"}, r"expected a name that ends in .gif or .mp4"),
        ({"save": "game.gif", "episode": 5}, "has no episode 5"),
        ({"episode": -2}, "--episode -2 is out of range"),
    ],
)
def test_a_wrong_command_line_is_an_error(folder, more, problem):
    with pytest.raises(UserError, match=problem):
        watch(folder, **more)


def test_nothing_half_written_is_left(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    with pytest.raises((UserError, subprocess.SubprocessError), match="ffmpeg cannot write the video"):
        watch(folder, save=str(tmp_path / "game.mp4"))
    assert not list(tmp_path.glob("*game*"))
