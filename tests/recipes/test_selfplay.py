"""Self-play as a user starts it: from nothing and from a clone, with others, killed, resumed; and what is refused."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forking import Forking

from recipes.conftest import Understudy, after_step, last_run, metrics_of, pretend_killed, record_of, weights_of
from understudy.recipes import selfplay
from understudy.runs.find import list_runs
from understudy.runs.journal import read_lines
from understudy.training.loading import load_policy

SMALL = ["--worlds", 6, "--segment", 8, "--batch-size", 5, "--eval-games", 4, "--width", 16, "--encoder-layers", 1]
KITCHEN = ["selfplay", "--env", "kitchen/cramped_room", "--option", "view=features", "horizon=13", *SMALL]
DUEL = ["selfplay", "--env", "lane/duel", "--option", "horizon=11", "heroes=1", *SMALL, "--snapshot-every", 2]
CLONE = ["clone", "--env", "kitchen/cramped_room", "--expert", "random", "--games", 4, "--width", 16, "--steps", 4]
CLONE += ["--play-games", 0, "--last-action", "yes", "--batch-size", 4]
FROM = ["selfplay", "--from", "last:clone", *SMALL[:-4], "--option", "horizon=13", "--anchor", 0.5]
OFTEN = ["--steps", 7, "--save-every", 3, "--eval-every", 5]


def cases(clone: str = "last:clone") -> dict[str, list[Any]]:
    return {
        "alone": ["selfplay", "--env", "lane/creep-block", "--option", "horizon=9", *SMALL, "--core", "none"],
        "kitchen": [*KITCHEN, "--core", "lstm", "--shaping", 1.0],
        "duel": [*DUEL, "--core", "lstm", "--others", "expert", "--others-share", 0.3],
        "clone": [*FROM, "--value-warmup", 2, "--others", "random", clone, "--others-share", 0.6],
    }


def kept_of(run: Path) -> dict[str, Any]:
    """All that the last checkpoint says of games and opponents."""
    folder = sorted((run / "checkpoints").glob("step-*"))[-1]
    arrays = {name: x.tolist() for name, x in np.load(folder / "played.npz").items()}
    return {**arrays, "league": json.loads((folder / "league.json").read_bytes())}


def assert_same(run: Path, other: Path) -> None:
    assert weights_of(run) == weights_of(other)
    assert metrics_of(run) == metrics_of(other)
    assert record_of(run)["outcome"] == record_of(other)["outcome"]
    assert kept_of(run) == kept_of(other)


@pytest.mark.parametrize("name", cases())
def test_a_run_equals_itself_and_one_that_was_stopped_and_resumed(name: str, understudy: Understudy) -> None:
    if name == "clone":
        assert understudy(*CLONE) == 0
    clone = last_run().name if name == "clone" else ""
    command = [*cases(clone)[name], *OFTEN]
    assert understudy(*command) == 0
    run = last_run()
    assert understudy(*command) == 0
    assert_same(run, last_run())
    for step in (1, 4):  # before the first checkpoint, and between two
        with after_step(step, lambda: (_ for _ in ()).throw(KeyboardInterrupt)):
            assert understudy(*command) == 130
        stopped = last_run()
        pretend_killed(stopped)
        assert understudy("selfplay", "--resume", stopped.name) == 0
        assert_same(run, stopped)


@pytest.mark.slow
def test_killed_and_resumed_and_verified(forking: Forking, here: Path) -> None:
    command = [*cases()["duel"], *OFTEN]
    assert forking.run(*command, killed_at=(4, 3000)).codes == [-signal.SIGKILL]
    run = last_run()
    assert len([row for row in read_lines(run / "metrics.jsonl") if "loss" in row]) >= 4
    assert forking.run("selfplay", "--resume", run.name).codes == [0]
    assert forking.run(*command).codes == [0]
    assert_same(run, last_run())
    said = forking.run("runs", "verify", "last", environment={"COLUMNS": "200"})
    assert said.codes == [0], said
    assert "identical, bit for bit: 9 lines of metrics and the weights of 3 checkpoints" in said.said[0]


@pytest.mark.slow
def test_two_threads_are_as_exact_as_one(start: Any, here: Path) -> None:
    """In processes of their own, as torch takes its number of threads when it is imported."""
    command = [*cases()["duel"], *OFTEN, "--option", "horizon=11", "threads=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "COLUMNS": "200"}
    killed = start(*command, env=environment)
    while len([row for row in read_lines(metrics) if "loss" in row] if (metrics := newest_metrics()) else []) < 4:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    run = last_run()
    for arguments in (["selfplay", "--resume", run.name], command, ["runs", "verify", "last"]):
        done = start(*arguments, env=environment)
        said, errors = done.communicate()
        assert done.returncode == 0, said + errors
    assert "identical, bit for bit: 9 lines of metrics" in said
    assert record_of(run)["compute"]["threads"] == 2
    assert_same(run, last_run())


def newest_metrics() -> Path | None:
    """The metrics of the newest run, once there are some."""
    runs = list_runs()
    path = runs[-1].folder / "metrics.jsonl" if runs else None
    return path if path is not None and path.exists() else None


def test_what_is_told_and_recorded(understudy: Understudy, capsys: Any) -> None:
    assert understudy(*DUEL, *OFTEN, "--others", "expert", "--eval-with", "novice") == 0
    run, said = last_run(), capsys.readouterr().out
    assert "lane/duel: 6 games at a time, 8 steps an iteration, 20% of the games against past selves" in said
    outcome, rows = record_of(run)["outcome"], metrics_of(run)
    assert outcome["headline"] == ["val_rating", outcome["val_rating"]]
    assert {"val_wins_expert", "val_wins_novice", "val_wins_random", "val_return", "val_length"} <= set(outcome)
    assert outcome["samples"] == [row["samples"] for row in rows if "samples" in row][-1] <= 7 * 8 * 12
    assert all(row["explained_variance"] <= 1 for row in rows if "loss" in row)
    assert sorted(one.name for one in (run / "league").iterdir()) == [
        f"past-{step:06d}.safetensors" for step in (0, 2, 4, 6)
    ]
    assert load_policy(run.name).recording.game == "lane/duel"


def test_the_value_warms_up_while_the_policy_stays(understudy: Understudy) -> None:
    assert understudy(*CLONE) == 0
    before = load_policy("last").policy
    assert understudy(*FROM, "--steps", 3, "--value-warmup", 3) == 0
    after = load_policy("last").policy
    moved = {
        name for name, one in before.named_parameters() if not torch.equal(one, dict(after.named_parameters())[name])
    }
    assert moved == {"value.weight", "value.bias"}
    assert record_of(last_run())["parents"]


def test_near_to_the_anchor_the_policy_goes_less_far(understudy: Understudy) -> None:
    assert understudy(*CLONE) == 0
    apart = []
    for anchor in (0.01, 100.0):
        assert understudy(*FROM, "--anchor", anchor, "--final-anchor", anchor, "--steps", 12, "--lr", 3e-3) == 0
        apart.append([row["anchor_kl"] for row in metrics_of(last_run()) if "anchor_kl" in row])
    assert apart[0][0] < 1e-3  # it begins as the anchor
    assert apart[1][-1] < apart[0][-1]


BAD: dict[str, list[Any]] = {
    "--from scratch needs a game: --env lane/duel, for example": ["selfplay"],
    "--anchor and --value-warmup need a player to begin with: --from RUN": [*KITCHEN, "--anchor", 1],
    "self-play takes --core lstm, for a memory, or none; not a transformer": [*KITCHEN, "--core", "transformer"],
    "--shaping: gym:CartPole-v1 has no shaped rewards": ["selfplay", "--env", "gym:CartPole-v1", "--shaping", 1],
    "--option horizon: expected NAME=VALUE": [*KITCHEN, "--option", "horizon"],
    "--others expert: lane/creep-block is played alone": [*cases()["alone"], "--others", "expert"],
    "has no script 'expret'": [*DUEL, "--others", "script:expret"],
    "no run 'expret' in": [*DUEL, "--others", "expret"],
    "--others-by 0.1 comes before --others-from 0.5": [*KITCHEN, "--others-from", 0.5, "--others-by", 0.1],
    "--worlds": [*KITCHEN, "--worlds", 0],
    "--segment": [*KITCHEN, "--segment", 1],
    "--shaping-until": [*KITCHEN, "--shaping-until", 0],
    "--shaping -1": [*KITCHEN, "--shaping", -1],
    "--eval-games": [*KITCHEN, "--eval-games", 0],
    "--clip-ratio": [*KITCHEN, "--clip-ratio", 0],
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_work_is_refused_in_a_line(message: str, understudy: Understudy, capsys: Any) -> None:
    assert understudy(*BAD[message], "--steps", 1) == 2
    said = capsys.readouterr().err
    assert message.removeprefix("--") in said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) <= 2


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("control: [latest, 'script:random']", "script:random decides in it; in self-play all are latest"),
        ("share_observation: true", "leave out share_observation"),
        ("team_spirit: 2", "team_spirit"),
    ],
)
def test_scenarios_that_self_play_does_not_play_are_refused(
    side: str, message: str, here: Path, understudy: Understudy, capsys: Any
) -> None:
    scenario = f"game: kitchen/cramped_room\nsides:\n  - name: cooks\n    agents: [cook 1, cook 2]\n    {side}\n"
    (here / "scenario.yaml").write_text(scenario)
    assert understudy(*KITCHEN, "--scenario", "scenario.yaml", "--steps", 1) == 2
    assert message.replace("_", "-") in capsys.readouterr().err.replace("_", "-")


def test_a_clone_with_a_transformer_is_refused(understudy: Understudy, capsys: Any) -> None:
    assert understudy(*CLONE, "--core", "transformer", "--context", 16, "--heads", 2) == 0
    assert understudy("selfplay", "--from", "last", "--steps", 1) == 2
    assert "not a transformer" in capsys.readouterr().err


def test_several_processes_are_refused() -> None:
    from understudy.errors import ConfigError
    from understudy.training.distributed import DistInfo

    with pytest.raises(ConfigError, match="self-play learns in one process; start it without torchrun"):
        selfplay.Config().validate(DistInfo(rank=0, size=2))
