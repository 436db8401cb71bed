"""Others take our games for theirs: their own checkers pass, and their learners train."""

import numpy as np
import pytest

pytest.importorskip("gymnasium")
pytest.importorskip("pettingzoo")

from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test, parallel_seed_test

from understudy.errors import GameError
from understudy.games.kitchen import kernels
from understudy.games.teams import Scenario, Side
from understudy.games.views import GymnasiumView, ParallelView

COOKS = ("cook 1", "cook 2")


@pytest.mark.parametrize("game", ["kitchen/cramped_room", "lane/creep-block", "lane/duel", "gym:CartPole-v1"])
@pytest.mark.filterwarnings("ignore:.*")
def test_gymnasiums_checker_passes(game):
    check_env(GymnasiumView(game), skip_render_check=True)


GRIDS, FEATURES = (("kitchen/counter_circuit", {"horizon": 30, "view": view}) for view in ("grid", "features"))


@pytest.mark.parametrize(
    ("game", "options"),
    [GRIDS, FEATURES, ("lane/team", {"horizon": 60, "heroes": 2})],
    ids=["grid", "features", "lane"],
)
@pytest.mark.filterwarnings("ignore:.*")
def test_pettingzoos_checkers_pass(game, options):
    parallel_api_test(ParallelView(game, **options), num_cycles=100)
    parallel_seed_test(lambda: ParallelView(game, **options), num_cycles=50)


def test_a_scenario_decides_for_the_others():
    sides = (Side("cooks", COOKS, ("script:random", "latest"), team_spirit=1.0),)
    scenario = Scenario("kitchen/cramped_room", sides, options={"horizon": 20, "shaping": 1.0})
    env = GymnasiumView(scenario)
    env.reset(seed=3)
    env.game.kitchens[0, [kernels.PLAYER + kernels.PLACE, kernels.PLAYER + kernels.HELD]] = (7, kernels.ONION)
    observation, reward, *_, info = env.step(kernels.INTERACT)
    assert reward == 1.5
    assert info["action_mask"].tolist() == [True] * 6
    moved = [env.step(kernels.STAY) for _ in range(19)]
    assert [one[3] for one in moved] == [False] * 18 + [True]
    assert not any(one[2] for one in moved)
    # The other has moved about, and this one, seen first, has stayed
    assert observation[0].reshape(-1)[7] == moved[-1][0][0].reshape(-1)[7] == 1
    assert len({one[0][1].tobytes() for one in moved}) > 1


def test_both_views_agree():
    one, both = GymnasiumView("kitchen/cramped_room"), ParallelView("kitchen/cramped_room")
    seen, _ = one.reset(seed=0)
    assert np.array_equal(seen, both.reset(seed=0)[0]["cook 1"])
    for action in np.random.default_rng(0).integers(6, size=50):
        seen, *_ = one.step(action)
        parallel, *_ = both.step({"cook 1": action, "cook 2": kernels.STAY})
        assert np.array_equal(seen, parallel["cook 1"])


def test_gymnasium_knows_one_agent():
    with pytest.raises(GameError, match="one agent, but 2"):
        GymnasiumView(Scenario("kitchen/cramped_room", (Side("cooks", COOKS),)))


@pytest.mark.slow
def test_stable_baselines_trains_unchanged(tmp_path):
    """Onions into the pot, beside which the cook stands: PPO finds more of the shaped reward than at its start."""
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env as check
    from stable_baselines3.common.monitor import Monitor

    file = tmp_path / "small.layout"
    file.write_text("XPXXX\nO1 2D\nXXSXX\n")
    env = GymnasiumView(f"kitchen/{file}", horizon=40, shaping=1.0, view="features")
    check(env)
    env = Monitor(env)
    sb3.PPO("MlpPolicy", env, n_steps=200, batch_size=100, seed=0, device="cpu", learning_rate=2e-3).learn(2_400)
    returns = env.get_episode_rewards()
    assert np.mean(returns[-25:]) > np.mean(returns[:25]) + 2
