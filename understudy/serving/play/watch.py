"""Watch recorded games in the browser, or write one as a video."""

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from understudy.config import in_range
from understudy.console import progress, say, size_of
from understudy.errors import ConfigError
from understudy.games.demos import find_recording
from understudy.games.minari_files import describe
from understudy.serving.listening import Address, listen, run, url_of
from understudy.serving.play.app import build_play_app
from understudy.serving.play.replays import Replays
from understudy.serving.play.video import check_kind, write_video


@dataclass(frozen=True)
class Config:
    """Shows recorded games in the browser, or writes one as a video."""

    recording: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RECORDING")]]
    """What to watch: a recording, by its folder or by its name in ./recordings."""
    episode: int = -1
    """Which of its games --save writes, and the page opens with; -1 is the latest."""
    save: str = ""
    """Write that game to this file, a .gif or .mp4, and show no page."""
    dark: bool = False
    """Colours for the dark, in videos; the page follows the browser."""
    address: Address = field(default_factory=Address)


def main(config: Config, console: Console) -> None:
    """Show the page until Ctrl-C, or write a video."""
    in_range("episode", config.episode, -1)
    access = config.address.access()
    if config.save:
        check_kind(Path(config.save))
    folder = find_recording(config.recording)
    _, count = describe(folder)
    if not count:
        raise ConfigError(f"{folder} has no games yet")
    which = config.episode % count if config.episode < count else config.episode
    replays = Replays(folder, folder.name)
    if config.save:
        path, replay = Path(config.save), replays.replay(which)
        with progress(console, f"writing {path.name}", len(replay.frames)) as bar:
            write_video(path, replay, config.dark, bar)
        say(console, f"Game {which} of {folder.name} is in {path} ({size_of(path.stat().st_size)}).")
        return
    with closing(listen(config.address.host, config.address.port)) as listening:
        app = build_play_app(None, replays, access)
        say(console, f"{folder.name} is shown at {url_of(listening)}/#{which}. Ctrl-C ends it.")
        config.address.warn(console, "watch the games")
        run(app, listening)
