import numpy as np
import pytest

from understudy.errors import RecordingError
from understudy.games.demonstrations import GameBatches
from understudy.games.recordings import Episode


def episode(number: int, steps: int, masked: bool = False) -> Episode:
    """What is seen is a number that names game, agent and step; what is done follows from it."""
    seen = 1000.0 * number + 100 * np.arange(2)[None] + np.arange(steps + 1)[:, None]
    actions = (seen[:-1].astype(int) % 3)[..., None]
    masks = np.arange(3) != ((actions + 1) % 3) if masked else None
    zeros = np.zeros((steps, 2), np.float32)
    return Episode(seen[..., None].astype(np.float32), actions, zeros, np.zeros(2, bool), masks=masks)


GAMES = [episode(number, steps) for number, steps in enumerate((7, 4, 9, 5, 6))]


def held(batches, steps):
    """Return what each of these batches holds, as pairs of seen and done."""
    found = []
    for batch in (batches.batch(step) for step in steps):
        known = batch.weights_BT > 0
        found += zip(batch.inputs_BT[known][:, 0].tolist(), batch.targets_BT[known][:, 0].tolist(), strict=True)
    return found


EVERYTHING = sorted(
    (float(seen), int(done))
    for one in GAMES
    for agent in range(2)
    for seen, done in zip(one.observations[:-1, agent, 0], one.actions[:, agent, 0], strict=True)
)


@pytest.mark.parametrize("context", [0, 4])
def test_an_epoch_has_each_step_of_each_agent_once_beside_what_was_done_in_it(context):
    batches = GameBatches(GAMES, batch_size=3, context=context, seed=1)
    epoch = range(batches.batches_per_epoch)
    first, second = held(batches, epoch), held(batches, [len(epoch) + step for step in epoch])
    assert sorted(first) == sorted(second) == EVERYTHING
    assert first != second
    assert batches.targets_per_epoch == len(EVERYTHING)
    assert held(batches, [3]) == held(GameBatches(GAMES, 3, context, seed=1), [3])
    assert held(batches, [3]) != held(GameBatches(GAMES, 3, context, seed=2), [3])


def test_a_row_is_one_game_from_its_start():
    batches = GameBatches(GAMES, batch_size=10, seed=1)
    batch = batches.batch(0)
    assert batch.reset_BT[:, 0].all()
    assert not batch.reset_BT[:, 1:].any()
    for row in range(10):
        steps = batch.inputs_BT[row, batch.weights_BT[row] > 0, 0]
        assert np.array_equal(steps % 100, np.arange(len(steps)))
        assert len(set(steps // 100)) == 1


def test_only_some_agents_are_learned_from():
    seen = held(GameBatches(GAMES, 4, agents=[1]), range(2))
    assert sorted(seen) == [one for one in EVERYTHING if one[0] % 1000 >= 100]


def test_what_is_measured_on_comes_once_and_in_order():
    rows = [batch.inputs_BT[:, 0, 0] for batch in GameBatches(GAMES, 4, seed=3).eval_batches()]
    assert [len(one) for one in rows] == [4, 4, 2]
    assert np.concatenate(rows).tolist() == [1000.0 * game + 100 * agent for game in range(5) for agent in range(2)]


def test_balanced_actions_weigh_alike_and_the_mean_weight_stays_one():
    batch = GameBatches(GAMES, 10, balance=1.0).batch(0)
    known = batch.weights_BT > 0
    done, weight = batch.targets_BT[known][:, 0], batch.weights_BT[known]
    totals = np.bincount(done, weight)
    assert totals == pytest.approx(np.full(3, len(done) / 3))
    unbalanced = GameBatches(GAMES, 10).batch(0).weights_BT
    assert set(unbalanced.ravel()) == {0.0, 1.0}


def test_masks_come_along():
    batch = GameBatches([episode(0, 5, masked=True), episode(1, 3, masked=True)], 4).batch(0)
    assert batch.masks_BTA is not None
    known = batch.weights_BT > 0
    allowed = np.take_along_axis(batch.masks_BTA, batch.targets_BT, -1)[..., 0]
    assert allowed[known].all()
    assert (batch.masks_BTA[known].sum(-1) == 2).all()


def test_nothing_is_refused():
    with pytest.raises(RecordingError, match="nothing to learn from"):
        GameBatches([], 4)
