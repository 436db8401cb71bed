"""OpenAI's own client, unchanged, against our server."""

import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from understudy.acting.engine import generate
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import render_prompt, truncate_prompt
from understudy.data.conversations import Message
from understudy.serving.sample import text_prompt

HI = [{"role": "user", "content": "hi"}]
GREEDY: dict[str, Any] = {"model": "chatty", "messages": HI, "temperature": 0, "max_tokens": 8}


@pytest.fixture
def greedy(models) -> str:
    """What `understudy sample` says to "hi"."""
    loaded = models["chatty"].loaded
    prompt = render_prompt([Message("user", "hi")], loaded.tokenizer)
    return generate(loaded.model, loaded.tokenizer, [prompt], SamplingConfig(temperature=0, max_tokens=8))[0].text


def test_a_chat(client, greedy):
    done = client.chat.completions.create(**GREEDY)
    choice = done.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", greedy, "length")
    assert (done.object, done.model) == ("chat.completion", "chatty")
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (6, 8, 14)
    assert done.understudy == {"dropped_messages": 0}


def test_the_next_turn_takes_the_reply_as_it_came_and_computes_only_what_is_new(client):
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello " * 12}]
    done = client.chat.completions.create(**GREEDY | {"messages": said})
    said += [done.choices[0].message, {"role": "user", "content": [{"type": "text", "text": "and"}]}]
    usage = client.chat.completions.create(**GREEDY | {"messages": said}).usage
    assert usage.prompt_tokens - 16 <= usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens


def test_streaming_gives_the_same_piece_by_piece(client, greedy):
    pieces = list(client.chat.completions.create(**GREEDY, stream=True))
    assert pieces[0].choices[0].delta.role == "assistant"
    assert pieces[0].understudy == {"dropped_messages": 0}
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == greedy
    assert len(pieces) >= 8
    assert [piece.choices[0].finish_reason for piece in pieces] == [None] * (len(pieces) - 1) + ["length"]
    assert len({piece.id for piece in pieces}) == 1
    assert all(piece.usage is None for piece in pieces)


def test_a_stream_tells_the_usage_where_it_is_asked_to(client):
    whole = client.chat.completions.create(**GREEDY)
    *pieces, last = client.chat.completions.create(**GREEDY, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert all(piece.usage is None for piece in pieces)


def test_stop_texts(client, greedy):
    middle = greedy[3:5]
    for stop in (middle, ["never said", middle]):
        for stream in (False, True):
            done = client.chat.completions.create(**GREEDY, stop=stop, stream=stream)
            if stream:
                pieces = list(done)
                text, reason = joined(iter(pieces)), pieces[-1].choices[0].finish_reason
            else:
                text, reason = done.choices[0].message.content, done.choices[0].finish_reason
            assert (text, reason) == (greedy.partition(middle)[0], "stop")


def joined(pieces: Iterator[Any]) -> str:
    return "".join(piece.choices[0].delta.content or "" for piece in pieces)


def test_several_choices(client):
    asked = GREEDY | {"temperature": 1, "n": 3, "seed": 7}
    whole = [choice.message.content for choice in client.chat.completions.create(**asked).choices]
    assert len(set(whole)) == 3
    streamed = ["", "", ""]
    for piece in client.chat.completions.create(**asked, stream=True):
        for choice in piece.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == whole
    # The first choice is what is drawn where only one is wanted.
    assert client.chat.completions.create(**asked | {"n": 1}).choices[0].message.content == whole[0]


@pytest.mark.parametrize("seed", [0, -5, 2**53])
def test_a_seed_draws_the_same_again(client, seed):
    asked = GREEDY | {"temperature": 1.5, "max_completion_tokens": 20, "seed": seed}
    del asked["max_tokens"]
    first, again, other = (
        client.chat.completions.create(**asked | more).choices[0].message.content
        for more in ({}, {}, {"seed": seed // 2 + 3})
    )
    assert first == again != other


def test_log_probabilities(client, greedy):
    choice = client.chat.completions.create(**GREEDY, logprobs=True, top_logprobs=3).choices[0]
    told = choice.logprobs.content
    assert "".join(token.token for token in told) == greedy
    for token in told:
        assert bytes(token.bytes).decode() == token.token
        assert len(token.top_logprobs) == 3
        # At temperature 0 the likeliest was taken.
        assert (token.top_logprobs[0].token, token.top_logprobs[0].logprob) == (token.token, token.logprob)
        assert sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1.0001
    streamed = [
        token
        for piece in client.chat.completions.create(**GREEDY, logprobs=True, top_logprobs=3, stream=True)
        for token in (piece.choices[0].logprobs.content if piece.choices[0].logprobs else [])
    ]
    assert streamed == told
    assert client.chat.completions.create(**GREEDY, logprobs=True).choices[0].logprobs.content[0].top_logprobs == []


def test_old_messages_that_no_longer_fit_are_dropped_whole_and_counted(client, models):
    loaded = models["chatty"].loaded
    said = [{"role": "system", "content": "s"}]
    for number in range(20):
        said += [{"role": "user", "content": f"{number} " * 5}, {"role": "assistant", "content": "yes"}]
    said += [{"role": "user", "content": "well"}]
    messages = [Message(**one) for one in said]
    kept, dropped = truncate_prompt(messages, loaded.tokenizer, loaded.model.context, 8)
    assert dropped > 0
    whole = client.chat.completions.create(**GREEDY | {"messages": said})
    assert whole.understudy == {"dropped_messages": dropped}
    assert whole.usage.prompt_tokens == len(render_prompt(kept, loaded.tokenizer))
    first = next(iter(client.chat.completions.create(**GREEDY | {"messages": said}, stream=True)))
    assert first.understudy == {"dropped_messages": dropped}


def test_texts_are_continued(client, models):
    loaded = models["writer"].loaded
    config = SamplingConfig(temperature=0, max_tokens=6)
    prompts = [text_prompt(loaded, text) for text in ("once upon", "the")]
    expected = [one.text for one in generate(loaded.model, loaded.tokenizer, prompts, config)]
    for prompt in (["once upon", "the"], prompts):
        done = client.completions.create(model="writer", prompt=prompt, temperature=0, max_tokens=6)
        assert [choice.text for choice in done.choices] == expected
    for stream in (False, True):
        done = client.completions.create(
            model="writer", prompt="once upon", temperature=0, max_tokens=6, logprobs=2, stream=stream
        )
        choices = [piece.choices[0] for piece in done] if stream else [done.choices[0]]
        assert "".join(choice.text for choice in choices) == expected[0]
        tokens = [token for choice in choices for token in choice.logprobs.tokens]
        assert "".join(tokens) == expected[0]
        assert [at for choice in choices for at in choice.logprobs.text_offset] == list(range(6))
        likeliest = [top for choice in choices for top in choice.logprobs.top_logprobs]
        assert all(token in top and len(top) == 2 for token, top in zip(tokens, likeliest, strict=True))


def test_models(client):
    assert [model.id for model in client.models.list()] == ["chatty", "writer"]
    assert client.models.retrieve("writer").owned_by == "understudy"


MISTAKES: list[tuple[dict[str, Any], type[openai.APIStatusError], str | None, str]] = [
    ({"model": "chaty"}, openai.NotFoundError, "model", "did you mean chatty?"),
    ({"model": "writer"}, openai.BadRequestError, "model", "use /v1/completions"),
    ({"messages": []}, openai.BadRequestError, "messages", "at least 1 item"),
    ({"messages": [{"role": "tool", "content": "x"}]}, openai.BadRequestError, "messages[0].role", "'system'"),
    ({"messages": [{"role": "user", "content": "a" * 300}]}, openai.BadRequestError, None, "shorten it"),
    ({"temperature": 3}, openai.BadRequestError, "temperature", "less than or equal to 2"),
    ({"temperature": "hot"}, openai.BadRequestError, "temperature", "number"),
    ({"n": 0}, openai.BadRequestError, "n", "greater than or equal to 1"),
    ({"stop": ""}, openai.BadRequestError, "stop", "at least 1 character"),
    ({"top_logprobs": 2}, openai.BadRequestError, "top_logprobs", "logprobs: true"),
    ({"max_completion_tokens": 3}, openai.BadRequestError, "max_tokens", "give one of them"),
    ({"stream_options": {"include_usage": True}}, openai.BadRequestError, "stream_options", "stream: true"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "tools", "not supported"),
    ({"response_format": {"type": "json_object"}}, openai.BadRequestError, "response_format", "not supported"),
    ({"frequency_penalty": 0.5}, openai.BadRequestError, "frequency_penalty", "not supported"),
    ({"extra_body": {"best": 1}}, openai.BadRequestError, "best", "'best' is not a field"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        openai.BadRequestError,
        "messages[0].content[0].type",
        "expected 'text', not 'image_url'",
    ),
]


@pytest.mark.parametrize(("more", "kind", "param", "words"), MISTAKES, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("stream", [False, True])
def test_a_mistake_is_named(client, more, kind, param, words, stream):
    if stream and "stream_options" in more:
        pytest.skip("which is right in a stream")
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**GREEDY | {"stream": stream} | more)
    assert words in caught.value.body["message"]
    assert caught.value.body["type"] == "invalid_request_error"
    assert param is None or caught.value.param == param


def test_what_asks_for_nothing_is_taken(client, greedy):
    done = client.chat.completions.create(
        **GREEDY, tools=[], tool_choice="none", response_format={"type": "text"}, frequency_penalty=0.0,
        presence_penalty=0, logit_bias={}, store=False, user="me", n=1, stop=None, seed=None, modalities=["text"],
    )  # fmt: skip
    assert done.choices[0].message.content == greedy


@pytest.mark.slow
def test_litellm_streams_a_chat(address, greedy, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it asks GitHub for prices
    litellm = pytest.importorskip("litellm")
    asked = GREEDY | {"model": "openai/chatty", "api_base": f"{address}/v1", "api_key": "any"}
    assert litellm.completion(**asked).choices[0].message.content == greedy
    assert joined(litellm.completion(**asked, stream=True)) == greedy
    with pytest.raises(litellm.BadRequestError, match="shorten it"):
        litellm.completion(**asked | {"messages": [{"role": "user", "content": "a" * 300}]}, num_retries=0)
