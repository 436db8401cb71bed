"""The token loss, whose backward pass is our own, against autograd's in float64."""

import pytest
import torch
import torch.nn.functional as F

from understudy.training.objectives import weighted_nll


def random(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("seed", range(5))
def test_the_weighted_loss_is_torchs_and_its_backward_pass_that_of_finite_differences(seed):
    x, targets_N, weights_N = random((5, 7), seed), torch.randint(7, (5,)), torch.rand(5, dtype=torch.float64)
    expected = (F.cross_entropy(x, targets_N, reduction="none") * weights_N).sum()
    torch.testing.assert_close(weighted_nll(x, targets_N, weights_N), expected)
    assert torch.autograd.gradcheck(lambda x: weighted_nll(x, targets_N, weights_N), x)


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
