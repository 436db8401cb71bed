"""What every core promises (see `Core`), in float64: cuts and resets change nothing, and nobody looks ahead."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.models.core import Core
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig

KINDS = {
    "lstm": CoreConfig(core="lstm", layers=2, width=16, context=24),
    **{
        block: CoreConfig(block=block, layers=2, width=16, heads=2, context=24)  # type: ignore[arg-type]
        for block in ("modern", "gpt1", "gpt2")
    },
}
BATCH, TIME = 3, 12


@pytest.fixture(scope="module", params=KINDS)
def core(request) -> Core:
    torch.manual_seed(0)
    return LanguageModel(KINDS[request.param].resolved(), vocab_size=1).core.double().eval()


def sequence(seed: int, time: int = TIME) -> torch.Tensor:
    return torch.randn(BATCH, time, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def in_pieces(core: Core, x_BTD, reset_BT, cuts):
    state, outputs = core.initial_state(BATCH, TIME), []
    for start, end in zip([0, *cuts], [*cuts, TIME], strict=True):
        reset = None if reset_BT is None else reset_BT[:, start:end]
        y_BTD, state = core(x_BTD[:, start:end], state, reset)
        outputs.append(y_BTD)
    return torch.cat(outputs, dim=1)


cuts_lists = st.lists(st.integers(1, TIME - 1), unique=True, max_size=TIME - 1).map(sorted)
reset_masks = st.lists(st.lists(st.booleans(), min_size=TIME, max_size=TIME), min_size=BATCH, max_size=BATCH)


@torch.no_grad()
@settings(max_examples=60, deadline=None)
@given(cuts=cuts_lists, resets=reset_masks, seed=st.integers(0, 9))
def test_any_cuts_and_any_resets_give_the_same_answer(core, cuts, resets, seed):
    x_BTD, reset_BT = sequence(seed), torch.tensor(resets)
    whole, _ = core(x_BTD, None, reset_BT)
    torch.testing.assert_close(in_pieces(core, x_BTD, reset_BT, cuts), whole, rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("cuts", [[], [1], [5], list(range(1, TIME))])
def test_pieces_without_resets_give_the_same_answer(core, cuts):
    x_BTD = sequence(1)
    whole, _ = core(x_BTD)
    torch.testing.assert_close(in_pieces(core, x_BTD, None, cuts), whole, rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("start", [1, 4, TIME - 1])
def test_a_reset_equals_a_fresh_start(core, start):
    x_BTD, reset_BT = sequence(2), torch.zeros(BATCH, TIME, dtype=torch.bool)
    reset_BT[1, start] = True
    whole, _ = core(x_BTD, None, reset_BT)
    fresh, _ = core(x_BTD[1:2, start:])
    torch.testing.assert_close(whole[1:2, start:], fresh, rtol=0, atol=1e-10)
    unreset, _ = core(x_BTD)
    torch.testing.assert_close(whole[[0, 2]], unreset[[0, 2]], rtol=0, atol=1e-10)
    assert not torch.allclose(whole[1, start:], unreset[1, start:]), "the reset changed nothing"


def test_no_step_sees_a_later_one_nor_another_episode_nor_another_row(core):
    x_BTD = sequence(3).requires_grad_()
    reset_BT = torch.zeros(BATCH, TIME, dtype=torch.bool)
    reset_BT[:, 5] = True
    y_BTD, _ = core(x_BTD, None, reset_BT)
    (gradient_BTD,) = torch.autograd.grad(y_BTD[1, 8, 0], x_BTD)
    seen_BT = gradient_BTD.abs().sum(dim=-1) > 0
    expected_BT = torch.zeros(BATCH, TIME, dtype=torch.bool)
    expected_BT[1, 5:9] = True
    assert torch.equal(seen_BT, expected_BT)


@torch.no_grad()
def test_ragged_rows_by_padding_on_the_left_and_a_reset(core):
    x_BTD = sequence(4)
    lengths = (TIME, 7, 3)
    reset_BT = torch.zeros(BATCH, TIME, dtype=torch.bool)
    for row, length in enumerate(lengths):
        reset_BT[row, TIME - length] = True
    _, state = core(x_BTD, core.initial_state(BATCH, 24), reset_BT)
    more_BTD = sequence(5, time=6)
    got, _ = core(more_BTD, state)
    for row, length in enumerate(lengths):
        alone = torch.cat([x_BTD[row : row + 1, TIME - length :], more_BTD[row : row + 1]], dim=1)
        expected, _ = core(alone)
        torch.testing.assert_close(got[row : row + 1], expected[:, -6:], rtol=0, atol=1e-10)


@torch.no_grad()
def test_an_old_state_can_be_gone_on_from_again(core):
    """What a chat's /regen does: the later steps taken from it before leave no trace."""
    x_BTD = sequence(6)
    _, state = core(x_BTD[:, :4], core.initial_state(BATCH, TIME))
    first, _ = core(x_BTD[:, 4:10], state)
    core(x_BTD[:, 6:], state)
    again, _ = core(x_BTD[:, 4:10], state)
    assert torch.equal(first, again)


@torch.no_grad()
@pytest.mark.parametrize("ragged", [False, True])
def test_a_repeated_state_goes_on_like_the_one_it_came_from(core, ragged):
    x_BTD, then_BTD = sequence(7), sequence(8, 4)
    reset_BT = None
    if ragged:
        reset_BT = torch.zeros(BATCH, TIME, dtype=torch.bool)
        reset_BT[1, 5] = True
    _, state = core(x_BTD, core.initial_state(BATCH, TIME + 4), reset_BT)
    thrice = state.repeated(3)
    many, _ = core(then_BTD.repeat_interleave(3, dim=0), thrice)
    once, _ = core(then_BTD, state)  # a cache that the copies had shared would have been written over
    torch.testing.assert_close(many, once.repeat_interleave(3, dim=0), rtol=0, atol=1e-10)
