"""The LSTM layer of our own against torch's, in float64: outputs, states and gradients."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from understudy.models.lstm import LSTM, LSTMState
from understudy.models.lstm_layer import LSTMLayer
from understudy.models.spec import CoreConfig

WIDTH = 16


def inputs(steps: int, batch: int, seed: int, resets: float) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    weights = draw(4 * WIDTH, WIDTH) * 0.4, draw(4 * WIDTH, WIDTH) * 0.4, draw(4 * WIDTH)
    keep = torch.rand(steps, batch, generator=random) >= resets
    return draw(steps, batch, WIDTH), *weights, draw(batch, WIDTH), draw(batch, WIDTH), keep


def by_torch(x: Tensor, enter: Tensor, again: Tensor, bias: Tensor, h: Tensor, c: Tensor, keep: Tensor) -> Any:
    """nn.LSTM, a step at a time, with the states set to 0 where a row begins anew."""
    layer, outputs = nn.LSTM(WIDTH, WIDTH).double(), []
    weights = {"weight_ih_l0": enter, "weight_hh_l0": again, "bias_ih_l0": bias, "bias_hh_l0": torch.zeros_like(bias)}
    for one, kept in zip(x, keep, strict=True):
        state = ((h * kept[:, None])[None], (c * kept[:, None])[None])
        y, (h, c) = torch.func.functional_call(layer, weights, (one[None], state))
        h, c = h[0], c[0]
        outputs.append(y[0])
    return torch.stack(outputs), h, c


def with_gradients(function: Any, arguments: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    *numbers, keep = arguments
    leaves = [x.detach().to(dtype, copy=True).requires_grad_() for x in numbers]
    found = function(*leaves, keep)
    random = torch.Generator().manual_seed(0)
    loss = sum((x.double() * torch.randn(x.shape, generator=random, dtype=torch.float64)).sum() for x in found)
    assert isinstance(loss, Tensor)
    loss.backward()
    gradients = [leaf.grad for leaf in leaves]
    return [x.detach().double() for x in (*found, *gradients) if x is not None]


def layer(*arguments: Tensor) -> Any:
    *numbers, keep = arguments
    x, enter, again, bias, h, c = numbers
    return LSTMLayer.apply(x, enter, again, bias, h, c.float(), None if bool(keep.all()) else keep)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from([0.0, 0.2, 1.0]))
def test_outputs_states_and_gradients_are_torchs(steps: int, batch: int, seed: int, resets: float) -> None:
    arguments = inputs(steps, batch, seed, resets)
    expected = with_gradients(by_torch, arguments, torch.float64)
    found = with_gradients(layer, arguments, torch.float32)
    assert len(found) == len(expected) == 9
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-4)


def test_bfloat16_rounds_and_does_nothing_else() -> None:
    arguments = inputs(12, 6, seed=3, resets=0.2)
    *numbers, keep = arguments
    rounded = (*(x.bfloat16().double() for x in numbers), keep)
    expected = with_gradients(by_torch, rounded, torch.float64)
    found = with_gradients(layer, rounded, torch.bfloat16)
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.03


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("resets", [0.0, 0.2])
@pytest.mark.parametrize("keeps", [False, True])
def test_the_core_is_the_same_by_either_way(dropout: float, resets: float, keeps: bool) -> None:
    """Two layers; what is dropped in training is not dropped in evaluation."""
    torch.manual_seed(1)
    spec = CoreConfig(core="lstm", layers=2, width=WIDTH, dropout=dropout).resolved()
    core = LSTM(spec)
    x = torch.randn(4, 7, WIDTH)
    reset = torch.rand(4, 7) < resets
    state = LSTMState(torch.randn(2, 4, WIDTH), torch.randn(2, 4, WIDTH)) if keeps else None
    found, expected = [], []
    for dtype, out in ((torch.float32, found), (torch.float64, expected)):
        copy = LSTM(spec).to(dtype).eval()
        copy.load_state_dict(core.state_dict())
        given_state = None if state is None else LSTMState(*(part.to(dtype) for part in state))
        y, after = copy(x.to(dtype), given_state, reset)
        y.sum().backward()
        out += [y, *(after or ()), *(one.grad for one in copy.parameters())]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)
