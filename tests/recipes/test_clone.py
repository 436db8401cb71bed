"""Cloning as a user starts it: from experts and from recordings, resumed, corrected; and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recipes.conftest import Understudy, after_step, last_run, metrics_of, pretend_killed, record_of, weights_of
from understudy.acting.player import PolicyPlayer
from understudy.evaluation.play import play, returns
from understudy.games.kitchen.env import Kitchen, Options
from understudy.games.minari_files import write
from understudy.games.names import make
from understudy.games.recordings import Recording
from understudy.games.teams import Random
from understudy.training.loading import load_policy

TINY = [
    "--width",
    32,
    "--dropout",
    0.1,
    "--noise",
    0.1,
    "--batch-size",
    4,
    "--warmup",
    2,
    "--eval-every",
    4,
    "--save-every",
    4,
]
KITCHEN = ["clone", "--env", "kitchen/cramped_room", "--expert", "random", "--games", 5, *TINY, "--play-games", 3]


def recording(games: int = 4, first_seed: int = 1, layout: str = "cramped_room", **options: Any) -> Recording:
    env = Kitchen(layout, games, Options(horizon=60, **options))
    return Recording.of(env, play(env, Random(env), range(first_seed, first_seed + games)))


def test_the_balancer_of_the_cart_is_cloned(understudy: Understudy, capsys: Any) -> None:
    pytest.importorskip("gymnasium")
    options = ["--env", "gym:CartPole-v1", "--games", 6, "--core", "none", "--steps", 150, "--batch-size", 16]
    assert (
        understudy(
            "clone", *options, "--width", 32, "--dropout", 0, "--noise", 0, "--play-games", 10, "--temperature", 0
        )
        == 0
    )
    run, said = last_run(), capsys.readouterr().out
    outcome = record_of(run)["outcome"]
    assert outcome["headline"] == ["return", outcome["return"]]
    assert outcome["return"] > 200  # chance has 20
    assert outcome["test_accuracy"] > 0.8
    found = outcome["intervals"]
    assert set(found) == {"the clone", "commonest action", "repeat the last", "logistic regression", "return"}
    assert found["the clone"]["accuracy"]["value"] > found["commonest action"]["accuracy"]["value"] + 0.2
    assert "actions: 0 " in said
    assert "games never seen" in said

    loaded = load_policy(run.name)
    env = make(loaded.recording.game, 10, **loaded.recording.options)
    player = PolicyPlayer(loaded.policy, env, 0.0)
    assert returns(play(env, player, range(10))).mean() == outcome["return"]


def test_a_resumed_clone_is_the_undisturbed_one_bit_for_bit(understudy: Understudy) -> None:
    assert understudy(*KITCHEN, "--steps", 10) == 0
    run = last_run()
    weights, metrics, outcome = weights_of(run), metrics_of(run), record_of(run)["outcome"]
    with after_step(6, lambda: (_ for _ in ()).throw(KeyboardInterrupt)):
        assert understudy(*KITCHEN, "--steps", 10) == 130
    stopped = last_run()
    pretend_killed(stopped)
    assert understudy("clone", "--resume", stopped.name) == 0
    assert (weights_of(stopped), metrics_of(stopped)) == (weights, metrics)
    assert record_of(stopped)["outcome"] == outcome


def test_an_expert_corrects_the_clone_and_a_resumed_run_learns_from_the_same_games(understudy: Understudy) -> None:
    assert understudy(*KITCHEN, "--steps", 9, "--dagger", 2) == 0
    run = last_run()
    assert sorted(path.name for path in run.glob("dagger-*")) == ["dagger-1-v0", "dagger-2-v0"]
    weights, metrics = weights_of(run), metrics_of(run)
    written = (run / "dagger-1-v0" / "data" / "main_data.hdf5").read_bytes()
    for folder in ("step-000009", "step-000008"):
        shutil.rmtree(run / "checkpoints" / folder)
    shutil.rmtree(run / "dagger-2-v0")
    pretend_killed(run)
    assert understudy("clone", "--resume", run.name) == 0
    assert (weights_of(run), metrics_of(run)) == (weights, metrics)
    assert (run / "dagger-1-v0" / "data" / "main_data.hdf5").read_bytes() == written


def test_recordings_are_cloned_in_the_view_that_is_asked_for(here: Path, understudy: Understudy, capsys: Any) -> None:
    write(here / "mine-v0", recording())
    write(here / "more-v0", recording(2, first_seed=9))
    files = ["--data", "mine-v0", "more-v0", *TINY, "--steps", 3, "--play-games", 2, "--agents", "cook 2"]
    assert understudy("clone", *files) == 0
    assert (
        "4 (240 steps) games to learn from, 1 (60 steps) to validate on, 1 (60 steps) to test"
        in capsys.readouterr().out
    )
    run = last_run()
    loaded, outcome = load_policy(run.name), record_of(run)["outcome"]
    assert loaded.policy.policy.observation == (211,)
    raw = load_file(loaded.folder / "model.safetensors")["action.weight"]
    assert torch.equal(loaded.policy.action.weight, raw / outcome["softening"])
    assert loaded.move_temperature == record_of(run)["config"]["move_temperature"] < 1
    paths = [Path(entry["path"]).parent.parent.name for entry in record_of(run)["data"]]
    assert paths == ["mine-v0", "mine-v0", "more-v0", "more-v0"]
    assert understudy("clone", *files, "--view", "grid") == 0
    assert load_policy(last_run().name).policy.policy.observation == (20, 4, 5)


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "data" / "metadata.json"
    said = json.loads(path.read_text())
    said["understudy"].update(changes)
    path.write_text(json.dumps(said))


def test_recordings_that_are_not_what_they_say_are_refused(here: Path, understudy: Understudy, capsys: Any) -> None:
    def refused(name: str, *parts: str) -> None:
        assert understudy("clone", "--data", name, *TINY, "--steps", 2) == 2
        said = capsys.readouterr().err
        for part in (name, *parts):
            assert part in said

    write(here / "old-v0", recording())
    _edit(here / "old-v0", version="2018, kitchen 00000000")
    refused("old-v0", "version is 2018, kitchen 00000000, not 2019, kitchen")

    whole = recording()
    first = whole.episodes[0]
    short = replace(
        first,
        observations=np.delete(first.observations, 30, 0),
        actions=np.delete(first.actions, 30, 0),
        rewards=np.delete(first.rewards, 30, 0),
    )
    write(here / "gap-v0", replace(whole, episodes=[short, *whole.episodes[1:]]))
    refused("gap-v0", "episode 0", "steps are missing")

    other = recording(layout="forced_coordination", view="features")
    mine = recording(view="features")
    write(here / "other-v0", replace(other, game=mine.game, version=mine.version))
    refused("other-v0", "episode 0", "begins as no episode of kitchen/cramped_room")

    wild = recording()
    wild.episodes[0].actions[3, 1] = 6
    write(here / "wild-v0", wild)
    refused("wild-v0", "action 6", "out of range; expected 0 to 5")

    write(here / "few-v0", recording(2))
    refused("few-v0", "has 2 games; it takes 3")
    refused("none-v0", "there is no recording")

    write(here / "seen-v0", recording())
    _edit(here / "seen-v0", observation={"shape": [20, 5, 5], "dtype": "uint8"})
    refused("seen-v0", "observations of shape [20, 4, 5]; the recording says [20, 5, 5]")


REFUSED: list[tuple[list[Any], str]] = [
    ([], "a clone learns from --data or from an expert in --env: none was given"),
    (["--data", "a", "--env", "b"], "both were given"),
    (["--env", "kitchen/cramped_room"], "has no script 'expert'; scripts are random, cook"),
    (["--env", "kitchen/camped_room"], "did you mean cramped_room"),
    (["--env", "gym:Pendulum-v1"], "no script is an expert in gym:Pendulum-v1; there is one for gym:CartPole"),
    (["--data", "kitchen/cramped_room", "--dagger", 1], "--dagger needs an expert to ask"),
    (["--data", "kitchen/cramped_room", "kitchen/counter_circuit"], "stands alone"),
    (["--env", "kitchen/cramped_room", "--expert", "random", "--agents", "cook 3"], "'cook 3' is no agent of kitchen"),
    (["--env", "kitchen/cramped_room", "--expert", "random", "--games", 2], "--games 2 is out of range"),
    (["--env", "kitchen/cramped_room", "--balance", 2], "--balance 2.0 is out of range"),
    (["--env", "kitchen/cramped_room", "--core", "rnn"], "--core 'rnn' is unknown"),
    (["--env", "kitchen/cramped_room", "--expert", "random", "--view", "map"], "expected one of grid, features"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=lambda value: " ".join(map(str, value)))
def test_what_cannot_be_cloned_is_refused(
    options: list[Any], message: str, understudy: Understudy, capsys: Any
) -> None:
    assert understudy("clone", *options) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_clone_is_no_chatbot(understudy: Understudy, capsys: Any) -> None:
    assert understudy(*KITCHEN, "--steps", 2, "--play-games", 0) == 0
    run = last_run()
    assert understudy("sample", run.name) == 2
    assert "holds a player's policy, not a language model" in capsys.readouterr().err
