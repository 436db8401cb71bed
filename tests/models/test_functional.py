"""Our backward passes against autograd's, in float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.models.attention import _grouped, causal_attention, rotate
from understudy.models.convolution import short_convolution
from understudy.models.norm import rms_norm
from understudy.models.transformer import squared_relu

shapes = st.tuples(st.integers(1, 4), st.integers(2, 6))


def random(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


@settings(max_examples=20, deadline=None)
@given(shape=shapes, seed=st.integers(0, 99))
def test_backward_passes_are_those_of_finite_differences(shape, seed):
    assert torch.autograd.gradcheck(squared_relu, random(shape, seed))
    assert torch.autograd.gradcheck(rms_norm, random(shape, seed))


EPISODES = [(0, 0, 2), (0, 2, 5), (1, 0, 4), (1, 4, 5)]
CROSSING = [
    (torch.tensor([0, 1]), torch.tensor([2, 4])),
    (torch.tensor([0, 0, 1]), torch.tensor([2, 3, 4])),
]


def masked_attention(q, k, v, episodes):
    """The same as one masked square, by torch's own attention."""
    mask_BTT = torch.zeros(2, 5, 5, dtype=torch.bool)
    for row, first, end in episodes or [(0, 0, 5), (1, 0, 5)]:
        mask_BTT[row, first:end, first:end] = torch.ones(end - first, end - first, dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(q, k, v, mask_BTT[:, None]).transpose(1, 2)


@pytest.mark.parametrize("episodes", [None, EPISODES])
def test_attention_by_hand_is_torchs_attention(episodes):
    q, k, v = (random((2, 3, 5, 4), seed) for seed in range(3))
    torch.testing.assert_close(causal_attention(q, k, v, episodes), masked_attention(q, k, v, episodes))
    assert torch.autograd.gradcheck(lambda *x: causal_attention(*x, episodes), (q, k, v))
    q, k, v = (x.detach().bfloat16() for x in (q, k, v))
    exact = masked_attention(q.float(), k.float(), v.float(), episodes)
    torch.testing.assert_close(causal_attention(q, k, v, episodes).float(), exact, atol=3e-2, rtol=3e-2)


def test_segments_of_very_unequal_length_come_in_several_groups():
    segments = [(0, 0, 200), (0, 200, 207), (1, 0, 3), (1, 3, 207)]
    assert len(_grouped(tuple(segments), 207, 3)[0]) == 2
    q, k, v = (random((2, 3, 207, 4), seed) for seed in range(3))
    mask_BTT = torch.stack([torch.block_diag(*(torch.ones(n, n) for n in lengths)) for lengths in ((200, 7), (3, 204))])
    exact = F.scaled_dot_product_attention(q, k, v, mask_BTT.tril().bool()[:, None]).transpose(1, 2)
    found = causal_attention(q, k, v, segments)
    torch.testing.assert_close(found, exact)
    weights = random(exact.shape, 4).detach()
    for ours, theirs in zip(*(torch.autograd.grad(y, (q, k, v), weights) for y in (found, exact)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_rotation_turns_pairs_and_its_backward_pass_turns_back():
    angle = torch.rand(5, 3, dtype=torch.float64) * 6
    cosine, sine = torch.cat([angle.cos()] * 2, -1), torch.cat([-angle.sin(), angle.sin()], -1)
    x = random((2, 5, 6))
    pairs = torch.complex(x[..., :3], x[..., 3:]) * torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(rotate(x, cosine, sine), torch.cat([pairs.real, pairs.imag], -1))
    assert torch.autograd.gradcheck(lambda x: rotate(x, cosine, sine), (x,))


def test_a_short_convolution_is_a_sum_over_the_few_before():
    padded, taps = random((2, 7, 3)), random((2, 3), seed=1)
    expected = padded[:, 2:] + padded[:, 1:-1] * taps[0] + padded[:, :-2] * taps[1]
    torch.testing.assert_close(short_convolution(padded, taps), expected)
    expected = expected.clone()
    for back, (rows, steps) in enumerate(CROSSING, start=1):  # those of another episode do not count
        for row, step in zip(rows, steps, strict=True):
            expected[row, step] = expected[row, step] - padded[row, step + 2 - back] * taps[back - 1]
    torch.testing.assert_close(short_convolution(padded, taps, CROSSING), expected)
    for crossing in ((), CROSSING):
        assert torch.autograd.gradcheck(lambda x, t, c=crossing: short_convolution(x, t, c), (padded, taps))


def test_values_are_torchs():
    x = random((5, 7))
    torch.testing.assert_close(rms_norm(x), F.rms_norm(x, (7,), eps=1e-5))
    torch.testing.assert_close(squared_relu(x), F.relu(x).square())
