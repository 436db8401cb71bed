"""`understudy league`, on a small run."""

from pathlib import Path
from typing import Any

import pytest

from recipes.conftest import Understudy, last_run

SMALL = [
    "selfplay",
    "--from",
    "scratch",
    "--worlds",
    4,
    "--segment",
    8,
    "--batch-size",
    4,
    "--eval-games",
    2,
    "--width",
    16,
]
DUEL = [*SMALL, "--env", "lane/duel", "--option", "horizon=20", "--steps", 4, "--snapshot-every", 1]


def test_the_league_of_a_duel(understudy: Understudy, capsys: Any) -> None:
    assert understudy(*DUEL) == 0
    run = last_run()
    assert understudy("league", run.name, "--games", 2, "--past", 3) == 0
    said = capsys.readouterr().out
    assert f"{run.name}: lane/duel, 2 games of each pair" in said
    for who in ("past 0", "past 3", "latest", "random", "expert"):
        assert who in said
    assert "does best against the latest: it wins" in said
    assert (run / "league.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((run / "league").glob("past-*.safetensors"))) == 4


def test_what_has_no_league(understudy: Understudy, capsys: Any, here: Path) -> None:
    alone = [*SMALL, "--env", "kitchen/cramped_room", "--option", "view=features", "horizon=10", "--steps", 1]
    assert understudy(*alone) == 0
    capsys.readouterr()
    assert understudy("league", last_run().name) == 2
    assert "in which no two sides win or lose; a league needs a duel" in capsys.readouterr().err
    assert understudy("league", last_run().name, "--games", 1) == 2
    assert "--games 1 is out of range" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["league", "checkpoints"])
def test_a_run_that_has_lost_its_files(missing: str, understudy: Understudy, capsys: Any) -> None:
    import shutil

    assert understudy(*DUEL) == 0
    shutil.rmtree(last_run() / missing)
    capsys.readouterr()
    assert understudy("league", last_run().name, "--games", 2) == 2
    assert {"league": "kept no past selves", "checkpoints": "holds no checkpoint yet"}[
        missing
    ] in capsys.readouterr().err
