"""A game for one person in the terminal: the game in text, redrawn after each step."""

import select
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Event, Thread
from time import monotonic

from prompt_toolkit.input import create_input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from understudy.console import number, say, text
from understudy.errors import ConfigError, ScenarioError
from understudy.games.pictures import Frame
from understudy.serving.play.keyboard import Keyboard
from understudy.serving.play.match import Match

NAMES: Mapping[str, str] = {
    Keys.Up: "ArrowUp",
    Keys.Down: "ArrowDown",
    Keys.Left: "ArrowLeft",
    Keys.Right: "ArrowRight",
    Keys.ControlM: "Enter",
    Keys.ControlJ: "Enter",
    Keys.Escape: "Escape",
}
"""Keys by their names in browsers."""
STOP = (Keys.ControlC, Keys.ControlD, "Escape")


def play_in_terminal(match: Match, seed: int, name: str, console: Console) -> None:
    """Play games until the person has had enough, and record each.

    A terminal tells of presses alone, so each counts for one step, and a key that is held counts as often as the
    terminal repeats it.
    """
    if match.seats != 1:
        raise ScenarioError(f"one person can play in the terminal, not {match.seats}; leave out --terminal")
    if not (console.is_terminal and sys.stdin.isatty()):
        raise ConfigError("--terminal needs a terminal; leave it out to play in the browser")
    keys = "   ".join(f"{' or '.join(_shown(one) for one in key.names)} {key.meaning}" for key in match.scene.keys)
    say(console, match.scene.advice)
    say(console, f"{keys}   Esc stops", "dim")
    again = True
    with key_presses() as presses:
        while again:
            again = _play_one(match, seed, name, console, presses)
            seed += 1
            if again:
                say(console, "Enter plays again, Esc ends.")
                while (pressed := presses.get()) not in ("Enter", *STOP):
                    pass
                again = pressed == "Enter"


def _play_one(match: Match, seed: int, name: str, console: Console, presses: "Queue[str]") -> bool:
    """Play a game, and return whether it came to its end."""
    match.begin(seed)
    keyboard = Keyboard(match.scene.keys, match.env.action)
    (place,) = match.people
    due, stopped = monotonic(), False
    try:
        with Live(_picture(match, place), console=console, auto_refresh=False, transient=True) as live:
            while not (match.over or stopped):
                match.decide()
                due += match.scene.seconds
                stopped = _listen(presses, keyboard, due)
                if not stopped:
                    match.step({place: keyboard.take()})
                    live.update(_picture(match, place), refresh=True)
                due = max(due, monotonic() - match.scene.seconds)
    finally:
        recorded = match.finish({place: name}, "broken off: the person stopped" if not match.over else "")
        console.print(_picture(match, place))
        if recorded:
            where = f"game {recorded.episode} of {recorded.folder.name}"
            watch = f"understudy watch {recorded.folder} --episode {recorded.episode}"
            say(console, f"Recorded as {where}. Watch it with: {watch}")
    return not stopped


def _listen(presses: "Queue[str]", keyboard: Keyboard, until: float) -> bool:
    """Take presses until a time; return whether one of them stops the game."""
    while (left := until - monotonic()) > 0:
        try:
            pressed = presses.get(timeout=left)
        except Empty:
            break
        if keyboard.press(pressed):
            keyboard.release(pressed)
        elif pressed in STOP:
            return True
    return False


def _picture(match: Match, place: int) -> Group:
    frame: Frame = match.env.frame()
    seconds = match.steps * match.scene.seconds
    longest = f" of {match.scene.longest * match.scene.seconds:.0f}" if match.scene.longest else ""
    agent = match.env.agents[place]
    title = f"You are {agent}.  Return {number(match.returns[agent])}  {seconds:.0f}{longest} s"
    said = " ".join(frame.said[place]) if frame.said else ""
    return Group(text(title, "bold"), *(Text(line, no_wrap=True) for line in frame.lines), text(said, "dim"))


def _shown(name: str) -> str:
    return {" ": "Space", "ArrowUp": "↑", "ArrowDown": "↓", "ArrowLeft": "←", "ArrowRight": "→"}.get(name, name)


@contextmanager
def key_presses() -> Iterator["Queue[str]"]:
    """Yield a queue of the keys that are pressed in this terminal, by their names in browsers."""
    presses: Queue[str] = Queue()
    done = Event()
    given = create_input()

    def listen(read: Callable[[], Sequence[KeyPress]]) -> None:
        for press in read():
            presses.put(NAMES.get(press.key, press.key))

    with given.raw_mode():

        def watch() -> None:
            while not done.is_set():
                if select.select([given.fileno()], [], [], 0.02)[0]:
                    listen(given.read_keys)
                else:
                    listen(given.flush_keys)  # an Escape that nothing followed

        thread = Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield presses
        finally:
            done.set()
            thread.join()
