"""No alarm where nothing is wrong: neither at the start, nor while training, nor from the doctor."""

from collections.abc import Callable
from typing import Any

import pytest

from bugs.conftest import Train

HEALTHY: list[dict[str, Any]] = [
    {},
    {"core": "lstm", "layers": 2, "dropout": 0.3},
    {"core": "lstm", "data": "book.txt", "width": 48},
    {"core": "lstm", "dtype": "bfloat16", "micro_batch_size": 1},
    {"block": "gpt1", "layers": 3, "lr": 1e-3, "warmup": 10},
    {"block": "gpt2", "data": "book.txt", "context": 64, "dropout": 0.1},
    {"layers": 3, "width": 64, "heads": 4, "dropout": 0.2},
    {"data": "book.txt", "batch_size": 1},
    {"data": "book.txt", "tokenizer": "bpe", "vocab_size": 300, "schedule": "wsd"},
    {"tokenizer": "bpe", "vocab_size": 400, "dtype": "bfloat16", "layers": 2},
    {"dtype": "bfloat16", "dropout": 0.1, "micro_batch_size": 3, "batch_size": 7},
    {"batch_size": 16, "micro_batch_size": 5, "schedule": "linear", "final_lr": 0.0},
    {"schedule": "constant", "warmup": 0, "lr": 6e-3, "other_weight": 0.0, "batch_size": 2},
    {"other_weight": 1.0, "weight_decay": 0.0, "clip": 0.0},
    {"valid": "valid.jsonl", "beta2": 0.95, "lr": 1e-2},
    {"steps": 3, "warmup": 60},
]


def alarms(checks: dict[str, str]) -> dict[str, str]:
    """Verdicts other than ok, but for what cannot be asked of a short first run."""
    allowed = {"references": {"skipped"}, "inputs_matter": {"noted"}}
    return {name: one for name, one in checks.items() if one != "ok" and one not in allowed.get(name, set())}


@pytest.mark.parametrize("options", HEALTHY, ids=lambda options: " ".join(f"{k}={v}" for k, v in options.items()))
def test_a_healthy_run_raises_no_alarm(
    options: dict[str, Any], train: Train, examine: Callable[[str], dict[str, str]]
) -> None:
    found = train(**options)
    assert found.code == 0
    assert alarms(found.checks) == {}
    assert len(found.checks) == 29
    assert alarms(examine("last")) == {}


CLONES: list[dict[str, Any]] = [
    {},
    {"core": "transformer", "context": 64, "heads": 2},
    {"core": "none", "dropout": 0.0},
    {"view": "grid", "last_action": "yes", "games": 3},
    {"env": "gym:CartPole-v1", "expert": "expert", "layers": 2, "balance": 1.0},
    {"env": "gym:Pendulum-v1", "expert": "random", "last_action": "yes", "games": 3},
]


@pytest.mark.parametrize("options", CLONES, ids=lambda options: " ".join(f"{k}={v}" for k, v in options.items()))
def test_a_healthy_clone_raises_no_alarm(
    options: dict[str, Any], train: Train, examine: Callable[[str], dict[str, str]]
) -> None:
    found = train("clone", **options)
    assert found.code == 0
    assert not {name: one for name, one in found.checks.items() if one == "failed"}
    assert len(found.checks) == 29
    if not options:
        assert not {name: one for name, one in examine("last").items() if one == "failed"}


SELFPLAYS: list[dict[str, Any]] = [
    {"core": "lstm"},
    {"core": "none", "option": ("view=grid", "shaping=1.0"), "shaping": 1.0},
    {"env": "lane/duel", "option": "horizon=40", "core": "lstm", "layers": 2, "steps": 12, "snapshot_every": 3},
    {"env": "lane/duel", "option": "horizon=40", "others": ("expert", "random"), "others_share": 0.5, "core": "lstm"},
    {"env": "lane/creep-block", "option": "horizon=30", "worlds": 1, "batch_size": 1, "segment": 100},
    {"env": "gym:CartPole-v1", "option": "max_episode_steps=50", "steps": 25, "kl_stop": 0.0},
    {"env": "gym:Pendulum-v1", "option": "max_episode_steps=50", "core": "lstm", "gae_lambda": 1.0},
    {"others": "random", "others_from": 0.3, "others_by": 0.8, "micro_batch_size": 4, "core": "lstm"},
]


@pytest.mark.parametrize("options", SELFPLAYS, ids=lambda options: " ".join(f"{k}={v}" for k, v in options.items()))
def test_healthy_self_play_raises_no_alarm(
    options: dict[str, Any], train: Train, examine: Callable[[str], dict[str, str]]
) -> None:
    found = train("selfplay", **options)
    assert found.code == 0
    assert not found.failed
    assert len(found.checks) == 18
    if len(options) == 1 or "steps" in options:
        assert not {name: one for name, one in examine("last").items() if one == "failed"}


@pytest.mark.parametrize("last_action", ["yes", "no"])
def test_healthy_self_play_from_a_clone_raises_no_alarm(
    last_action: str, train: Train, examine: Callable[[str], dict[str, str]]
) -> None:
    train("clone", last_action=last_action)
    small = {"from": "last:clone", "worlds": 6, "segment": 16, "batch_size": 6, "steps": 4, "eval_games": 2}
    found = train("selfplay", **small, option="view=grid", anchor=0.5, value_warmup=2)
    assert found.code == 0
    assert not found.failed
    assert not {name: one for name, one in examine("last").items() if one == "failed"}


@pytest.mark.parametrize("core", ["transformer", "lstm"])
def test_healthy_fine_tuning_raises_no_alarm(core: str, train: Train, examine: Callable[[str], dict[str, str]]) -> None:
    train(core=core, layers=2)
    found = train("finetune", data="valid.jsonl", steps=20, batch_size=4, dropout=0.1)
    assert found.code == 0
    assert alarms(found.checks) == {}
    assert alarms(examine("last")) == {}
