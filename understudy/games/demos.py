"""Where recordings of play lie, and the command `understudy demos`, which lists, shows and checks them.

A recording is named by its folder, or by the folder's name, or the beginning of it, in the folder of all recordings.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console

from understudy.config import parse
from understudy.console import age, counted, number, progress, say, table, text
from understudy.errors import RecordingError, UserError, suggestion
from understudy.files import write_atomically
from understudy.games.minari_files import describe, exists, read
from understudy.games.names import make
from understudy.games.recordings import Episode, Recording, check

HELP = """usage: understudy demos [COMMAND] [OPTIONS]

Recorded games, as `understudy play` keeps them.

  list        all recordings; also without a command
  show        the games of a recording: who played, when, and what came of it
  check       play recordings again, and name each game that is damaged or did not happen by the rules as they are here

  understudy demos COMMAND --help   lists a command's options

Recordings are kept in ./recordings, or where UNDERSTUDY_RECORDINGS says. `understudy watch` shows their games."""
_NAME = "its folder, or the folder's name in the folder of recordings, or the beginning of that"
RecordingName = Annotated[str, tyro.conf.arg(metavar="RECORDING", help=f"The recording: {_NAME}.")]
RecordingNames = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(metavar="[RECORDING ...]", help=f"Recordings, each by {_NAME}.", help_behavior_hint="(default: all)"),
]


@dataclass
class ListOptions:
    """The options of `list`."""


@dataclass
class ShowOptions:
    """The options of `show`."""

    recording: tyro.conf.Positional[RecordingName]


@dataclass
class CheckOptions:
    """The options of `check`."""

    recordings: RecordingNames = ()


def main(argv: Sequence[str], console: Console) -> int:
    """Run the command line `understudy demos *argv` and return the exit code. Raises UserError for a wrong one."""
    if argv and argv[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    commands: Mapping[str, tuple[type[Any], Callable[[Any, Console], int]]] = {
        "list": (ListOptions, list_recordings),
        "show": (ShowOptions, show_recording),
        "check": (CheckOptions, check_recordings),
    }
    name, rest = (argv[0], argv[1:]) if argv else ("list", ())
    if name not in commands:
        close = suggestion(name, commands) or "; `understudy demos --help` lists the commands"
        raise UserError(f"unknown command `understudy demos {name}`{close}")
    kind, function = commands[name]
    if name == "show" and not rest:
        raise UserError("`understudy demos show` needs the name of a recording; `understudy demos` lists them")
    options = parse(kind, list(rest), f"understudy demos {name}", description=function.__doc__)
    return function(options, console)


def recordings_folder() -> Path:
    """Return where recordings are kept: UNDERSTUDY_RECORDINGS, or `recordings` in the current folder."""
    folder = Path(os.environ.get("UNDERSTUDY_RECORDINGS") or "recordings").expanduser()
    if folder.is_file():
        raise UserError(f"recordings are kept in a folder, and {folder} is a file; name one in UNDERSTUDY_RECORDINGS")
    return folder


def make_recordings_folder() -> Path:
    """Make the folder of recordings if need be, and return it. Raises UserError where it cannot be written to."""
    folder = recordings_folder()
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            write_atomically(folder / ".gitignore", "*\n")  # or each run would keep all games with its code
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("it may not be written to")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot keep recordings in {folder}: {reason}; name another in UNDERSTUDY_RECORDINGS"
        ) from error
    return folder


def find_recording(name: str) -> Path:
    """Return the folder of the recording that a name means. Raises RecordingError where none or several do."""
    if exists(name):
        return Path(name)
    known = all_recordings()
    named = [one for one in known if one.name in (name, f"{name}-v0")] or [
        one for one in known if one.name.startswith(name)
    ]
    if len(named) != 1:
        names = [one.name for one in named or known]
        found = f"several recordings begin with {name!r}" if named else f"there is no recording {name!r}"
        hint = f"; there are {', '.join(names)}" if names else f"; {recordings_folder()} has none yet"
        raise RecordingError(f"{found}{hint}")
    return named[0]


def all_recordings() -> list[Path]:
    """Return the folders of all recordings, by name."""
    folder = recordings_folder()
    return sorted(one for one in folder.iterdir() if exists(one)) if folder.exists() else []


def list_recordings(options: ListOptions, console: Console) -> int:
    """List all recordings: which game, how many games and steps, who played, and when the last one was."""
    shown, folders = table("recording", "game", "games", "steps", "return", "players", "latest"), all_recordings()
    if not folders:
        say(console, f"{recordings_folder()} has no recordings yet; `understudy play kitchen/cramped_room` makes one.")
        return 0
    with progress(console, "reading", len(folders)) as bar:
        for folder in folders:
            try:
                recording = read(folder)
            except UserError as error:
                shown.add_row(text(folder.name, "red"), text(str(error), "red"))
                continue
            finally:
                bar.advance()
            episodes = recording.episodes
            players = sorted({player for one in episodes for player in players_of(one, recording).values()})
            times = [time for one in episodes if (time := _time(one))]
            mean = np.mean([one.rewards.sum(0).mean() for one in episodes]) if episodes else 0.0
            shown.add_row(
                *(text(folder.name), text(recording.game), str(len(episodes))),
                *(f"{sum(len(one.actions) for one in episodes):,}", number(float(mean))),
                *(text(", ".join(players)), age(max(times)) if times else ""),
            )
    console.print(shown)
    return 0


def show_recording(options: ShowOptions, console: Console) -> int:
    """Show the games of a recording: when each was played, by whom, how long, and what each player earned."""
    folder = find_recording(options.recording)
    recording = read(folder)
    say(console, f"{folder}: {recording.game}, rules {recording.version}, {dict(recording.options)}")
    shown = table("game", "when", "steps", "ended", *(f"{agent}: return" for agent in recording.agents), "code", "seed")
    for which, episode in enumerate(recording.episodes):
        players, returns, time = players_of(episode, recording), episode.rewards.sum(0).tolist(), _time(episode)
        code = episode.provenance.get("code") or {}
        earned = [f"{players.get(a, '?')}: {number(r)}" for a, r in zip(recording.agents, returns, strict=True)]
        shown.add_row(
            *(str(which), f"{time:%Y-%m-%d %H:%M}" if time else "", str(len(episode.actions))),
            *(text(episode.provenance.get("ended", "")), *map(text, earned)),
            *(text(f"{(code.get('commit') or '')[:7]}{'+' * bool(code.get('dirty'))}"), str(episode.seed)),
        )
    console.print(shown)
    return 0


def check_recordings(options: CheckOptions, console: Console) -> int:
    """Check recordings, by default all: play each game again, and name every one that does not come out the same.

    Found are another version of the game or another layout, missing steps, actions out of range, observations or
    rewards that did not happen, and damaged files. Exit code 1 where anything is found.
    """
    folders = [find_recording(name) for name in options.recordings] or all_recordings()
    problems = 0
    for folder in folders:
        found, games = faults(folder, console)
        problems += len(found)
        for problem in found:
            say(console, problem, "red")
        if not found:
            say(console, f"{folder.name}: {counted(games, 'game')} played again, and all came out the same", "green")
    if not folders:
        say(console, f"{recordings_folder()} has no recordings yet")
    return 1 if problems else 0


def faults(folder: Path, console: Console) -> tuple[list[str], int]:
    """Return what is wrong with a recording, in sentences that name it, and how many games it has."""
    found: list[str] = []
    try:
        recording, count = describe(folder)
        env = make(recording.game, **recording.options)
    except UserError as error:
        return [_named(folder, error)], 0
    with closing(env), progress(console, f"checking {folder.name}", count) as bar:
        for which in range(count):
            try:
                check(read(folder, [which]), env, str(folder), which)
            except UserError as error:
                found.append(_named(folder, error))
                if recording.version != env.version:
                    break  # for all games alike
            bar.advance()
    return found, count


def players_of(episode: Episode, recording: Recording) -> dict[str, str]:
    """Return who played each agent, where the recording says so."""
    players = episode.provenance.get("players")
    return {str(agent): str(player) for agent, player in players.items()} if isinstance(players, Mapping) else {}


def _named(folder: Path, error: UserError) -> str:
    return str(error) if str(folder) in str(error) else f"{folder}: {error}"


def _time(episode: Episode) -> datetime | None:
    try:
        return datetime.fromisoformat(str(episode.provenance.get("time"))).astimezone()
    except ValueError:
        return None
