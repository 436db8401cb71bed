"""Draws against exact probabilities, which are computed here once more in plain Python."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.acting.sampling import (
    SamplingConfig,
    index_at,
    make_generator,
    min_p_filter,
    penalise_repetition,
    sample,
    top_k_filter,
    top_p_filter,
    warp_logits,
)
from understudy.errors import ConfigError, DivergedError

DRAWS = 20_000
SCORES = [1.3, -0.4, 2.1, 0.2, -1.7, 0.9, 1.9, -0.9, 0.0, 1.1]
SEEN = [True, True, False, False, True, False, True, False, False, False]
PLAIN = SamplingConfig(temperature=1.0)


def softmax(scores: list[float]) -> list[float]:
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    return [weight / sum(weights) for weight in weights]


def exact(config: SamplingConfig, scores: list[float] = SCORES, seen: list[bool] = SEEN) -> list[float]:
    """The probability of each token, by the words of `SamplingConfig`."""
    penalty = config.repetition_penalty
    scores = [(s / penalty if s > 0 else s * penalty) if old else s for s, old in zip(scores, seen, strict=True)]
    if config.temperature == 0:
        return [float(i == scores.index(max(scores))) for i in range(len(scores))]
    scores = [score / config.temperature for score in scores]
    if config.top_k:
        scores = only(scores, sorted(range(len(scores)), key=lambda i: -scores[i])[: config.top_k])
    kept, reached, probability = [], 0.0, softmax(scores)
    for token in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if reached < config.top_p:
            kept.append(token)
        reached += probability[token]
    scores = only(scores, kept)
    probability = softmax(scores)
    scores = only(scores, [i for i, p in enumerate(probability) if p >= config.min_p * max(probability)])
    return softmax(scores)


def only(scores: list[float], kept: list[int]) -> list[float]:
    return [score if i in kept else -math.inf for i, score in enumerate(scores)]


def draws(config: SamplingConfig, seed: int = 0) -> list[int]:
    """How often each token comes, each row of a large batch drawing once."""
    logits_BV, seen_BV = torch.tensor([SCORES]).repeat(DRAWS, 1), torch.tensor([SEEN]).repeat(DRAWS, 1)
    ids_B = sample(logits_BV, config, torch.Generator().manual_seed(seed), seen_BV)
    return torch.bincount(ids_B, minlength=len(SCORES)).tolist()


def chi_squared_p(counts: list[int], probabilities: list[float]) -> float:
    """How likely counts at least as odd as these are, were the probabilities the true ones (Pearson 1900)."""
    total = sum(counts)
    if any(count and not p for count, p in zip(counts, probabilities, strict=True)):
        return 0.0
    every = [(count, total * p) for count, p in zip(counts, probabilities, strict=True) if p]
    rare = [(count, expected) for count, expected in every if expected < 5]  # together: alone too few for this test
    cells = [cell for cell in every if cell not in rare] + [(sum(c for c, _ in rare), sum(e for _, e in rare))]
    cells = [(count, expected) for count, expected in cells if expected]
    if len(cells) == 1:
        return 1.0
    statistic = sum((count - expected) ** 2 / expected for count, expected in cells)
    half = torch.tensor([(len(cells) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


# Each with a neighbour that draws a little differently.
CASES = [
    (PLAIN, replace(PLAIN, temperature=1.1)),
    (replace(PLAIN, temperature=0.5), replace(PLAIN, temperature=0.55)),
    (replace(PLAIN, temperature=3.0), replace(PLAIN, temperature=2.5)),
    (replace(PLAIN, temperature=0.0), replace(PLAIN, temperature=0.3)),
    (replace(PLAIN, top_k=1), replace(PLAIN, top_k=2)),
    (replace(PLAIN, top_k=4), replace(PLAIN, top_k=5)),
    (replace(PLAIN, top_k=99), replace(PLAIN, top_k=9)),
    (replace(PLAIN, top_p=0.6), replace(PLAIN, top_p=0.7)),
    (replace(PLAIN, top_p=0.95), replace(PLAIN, top_p=0.99)),
    (replace(PLAIN, min_p=0.2), replace(PLAIN, min_p=0.14)),
    (replace(PLAIN, min_p=1.0), PLAIN),
    (replace(PLAIN, repetition_penalty=1.5), replace(PLAIN, repetition_penalty=1.8)),
    (replace(PLAIN, repetition_penalty=0.7), PLAIN),
    (replace(PLAIN, temperature=0.0, repetition_penalty=3.0), replace(PLAIN, temperature=0.3, repetition_penalty=3.0)),
    (
        SamplingConfig(temperature=1.4, top_k=8, top_p=0.9, min_p=0.12, repetition_penalty=1.2),
        SamplingConfig(temperature=1.4, top_k=8, top_p=0.9, min_p=0.12, repetition_penalty=1.4),
    ),
]


@pytest.mark.parametrize(("config", "other"), CASES)
def test_draws_have_the_exact_probabilities_and_no_others(config, other):
    counts = draws(config)
    assert chi_squared_p(counts, exact(config)) > 1e-3
    assert chi_squared_p(counts, exact(other)) < 1e-6
    assert chi_squared_p(draws(other), exact(other)) > 1e-3


def test_the_filters_come_in_the_usual_order():
    """Temperature first: hot, more tokens reach p. Top-k first: of two tokens the first alone reaches 0.55."""
    assert sum(count > 0 for count in draws(replace(PLAIN, temperature=2.0, top_p=0.6))) > sum(
        count > 0 for count in draws(replace(PLAIN, top_p=0.6))
    )
    first, second = softmax([2.1, 1.9])
    assert first < 0.56 < first + second
    assert [i for i, count in enumerate(draws(replace(PLAIN, top_k=2, top_p=0.549))) if count] == [2]
    assert exact(PLAIN)[2] < 0.3  # so among all tokens the first alone does not


def test_draws_one_after_the_other_do_not_hang_together():
    generator = make_generator(replace(PLAIN, sampling_seed=3), torch.device("cpu"))
    logits_BV = torch.tensor([[0.0, 0.7, -0.4]])
    said = [int(sample(logits_BV, PLAIN, generator)) for _ in range(6000)]
    p = softmax(logits_BV[0].tolist())
    pairs = [0] * 9
    for first, second in zip(said[::2], said[1::2], strict=True):
        pairs[3 * first + second] += 1
    assert chi_squared_p(pairs, [p[i] * p[j] for i in range(3) for j in range(3)]) > 1e-3


def test_a_seed_fixes_the_draws_and_none_leaves_them_free():
    assert draws(PLAIN, seed=1) == draws(PLAIN, seed=1)
    assert draws(PLAIN, seed=1) != draws(PLAIN, seed=2)
    cpu, logits_BV = torch.device("cpu"), torch.zeros(1, 1000)
    assert make_generator(PLAIN, cpu) is None
    assert len({int(sample(logits_BV, PLAIN)) for _ in range(20)}) > 10
    seeded = replace(PLAIN, sampling_seed=5)
    assert len({int(sample(logits_BV, PLAIN, make_generator(seeded, cpu))) for _ in range(5)}) == 1


# --- laws for any scores ---

some_scores = st.lists(st.integers(-40, 40).map(lambda n: n / 5), min_size=1, max_size=12)  # ties are common
shares = st.floats(0.01, 1.0)


def kept_by(filtered_BV: torch.Tensor, scores: list[float]) -> list[int]:
    """The tokens that are left, their scores as they were; all others are −∞."""
    kept = [i for i, score in enumerate(filtered_BV[0].tolist()) if score > -math.inf]
    assert [filtered_BV[0, i].item() for i in kept] == [scores[i] for i in kept]
    assert kept, "nothing is left to draw from"
    return kept


def row(scores: list[float]) -> torch.Tensor:
    return torch.tensor([scores], dtype=torch.float64)


@given(some_scores, shares)
def test_top_p_keeps_the_smallest_set_that_reaches_p(scores, p):
    kept, probability = kept_by(top_p_filter(row(scores), p), scores), softmax(scores)
    dropped = set(range(len(scores))) - set(kept)
    assert all(probability[i] >= probability[j] for i in kept for j in dropped)
    assert sum(probability[i] for i in kept) >= p - 1e-12
    assert sum(sorted(probability[i] for i in kept)[1:]) < p + 1e-12


@given(some_scores, st.integers(1, 20))
def test_top_k_keeps_k_and_what_ties_with_the_last(scores, k):
    kept = kept_by(top_k_filter(row(scores), k), scores)
    border = sorted(scores, reverse=True)[:k][-1]
    assert kept == [i for i, score in enumerate(scores) if score >= border]


@given(some_scores, shares)
def test_min_p_keeps_what_is_likely_enough(scores, p):
    kept, probability = kept_by(min_p_filter(row(scores), p), scores), softmax(scores)
    for i, share in enumerate(probability):
        if abs(share - p * max(probability)) > 1e-12:
            assert (i in kept) == (share > p * max(probability))


@given(some_scores)
def test_the_strictest_filters_keep_the_likeliest_alone(scores):
    likeliest = [i for i, score in enumerate(scores) if score == max(scores)]
    assert kept_by(min_p_filter(row(scores), 1.0), scores) == likeliest
    assert kept_by(top_k_filter(row(scores), 1), scores) == likeliest
    (one,) = kept_by(top_p_filter(row(scores), 1e-9), scores)
    assert one in likeliest


@given(some_scores, st.data(), st.floats(1.0, 10.0))
def test_a_penalty_makes_seen_tokens_less_likely_and_leaves_the_others(scores, data, penalty):
    seen = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    after = penalise_repetition(row(scores), torch.tensor([seen]), penalty)[0].tolist()
    for before, now, old in zip(scores, after, seen, strict=True):
        assert now == pytest.approx(before - abs(before) * (1 - 1 / penalty if before > 0 else penalty - 1) * old)


configs = st.builds(
    SamplingConfig,
    temperature=st.sampled_from([0.0, 5e-324, 1e-40, 1e-3, 100.0]) | st.floats(0, 100),
    top_k=st.integers(0, 20),
    top_p=st.floats(1e-9, 1),
    min_p=st.floats(0, 1),
    repetition_penalty=st.floats(1e-3, 1e3),
)


@given(configs, st.lists(st.lists(st.floats(-30, 30), min_size=5, max_size=5), min_size=1, max_size=4), st.data())
def test_any_allowed_config_draws_a_token_that_is_left_and_each_row_by_itself(config, rows, data):
    seen = data.draw(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=len(rows), max_size=len(rows)))
    logits_BV, seen_BV = torch.tensor(rows), torch.tensor(seen)
    shaped_BV = warp_logits(logits_BV, config.checked(), seen_BV)
    for i in range(len(rows)):
        assert torch.equal(shaped_BV[i : i + 1], warp_logits(logits_BV[i : i + 1], config, seen_BV[i : i + 1]))
    ids_B = sample(logits_BV, config, torch.Generator().manual_seed(0), seen_BV)
    assert all(shaped_BV[i, token] > -math.inf for i, token in enumerate(ids_B.tolist()))
    assert torch.equal(logits_BV, torch.tensor(rows)), "draw changed the scores it was given"


def test_almost_no_heat_takes_the_likeliest():
    logits_BV = torch.tensor([SCORES])
    for temperature in (0.0, 5e-324, 1e-40, 1e-9, 1e-3):
        assert sample(logits_BV, SamplingConfig(temperature=temperature)).tolist() == [2]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SamplingConfig(temperature=-0.1), "--temperature -0.1 is out of range; expected 0 to 100"),
        (SamplingConfig(temperature=101.0), "--temperature 101"),
        (SamplingConfig(temperature=math.nan), "--temperature nan is out of range"),
        (SamplingConfig(temperature=math.inf), "--temperature inf is out of range"),
        (SamplingConfig(top_k=-1), "--top-k -1 is out of range; expected 0 to 1e"),
        (SamplingConfig(top_p=0.0), "--top-p 0.0 is out of range; expected 1e-09 to 1"),
        (SamplingConfig(top_p=1.5), "--top-p 1.5"),
        (SamplingConfig(min_p=-0.5), "--min-p -0.5 is out of range; expected 0 to 1"),
        (SamplingConfig(min_p=2.0), "--min-p 2.0"),
        (SamplingConfig(repetition_penalty=0.0), "--repetition-penalty 0.0 is out of range; expected 0.001 to 1000"),
        (SamplingConfig(repetition_penalty=5000.0), "--repetition-penalty 5000"),
        (SamplingConfig(no_repeat_ngram=-1), "--no-repeat-ngram -1 is out of range; expected 0 to 1e"),
        (SamplingConfig(max_tokens=0), "--max-tokens 0 is out of range; expected 1 to 1e"),
        (SamplingConfig(sampling_seed=-1), "--sampling-seed -1 is out of range; expected 0 to"),
        (SamplingConfig(sampling_seed=2**64), f"--sampling-seed {2**64} is out of range"),
        (SamplingConfig(stop=("a", "")), '--stop "" would end every reply at once'),
    ],
)
def test_numbers_out_of_range_are_named(config, words):
    with pytest.raises(ConfigError) as caught:
        config.checked()
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_numbers_in_range_pass():
    for config in (SamplingConfig(), PLAIN, SamplingConfig(0.0, 0, 1e-9, 1.0, 1e3, 3, 1, ("x",), 2**63 - 1)):
        assert config.checked() is config
        make_generator(config, torch.device("cpu"))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_banned_tokens_never_come_and_the_others_share_their_place(temperature):
    config = SamplingConfig(temperature=temperature)
    banned_BV = torch.tensor([[token in (2, 6) for token in range(len(SCORES))]]).repeat(DRAWS, 1)
    ids_B = sample(torch.tensor([SCORES]).repeat(DRAWS, 1), config, torch.Generator().manual_seed(4), None, banned_BV)
    counts = torch.bincount(ids_B, minlength=len(SCORES)).tolist()
    left = [-math.inf if token in (2, 6) else score for token, score in enumerate(SCORES)]
    assert counts[2] == counts[6] == 0
    assert chi_squared_p(counts, exact(config, left, [False] * len(SCORES))) > 1e-3


@pytest.mark.parametrize("vocabulary", [100, 1000, 5000])
@pytest.mark.parametrize("spread", [0.01, 1.0, 6.0])
def test_top_p_of_a_large_vocabulary_looks_at_as_many_tokens_as_it_needs(vocabulary, spread):
    torch.manual_seed(vocabulary)
    logits_BV = spread * torch.randn(3, vocabulary, dtype=torch.float64)
    for p in (0.05, 0.5, 0.9, 0.999999):
        kept_BV = top_p_filter(logits_BV, p) > -math.inf
        for kept_V, probability_V in zip(kept_BV, logits_BV.softmax(dim=-1), strict=True):
            kept = sorted(probability_V[kept_V].tolist())
            assert kept == sorted(probability_V.tolist())[-len(kept) :]
            assert sum(kept) >= p - 1e-12
            assert sum(kept[1:]) < p + 1e-12


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_likeliest_is_torchs_own(kind):
    logits_BV = torch.randperm(250, dtype=torch.float32).repeat(7, 1).to(kind)
    assert sample(logits_BV, replace(PLAIN, temperature=0)).tolist() == [int(logits_BV[0].argmax())] * 7


def test_a_token_without_probability_is_never_drawn():
    logits_BV = torch.full((50_000, 4), -math.inf)
    logits_BV[:, 1] = logits_BV[:, 2] = 0.0
    assert set(sample(logits_BV, PLAIN, torch.Generator().manual_seed(0)).tolist()) == {1, 2}


@given(st.integers(1, 1000), st.integers(0, 99), st.floats(0, 1, exclude_max=True))
def test_a_share_of_many_weights_is_found_where_their_running_sum_passes_it(count, seed, share):
    weights_V = np.random.default_rng(seed).random(count).astype(np.float32)
    weights_V[weights_V < 0.7] = 0
    weights_V[seed % count] = 1
    upto = weights_V.cumsum(dtype=np.float64)
    found = index_at(weights_V, share)
    assert weights_V[found] > 0
    assert upto[found] - weights_V[found] - 1e-9 <= share * upto[-1] <= upto[found] + 1e-9


def test_scores_that_are_no_numbers_are_an_error():
    with pytest.raises(DivergedError, match="logits are not numbers"):
        sample(torch.tensor([[0.0, math.nan], [0.0, 1.0]]), PLAIN)
