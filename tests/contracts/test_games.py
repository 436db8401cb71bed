"""What every game promises: see understudy/games/env.py. A new game joins by a line in GAMES."""

from itertools import pairwise

import numpy as np
import pytest

from understudy.errors import GameError, MissingPackageError
from understudy.games.env import Buffers
from understudy.games.names import make

GAMES = {
    "kitchen": ("kitchen/cramped_room", {"horizon": 25}),
    "kitchen features": ("kitchen/forced_coordination", {"horizon": 25, "view": "features", "shaping": 1.0}),
    "lane alone": ("lane/creep-block", {}),
    "lane": ("lane/team", {"heroes": 2, "horizon": 70, "shaping": 1.0}),
    "gymnasium": ("gym:CartPole-v1", {}),
    "gymnasium, numbers": ("gym:Pendulum-v1", {"max_episode_steps": 30}),
    "pettingzoo": ("pettingzoo:classic/rps-v2", {"max_cycles": 20}),
}
LONGEST = 80
"""Steps within which each of these games ends."""


@pytest.fixture(params=GAMES)
def game(request):
    """Makes one of the games."""
    name, options = GAMES[request.param]
    made = []

    def build(worlds):
        try:
            made.append(make(name, worlds, **options))
        except MissingPackageError as error:
            pytest.skip(str(error))
        return made[-1]

    yield build
    for env in made:
        env.close()


def drawn(env, steps, seed=0):
    """Return random actions: [steps, worlds, agents, width]."""
    random = np.random.default_rng(seed)
    shape = steps, env.worlds, len(env.agents)
    if env.action.choices:
        return np.stack([random.integers(many, size=shape) for many in env.action.choices], -1)
    low, high = np.array(env.action.low), np.array(env.action.high)
    return random.uniform(low, high, (*shape, env.action.width)).astype(np.float32)


def fill(out):
    """Write ones where nothing of a game is."""
    for array in vars(out).values():
        array[...] = 1


def play(env, actions, seeds):
    """Return all that is written over the steps, with worlds that are over reset to the next seed."""
    out, seeds, seen = Buffers.of(env), np.array(seeds), []
    env.reset(seeds, out)
    seen.append([out.observations.copy(), out.masks.copy()])
    for now in actions:
        env.step(now.reshape(env.rows, -1), out)
        ended = out.terminated | out.truncated
        assert not (out.terminated & out.truncated).any()
        assert np.array_equal(out.final_observations[ended], out.observations[ended])
        seen.append([array.copy() for array in vars(out).values()])
        seeds += 1000
        env.reset(seeds, out, out.over(env))
        seen.append([out.observations.copy(), out.masks.copy()])
    return seen


def test_equal_seeds_and_actions_give_equal_floats(game):
    env = game(3)
    actions = drawn(env, LONGEST)
    assert all(
        np.array_equal(one, other)
        for first, second in zip(play(env, actions, [4, 5, 6]), play(game(3), actions, [4, 5, 6]), strict=True)
        for one, other in zip(first, second, strict=True)
    )


def test_a_world_does_not_depend_on_the_others(game):
    many, alone = game(3), game(1)
    agents = len(many.agents)
    actions = drawn(many, LONGEST)
    together, single = play(many, actions, [4, 5, 6]), play(alone, actions[:, 1:2], [5])
    for round_, (first, second) in enumerate(zip(together, single, strict=True)):
        for place, (one, other) in enumerate(zip(first, second, strict=True)):
            if len(first) > 2 and place == 4:  # final observations mean something only where a row has ended
                continue
            assert np.array_equal(one[agents : 2 * agents], other), (round_, place)


def test_an_ended_row_stays_as_it_is_until_its_world_is_reset(game):
    env = game(2)
    out = Buffers.of(env)
    env.reset([1, 2], out)
    actions = drawn(env, LONGEST + 5, seed=1).reshape(LONGEST + 5, env.rows, -1)
    seen_over = False
    for now in actions:
        ended = out.terminated | out.truncated
        before = [array[ended].copy() for array in (out.observations, out.terminated, out.truncated)]
        env.step(now, out)
        assert not out.rewards[ended].any()
        after = [array[ended] for array in (out.observations, out.terminated, out.truncated)]
        assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
        seen_over |= bool(out.over(env).all())
    assert seen_over


def test_reset_writes_the_chosen_worlds_alone(game):
    env = game(3)
    agents, out = len(env.agents), Buffers.of(env)
    env.reset([1, 2, 3], out)
    for now in drawn(env, LONGEST).reshape(LONGEST, env.rows, -1):
        env.step(now, out)
    fill(out)
    before = {name: array.copy() for name, array in vars(out).items()}
    env.reset([7, 8, 9], out, np.array([False, True, False]))
    middle = slice(agents, 2 * agents)
    for name, array in vars(out).items():
        others = np.delete(array, middle, 0)
        assert np.array_equal(others, np.delete(before[name], middle, 0))
        if name not in ("observations", "masks"):
            assert np.array_equal(array, before[name])
    fresh, alone = game(1), Buffers.of(game(1))
    fresh.reset([8], alone)
    assert np.array_equal(out.observations[middle], alone.observations)


def test_it_writes_into_slices_of_what_the_caller_stores(game):
    env = game(2)
    out, stored = Buffers.of(env), Buffers.of(env, 4)
    env.reset([1, 2], out)
    actions = drawn(env, 4).reshape(4, env.rows, -1)
    plain = []
    for now in actions:
        env.step(now, out)
        plain.append({name: array.copy() for name, array in vars(out).items()})
    env.reset([1, 2], out)
    # Whatever was there before
    fill(stored)
    for step, now in enumerate(actions):
        env.step(now, stored.at(step))
        for name in vars(out).keys() - {"final_observations"}:
            assert np.array_equal(getattr(stored, name)[step], plain[step][name]), name


def test_observations_are_within_their_bounds(game):
    env = game(4)
    for written in play(env, drawn(env, LONGEST), [1, 2, 3, 4]):
        assert (written[0] >= env.observation.low).all()
        assert (written[0] <= env.observation.high).all()
        masks = written[-1]
        assert masks.shape == (env.rows, sum(env.action.choices))
        # Each choice leaves something to choose
        cuts = np.cumsum((0, *env.action.choices))
        assert all(masks[:, start:stop].any(1).all() for start, stop in pairwise(cuts))


def test_a_wrong_action_moves_nothing(game):
    env = game(2)
    out = Buffers.of(env)
    env.reset([1, 2], out)
    before = {name: array.copy() for name, array in vars(out).items()}
    good = env.action.idling(env.rows)
    bad = good.copy()
    bad[-1, -1] = env.action.choices[-1] if env.action.choices else env.action.high[-1] + 1
    with pytest.raises(GameError, match=f"row {env.rows - 1} is out of range"):
        env.step(bad, out)
    bad[-1, -1] = -1 if env.action.choices else np.nan
    with pytest.raises(GameError, match="out of range"):
        env.step(bad, out)
    with pytest.raises(GameError, match="a row for each agent"):
        env.step(good[:-1], out)
    with pytest.raises(GameError, match="a row for each agent"):
        env.step(good.astype("float64"), out)
    assert all(np.array_equal(array, before[name]) for name, array in vars(out).items())


def test_an_array_of_another_shape_is_an_error(game):
    env = game(2)
    out = Buffers.of(env)
    out.observations = out.observations[:, :-1] if out.observations.ndim > 1 else out.observations[:-1]
    with pytest.raises(GameError, match="array for observations"):
        env.reset([1, 2], out)
    with pytest.raises(GameError, match="a seed"):
        env.reset([1, 2, 3], Buffers.of(env))
