"""`understudy play --terminal` in a terminal of its own."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from io import StringIO

import pytest
from rich.console import Console

from understudy.errors import ConfigError, ScenarioError
from understudy.games.minari_files import read
from understudy.serving.play.play import Config, main

GAME = "kitchen/cramped_room"


class Terminal:
    """A process in a terminal, and what it has shown."""

    def __init__(self, *argv: str, folder) -> None:
        self.own, theirs = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "understudy", *argv],
            **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def wait_for(self, pattern: str) -> None:
        until = time.monotonic() + 120
        while not re.search(pattern, self.seen):
            assert time.monotonic() < until, self.seen[-2000:]
            if select.select([self.own], [], [], 1)[0]:
                try:
                    self.seen += os.read(self.own, 65536).decode(errors="replace")
                except OSError:
                    assert re.search(pattern, self.seen), self.seen[-2000:]

    def press(self, keys: str) -> None:
        os.write(self.own, keys.encode())

    def end(self) -> int:
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            os.close(self.own)


@pytest.fixture
def terminal(tmp_path):
    opened = []

    def terminal(*argv):
        opened.append(Terminal("play", GAME, "--terminal", "--to", str(tmp_path / "mine"), *argv, folder=tmp_path))
        return opened[-1]

    yield terminal
    for one in opened:
        one.process.kill()
        one.process.wait()


def test_a_game_in_the_terminal_is_played_and_recorded(terminal, tmp_path):
    screen = terminal("--name", "Ann", "--partner", "idle", "--option", "horizon=25", "--seed", "3")
    screen.wait_for("Before you is")
    screen.press("\x1b[D")  # arrow to the left
    screen.wait_for("1 ◀")
    screen.press("w")
    screen.wait_for("1 ▲")
    screen.wait_for(r"Recorded as game 0 of mine-v0")
    screen.wait_for("Enter plays again")
    screen.press("\r")
    screen.wait_for(r"Recorded as game 1 of mine-v0")
    screen.press("\x1b")
    assert screen.end() == 0
    first, second = read(tmp_path / "mine").episodes
    assert first.provenance["players"] == {"cook 1": "person Ann", "cook 2": "idle"}
    assert (first.seed, second.seed) == (3, 4)
    mine = first.actions[:, 0, 0].tolist()
    # Each press is one step
    assert (mine.count(3), mine.count(0), mine.count(4)) == (1, 1, 23)


@pytest.mark.parametrize("key", ["\x1b", "\x03"])
def test_a_game_that_is_stopped_is_cut_short(terminal, tmp_path, key):
    screen = terminal("--option", "horizon=10000")
    screen.wait_for("  1 of 1500 s")
    screen.press(key)
    screen.wait_for("Recorded as game 0")
    assert screen.end() == 0
    (episode,) = read(tmp_path / "mine").episodes
    assert episode.provenance["ended"] == "broken off: the person stopped"
    assert not episode.terminated.any()


def test_without_a_terminal_it_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="--terminal needs a terminal; leave it out"):
        main(Config(GAME, terminal=True, to=str(tmp_path / "mine")), Console(file=StringIO()))
    with pytest.raises(ScenarioError, match="one person can play in the terminal, not 2"):
        main(Config(GAME, ("human",), terminal=True, to=str(tmp_path / "mine")), Console(file=StringIO()))
