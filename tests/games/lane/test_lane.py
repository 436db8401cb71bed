"""The compiled lane plays by the rules of a slow one; its tasks and options are checked."""

import numpy as np
import pytest

from understudy.errors import ConfigError, GameError
from understudy.games.env import Buffers
from understudy.games.lane import unit_kernels as lane
from understudy.games.lane.env import ACTIONS
from understudy.games.names import make

from .against_oracle import TASKS, play


def act(name):
    return ACTIONS.index(name)


@pytest.fixture
def begun():
    """Begins a task and returns it with its arrays; creeps are gone unless wanted."""

    def begin(task="duel", creeps=False, worlds=1, **options):
        env = make(f"lane/{task}", worlds, **options)
        out = Buffers.of(env)
        env.reset(np.arange(worlds), out)
        if not creeps:
            env.lanes[:, lane.CREEP_X : lane.HEROES] = 0
        return env, out

    return begin


def put(env, hero, **columns):
    for name, value in columns.items():
        env.lanes[:, lane.HEROES + hero, getattr(lane, name.upper())] = value


def put_creep(env, team, number, x, y=lane.MIDDLE, hp=lane.MELEE_HP):
    rows = [row + team for row in (lane.CREEP_X, lane.CREEP_Y, lane.CREEP_HP)]
    env.lanes[:, rows, number] = x, y, hp


def do(env, out, *names, times=1):
    """Let steps pass in which the heroes do this, and return what they earned."""
    earned = np.zeros(env.rows)
    for _ in range(times):
        env.step(np.array([[act(name)] for name in names]), out)
        earned += out.rewards
    return earned.tolist()


@pytest.mark.parametrize("task", TASKS)
def test_random_play_equals_the_oracle(task):
    """A few steps here; `python -m tests.games.lane.against_oracle` plays a million of each task."""
    happened = play(task, steps=1_500, seed=3, worlds=4)
    assert happened["ends" if task == "creep-block" else "last hits"] > 2


@pytest.mark.parametrize("task", ["duel", "team"])
def test_falling_towers_and_heroes_equal_the_oracle(task):
    happened = play(task, steps=1_500, seed=5, worlds=5, horizon=250, weak=True)
    assert happened["towers"]
    assert happened["deaths"]
    assert happened["ends"] >= 5


def test_the_last_blow_counts_and_not_the_first(begun):
    env, out = begun("last-hit")
    put(env, 0, x=1000)
    put_creep(env, 1, 0, 1080, hp=100)
    assert do(env, out, "attack the weakest creep") == [0]
    assert env.lanes[0, lane.CREEP_HP + 1, 0] in (100 - lane.HERO_DAMAGE, 100 - lane.HERO_DAMAGE - lane.HERO_EXTRA)
    # It comes nearer meanwhile, and the hero waits for its next blow
    assert do(env, out, "attack the weakest creep", times=lane.HERO_PAUSE - 1) == [0]
    env.lanes[0, lane.CREEP_HP + 1, 0] = lane.HERO_DAMAGE
    assert do(env, out, "attack the weakest creep") == [1]
    assert env.lanes[0, lane.CREEP_X + 1, 0] == 0
    experience = env.lanes[0, lane.HEROES, lane.EXPERIENCE]
    assert experience == lane.LAST_HIT_EXPERIENCE + lane.CREEP_EXPERIENCE


def test_a_creep_that_others_fell_is_nobodys_last_hit(begun):
    env, out = begun("last-hit")
    put(env, 0, x=1000)
    put_creep(env, 1, 0, 1080, hp=10)
    put_creep(env, 0, 0, 1050)
    assert do(env, out, "attack the weakest creep") == [0]
    assert env.lanes[0, lane.HEROES, [lane.EXPERIENCE, lane.LAST_HITS]].tolist() == [lane.CREEP_EXPERIENCE, 0]


def test_experience_is_shared_by_those_who_are_near(begun):
    env, out = begun("team", heroes=3)
    # The creep takes a step before it dies
    dies_at = 1080 - lane.CREEP_STEP
    for hero, x in enumerate((1000, dies_at - lane.NEAR, dies_at - lane.NEAR - 1)):
        put(env, hero, x=x, y=(lane.MIDDLE, 60, 200)[hero])
    put_creep(env, 1, 0, 1080, hp=1)
    do(env, out, "attack the nearest creep", *["stay"] * 5)
    found = env.lanes[0, lane.HEROES :, lane.EXPERIENCE].tolist()
    half = lane.CREEP_EXPERIENCE // 2
    assert found == [half + lane.LAST_HIT_EXPERIENCE, half, 0, 0, 0, 0]


def test_a_level_brings_hit_points_and_damage(begun):
    env, out = begun()
    put(env, 0, x=1000, experience=lane.LEVEL - 1, hp=100)
    put(env, 1, x=1900)
    put_creep(env, 1, 0, 1080, hp=1)
    do(env, out, "attack the nearest creep", "stay")
    hero = env.lanes[0, lane.HEROES]
    assert hero[lane.HP] == 101 + lane.LEVEL_HP
    assert out.observations[0, env.observation.names.index("self: level")] == 2 / 16
    env.lanes[0, lane.HEROES + 1, lane.X] = 1100
    put(env, 0, cool=0)
    before = env.lanes[0, lane.HEROES + 1, lane.HP]
    do(env, out, "attack the nearest hero", "stay")
    lost = before - env.lanes[0, lane.HEROES + 1, lane.HP]
    assert lost - lane.HERO_DAMAGE - lane.LEVEL_DAMAGE in (0, lane.HERO_EXTRA)


def test_a_hero_dies_and_returns(begun):
    env, out = begun(shaping=1.0)
    put(env, 0, x=1000)
    put(env, 1, x=1100, hp=10)
    assert do(env, out, "attack the weakest hero", "forward") == [0.1953125, -0.1953125]
    names = env.observation.names
    away = lane.GONE + lane.LEVEL_GONE - 1
    assert out.masks[1].tolist() == [True] + [False] * 13
    assert out.observations[0, names.index("enemy 1: time to its return")] == away / 128
    assert not out.masks[0, act("attack the nearest hero")]
    do(env, out, "stay", "forward", times=away - 1)
    assert not out.masks[1, act("forward")]
    do(env, out, "stay", "stay")
    assert out.masks[1].all() == out.masks[1, act("attack the nearest creep")]
    assert env.lanes[0, lane.HEROES + 1, [lane.X, lane.HP]].tolist() == [lane.LENGTH - lane.HEROES_AT, lane.HERO_FULL]
    assert env.lanes[0, lane.TOWERS, lane.FELL :].tolist()[:2] == [0, 1]


def test_towers_turn_on_a_hero_that_hits_a_hero(begun):
    for provoked in (False, True):
        env, out = begun()
        tower = lane.LENGTH - lane.TOWER_AT
        put(env, 0, x=tower - 120)
        put(env, 1, x=tower - 20)
        put_creep(env, 0, 0, tower - 60, hp=300)
        if provoked:
            do(env, out, "attack the nearest hero", "stay")
            env.lanes[0, lane.TOWERS, lane.TOWER_COOL :] = 0
        before = env.lanes[0, lane.HEROES, lane.HP]
        do(env, out, "stay", "stay")
        assert (env.lanes[0, lane.HEROES, lane.HP] < before - 100) == provoked


@pytest.mark.parametrize(("away", "hit"), [(lane.TOWER_RANGE, True), (lane.TOWER_RANGE + 1, False)])
def test_a_tower_reaches_as_far_as_its_range(begun, away, hit):
    env, out = begun()
    put_creep(env, 1, 0, lane.TOWER_AT + away)
    do(env, out, "stay", "stay")
    assert (env.lanes[0, lane.CREEP_HP + 1, 0] == lane.MELEE_HP - lane.TOWER_DAMAGE) == hit


@pytest.mark.parametrize("loser", [0, 1])
def test_the_fall_of_a_tower_wins(begun, loser):
    env, out = begun("team", heroes=2)
    env.lanes[0, lane.TOWERS, loser] = 1
    at = lane.LENGTH - lane.TOWER_AT if loser else lane.TOWER_AT
    put(env, 0 if loser else 2, x=at)
    names = ["attack the tower" if hero == (0 if loser else 2) else "stay" for hero in range(4)]
    assert do(env, out, *names) == ([1, 1, -1, -1] if loser else [-1, -1, 1, 1])
    assert out.terminated.all()
    assert not out.truncated.any()
    assert np.array_equal(out.final_observations, out.observations)
    assert do(env, out, *names) == [0] * 4


def test_creeps_that_nobody_blocks_lose_no_step():
    env = make("lane/creep-block", worlds=20)
    out = Buffers.of(env)
    env.reset(np.arange(20), out)
    env.lanes[:, lane.HEROES, lane.Y] = 0
    earned, steps = np.zeros(20), 0
    while not out.over(env).all():
        env.step(np.full((20, 1), act("stay")), out)
        earned, steps = earned + out.rewards, steps + 1
    assert not earned.any()
    assert steps == -(-(lane.RIVER - lane.CREEPS_AT) // lane.CREEP_STEP)


def test_a_hero_in_the_way_holds_a_creep_up(begun):
    env, out = begun("creep-block")
    put(env, 0, x=500, y=lane.MIDDLE)
    put_creep(env, 0, 0, 440, lane.MIDDLE)
    places = []
    for _ in range(12):
        do(env, out, "stay")
        places.append(env.lanes[0, [lane.CREEP_X, lane.CREEP_Y], 0].tolist())
    assert places[:3] == [[456, 128], [472, 128], [472, 132]]
    # It edges round the hero by short steps aside until a step aslant passes
    assert [x for x, _ in places].count(472) == 6
    assert places[-1][0] > 500


def test_both_sides_see_the_same_mirrored(begun):
    env, out = begun("team", heroes=2)
    here = env.lanes[0]
    for west, east in ((0, 2), (1, 3)):
        put(env, west, x=700 + 50 * west, y=90 + west, hp=300 + west, experience=400 * west)
        put(env, east, x=lane.LENGTH - 700 - 50 * west, y=90 + west, hp=300 + west, experience=400 * west)
    put_creep(env, 0, 2, 800, 100, 77)
    put_creep(env, 1, 2, lane.LENGTH - 800, 100, 77)
    assert here[lane.CREEP_X : lane.CREEP_X + 2, 2].sum() == lane.LENGTH
    do(env, out, *["stay"] * 4)
    assert np.array_equal(out.observations[:2], out.observations[2:])
    do(env, out, *["forward down"] * 4)
    assert np.array_equal(out.observations[:2], out.observations[2:])


def test_names_of_what_is_seen():
    for heroes in (1, 5):
        names = make("lane/team", heroes=heroes).observation.names
        assert len(set(names)) == len(names) == 73 + 14 * heroes
    assert make("lane/creep-block").observation == make("lane/duel").observation == make("lane/last-hit").observation


def test_seeds_change_the_waves_and_numbers_of_worlds_do_not():
    env = make("lane/duel", worlds=3)
    out = Buffers.of(env)
    env.reset([2**62 + 1, 1, 2**62 + 1], out)
    assert np.array_equal(env.lanes[0], env.lanes[2])
    assert not np.array_equal(env.lanes[0], env.lanes[1])


def test_threads_change_nothing():
    actions = np.random.default_rng(0).integers(14, size=(60, 600, 1))
    seen = []
    for threads in (1, 3):
        env = make("lane/duel", worlds=300, threads=threads, horizon=50)
        assert len(env.sharing.cuts) == threads
        out = Buffers.of(env)
        env.reset(np.arange(300), out)
        for now in actions:
            env.step(now, out)
        seen.append([env.lanes, *vars(out).values()])
        env.close()
    assert all(np.array_equal(one, other) for one, other in zip(*seen, strict=True))


def test_shaped_rewards_can_be_annealed(begun):
    env, out = begun(shaping=1.0)
    earned = []
    for shaping in (1.0, 0.5, 0.0):
        env.shaping = shaping
        put(env, 0, x=1000, cool=0)
        put_creep(env, 1, 0, 1080, hp=1)
        earned.append(do(env, out, "attack the nearest creep", "stay"))
    assert earned == [[80 / 4096, 0], [40 / 4096, 0], [0, 0]]


def test_an_unknown_task_is_an_error():
    with pytest.raises(GameError, match=r"no task 'duels'.*did you mean duel"):
        make("lane/duels")


@pytest.mark.parametrize("heroes", [0, 6, -1])
def test_heroes_out_of_range_are_an_error(heroes):
    with pytest.raises(ConfigError, match=f"heroes {heroes} is out of range; expected 1 to 5"):
        make("lane/team", heroes=heroes)
    with pytest.raises(ConfigError, match="lane/duel, where a side has one; try lane/team"):
        make("lane/duel", heroes=2)


@pytest.mark.parametrize(
    "option", [{"horizon": 0}, {"horizon": 40_000}, {"shaping": -1.0}, {"threads": -1}, {"hero": 2}]
)
def test_a_wrong_option_is_an_error(option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        make("lane/team", **option)


def test_an_action_out_of_range_is_an_error(begun):
    env, out = begun()
    for wrong in (-1, 14):
        with pytest.raises(GameError, match=f"action {wrong} of row 1 is out of range; expected 0 to 13"):
            env.step(np.array([[0], [wrong]]), out)
