"""Our backward passes against autograd's, in float64."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.models.functional import rms_norm, squared_relu, weighted_nll

shapes = st.tuples(st.integers(1, 4), st.integers(2, 6))


def random(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


@settings(max_examples=20, deadline=None)
@given(shape=shapes, seed=st.integers(0, 99))
def test_backward_passes_are_those_of_finite_differences(shape, seed):
    assert torch.autograd.gradcheck(squared_relu, random(shape, seed))
    assert torch.autograd.gradcheck(rms_norm, random(shape, seed))
    targets_N, weights_N = torch.randint(shape[1], shape[:1]), torch.rand(shape[0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: weighted_nll(x, targets_N, weights_N), random(shape, seed))


def test_values_are_torchs():
    x = random((5, 7))
    torch.testing.assert_close(rms_norm(x), F.rms_norm(x, (7,), eps=1e-5))
    torch.testing.assert_close(squared_relu(x), F.relu(x).square())
    targets_N, weights_N = torch.randint(7, (5,)), torch.rand(5, dtype=torch.float64)
    expected = (F.cross_entropy(x, targets_N, reduction="none") * weights_N).sum()
    torch.testing.assert_close(weighted_nll(x, targets_N, weights_N), expected)


def test_an_impossible_target_costs_much_but_not_infinity():
    loss = weighted_nll(torch.tensor([[0.0, 1e4]]), torch.tensor([0]), torch.ones(1))
    assert 80 < loss < 110


def test_bfloat16_gradients_stay_close():
    x = random((64, 32)).detach()
    targets_N, weights_N = torch.randint(32, (64,)), torch.rand(64)
    exact, rounded = x.float().requires_grad_(), x.bfloat16().requires_grad_()
    for logits in (exact, rounded):
        weighted_nll(logits, targets_N, weights_N).backward()
    assert rounded.grad.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.grad.float(), exact.grad, atol=2e-2, rtol=2e-2)
