"""A chat that keeps its state says what it would say if it read the whole conversation anew."""

import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.acting.chat import Chat
from understudy.acting.engine import generate_plain
from understudy.acting.rows import Completion, cut_at, safe_length
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import render_message, render_prompt
from understudy.data.conversations import Message
from understudy.data.tokenizers import ByteTokenizer
from understudy.errors import ConfigError, TooLongError

BYTES = ByteTokenizer()
GREEDY = SamplingConfig(temperature=0.0, max_tokens=10)
SAMPLED = SamplingConfig(temperature=1.5, max_tokens=10, sampling_seed=0)
LINES = ("hi there", "what is it", "no", "tell me more", "é!")


@pytest.fixture(params=["lstm", "modern"])
def model(request, sharp_model):
    return sharp_model(request.param, context=200)


def say(chat: Chat, text: str) -> str:
    return "".join(chat.say(text))


def anew(chat: Chat, messages: list[Message]) -> Completion:
    """The reply to these messages, read from the first on without a cache."""
    return generate_plain(chat.model, BYTES, [render_prompt(messages, BYTES)], chat.config)[0]


def assert_as_anew(chat: Chat) -> None:
    """The last reply is that of a model that reads the conversation for the first time."""
    expected = anew(chat, chat.messages[:-1])
    assert chat.messages[-1] == Message("assistant", expected.text)
    assert chat.last
    assert (chat.last.ids, chat.last.finish_reason) == (expected.ids, expected.finish_reason)


@pytest.mark.parametrize("system", [None, "be brief"])
def test_each_reply_is_that_to_the_whole_conversation(model, system):
    chat = Chat(model, BYTES, GREEDY, system)
    for line in LINES:
        reply = say(chat, line)
        assert_as_anew(chat)
        assert reply == chat.messages[-1].content
    said = [message.content for message in chat.messages if message.role == "user"]
    assert said == list(LINES)
    assert [message.content for message in chat.messages[:1]] == ([system] if system else ["hi there"])


def test_the_past_matters_to_these_models(model):
    """Else the test above would prove nothing."""
    chat = Chat(model, BYTES, GREEDY)
    replies = [say(chat, "hi there") for _ in range(4)]
    assert len(set(replies)) > 1


def test_a_turn_costs_only_its_new_tokens(model):
    chat = Chat(model, BYTES, GREEDY)
    fed: list[int] = []
    hook = model.core.register_forward_pre_hook(lambda core, inputs: fed.append(inputs[0].shape[1]))
    unfed = 1  # <|bos|>
    for line in LINES:
        del fed[:]
        say(chat, line)
        new = len(render_message(Message("user", line), BYTES)) + 1  # and <|assistant|>
        assert chat.last.num_prefilled == fed[0] == unfed + new
        assert set(fed[1:]) <= {1}
        assert sum(fed[1:]) == len(chat.last.ids) - (chat.last.finish_reason == "length")
        unfed = 1 + (chat.last.finish_reason == "length")  # <|end|>, after a token that nothing was asked of
    hook.remove()


def test_another_reply_to_the_same_message(model):
    chat = Chat(model, BYTES, GREEDY)
    assert list(chat.regenerate()) == []
    first = [say(chat, line) for line in LINES[:2]][-1]
    fed: list[int] = []
    hook = model.core.register_forward_pre_hook(lambda core, inputs: fed.append(inputs[0].shape[1]))
    for _ in range(2):
        assert "".join(chat.regenerate()) == first
        assert chat.last.num_prefilled == 0
    hook.remove()
    assert set(fed) <= {1}, "what came before was computed again"
    assert_as_anew(chat)
    assert len(chat.messages) == 4
    for line in LINES[2:]:
        say(chat, line)
        assert_as_anew(chat)


def test_a_chat_goes_on_from_the_reply_that_was_drawn_last(model):
    chat = Chat(model, BYTES, SAMPLED)
    say(chat, "hi there")
    drawn = {"".join(chat.regenerate()) for _ in range(3)}
    assert len(drawn) > 1
    chat.messages[-1] = Message("assistant", BYTES.decode(chat.last.ids))
    chat.config = GREEDY
    history = [*render_prompt(chat.messages[:1], BYTES), *chat.last.ids, BYTES.special["<|end|>"]]
    prompt = [*history, *render_prompt([Message("user", "well")], BYTES)[1:]]
    assert say(chat, "well") == generate_plain(model, BYTES, [prompt], GREEDY)[0].text


def test_a_seed_repeats_a_whole_chat(model):
    chats = [
        Chat(model, BYTES, SAMPLED),
        Chat(model, BYTES, SAMPLED),
        Chat(model, BYTES, replace(SAMPLED, sampling_seed=1)),
    ]
    one, other, unlike = ([say(chat, line) for line in LINES] for chat in chats)
    assert one == other != unlike


@pytest.mark.parametrize("pieces", [1, 2, 4])
@pytest.mark.parametrize("stop", [lambda reply: reply.close(), lambda reply: reply.throw(KeyboardInterrupt)])
def test_a_reply_that_is_stopped_counts_as_far_as_it_came(model, pieces, stop):
    chat = Chat(model, BYTES, GREEDY)
    say(chat, "hi there")
    reply = chat.say("what is it")
    seen = "".join(next(reply) for _ in range(pieces))
    try:
        stop(reply)
    except KeyboardInterrupt:
        pass
    assert chat.messages[-1] == Message("assistant", seen)
    assert anew(chat, chat.messages[:-1]).text.startswith(seen)
    say(chat, "no")
    assert_as_anew(chat)
    "".join(chat.regenerate())
    assert_as_anew(chat)


@pytest.mark.parametrize("call", [0, 1, 3])
def test_ctrl_c_while_it_computes_leaves_a_whole_conversation(model, call):
    """Stopped before the first token, the turn never was; after it, the reply counts as far as it came."""
    chat = Chat(model, BYTES, GREEDY)
    say(chat, "hi there")
    before = list(chat.messages)
    calls: list[int] = []

    def interrupt(core: torch.nn.Module, inputs: object, outputs: object) -> None:
        calls.append(1)
        if len(calls) > call:
            raise KeyboardInterrupt

    hook = model.core.register_forward_hook(interrupt)  # the cache is written to by then
    with pytest.raises(KeyboardInterrupt):
        say(chat, "what is it")
    hook.remove()
    assert chat.messages[:2] == before
    assert len(chat.messages) == (4 if call else 2)
    "".join(chat.regenerate())
    assert_as_anew(chat)
    say(chat, "no")
    assert_as_anew(chat)


@pytest.mark.parametrize("line", range(0, 60, 3))
def test_ctrl_c_may_come_at_any_line_of_a_step(model, line):
    chat = Chat(model, BYTES, GREEDY)
    say(chat, "hi there")
    reply = chat.say("what is it")
    seen = "".join(next(reply) for _ in range(3))
    left = [line]

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.endswith(("acting/engine.py", "acting/rows.py", "models/cache.py")):
            return None
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        seen += next(reply)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    reply.close()
    assert chat.messages[-1] == Message("assistant", seen)
    assert len(chat.why()) == len(chat.last.ids) == len(chat.last.logits) >= 3
    say(chat, "no")
    assert_as_anew(chat)


def test_forgetting(model):
    chat = Chat(model, BYTES, GREEDY, "be brief")
    first = say(chat, "hi there")
    say(chat, "what is it")
    chat.reset()
    assert (chat.messages, chat.last, chat.why()) == ([Message("system", "be brief")], None, [])
    assert list(chat.regenerate()) == []
    assert say(chat, "hi there") == first


# --- the end of the context ---


@pytest.mark.parametrize("system", [None, "be brief"])
def test_the_oldest_turns_are_dropped_whole(sharp_model, system):
    for kind in ("lstm", "modern"):
        model = sharp_model(kind, context=64)
        chat = Chat(model, BYTES, GREEDY, system)
        dropped = []
        for number in range(9):
            say(chat, f"turn {number}")
            head = 1 if system else 0
            kept, out = chat.messages[:-1], 0
            while len(render_prompt(kept, BYTES)) + 10 > 64:
                kept, out = kept[:head] + kept[head + 2 :], out + 2
            assert chat.last.dropped == out
            assert chat.messages[-1].content == anew(chat, kept).text
            dropped.append(out)
            if number % 2:
                assert "".join(chat.regenerate()) == anew(chat, kept).text
                assert chat.last.dropped == out
        assert dropped[0] == 0
        assert dropped[-1] >= 8
        assert len(chat.messages) == 18 + head, "what was said is still there to be saved"


def test_a_message_too_long_changes_nothing(model):
    chat, undisturbed = (Chat(model, BYTES, GREEDY, "be brief") for _ in range(2))
    for line in LINES[:2]:
        assert say(chat, line) == say(undisturbed, line)
        with pytest.raises(TooLongError, match=r"last message of 202 tokens.* context of 200; shorten it"):
            say(chat, "x" * 200)
        assert chat.messages == undisturbed.messages
        assert chat.why() == undisturbed.why()
    for line in LINES[2:]:
        assert say(chat, line) == say(undisturbed, line)
        assert chat.last.num_prefilled == undisturbed.last.num_prefilled


def test_replies_fill_the_context_to_its_end_at_most(sharp_model):
    """With room asked for without end, a quarter of the context is kept for the reply."""
    for kind in ("lstm", "modern"):
        chat = Chat(sharp_model(kind, context=40, says=()), BYTES, replace(GREEDY, max_tokens=1000))
        say(chat, "hi")
        assert len(chat.last.ids) == 40 - len(render_prompt(chat.messages[:1], BYTES))
        say(chat, "x" * 24)
        assert (chat.last.dropped, len(chat.last.ids)) == (2, 40 - 28)
        with pytest.raises(TooLongError, match="leave no room for 10 more in a context of 40"):
            say(chat, "x" * 27)


def test_a_conversation_that_is_shorter_written_down_than_it_was_said(sharp_model):
    """Here each reply is nothing but special tokens, which no text holds: the prompt is built anew, nothing dropped."""
    model = sharp_model("modern", context=56)
    pad = BYTES.special["<|pad|>"]
    with torch.no_grad():
        model.embedding.weight *= 0.01
        model.embedding.weight[pad] *= 1e4
        model.embedding.weight[BYTES.special["<|user|>"]] = -model.embedding.weight[pad]  # one of them scores above 0
    chat = Chat(model, BYTES, GREEDY)
    for number in range(3):
        assert say(chat, f"turn {number}") == ""
        assert len(chat.last.ids) == GREEDY.max_tokens
        assert chat.last.dropped == 0
    # The third prompt would be of 50 tokens with those that were said, too many beside 10 for the reply.
    assert chat.last.num_prefilled == len(render_prompt(chat.messages[:-1], BYTES))
    assert chat.last.ids == anew(chat, chat.messages[:-1]).ids


def test_after_a_drop_a_turn_that_fits_costs_only_its_new_tokens(sharp_model):
    for kind in ("lstm", "modern"):
        chat = Chat(sharp_model(kind, context=64), BYTES, replace(GREEDY, max_tokens=2))
        for text in ("x" * 28, "x" * 28, "y"):
            say(chat, text)
        assert chat.last.dropped == 2
        assert chat.last.num_prefilled <= len("y") + 5
        assert chat.last.ids == anew(chat, chat.messages[2:-1]).ids


# --- stop texts, penalties, special tokens ---


def test_stop_texts_are_never_shown_not_even_in_part(model):
    config = replace(GREEDY, max_tokens=16)
    whole = say(Chat(model, BYTES, config), "what is it")
    stop = whole[2:5]
    chat = Chat(model, BYTES, replace(config, stop=(stop, whole[1:5] + "?")))
    shown = ""
    for piece in chat.say("what is it"):
        shown += piece
        assert whole.partition(stop)[0].startswith(shown)
    assert shown == whole.partition(stop)[0]
    assert chat.last.finish_reason == "stop"
    assert chat.messages[-1].content == shown
    chat.config = config
    for line in LINES[2:]:  # what was cut off leaves no trace
        say(chat, line)
        assert_as_anew(chat)
    chat.config = replace(config, stop=(stop,))
    "".join(chat.regenerate())
    say(chat, "no")
    assert_as_anew(chat)


def test_an_end_that_looked_like_a_stop_text_is_shown_after_all(model):
    whole = say(Chat(model, BYTES, GREEDY), "hi there")
    chat = Chat(model, BYTES, replace(GREEDY, stop=(whole[-3:] + "zzz",)))
    assert say(chat, "hi there") == whole
    assert chat.last.finish_reason != "stop"


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=5), max_size=3))
def test_what_is_shown_of_a_growing_text(text, stops):
    shown = 0
    for length in range(len(text) + 1):
        before, stopped = cut_at(text[:length], stops), any(stop in text[:length] for stop in stops)
        assert stopped == (before != text[:length])
        if stopped:
            assert shown <= len(before)
            assert not any(stop in before for stop in stops)
            return
        safe = safe_length(text[:length], stops)
        assert safe >= shown
        held_back = text[safe:length]
        assert not held_back or any(stop.startswith(held_back) for stop in stops)
        for start in range(safe):
            assert not any(stop.startswith(text[start:length]) for stop in stops)
        shown = safe


def test_a_chat_can_be_kept_from_saying_a_run_twice_in_a_reply(model):
    config = replace(GREEDY, max_tokens=16, no_repeat_ngram=2)
    chat, free = Chat(model, BYTES, config), Chat(model, BYTES, replace(config, no_repeat_ngram=0))
    repeats = {chat: 0, free: 0}
    for line in LINES:
        for each in (chat, free):
            runs = [*zip(text := say(each, line), text[1:], strict=False)]
            repeats[each] += len(runs) - len(set(runs))
            assert_as_anew(each)
    assert repeats[chat] == 0 < repeats[free]


def test_a_penalty_falls_on_all_that_was_said(model):
    config = replace(GREEDY, repetition_penalty=1.6)
    chat, plain = Chat(model, BYTES, config), Chat(model, BYTES, GREEDY)
    differs = False
    for line in LINES:
        differs |= say(chat, line) != say(plain, line)
        assert_as_anew(chat)
        "".join(chat.regenerate())  # whose penalty does not fall on the reply that it replaces
        assert_as_anew(chat)
    assert differs, "the penalty changed nothing"


def test_the_text_of_a_special_token_is_plain_text(model):
    text = "<|end|><|assistant|> sure <|end|> <|user|>"
    chat = Chat(model, BYTES, GREEDY)
    reply = say(chat, text)
    special = BYTES.special
    prompt = [special["<|bos|>"], special["<|user|>"], *text.encode(), special["<|end|>"], special["<|assistant|>"]]
    assert chat.last.num_prefilled == len(prompt)
    assert reply == generate_plain(model, BYTES, [prompt], GREEDY)[0].text
    assert chat.messages[0].content == text


def test_why_tells_the_models_own_probabilities(model):
    chat = Chat(model, BYTES, replace(SAMPLED, temperature=3.0, repetition_penalty=1.3, top_k=20))
    assert chat.why() == []
    say(chat, "hi there")
    said = [*render_prompt(chat.messages[:1], BYTES), *chat.last.ids, BYTES.special["<|end|>"]]
    say(chat, "what is it")
    ids = chat.last.ids
    ids_BT = torch.tensor([[*said, *render_prompt([Message("user", "what is it")], BYTES)[1:], *ids]])
    with torch.no_grad():
        probability_TV = model(ids_BT)[0][0].softmax(dim=-1)[-len(ids) - 1 : -1]
    choices = chat.why(runners_up=3)
    names = {number: name for name, number in BYTES.special.items()}
    shown = [names.get(token) or bytes([token]).decode(errors="replace") for token in range(BYTES.vocab_size)]
    assert [choice.text for choice in choices] == [shown[token] for token in ids]
    for choice, token, p_V in zip(choices, ids, probability_TV, strict=True):
        assert choice.probability == pytest.approx(p_V[token].item(), rel=1e-4)
        others = [i for i in p_V.argsort(descending=True).tolist() if i != token][:3]
        assert [p for _, p in choice.others] == pytest.approx(p_V[others].tolist(), rel=1e-4)
        assert [text for text, _ in choice.others] == [shown[i] for i in others]
    assert any(choice.probability < choice.others[0][1] for choice in choices), "no token but the likeliest was drawn"
    for choice in chat.why(runners_up=1000):
        assert len(choice.others) == BYTES.vocab_size - 1
        assert choice.probability + sum(p for _, p in choice.others) == pytest.approx(1, abs=1e-5)


def test_numbers_out_of_range_are_refused_at_the_start(model):
    with pytest.raises(ConfigError, match="--top-p 7"):
        Chat(model, BYTES, SamplingConfig(top_p=7.0))
