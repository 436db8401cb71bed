"""What was said is remembered run by run; checked against a plain search of all that was said."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.acting.chat import Chat
from understudy.acting.engine import generate
from understudy.acting.repetition import Said
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import ByteTokenizer
from understudy.data.tokenizers.gpt1 import GPT1Tokenizer
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig

BYTES = ByteTokenizer()
TOKENS = st.sampled_from([97, 98, 99, BYTES.special["<|user|>"]])
REPLIES = st.lists(st.lists(TOKENS, max_size=12), min_size=1, max_size=3)


def banned(reply: list[int], n: int) -> set[int]:
    """Every ordinary token with which the reply would say a run of n ordinary tokens again."""
    runs = {tuple(reply[i : i + n]) for i in range(len(reply) - n + 1)}
    tail = reply[max(0, len(reply) - n + 1) :]
    if len(tail) < n - 1 or max(tail, default=0) > 255:
        return set()
    return {token for token in range(256) if (*tail, token) in runs}


@given(REPLIES, st.integers(1, 4))
def test_what_would_be_said_again_is_banned_and_nothing_else(replies, n):
    logits_BV = torch.zeros(len(replies), BYTES.vocab_size)
    masks_BV = Said(replies, n, BYTES).banned(logits_BV)
    found = [set(mask_V.nonzero().flatten().tolist()) for mask_V in masks_BV]
    assert found == [banned(reply, n) for reply in replies]
    told = Said([[]], n, BYTES)
    for token in replies[0]:
        told.add([token])
    assert torch.equal(told.banned(logits_BV[:1]), masks_BV[:1]), "a reply told token by token"


@pytest.mark.parametrize("kind", ["lstm", "gpt1"])
def test_a_chat_never_says_the_unknown_token(kind):
    tokenizer = GPT1Tokenizer(["<unk>", "a", "a</w>"], [])
    config = CoreConfig(
        layers=1, width=8, heads=2, context=64, **({"core": kind} if kind == "lstm" else {"block": kind})
    )
    torch.manual_seed(0)
    model = LanguageModel(config.resolved(), tokenizer.vocab_size).eval()
    drawn = []
    for seed in range(8):
        chat = Chat(model, tokenizer, SamplingConfig(max_tokens=12, sampling_seed=seed))
        "".join(chat.say("a"))
        assert chat.last
        drawn += chat.last.ids
    assert len(drawn) > 20
    assert 0 not in drawn
    replies = generate(model, tokenizer, [[1, 2]] * 8, SamplingConfig(max_tokens=12, sampling_seed=0))
    assert any(0 in reply.ids for reply in replies), "sampling says what the model says"
