"""How near a decode step comes to what memory allows, and how much longer it takes late in a text.

A shared machine's memory gives now more and now less, within seconds. So what is compared is measured in turn, many
times over, and the median of the ratios counts.
"""

import time
from collections.abc import Iterator
from copy import deepcopy
from itertools import count
from statistics import median
from typing import Any

import torch
from gpt1_peers import GREEDY
from torch import Tensor

from understudy.acting.engine import Engine, prefill
from understudy.acting.rows import RowState
from understudy.data.tokenizers import ByteTokenizer
from understudy.models.language_model import LanguageModel

FORMATS = {"float32": 4, "bfloat16": 2, "int8": 1}
STRETCH = 8
"""Tokens between two reads of memory; the first two wake the threads and do not count."""
BURST = 24
REST = 0.02
"""Seconds until the threads that read memory sleep."""


class Memory:
    """How fast this machine reads memory now and then."""

    def __init__(self) -> None:
        self._buffer = torch.ones(256 * 2**18)
        self.readings: list[float] = []

    def read(self) -> float:
        """One more reading, bytes/s: the best of three sums over a large buffer."""
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            self._buffer.sum()
            seconds.append(time.perf_counter() - began)
        self.readings.append(self._buffer.nbytes / min(seconds))
        time.sleep(REST)
        return self.readings[-1]


def bytes_a_step(model: LanguageModel, format: str, held: float, batch: int = 1) -> float:
    """What a step must read: the weights, and of each row the keys and values of the tokens held."""
    numbers = model.parameter_count() - model.spec.context * model.spec.width
    return FORMATS[format] * (numbers + batch * held * 2 * model.spec.layers * model.spec.width)


def share_of_bound(model: LanguageModel, format: str, prompt: list[int], new: int) -> float:
    """The part that reading what must be read is of a token's time, read in one go beside it."""
    memory, shares = Memory(), []
    engine = _engine(model, prompt, prefill(model, [prompt], model.context))
    since = before = 0.0
    for number in count():
        engine.step()
        int(engine.ids_B[0])
        seconds = time.perf_counter() - since
        if number % STRETCH > 2:
            held = len(prompt) + number
            shares.append(bytes_a_step(model, format, held) / before / seconds)
        if number == new:
            return median(shares)
        if number % STRETCH == 0:
            before = memory.read()
        since = time.perf_counter()
    raise AssertionError


def flatness(model: LanguageModel, prompt: list[int], rounds: int) -> float:
    """By how much a token costs more after 480 tokens than after the prompt's."""
    early = prefill(model, [prompt], model.context)
    engine = _engine(model, prompt, early)
    for _ in range(481 - len(prompt)):
        engine.step()
    late = engine.logits_BV.clone(), deepcopy(engine.state)
    ratios = []
    for number in range(rounds + 1):
        seconds = [median(_burst(_engine(model, prompt, start))) for start in (early, late)]
        if number:
            ratios.append(seconds[1] / seconds[0])
    return median(ratios) - 1


def _engine(model: LanguageModel, prompt: list[int], start: tuple[Tensor, Any]) -> Engine:
    return Engine(model, [RowState(model, ByteTokenizer(), prompt, GREEDY)], *start)


def _burst(engine: Engine) -> Iterator[float]:
    """Yield the seconds that each of some tokens takes."""
    since = 0.0
    for number in range(BURST + 1):
        engine.step()
        int(engine.ids_B[0])
        now = time.perf_counter()
        if number > 3:
            yield now - since
        since = now
