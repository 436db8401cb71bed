"""Blocks that are computed again in the backward pass: the same gradients, bit for bit, in less memory."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from understudy.errors import ConfigError
from understudy.models.language_model import LanguageModel
from understudy.models.spec import BlockKind, CoreConfig
from understudy.training.learner import Learner, LearnerConfig
from understudy.training.objectives import ImitationLoss

BLOCKS: list[BlockKind] = ["modern", "gpt1", "gpt2"]


def gradients(block: BlockKind, again: bool, dtype: torch.dtype, reset_BT: torch.Tensor | None) -> dict[str, Any]:
    torch.manual_seed(0)
    model = LanguageModel(CoreConfig(layers=3, width=32, heads=2, context=24, block=block, dropout=0.1).resolved(), 50)
    model.core.checkpoint_activations = again
    ids_BT = torch.randint(0, 50, (3, 24))
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        ImitationLoss(model)(ids_BT, ids_BT.roll(-1, 1), torch.ones(3, 24), reset_BT).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("resets", [False, True])
def test_gradients_are_the_same_bit_for_bit(block: BlockKind, dtype: torch.dtype, resets: bool) -> None:
    reset_BT = torch.arange(24).expand(3, -1) % 7 == 0 if resets else None
    kept, computed_again = (gradients(block, again, dtype, reset_BT) for again in (False, True))
    for name, gradient in kept.items():
        assert torch.equal(gradient, computed_again[name]), name
        assert bool(gradient.any()), name


def test_each_block_runs_twice_in_training_and_once_otherwise() -> None:
    model = LanguageModel(CoreConfig(layers=2, width=16, heads=2, block="gpt1").resolved(), 50)
    config = LearnerConfig(steps=1, checkpoint_activations=True)
    learner = Learner(ImitationLoss(model), config, torch.device("cpu"))
    calls: list[int] = []
    model.core.blocks[0].mlp.register_forward_hook(lambda *_: calls.append(1))
    ids_BT = torch.randint(0, 50, (2, 8))
    learner.objective(ids_BT, ids_BT, torch.ones(2, 8), None).backward()
    assert len(calls) == 2
    with torch.no_grad():
        model(ids_BT)
        model(ids_BT, model.initial_state(2))
    assert len(calls) == 4


PEAK = """
import re, torch
from understudy.models.spec import CoreConfig
from understudy.models.language_model import LanguageModel
from understudy.training.objectives import ImitationLoss
model = LanguageModel(CoreConfig(layers=8, width=128, heads=4, context=256, block="gpt1").resolved(), 64)
ids_BT = torch.randint(0, 64, (8, 256))
def peak():  # not getrusage: its maximum comes from the parent process where that was larger
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
def step(rows, computed_again):
    model.core.checkpoint_activations = computed_again
    ImitationLoss(model)(ids_BT[:rows], ids_BT[:rows], torch.ones(rows, 256), None).backward()
    return peak()
start = step(1, False)  # what is imported at first use, and gradients, come with any step
print(step(8, True) - start, step(8, False) - start)
"""


@pytest.mark.slow
def test_it_takes_less_memory() -> None:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the system
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, check=True, env=environment)
    computed_again, kept = map(int, done.stdout.split())
    assert computed_again < 0.5 * kept


def test_an_lstm_has_no_blocks() -> None:
    model = LanguageModel(CoreConfig(core="lstm", layers=1, width=8).resolved(), 50)
    with pytest.raises(ConfigError, match="--checkpoint-activations takes a Transformer"):
        Learner(ImitationLoss(model), LearnerConfig(checkpoint_activations=True), torch.device("cpu"))
