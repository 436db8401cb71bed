"""Play a game against or beside a trained player, a script or another person, and record it."""

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from understudy.config import Texts, in_range
from understudy.console import say
from understudy.errors import ConfigError, MissingPackageError
from understudy.games.names import make, option
from understudy.games.teams import Scenario, control_of, everyone, read_scenario
from understudy.serving.listening import Address, listen, run, url_of
from understudy.serving.play.match import HUMAN, Match, new_seed


@dataclass(frozen=True)
class Config:
    """Opens a game for people in the browser, or in the terminal, at the game's real pace, and records each game."""

    game: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="[GAME]")]] = "kitchen/cramped_room"
    """Which game: kitchen/LAYOUT, or any other that says what it looks like."""
    partner: Texts = ()
    """Who plays the other places, one for all or one for each: human (a second browser), idle, random, the name of one
    of the game's scripts, a run, or recording:FOLDER. By default the game's first script, or idle where it has none."""
    place: int = 1
    """Which of the game's places is yours, from 1 on."""
    scenario: str = ""
    """YAML file that says who plays which place, in place of the game, --partner and --place."""
    option: Texts = ()
    """Options of the game, such as horizon=200."""
    to: str = ""
    """Folder of the recording to add the games to; by default one for each game in ./recordings."""
    seed: int = -1
    """Of the first game, each further one has the next; -1 takes one that no game has had."""
    patience: float = 10.0
    """Seconds that a game waits for a person whose connection is lost, before it is broken off."""
    terminal: bool = False
    """Play in this terminal."""
    name: str = ""
    """Your name for the recording, with --terminal; the page asks for it."""
    address: Address = field(default_factory=Address)


def main(config: Config, console: Console) -> None:
    """Play until Ctrl-C. A game that is being played then is recorded as far as it went."""
    in_range("patience", config.patience, 0, 3600)
    in_range("seed", config.seed, -1, 2**62)
    access = config.address.access()
    scenario = read_scenario(config.scenario) if config.scenario else scenario_of(config)
    match = Match(scenario, Path(config.to) if config.to else None)
    seed = new_seed() if config.seed < 0 else config.seed
    with closing(match.env):
        if config.terminal:
            from understudy.serving.play.terminal import play_in_terminal

            play_in_terminal(match, seed, config.name, console)
            return
        try:
            import websockets  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                "playing in the browser needs websockets: pip install 'understudy[games]'; --terminal does not"
            ) from error
        from understudy.serving.play.app import build_play_app
        from understudy.serving.play.hall import Hall
        from understudy.serving.play.replays import Replays

        with ExitStack() as stack:
            listening = stack.enter_context(closing(listen(config.address.host, config.address.port)))
            hall = Hall(match, seed, config.patience)
            stack.callback(hall.close)
            app = build_play_app(hall, Replays(match.folder, match.folder.name), access)
            say(
                console, f"{match.env.name} is open at {url_of(listening)}. Games go to {match.folder}. Ctrl-C ends it."
            )
            config.address.warn(console, "play and watch recorded games")
            run(app, listening, websockets=True)


def scenario_of(config: Config) -> Scenario:
    """Return the scenario that the options describe."""
    options = dict(map(option, config.option))
    with closing(make(config.game, **options)) as env:
        in_range("place", config.place, 1, len(env.agents))
        others = [agent for place, agent in enumerate(env.agents, 1) if place != config.place]
        partner = config.partner or (next(iter(env.scripts), "idle"),)
        if len(partner) not in (1, len(others)):
            raise ConfigError(f"--partner names {len(partner)}; expected one for all, or {len(others)}")
        partners = partner * len(others) if len(partner) == 1 else partner
        controls = {agent: control_of(env, partner) for agent, partner in zip(others, partners, strict=True)}
        return everyone(config.game, {agent: controls.get(agent, HUMAN) for agent in env.agents}, options)
