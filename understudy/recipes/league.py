"""Who beats whom: past selves of a self-play run, its final policy and the game's scripts, in games with each other."""

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Column, Table
from safetensors.torch import load_file

from understudy.acting.player import PolicyPlayer
from understudy.config import RunName, from_dict, in_range
from understudy.console import progress, say, table
from understudy.errors import CheckpointError, ConfigError
from understudy.evaluation.play import between, outcomes
from understudy.evaluation.ratings import Rating, rated_together
from understudy.files import reading, whole
from understudy.games.env import Env
from understudy.games.names import make
from understudy.games.teams import FROZEN, LATEST, Controller, against, read_scenario, script
from understudy.models.policy import Policy
from understudy.recipes import selfplay
from understudy.runs.find import find_run
from understudy.runs.journal import read_metrics
from understudy.runs.record import read_record
from understudy.statistics import Floats
from understudy.training.loading import load_policy

PICTURE = "league.png"


@dataclass(frozen=True)
class Config:
    """Shows who beats whom in a self-play run: its past selves, its last policy and the game's scripts."""

    run: tyro.conf.Positional[RunName] = "last:selfplay"
    """The run."""
    games: int = 40
    """Games of each pair."""
    past: int = 8
    """Most past selves that play, the first and the last kept among them."""


def main(config: Config, console: Console) -> None:
    """Play all pairs, print ratings and shares of games won, and draw them with the rating's curve."""
    in_range("games", config.games, 2)
    in_range("past", config.past, 2)
    folder = find_run(config.run, verbs=("selfplay",))
    record = read_record(folder)
    if record.verb != "selfplay":
        raise ConfigError(f"{record.id} is a {record.verb}; a league has runs of understudy selfplay")
    loaded = load_policy(str(folder))
    with closing(make(loaded.recording.game, config.games, **loaded.recording.options)) as env:
        options = from_dict(selfplay.Config, record.data["config"])
        scenario = read_scenario(options.game.scenario) if options.game.scenario else against(env)
        if len(scenario.sides) != 2:
            raise ConfigError(f"{record.id} plays {env.name}, in which no two sides win or lose; a league needs a duel")
        players = members(folder, loaded.policy, config.past, env)
        pairs = list(combinations(players, 2))
        found: dict[tuple[str, str], Floats] = {}
        with progress(console, "playing", len(pairs)) as bar:
            for one, two in pairs:
                games = between(env, scenario, {one: players[one], two: players[two]}, range(config.games))
                found[one, two] = outcomes(games, one)
                bar.advance()
    ratings = rated_together({pair: results.tolist() for pair, results in found.items()})
    shares = np.full((len(players), len(players)), np.nan)
    for (one, two), results in found.items():
        at = list(players).index(one), list(players).index(two)
        shares[at], shares[at[::-1]] = results.mean(), 1 - results.mean()

    names = sorted(players, key=lambda name: -ratings[name].mean)
    order = [list(players).index(name) for name in names]
    shares = shares[np.ix_(order, order)]
    console.print(_table(f"{record.id}: {env.name}, {config.games} games of each pair", names, shares, ratings))
    past = {name: float(shares[names.index(name), names.index(LATEST)]) for name in names if name.startswith(FROZEN)}
    best = max(past, key=lambda name: past[name])
    told = f"{_shown(best)} does best against the latest: it wins {past[best]:.0%} of the games"
    say(console, f"of its past selves {told}")
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if "val_rating" in row]
    _draw(folder / PICTURE, record.id, names, shares, [(row["step"], row["val_rating"]) for row in rows])
    say(console, f"picture: {folder / PICTURE}")


def members(folder: Path, final: Policy, most: int, env: Env) -> dict[str, Controller]:
    """Return who plays: past selves, the final policy and scripts. Raises CheckpointError where no self was kept."""
    files = sorted((folder / "league").glob("past-*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} kept no past selves; train longer, or with a smaller --snapshot-every")
    chosen = sorted({int(at) for at in np.linspace(0, len(files) - 1, min(most, len(files))).round()})
    players: dict[str, Controller] = {}
    for file in (files[at] for at in chosen):
        with reading(file, "leave it out by removing the file"):
            policy = Policy(final.policy)
            policy.load_state_dict(load_file(file))
        number = int(file.stem.removeprefix("past-"))
        players[f"{FROZEN}past {number}"] = PolicyPlayer(policy.eval(), env, seed=number)
    players[LATEST] = PolicyPlayer(final, env)
    return players | {f"script:{name}": script(env, name) for name in ("random", *env.scripts)}


def _shown(control: str) -> str:
    return control.partition(":")[2] or control


def _table(title: str, names: Sequence[str], shares: Floats, ratings: Mapping[str, Rating]) -> Table:
    columns = (Column(name, justify="right") for name in ("rating", *map(_shown, names)))
    found = table("wins against", *columns, title=title)
    for name, row in zip(names, shares, strict=True):
        rating = f"{ratings[name].mean:.1f} ± {ratings[name].deviation:.1f}"
        found.add_row(_shown(name), rating, *("" if math.isnan(share) else f"{share:.0%}" for share in row))
    return found


def _draw(file: Path, title: str, names: Sequence[str], shares: Floats, curve: Sequence[tuple[int, float]]) -> None:
    """Draw the rating's curve and the shares of games won, into a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    if curve:
        left.plot(*zip(*curve, strict=True), marker="o", markersize=3)
    left.set(xlabel="iteration", ylabel="rating against the scripts", title=title)
    left.grid(alpha=0.3)
    image = right.imshow(shares, vmin=0, vmax=1, cmap="RdYlGn")
    right.set(title="share of games won, row against column")
    shown = list(map(_shown, names))
    right.set_xticks(range(len(names)), shown, rotation=45, ha="right")
    right.set_yticks(range(len(names)), shown)
    for (row, column), share in np.ndenumerate(shares):
        if not math.isnan(share):
            right.text(column, row, f"{share:.0%}", ha="center", va="center", fontsize=8)
    figure.colorbar(image, ax=right, shrink=0.8)
    with whole(file) as building:
        figure.savefig(building, dpi=120, format="png")
