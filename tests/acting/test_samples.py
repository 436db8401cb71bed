"""The talk that is shown while a model learns."""

import pytest
import torch

from understudy.acting.engine import generate
from understudy.acting.samples import CONFIG, sample_talk
from understudy.data.chat_template import render, render_prompt, render_text
from understudy.data.conversations import Conversation, Message
from understudy.data.tokenizers import ByteTokenizer
from understudy.models.language_model import evaluating

BYTES = ByteTokenizer()
TALK = tuple(
    Message(role, text)
    for turn in ("one", "two", "three")
    for role, text in (("user", f"{turn}?"), ("assistant", f"{turn}!"))
)


@pytest.fixture(params=["lstm", "modern"])
def model(request, sharp_model):
    return sharp_model(request.param, context=64)


def test_the_reply_in_the_middle_of_a_conversation(model):
    (sample,) = sample_talk(model, BYTES, [render(Conversation(TALK), BYTES)], "chats")
    with evaluating(model):
        (reply,) = generate(model, BYTES, [render_prompt(TALK[:3], BYTES)], CONFIG)
    assert sample == {"user": "two?", "model": reply.text}


def test_a_window_without_a_reply_is_passed_over(model):
    windows = [render(Conversation(messages), BYTES) for messages in (TALK[:1], TALK, TALK[1:2])]
    assert [sample["user"] for sample in sample_talk(model, BYTES, windows, "chats")] == ["two?", ""]
    assert sample_talk(model, BYTES, windows[:1], "chats") == []


def test_a_text_is_continued(model):
    documents = [render_text(text, BYTES) for text in ("once upon a time there was a fox", "", "hi")]
    samples = sample_talk(model, BYTES, documents, "text")
    assert [sample["given"] for sample in samples] == ["once upon a tim", "", "hi"]
    with evaluating(model):
        replies = generate(model, BYTES, [document.ids[:16].tolist() for document in documents], CONFIG)
    assert [sample["model"] for sample in samples] == [reply.text for reply in replies]


def test_a_small_context_is_shared_by_a_text_and_its_continuation(sharp_model):
    (sample,) = sample_talk(sharp_model("modern", context=12), BYTES, [render_text("once upon a time", BYTES)], "text")
    assert sample["given"] == "once "
    assert len(sample["model"].encode()) == 6


def test_learning_is_left_alone(model):
    model.train()
    state = torch.get_rng_state()
    documents = [render(Conversation(TALK), BYTES)]
    assert sample_talk(model, BYTES, documents, "chats") == sample_talk(model, BYTES, documents, "chats")
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
