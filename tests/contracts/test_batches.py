"""What a scheduler's batch promises: logits are those of the model alone, whatever the company and the cuts."""

import random
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from understudy.acting.batch import PlainBatch
from understudy.acting.graphs import GraphSession
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig
from understudy.native import dispatch
from understudy.native.batch import NativeBatch
from understudy.native.weights import Weights
from understudy.native.workers import team

KINDS = ("lstm", "modern", "gpt1", "gpt2")
VOCABULARY, SLOTS, CONTEXT = 263, 5, 64
BATCHES = ("plain", "recorded graph", "native float32", "native bfloat16", "native int8")


@pytest.fixture(scope="module", autouse=True)
def _code():
    assert dispatch.compiled(wait=True), dispatch._failure


@pytest.fixture(params=[(kind, batch) for kind in KINDS for batch in BATCHES], ids=" ".join)
def made(request, monkeypatch):
    """A model and its batch."""
    kind, name = request.param
    model = build(kind)
    if name == "recorded graph":
        # Work that is done again, as a graph would
        monkeypatch.setattr(
            "understudy.acting.batch.graph_session", lambda *given: GraphSession(*given, lambda work: work)
        )
    if not name.startswith("native"):
        return model, PlainBatch(model, SLOTS)
    return model, NativeBatch(model, Weights(model, name.split()[1]), SLOTS, most=9, team=team(2))


def build(kind: str) -> LanguageModel:
    """Return a model in float32 with weights large enough that every part of it matters."""
    torch.manual_seed(0)
    where = {"core": "lstm"} if kind == "lstm" else {"block": kind}
    config = CoreConfig(layers=2, width=60, heads=3, context=CONTEXT, **where)
    model = LanguageModel(config.resolved(), VOCABULARY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=1.5 * parameter.shape[-1] ** -0.5)
        model.embedding.weight.normal_(std=60**-0.5)
    if kind == "gpt1":
        model.speakers = (1, 2)
    return model


def tokens(seed: int, count: int) -> list[int]:
    random.seed(seed)
    return [random.randrange(VOCABULARY) for _ in range(count)]


def alone(batch, ids: list[int], slot: int = 0) -> list[Tensor]:
    """The logits after each token, fed one at a time with nobody beside."""
    batch.begin(slot)
    first = batch.feed({slot: ids[:1]}, {slot})[slot].clone()
    return [first, *(batch.feed({slot: [token]}, {slot})[slot].clone() for token in ids[1:])]


def assert_same(batch, found: Tensor, expected: Tensor):
    if isinstance(batch, NativeBatch):
        assert torch.equal(found, expected)
    else:  # PyTorch multiplies several rows in other ways than one
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_logits_are_the_models_own(made):
    model, batch = made
    ids = tokens(0, 20)
    with torch.inference_mode():
        expected_TV = model(torch.tensor([ids]))[0][0]
    error = (torch.stack(alone(batch, ids)) - expected_TV).abs().max() / expected_TV.std()
    assert error < (0.2 if isinstance(batch, NativeBatch) and batch._weights.format != "float32" else 2e-5)


def test_neither_company_nor_cuts_change_a_logit(made):
    _, batch = made
    sequences = [tokens(seed, 10 + 7 * seed) for seed in range(7)]
    expected = [alone(batch, ids, slot=seed % SLOTS) for seed, ids in enumerate(sequences)]
    random.seed(0)
    waiting, running = list(range(7)), {}
    while waiting or running:
        for slot in set(range(SLOTS)) - running.keys():
            if waiting and random.random() < 0.5:
                batch.begin(slot)
                running[slot] = waiting.pop(), 0
        fed, wanted = {}, set()
        for slot, (number, at) in running.items():
            # A prompt of some tokens in pieces, then one token at a time
            prompt = 5 + 3 * number
            count = min(random.randrange(1, 8), prompt - at) if at < prompt else 1
            fed[slot] = sequences[number][at : at + count]
            running[slot] = number, at + count
            if at + count >= prompt:
                wanted.add(slot)
        found = batch.feed(fed, wanted) if fed else {}
        assert found.keys() == wanted
        for slot, logits_V in found.items():
            number, at = running[slot]
            assert_same(batch, logits_V, expected[number][at - 1])
        running = {slot: (number, at) for slot, (number, at) in running.items() if at < len(sequences[number])}


@pytest.mark.parametrize("cuts", [(0, 8, 24), (0, 5, 6, 11), (0, 1)])
def test_what_was_saved_goes_on_elsewhere(made, cuts):
    _, batch = made
    ids = tokens(3, 30)
    expected = alone(batch, ids)
    # Saved as it grows, token by token
    batch.begin(1)
    saved = []
    for start, end in pairwise(cuts):
        for token in ids[start:end]:
            batch.feed({1: [token]}, {1})
        saved.append(batch.save(1, start))
    assert all(size > 0 for _, size in saved)
    alone(batch, tokens(4, 40), slot=1)  # overwrites the slot
    alone(batch, tokens(5, 40), slot=2)
    batch.begin(2)
    for state, _ in saved:
        batch.load(2, state)
    found = batch.feed({2: ids[cuts[-1] :]}, {2})[2]
    assert_same(batch, found, expected[-1])
