"""How near a decode step comes to what memory allows, and how much longer it takes late in a text."""

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from statistics import median
from typing import Any

from gpt1_peers import any_tokens, build, prompts
from torch import Tensor

from understudy.acting.engine import Engine, prefill
from understudy.acting.rows import RowState
from understudy.acting.sampling import SamplingConfig
from understudy.models.device import prepare_process
from understudy.models.huge_pages import settle
from understudy.models.language_model import LanguageModel
from understudy.models.spec import BlockKind

FORMATS = {"float32": 4, "bfloat16": 2, "int8": 1}
BURST = 24


def bytes_per_step(block: BlockKind, format: str, held: float, batch: int = 1) -> float:
    """What a step must read: the weights, and of each row the keys and values of the tokens held."""
    model = build(block)
    numbers = model.parameter_count() - model.spec.context * model.spec.width
    return FORMATS[format] * (numbers + batch * held * 2 * model.spec.layers * model.spec.width)


def late_tokens(block: BlockKind, format: str) -> Callable[..., float]:
    """Make the contender of which each run says how much more a token costs after 480 tokens than after the prompt."""
    prepare_process()
    model, (prompt,) = build(block, format), prompts(1)
    settle(model)
    early = prefill(model, [prompt], model.context)
    engine = _engine(model, prompt, early)
    for _ in range(481 - len(prompt)):
        engine.step()
    late = engine.logits_BV.clone(), deepcopy(engine.state)

    def run() -> float:
        first, second = (median(_burst(_engine(model, prompt, start))) for start in (early, late))
        return second / first - 1

    return run


def _engine(model: LanguageModel, prompt: list[int], start: tuple[Tensor, Any]) -> Engine:
    return Engine(model, [RowState(model, any_tokens(), prompt, SamplingConfig(temperature=0.0))], *start)


def _burst(engine: Engine) -> Iterator[float]:
    """Yield the seconds that each of some tokens takes."""
    since = 0.0
    for number in range(BURST + 1):
        engine.step()
        now = time.perf_counter()
        if number > 3:
            yield now - since
        since = now
