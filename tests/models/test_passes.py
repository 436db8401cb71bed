"""The passes over memory against the same in plain torch, which float64 takes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from understudy.models import passes
from understudy.models.attention import Attention
from understudy.models.cache import AttentionInputs
from understudy.models.convolution import ConvState, ShortConvolution
from understudy.models.core import segments_in
from understudy.models.language_model import LanguageModel
from understudy.models.norm import rms_norm
from understudy.models.spec import STYLES, CoreConfig
from understudy.models.transformer import gelu, squared_relu
from understudy.training.objectives import ImitationLoss

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
FORMATS = pytest.mark.parametrize("dtype", list(TOLERANCE))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def outcome(run: Any, inputs: list[Tensor]) -> list[Tensor]:
    """The result, and the gradients of a weighted sum of it."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    y = run(*inputs)
    weights = random(*y.shape, seed=9).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, inputs, weights)]


def compare(run: Any, inputs: list[Tensor], dtype: torch.dtype) -> None:
    # The same rounded numbers for both
    inputs = [x.to(dtype) for x in inputs]
    assert passes.fits(*inputs)
    for found, exact in zip(outcome(run, inputs), outcome(run, [x.double() for x in inputs]), strict=True):
        assert found.dtype == dtype
        scale = max(1.0, float(exact.abs().max()))
        torch.testing.assert_close(found.double(), exact, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


@FORMATS
def test_pointwise_functions_and_norms(dtype: torch.dtype) -> None:
    for width in (1, 7, 64):
        x = 3 * random(5, 11, width)
        for run in (squared_relu, gelu):
            compare(run, [x], dtype)
        if width > 1:
            compare(rms_norm, [x], dtype)
    assert gelu(torch.tensor([-1e4, 1e4])).tolist() == pytest.approx([0.0, 1e4])
    for run in (squared_relu, gelu, rms_norm):
        assert run(torch.tensor([1.0, torch.nan])).isnan().any()


@FORMATS
@pytest.mark.parametrize("time", [1, 2, 3, 9])
@pytest.mark.parametrize("resets", [0.0, 0.3])
def test_short_convolutions(dtype: torch.dtype, time: int, resets: float) -> None:
    reset_BT = torch.rand(4, time, generator=torch.Generator().manual_seed(1)) < resets
    convolution = ShortConvolution(20, std=0.5)

    def run(x_BTD: Tensor, taps_RD: Tensor) -> Tensor:
        state = ConvState((), reset_BT if resets else None)
        y_BTD: Tensor = torch.func.functional_call(convolution, {"taps_RD": taps_RD}, (x_BTD, state))
        return y_BTD

    compare(run, [random(4, time, 20), random(3, 20, seed=1)], dtype)


@FORMATS
def test_attention_inputs(dtype: torch.dtype) -> None:
    spec = CoreConfig(width=24, heads=2, layers=1, context=9).resolved()
    core = LanguageModel(spec, 8).core
    attention = Attention(spec, STYLES["modern"])
    reset_BT = torch.zeros(3, 9, dtype=torch.bool)
    reset_BT[1, 4] = reset_BT[2, 2] = True

    def run(x_BTD: Tensor) -> Tensor:
        attention.to(x_BTD.dtype)
        inputs = AttentionInputs(causal=True, segments=segments_in(reset_BT))
        inputs.rotation = core.rotary_table(x_BTD.device, x_BTD.dtype)
        return attention(x_BTD, inputs, None)

    torch.manual_seed(0)
    torch.nn.init.normal_(attention.qkv.weight, std=1.0)
    compare(run, [random(3, 9, 24)], dtype)


@pytest.mark.parametrize("core", ["modern", "gpt2", "lstm"])
def test_a_model_has_the_loss_and_the_gradients_of_the_plain_path(core: Any) -> None:
    torch.manual_seed(0)
    config = CoreConfig(core="lstm") if core == "lstm" else CoreConfig(block=core)
    spec = CoreConfig(config.core, block=config.block, layers=2, width=32, heads=2, context=40).resolved()
    model = LanguageModel(spec, 16)
    ids_BT, targets_BT = torch.randint(16, (3, 40)), torch.randint(16, (3, 40))
    part = ids_BT, targets_BT, torch.ones(3, 40), torch.rand(3, 40) < 0.1
    found = []
    for precise in (False, True):
        model = model.double() if precise else model
        model.zero_grad()
        loss = ImitationLoss(model)(*part)
        loss.backward()
        found.append([loss.detach().double(), *(p.grad.double() for p in model.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
