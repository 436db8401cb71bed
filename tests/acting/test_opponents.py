"""Who plays against whom: shares, the published quality rule, and that nobody leaves in mid-game."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay import make_policy

from understudy.acting.opponents import QUALITY_STEP, OpponentConfig, Opponents
from understudy.acting.player import PolicyPlayer
from understudy.acting.rollout import Games, Rollout
from understudy.errors import ConfigError
from understudy.games.names import make
from understudy.games.teams import LATEST, Teams, against, known

DUEL, KITCHEN = "lane/duel", "kitchen/cramped_room"


def opponents(game: str = DUEL, others: Any = (), past: int = 0, **config: Any) -> Opponents:
    made = Opponents(OpponentConfig(**config), against(make(game)), others, seed=3)
    for number in range(past):
        made.add(f"past:{number}")
    return made


def games(*each: tuple[str, str, float, float]) -> Games:
    controls = np.array([one[:2] for one in each], object)
    return Games(controls, np.array([one[2:] for one in each]), np.ones(len(each), np.int64))


def test_the_quality_of_a_past_self_that_is_beaten_falls_as_published() -> None:
    """OpenAI et al. 2019, appendix N: by η / (N pᵢ), where p is the softmax of the qualities and η = 0.01."""
    made = opponents(past=3)
    made.past = {"past:0": 0.0, "past:1": -1.0, "past:2": 0.5}
    weights = np.exp([0.0, -1.0, 0.5])
    chances = weights / weights.sum()
    np.testing.assert_allclose(made.probabilities(), chances)
    made.learn(games((LATEST, "past:1", 2.0, 1.0), ("past:0", LATEST, 3.0, 1.0), ("past:2", LATEST, 1.0, 1.0)))
    assert made.past == {"past:0": 0.0, "past:1": pytest.approx(-1.0 - QUALITY_STEP / (3 * chances[1])), "past:2": 0.5}
    made.add("past:7")
    assert made.past["past:7"] == 0.5  # the highest


def test_games_without_the_policy_or_without_a_past_self_teach_nothing() -> None:
    made = opponents(past=2)
    made.learn(games((LATEST, LATEST, 2.0, 1.0), ("past:0", "past:1", 2.0, 1.0), (LATEST, "script:expert", 2.0, 0.0)))
    assert made.past == {"past:0": 0.0, "past:1": 0.0}


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60))
def test_who_is_never_beaten_is_drawn_ever_more_often(played: list[tuple[int, bool]]) -> None:
    made = opponents(past=5)
    for number, beaten in played:
        before = made.probabilities()[number]
        made.learn(games((LATEST, f"past:{number}", float(beaten), 0.5)))
        after = made.probabilities()
        assert after[number] < before if beaten else after[number] == before
        assert after.sum() == pytest.approx(1)


def test_shares_are_those_that_were_asked_for() -> None:
    made = opponents(others=("script:expert", "frozen:x"), past=3, others_share=0.25)
    seats = [made.seated(seed) for seed in range(4000)]
    guests = [next((one for one in both if one != LATEST), "") for both in seats]
    assert np.mean([one in ("script:expert", "frozen:x") for one in guests]) == pytest.approx(0.25, abs=0.03)
    assert np.mean([one.startswith("past:") for one in guests]) == pytest.approx(0.75 * 0.2, abs=0.03)
    assert len({tuple(both) for both in seats if LATEST in both}) == 11  # each guest on either side, and none
    assert all(LATEST in both for both in seats)
    assert seats == [made.seated(seed) for seed in range(4000)]


def test_where_all_win_together_one_place_is_the_policys() -> None:
    made = opponents(KITCHEN, others=("script:random",), past=2, others_share=0.5)
    seats = [made.seated(seed) for seed in range(2000)]
    assert {tuple(both) for both in seats} == {(LATEST, LATEST), (LATEST, "script:random"), ("script:random", LATEST)}
    assert np.mean([both == [LATEST, LATEST] for both in seats]) == pytest.approx(0.5, abs=0.04)


def test_the_share_of_the_others_rises_as_the_training_goes_on() -> None:
    made = opponents(others=("script:expert",), others_share=0.8, others_from=0.25, others_by=0.75)
    found = {}
    for made.progress in (0.0, 0.2, 0.25, 0.5, 0.75, 1.0):
        found[made.progress] = made.others_share
    assert found == {0.0: 0, 0.2: 0, 0.25: 0, 0.5: pytest.approx(0.4), 0.75: 0.8, 1.0: 0.8}
    sudden = opponents(others=("script:expert",), others_from=0.5, others_by=0.5)
    assert sudden.others_share == 0
    sudden.progress = 0.5
    assert sudden.others_share == 1
    assert opponents().others_share == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"past": 1.5}, "past"),
        ({"snapshot_every": 0}, "snapshot"),
        ({"others_share": -0.1}, "others.share"),
        ({"others_from": 0.5, "others_by": 0.2}, "--others-by 0.2 comes before --others-from 0.5"),
    ],
)
def test_numbers_out_of_range_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OpponentConfig(**config).validate()


@pytest.mark.parametrize("game", [DUEL, KITCHEN])
def test_whoever_is_drawn_stays_for_the_whole_game(game: str) -> None:
    env = make(game, 4, **({"view": "features"} if game == KITCHEN else {}), horizon=9)
    made = Opponents(OpponentConfig(past=0.5, others_share=0.6), against(env), ("script:random",), seed=3)
    teams = Teams(against(env), env, seated=made.seated)
    teams.add("script:random", known("script:random", env))
    rollout = Rollout(make_policy(env), teams, length=1, seed=5)
    for number in range(3):
        teams.add(f"past:{number}", PolicyPlayer(make_policy(env, seed=number), env, seed=number))
        made.add(f"past:{number}")
    seated, changes = rollout.teams.controls, 0
    for _ in range(60):
        played, now = rollout.play(), rollout.teams.controls
        ended = (played.terminated[0] | played.truncated[0]).reshape(4, -1).all(1)
        moved = (now != seated).any(1)
        assert not (moved & ~ended).any()
        for who in rollout.games.controls:
            assert who.tolist() in seated.tolist()
        changes, seated = changes + int(moved.sum()), now
    assert changes > 10


def test_state_comes_back() -> None:
    made = opponents(past=2)
    made.learn(games((LATEST, "past:1", 2.0, 1.0)))
    other, loaded = opponents(), list[str]()
    other.restore(made.state(), loaded.append)
    assert loaded == ["past:0", "past:1"]
    assert other.past == made.past
    assert [other.seated(seed) for seed in range(200)] == [made.seated(seed) for seed in range(200)]
