"""What a reply has said already, run by run; checked against a plain search of all that was said."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.acting.chat import Chat
from understudy.acting.engine import generate
from understudy.acting.rows import repeating
from understudy.acting.sampling import SamplingConfig
from understudy.data.tokenizers import ByteTokenizer
from understudy.data.tokenizers.gpt1 import GPT1Tokenizer
from understudy.models.language_model import LanguageModel
from understudy.models.spec import CoreConfig

BYTES = ByteTokenizer()
TOKENS = st.sampled_from([97, 98, 99, BYTES.special["<|user|>"]])


def banned(reply: list[int], n: int) -> set[int]:
    """Every ordinary token with which the reply would say a run of n ordinary tokens again."""
    runs = {tuple(reply[i : i + n]) for i in range(len(reply) - n + 1)}
    tail = reply[max(0, len(reply) - n + 1) :]
    if len(tail) < n - 1 or max(tail, default=0) > 255:
        return set()
    return {token for token in range(256) if (*tail, token) in runs}


@given(st.lists(TOKENS, max_size=12), st.integers(1, 4))
def test_tokens_that_would_repeat_an_ngram_are_banned_and_no_others(reply, n):
    assert repeating(reply, n, ordinary=256) == banned(reply, n)


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
