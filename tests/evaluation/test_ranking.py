"""Candidates scored over one prompt give what each gives when it is scored alone, the plain way."""

import pytest
import torch

from understudy.data.chat_template import render_prompt
from understudy.data.conversations import Message
from understudy.data.tokenizers import ByteTokenizer
from understudy.evaluation.ranking import candidate_scores

BYTES = ByteTokenizer()
PROMPT = render_prompt([Message("user", "what is it"), Message("assistant", "well"), Message("user", "go on")], BYTES)
REPLIES = [[*text.encode(), BYTES.special["<|end|>"]] for text in ("hi", "", "a rather long thing", "ho", "hi")]


@pytest.fixture(scope="module", params=["lstm", "modern", "gpt1", "gpt2"])
def model(request, sharp_model):
    return sharp_model(request.param)


@torch.no_grad()
def log_p(model, prompt: list[int], reply: list[int]) -> float:
    """The log-probability by the whole sequence at once."""
    log_p_TV = model(torch.tensor([[*prompt, *reply[:-1]]]))[0][0].log_softmax(-1)
    return sum(log_p_TV[len(prompt) - 1 + i, token].item() for i, token in enumerate(reply))


def plain_score(model, reply: list[int]) -> float:
    """What the prompt adds to the log-probability that the reply has as first words."""
    return log_p(model, PROMPT, reply) - log_p(model, [PROMPT[0], PROMPT[-1]], reply)


def test_scores_are_what_the_prompt_adds_to_the_log_probability(model):
    expected = [plain_score(model, reply) for reply in REPLIES]
    assert len({round(score, 6) for score in expected}) == 4
    assert candidate_scores(model, PROMPT, REPLIES).tolist() == pytest.approx(expected, abs=1e-9)


def test_without_a_prompt_nothing_fits_better(model):
    assert candidate_scores(model, [PROMPT[0], PROMPT[-1]], REPLIES).tolist() == [0.0] * len(REPLIES)


def test_neither_order_nor_company_changes_a_score(model):
    all_together = candidate_scores(model, PROMPT, REPLIES)
    backwards = candidate_scores(model, PROMPT, REPLIES[::-1]).flip(0)
    alone = torch.cat([candidate_scores(model, PROMPT, [reply]) for reply in REPLIES])
    torch.testing.assert_close(backwards, all_together, rtol=0, atol=1e-9)
    torch.testing.assert_close(alone, all_together, rtol=0, atol=1e-9)
    assert torch.equal(candidate_scores(model, PROMPT, [REPLIES[1]] * 3), alone[[1, 1, 1]]), "a single token each"


def test_a_prompt_and_a_reply_may_fill_the_context(sharp_model):
    model = sharp_model("gpt1", context=len(PROMPT) + len(REPLIES[0]))
    assert candidate_scores(model, PROMPT, [REPLIES[0]]).tolist() == pytest.approx([plain_score(model, REPLIES[0])])
