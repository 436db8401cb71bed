"""Checks that need sampling as well as training: `understudy doctor` runs them after the others.

Shape suffixes: B rows, V vocabulary.
"""

from typing import ClassVar

import torch

from understudy.acting import engine as generate
from understudy.acting import sampling
from understudy.acting.sampling import SamplingConfig
from understudy.doctor.checks import Check, Verdict
from understudy.doctor.probes import exact_twin
from understudy.training.experiment import Experiment

DRAWS = 4000
GREEDY = SamplingConfig(temperature=0.0, max_tokens=12)
PROMPTS = (3, 7, 12)
"""Tokens of the prompts: unequal, so that the batch is ragged."""


class SamplingTemperature(Check):
    """A temperature that works the wrong way, or not at all: scores multiplied by it, or with their sign turned.

    How: the probabilities at temperatures 0.5 and 2 against softmax(scores / temperature); the draws at 0 against the
    likeliest tokens; the frequencies of 4,000 draws at 0.7 against their probabilities. Threshold: 1e-5; all equal;
    five standard errors. Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), section 2, for
    the formula.
    """

    name: ClassVar[str] = "sampling_temperature"
    causes: ClassVar[tuple[str, str]] = (
        "the scores are multiplied by the temperature, or negated",
        "the draw takes another distribution than the shaped scores'",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        logits_BV = 2 * torch.randn(16, 64)
        apart = 0.0
        for temperature in (0.5, 2.0):
            shaped_BV = sampling.warp_logits(logits_BV, SamplingConfig(temperature=temperature)).softmax(dim=-1)
            apart = max(apart, float((shaped_BV - (logits_BV / temperature).softmax(dim=-1)).abs().max()))
        greedy = bool((sampling.sample(logits_BV, GREEDY) == logits_BV.argmax(dim=-1)).all())
        off = self._frequencies_off()
        measured = (
            f"probabilities {apart:.1e} apart; greedy draws {'right' if greedy else 'wrong'}; {off:.1f} errors off"
        )
        return self.judge(apart <= 1e-5 and greedy and off <= 5, measured, "at most 1e-5, right, at most 5")

    def _frequencies_off(self) -> float:
        """How far the draws' frequencies lie from their probabilities, in standard errors."""
        logits_V = torch.linspace(-2, 2, 8)
        ids_B = sampling.sample(logits_V.expand(DRAWS, -1), SamplingConfig(temperature=0.7))
        share_V = torch.bincount(ids_B, minlength=8) / DRAWS
        p_V = (logits_V / 0.7).softmax(dim=-1)
        return float(((share_V - p_V).abs() / (p_V * (1 - p_V) / DRAWS).sqrt()).max())


class CachedGeneration(Check):
    """Replies that hang on how they are computed: a cache, padding or other rows that leave a trace in them.

    How: greedy replies to three unequal prompts, in one batch over a cache, against the whole sequence computed anew
    for each token; in float64. Threshold: the same tokens. Source: the contract of generation
    (tests/contracts/test_generation.py).
    """

    name: ClassVar[str] = "cached_generation"
    causes: ClassVar[tuple[str, str]] = (
        "positions or lengths in the cache are not moved on",
        "the padding of shorter prompts is attended to",
    )

    def run(self, experiment: Experiment) -> Verdict:
        """See the class."""
        model = exact_twin(experiment.learner).model.double().eval()
        corpus = experiment.dataset
        prompts = [
            corpus.valid.document(int(corpus.valid_docs[number % len(corpus.valid_docs)])).ids[:length].tolist()
            for number, length in enumerate(PROMPTS)
            if length < model.context
        ]
        if not prompts:
            return self.skipped("the context is too short")
        cached, plain = (
            [reply.ids for reply in way(model, experiment.tokenizer, prompts, GREEDY)]
            for way in (generate.generate, generate.generate_plain)
        )
        same = sum(one == other for one, other in zip(cached, plain, strict=True))
        return self.judge(same == len(prompts), f"{same} of {len(prompts)} replies alike", "all of them")


SAMPLING_CHECKS: tuple[Check, ...] = (SamplingTemperature(), CachedGeneration())
