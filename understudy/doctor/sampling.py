"""Whether sampling does what it should; only `understudy doctor` runs these checks.

Shape suffixes: B rows, V vocabulary.
"""

import torch

from understudy.acting import engine as generate
from understudy.acting import sampling
from understudy.acting.sampling import SamplingConfig
from understudy.doctor.checks import Finding, check
from understudy.doctor.probes import float32_clone
from understudy.training.experiment import Experiment
from understudy.training.text import Text

DRAWS = 4000
GREEDY = SamplingConfig(temperature=0.0, max_tokens=12)
# Tokens of the prompts: unequal, so that the batch is ragged.
PROMPTS = (3, 7, 12)
# How far probabilities may be from the formula's; how many standard errors frequencies may be from probabilities.
APART, ERRORS = 1e-5, 5


@check("the logits are multiplied by it, or negated", "the draw takes another distribution than that of the logits")
def sampling_temperature() -> Finding:
    """Check that the temperature divides the logits, and that tokens are drawn with the probabilities that follow.

    The probabilities at temperatures 0.5 and 2 are compared with softmax(logits / temperature), the draws at 0 with the
    likeliest tokens, and the frequencies of many draws at 0.7 with their probabilities. Source: Hinton et al.,
    "Distilling the Knowledge in a Neural Network" (2015), section 2, for the formula.
    """
    logits_BV = 2 * torch.randn(16, 64)
    apart = 0.0
    for temperature in (0.5, 2.0):
        shaped_BV = sampling.warp_logits(logits_BV, SamplingConfig(temperature=temperature)).softmax(dim=-1)
        apart = max(apart, float((shaped_BV - (logits_BV / temperature).softmax(dim=-1)).abs().max()))
    greedy = bool((sampling.sample(logits_BV, GREEDY) == logits_BV.argmax(dim=-1)).all())

    logits_V = torch.linspace(-2, 2, 8)
    ids_B = sampling.sample(logits_V.expand(DRAWS, -1), SamplingConfig(temperature=0.7))
    share_V, p_V = torch.bincount(ids_B, minlength=8) / DRAWS, (logits_V / 0.7).softmax(dim=-1)
    errors = float(((share_V - p_V).abs() / (p_V * (1 - p_V) / DRAWS).sqrt()).max())
    measured = f"probabilities {apart:.1e} apart; greedy {'right' if greedy else 'wrong'}; {errors:.1f} errors off"
    return Finding(apart <= APART and greedy and errors <= ERRORS, measured, "at most 1e-5, right, at most 5")


@check("positions or lengths in the cache are not moved on", "the padding of shorter prompts is attended to")
def cached_generation(experiment: Experiment, text: Text) -> Finding:
    """Check that replies do not depend on how they are computed: not on a cache, on padding or on other rows.

    Greedy replies to unequal prompts, in one batch over a cache, must have the same tokens as when the whole sequence
    is computed again for each token; in float64. Source: the contract of generation
    (tests/contracts/test_generation.py).
    """
    model = float32_clone(experiment.learner).model.double().eval()
    dataset = text.dataset
    prompts = [
        dataset.valid.document(int(dataset.valid_docs[number % len(dataset.valid_docs)])).ids[:length].tolist()
        for number, length in enumerate(PROMPTS)
        if length < model.context
    ]
    if not prompts:
        return Finding("skipped", "the context is too short")
    cached, plain = (
        [reply.ids for reply in way(model, text.tokenizer, prompts, GREEDY)]
        for way in (generate.generate, generate.generate_plain)
    )
    same = sum(one == other for one, other in zip(cached, plain, strict=True))
    return Finding(same == len(prompts), f"{same} of {len(prompts)} replies are the same", "all of them")
