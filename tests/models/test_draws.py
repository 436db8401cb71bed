"""Drawing from the probabilities of a choice."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from understudy.models.draws import Moves


@given(arrays(np.float32, (3, 5), elements=st.floats(-200, 200, width=32)), st.floats(0.01, 5), st.integers(0, 4))
def test_sharpened_probabilities_are_probabilities_in_the_same_order(
    logits: np.ndarray, temperature: float, idle: int
) -> None:
    p = torch.from_numpy(logits).softmax(-1)
    sharp = Moves(idle, temperature).sharpened(p)
    assert torch.equal(sharp[:, idle], p[:, idle])
    torch.testing.assert_close(sharp.sum(-1), torch.ones(3))
    moving = np.delete(np.arange(5), idle)
    assert (torch.diff(sharp[:, moving].gather(1, p[:, moving].argsort(1)), dim=1) >= 0).all()
