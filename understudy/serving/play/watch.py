"""Watch recorded games in the browser, or write one as a video."""

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from understudy.config import in_range
from understudy.console import counted, progress, say, size_of
from understudy.errors import ConfigError, RecordingError, RunNotFoundError
from understudy.games.demos import find_recording
from understudy.serving.listening import Address, listen, run, url_of
from understudy.serving.play.app import build_play_app
from understudy.serving.play.players import PlayersMind, name_of, watched
from understudy.serving.play.replays import Replays
from understudy.serving.play.video import check_kind, write_video
from understudy.training.loading import load_policy


@dataclass(frozen=True)
class Config:
    """Shows recorded games in the browser, or some that a trained player plays, or writes one as a video."""

    recording: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN|RECORDING")]]
    """What to watch: a recording, by its folder or by its name in ./recordings; or a run, which then plays with itself,
    and what it thinks is shown beside it."""
    beside: str = ""
    """A run: what it would do at each step of a recording's games is shown beside them."""
    games: int = 3
    """How many games a run plays."""
    seed: int = 0
    """Of the first game that a run plays; each further one has the next."""
    episode: int = -1
    """Which game --save writes, and the page opens with; -1 is the last."""
    save: str = ""
    """Write that game to this file, a .gif or .mp4, and show no page."""
    dark: bool = False
    """Colours for the dark, in videos; the page follows the browser."""
    address: Address = field(default_factory=Address)


def main(config: Config, console: Console) -> None:
    """Show the page until Ctrl-C, or write a video."""
    in_range("episode", config.episode, -1)
    in_range("games", config.games, 1, 1000)
    in_range("seed", config.seed, 0, 2**62)
    access = config.address.access()
    if config.save:
        check_kind(Path(config.save))
    replays = replays_of(config, console)
    count = len(replays.recording().episodes)
    if not count:
        raise ConfigError(f"{replays.name} has no games yet")
    which = config.episode % count if config.episode < count else config.episode
    if config.save:
        path, replay = Path(config.save), replays.replay(which)
        with progress(console, f"writing {path.name}", len(replay.frames)) as bar:
            write_video(path, replay, config.dark, bar)
        say(console, f"Game {which} of {replays.name} is in {path} ({size_of(path.stat().st_size)}).")
        return
    with closing(listen(config.address.host, config.address.port)) as listening:
        app = build_play_app(None, replays, access)
        say(console, f"{replays.name} is shown at {url_of(listening)}/#{which}. Ctrl-C ends it.")
        config.address.warn(console, "watch the games")
        run(app, listening)


def replays_of(config: Config, console: Console) -> Replays:
    """Return the games of a recording, or of a run, whichever has the name."""
    try:
        folder = find_recording(config.recording)
    except RecordingError as no_recording:
        try:
            loaded = load_policy(config.recording)
        except RunNotFoundError as no_run:
            raise RecordingError(f"{no_recording}; and as a run: {no_run}") from no_run
    else:
        return Replays(folder, folder.name, PlayersMind(load_policy(config.beside)) if config.beside else None)
    if config.beside:
        raise ConfigError(f"--beside goes with a recording; what {config.recording} thinks is shown anyway")
    with progress(console, f"playing {counted(config.games, 'game')}"):
        recording = watched(loaded, config.games, config.seed)
    return Replays(recording, name_of(loaded), PlayersMind(loaded))
