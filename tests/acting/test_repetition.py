"""What was said is remembered run by run; checked against a plain search of all that was said."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.acting.repetition import Said, own_turns
from understudy.data.chats import Message
from understudy.data.rendering import render_prompt
from understudy.data.tokenizers import ByteTokenizer

BYTES = ByteTokenizer()
TOKENS = st.sampled_from([97, 98, 99, BYTES.special["<|user|>"]])
TURNS = st.lists(st.lists(TOKENS, max_size=8), min_size=1, max_size=3)


def banned(turns: list[list[int]], n: int) -> set[int]:
    """Every ordinary token with which the last turn would say a run of n ordinary tokens again."""
    runs = {tuple(turn[i : i + n]) for turn in turns for i in range(len(turn) - n + 1)}
    tail = turns[-1][max(0, len(turns[-1]) - n + 1) :]
    if len(tail) < n - 1 or max(tail, default=0) > 255:
        return set()
    return {token for token in range(256) if (*tail, token) in runs}


@given(st.lists(TURNS, min_size=1, max_size=3), st.integers(1, 4))
def test_what_would_be_said_again_is_banned_and_nothing_else(turns_of_each, n):
    scores_BV = torch.zeros(len(turns_of_each), BYTES.vocab_size)
    masks_BV = Said(turns_of_each, n, BYTES).banned(scores_BV)
    found = [set(mask_V.nonzero().flatten().tolist()) for mask_V in masks_BV]
    assert found == [banned(turns, n) for turns in turns_of_each]
    *before, last = turns_of_each[0]
    told = Said([[*before, []]], n, BYTES)
    for token in last:
        told.add([token])
    assert torch.equal(told.banned(scores_BV[:1]), masks_BV[:1]), "a reply told token by token"


def test_own_turns_are_the_assistants_alone():
    messages = [Message("system", "be kind"), Message("user", "hi"), Message("assistant", "yo"), Message("user", "so")]
    assert own_turns(render_prompt(messages, BYTES), BYTES) == [[*b"yo"], []]
    assert own_turns([BYTES.special["<|bos|>"], *b"some text"], BYTES) == []
    assert own_turns([*render_prompt(messages, BYTES), *b"an"], BYTES) == [[*b"yo"], [*b"an"]]
