"""What generation promises: with a cache, in ragged batches, it says what the plain path says, token for token."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.acting.engine import Engine, generate, generate_plain, prefill, seen_tokens
from understudy.acting.rows import RowState
from understudy.acting.sampling import SamplingConfig, make_generator, sample
from understudy.data.chat_template import render_prompt
from understudy.data.conversations import Message
from understudy.data.tokenizers import BPETokenizer, ByteTokenizer
from understudy.errors import TooLongError

BYTES = ByteTokenizer()
END = BYTES.special["<|end|>"]
GREEDY = SamplingConfig(temperature=0.0, max_tokens=16)
SAYINGS = ("hi", "what is it", "", "a rather long thing to say at once", "ho", "no", "well", "on and on")


def prompts(*sayings: str) -> list[list[int]]:
    return [render_prompt([Message("user", said)], BYTES) for said in sayings]


RAGGED = prompts(*SAYINGS)


@pytest.fixture(scope="module", params=["lstm", "modern", "gpt1", "gpt2"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind, sharp_model):
    return sharp_model(kind)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text("abc é<|>", max_size=20), min_size=1, max_size=4), st.sampled_from([1.0, 1.4, 0.8]))
def test_a_ragged_batch_says_what_each_prompt_says_alone_without_a_cache(model, sayings, penalty):
    config = SamplingConfig(temperature=0.0, max_tokens=8, repetition_penalty=penalty)
    batch = prompts(*sayings)
    assert generate(model, BYTES, batch, config) == generate_plain(model, BYTES, batch, config)


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig(temperature=1.0, max_tokens=12, sampling_seed=0),
        SamplingConfig(temperature=2.0, max_tokens=12, sampling_seed=1, repetition_penalty=1.5),
        SamplingConfig(temperature=1.5, max_tokens=12, sampling_seed=2, top_k=9, top_p=0.9, min_p=0.01),
    ],
)
def test_a_seed_draws_the_same_with_a_cache_and_without(model, config):
    for prompt in RAGGED[:3]:
        assert generate(model, BYTES, [prompt], config) == generate_plain(model, BYTES, [prompt], config)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text("abc é<|>", max_size=20), min_size=1, max_size=4), st.sampled_from([1, 2, 3]))
def test_no_run_of_tokens_comes_twice_where_that_is_asked_for(model, sayings, n):
    config = SamplingConfig(temperature=0.0, max_tokens=20, no_repeat_ngram=n)
    batch = prompts(*sayings)
    replies = generate(model, BYTES, batch, config)
    assert replies == generate_plain(model, BYTES, batch, config)
    for reply in replies:
        runs = [tuple(reply.ids[i : i + n]) for i in range(len(reply.ids) - n + 1)]
        ordinary = [run for run in runs if max(run) < END - 4]
        assert len(ordinary) == len(set(ordinary))


def test_models_say_runs_twice_where_nothing_keeps_them_from_it(sharp_model):
    """Else the test above proves nothing."""
    config = SamplingConfig(temperature=0.0, max_tokens=60)
    replies = generate(sharp_model("gpt1", says=()), BYTES, RAGGED, config)
    kept = generate(sharp_model("gpt1", says=()), BYTES, RAGGED, replace(config, no_repeat_ngram=3))
    assert any(len(set(zip(r.ids, r.ids[1:], r.ids[2:], strict=False))) < len(r.ids) - 2 for r in replies)
    assert all(len(set(zip(r.ids, r.ids[1:], r.ids[2:], strict=False))) == len(r.ids) - 2 for r in kept)


def test_a_penalty_never_falls_on_special_tokens(kind, sharp_model):
    model = sharp_model(kind, says=("<|end|>", "<|pad|>", "<|user|>", "<|system|>"))
    with torch.no_grad():
        model.embedding.weight[BYTES.special["<|pad|>"]] *= 2  # so that it is said
    config = SamplingConfig(temperature=0.0, max_tokens=16, repetition_penalty=3.0)
    replies = generate(model, BYTES, RAGGED, config)
    assert replies == generate_plain(model, BYTES, RAGGED, config)
    assert any(token > END for reply in replies for token in reply.ids), "no special token was said: this proves little"
    assert seen_tokens([*b"ab", END, BYTES.special["<|user|>"]], model).nonzero().tolist() == [[ord("a")], [ord("b")]]


def test_replies_end_by_the_end_token_or_by_the_limit(model):
    replies = generate(model, BYTES, RAGGED, GREEDY)
    assert replies == generate_plain(model, BYTES, RAGGED, GREEDY)
    assert len({reply.text for reply in replies}) > len(RAGGED) / 2, "prompts change little: these tests prove little"
    for reply in replies:
        assert END not in reply.ids
        assert reply.text == BYTES.decode(reply.ids)
        assert reply.finish_reason == ("length" if len(reply.ids) == GREEDY.max_tokens else "end")


def test_both_ends_occur(sharp_model):
    replies = [
        reply
        for kind in ("lstm", "modern", "gpt1", "gpt2")
        for reply in generate(sharp_model(kind), BYTES, RAGGED, GREEDY)
    ]
    assert {reply.finish_reason for reply in replies} == {"end", "length"}


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_reply_has_at_most_max_tokens(model, limit):
    config = SamplingConfig(temperature=0.0, max_tokens=limit)
    long = generate(model, BYTES, RAGGED, GREEDY)
    for reply, whole in zip(generate(model, BYTES, RAGGED, config), long, strict=True):
        assert reply.ids == whole.ids[:limit]
        assert reply.finish_reason == ("length" if len(whole.ids) >= limit else "end")


def test_a_reply_ends_with_the_context_whatever_its_neighbours_need(kind, sharp_model):
    model = sharp_model(kind, context=24, says=())
    config = SamplingConfig(temperature=0.0, max_tokens=1000)
    batch = prompts("x" * 19, "", "x" * 12, "x" * 18)
    assert [len(prompt) for prompt in batch] == [23, 4, 16, 22]
    replies = generate(model, BYTES, batch, config)
    assert replies == generate_plain(model, BYTES, batch, config)
    assert [len(reply.ids) for reply in replies] == [1, 20, 8, 2]
    assert {reply.finish_reason for reply in replies} == {"length"}
    alike = prompts("x" * 10, "y" * 10)  # both full at once
    assert generate(model, BYTES, alike, config) == generate_plain(model, BYTES, alike, config)


def test_a_prompt_that_fills_the_context_is_refused(kind, sharp_model):
    model = sharp_model(kind, context=24)
    for path in (generate, generate_plain):
        with pytest.raises(TooLongError, match="a prompt of 24 tokens leaves no room in the model's context of 24"):
            path(model, BYTES, prompts("hi", "x" * 20), GREEDY)


def test_nothing_to_answer(model):
    assert generate(model, BYTES, [], GREEDY) == []


def test_stop_texts_end_a_reply_before_them(model):
    plain = generate_plain(model, BYTES, RAGGED, GREEDY)
    row = max(range(len(RAGGED)), key=lambda i: (len(plain[i].text) >= 8, len(set(plain[i].text[:8]))))
    text = plain[row].text
    config = SamplingConfig(temperature=0.0, max_tokens=16, stop=("never said", text[5:8]))  # of three tokens
    replies = generate(model, BYTES, RAGGED, config)
    assert replies == generate_plain(model, BYTES, RAGGED, config)
    assert replies[row].finish_reason == "stop"
    assert replies[row].text == text.partition(text[5:8])[0]
    assert len(replies[row].ids) == len(replies[row].text) + 3  # it stopped at once
    for reply, whole in zip(replies, plain, strict=True):
        assert reply == whole or (reply.finish_reason == "stop" and whole.text.startswith(reply.text + text[5:8]))


def test_a_stop_text_may_end_inside_a_token(sharp_model):
    tokenizer = BPETokenizer.train(["the cat, the hat, that bat"] * 9, vocab_size=280)
    model = sharp_model("modern", tokenizer=tokenizer)
    prompt = render_prompt([Message("user", "hat")], tokenizer)
    (whole,) = generate_plain(model, tokenizer, [prompt], GREEDY)
    pieces = [tokenizer.bytes_of(token).decode() for token in whole.ids]
    index, long = next((i, piece) for i, piece in enumerate(pieces) if i and len(piece) > 2)
    stop = (pieces[index - 1][-1] + long[:2],)  # from the end of one token into the next
    config = SamplingConfig(temperature=0.0, max_tokens=16, stop=stop)
    (reply,) = generate(model, tokenizer, [prompt], config)
    assert [reply] == generate_plain(model, tokenizer, [prompt], config)
    assert (reply.finish_reason, reply.text) == ("stop", whole.text.partition(stop[0])[0])


def test_a_row_knows_nothing_of_its_neighbours(model):
    short, long, other = RAGGED[0], RAGGED[3], RAGGED[1]
    logits_BV, _ = prefill(model, [short, long])
    for batch in ([short, other], [short, RAGGED[2]], [short]):
        torch.testing.assert_close(prefill(model, batch)[0][0], logits_BV[0], rtol=0, atol=1e-10)
    changed = [long[0], *reversed(long[1:-1]), long[-1]]
    assert generate(model, BYTES, [short, long], GREEDY)[0] == generate(model, BYTES, [short, changed], GREEDY)[0]
    there_and_back = generate(model, BYTES, RAGGED[::-1], GREEDY)[::-1]
    assert there_and_back == generate(model, BYTES, RAGGED, GREEDY)


def test_each_token_is_computed_once(model):
    fed: list[int] = []
    hook = model.core.register_forward_pre_hook(lambda core, inputs: fed.append(inputs[0].shape[1]))
    longest = max(generate(model, BYTES, RAGGED, GREEDY), key=lambda reply: len(reply.ids))
    hook.remove()
    steps = len(longest.ids) - (longest.finish_reason == "length")  # the last token is not fed
    assert fed == [max(map(len, RAGGED))] + [1] * steps


def test_the_rows_of_one_call_draw_from_one_generator_in_turn(model):
    config = SamplingConfig(temperature=1.5, max_tokens=12, sampling_seed=4)
    generator = make_generator(config, torch.device("cpu"))
    rows = [list(prompt) for prompt in RAGGED]
    with torch.no_grad():
        for _ in range(config.max_tokens):
            logits_BV = torch.cat([model(torch.tensor([ids]))[0][:, -1] for ids in rows])
            for ids, token in zip(rows, sample(logits_BV, config, generator).tolist(), strict=True):
                ids.append(token)
    said = [ids[len(prompt) :] for ids, prompt in zip(rows, RAGGED, strict=True)]
    said = [ids[: ids.index(END)] if END in ids else ids for ids in said]
    assert [reply.ids for reply in generate(model, BYTES, RAGGED, config)] == said


OPTIONS = (
    GREEDY,
    SamplingConfig(temperature=1.0, max_tokens=9, sampling_seed=0),
    SamplingConfig(temperature=2.0, max_tokens=12, sampling_seed=1, repetition_penalty=1.5),
    SamplingConfig(temperature=1.5, max_tokens=5, sampling_seed=2, top_k=9, top_p=0.9, min_p=0.01),
    SamplingConfig(temperature=0.0, max_tokens=14, no_repeat_ngram=1, repetition_penalty=1.3),
    SamplingConfig(temperature=1.2, max_tokens=14, sampling_seed=3, no_repeat_ngram=2, stop=("a", "bc", "z")),
)


def test_text_streams_as_it_comes(model):
    for prompt, config in zip(RAGGED, OPTIONS, strict=False):
        row = RowState(model, BYTES, prompt, config, make_generator(config, torch.device("cpu")))
        engine = Engine(model, [row], *prefill(model, [row.prompt]))
        pieces = []
        while not row.finish_reason:
            engine.step()
            pieces.append(row.new_text())
        assert "".join(pieces) == row.completion().text == BYTES.decode(row.ids)[: len(row.text)]
        assert row.finish_reason == "stop" or row.text == BYTES.decode(row.ids)
