"""Continuous batching: whoever shares the batch, each reply is the one that the model alone would give."""

import threading
from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from understudy.acting.engine import generate, generate_plain
from understudy.acting.prefix_cache import BLOCK
from understudy.acting.sampling import SamplingConfig
from understudy.acting.scheduler import PIECE, Request, Scheduler, Ticket, TokenInfo, Update
from understudy.data.chat_template import render_prompt
from understudy.data.conversations import Message
from understudy.data.tokenizers import ByteTokenizer
from understudy.errors import ConfigError, QueueFullError, TooLongError

BYTES = ByteTokenizer()
GREEDY = SamplingConfig(temperature=0.0, max_tokens=16)
OPTIONS = (
    GREEDY,
    SamplingConfig(temperature=1.0, max_tokens=9, sampling_seed=0),
    SamplingConfig(temperature=2.0, max_tokens=12, sampling_seed=1, repetition_penalty=1.5),
    SamplingConfig(temperature=1.5, max_tokens=5, sampling_seed=2, top_k=9, top_p=0.9, min_p=0.01),
    SamplingConfig(temperature=0.0, max_tokens=14, no_repeat_ngram=1, repetition_penalty=1.3),
    SamplingConfig(temperature=1.2, max_tokens=14, sampling_seed=3, no_repeat_ngram=2, stop=("a", "bc", "z")),
)
SAYINGS = [
    "hi",
    "what is it",
    "",
    "a rather long thing to say at once " * 2,
    "ho",
    "well",
    "on and on " * 5,
    "no",
    "x" * 70,
]


def prompt(said: str) -> list[int]:
    return render_prompt([Message("user", said)], BYTES)


class Listener:
    """Collects what a scheduler says, by ticket."""

    def __init__(self, scheduler: Scheduler):
        self.scheduler = scheduler
        self.updates: dict[int, list[Update]] = defaultdict(list)
        self.order: list[int] = []
        self._ended = threading.Semaphore(0)
        self._count = 0

    def submit(self, request: Request, leaves: int = 1000) -> Ticket:
        """Ask for a reply, and leave after so many tokens of it."""
        number, self._count = self._count, self._count + 1
        came = 0

        def hear(update: Update) -> None:
            nonlocal came
            self.updates[number].append(update)
            came += len(update.tokens)
            if came >= leaves:
                self.scheduler.cancel(ticket)
            if update.finish_reason:
                self.order.append(number)
                self._ended.release()

        with self.scheduler._changed:  # nobody is told anything before the ticket is there
            ticket = self.scheduler.submit(request, hear)
        return ticket

    def wait(self) -> list[list[Update]]:
        """The updates of each request, once all have ended."""
        for _ in range(self._count - len(self.order)):
            assert self._ended.acquire(timeout=60), "a request got no answer"
        return [self.updates[number] for number in range(self._count)]


def ask(scheduler: Scheduler, *requests: Request) -> list[list[Update]]:
    listener = Listener(scheduler)
    for request in requests:
        listener.submit(request)
    return listener.wait()


def said(updates: list[Update]) -> tuple[list[int], str, str]:
    """Ids, text and finish reason of a reply."""
    ids = [token.id if isinstance(token, TokenInfo) else token for update in updates for token in update.tokens]
    assert [update for update in updates if update.finish_reason] == updates[-1:]
    return ids, "".join(update.text for update in updates), str(updates[-1].finish_reason)


def alone(model, request: Request) -> tuple[list[int], str, str]:
    (reply,) = generate_plain(model, BYTES, [request.prompt], request.config)
    return reply.ids, reply.text, reply.finish_reason


@pytest.fixture(scope="module", params=["lstm", "modern", "gpt1", "gpt2"])
def model(request, sharp_model):
    return sharp_model(request.param)


@pytest.fixture
def scheduler(model):
    made = Scheduler(model, BYTES, slots=3)
    yield made
    made.close(drain=False)


def test_everyone_gets_the_reply_that_the_model_gives_alone(scheduler, model):
    requests = [Request(prompt(text), OPTIONS[i % len(OPTIONS)]) for i, text in enumerate(SAYINGS * 2)]
    for request, updates in zip(requests, ask(scheduler, *requests), strict=True):
        assert said(updates) == alone(model, request)
    stats = scheduler.stats()
    assert (stats.queued, stats.running, stats.finished) == (0, 0, len(requests))
    assert max(stats.batch_sizes) == 3
    assert sum(size * steps for size, steps in stats.batch_sizes.items()) == stats.tokens_made


REQUESTS = st.lists(
    st.tuples(st.text("abc é<|>", max_size=40), st.sampled_from(OPTIONS), st.integers(1, 20)), min_size=1, max_size=7
)


@settings(max_examples=15, deadline=None)
@given(REQUESTS, st.integers(1, 3))
def test_requests_that_join_late_and_leave_early_say_what_each_says_alone(model, asked, slots):
    scheduler = Scheduler(model, BYTES, slots=slots)
    listener = Listener(scheduler)
    for text, config, leaves in asked:
        listener.submit(Request(prompt(text), config), leaves)
    for (text, config, leaves), updates in zip(asked, listener.wait(), strict=True):
        ids, written, reason = said(updates)
        expected = alone(model, Request(prompt(text), config))
        if reason == "cancelled":
            assert len(ids) == leaves
            assert ids == expected[0][:leaves]
        else:
            assert (ids, written, reason) == expected
    scheduler.close(drain=True)


def test_a_second_turn_computes_only_its_new_tokens(scheduler, model):
    first = Request(prompt("a rather long thing to say at once"), replace(GREEDY, max_tokens=9))
    (updates,) = ask(scheduler, first)
    ids, _, reason = said(updates)
    before = scheduler.stats()
    turn = [*first.prompt, *ids, BYTES.special["<|end|>"], *prompt("and?")]
    second = Request(turn, GREEDY)
    (updates,) = ask(scheduler, second)
    assert said(updates) == alone(model, second)
    fed = len(first.prompt) + len(ids) - (reason == "length")  # a reply's last token is fed to nothing
    assert updates[-1].cached_tokens == fed
    after = scheduler.stats()
    assert after.tokens_prefilled - before.tokens_prefilled == len(turn) - fed
    assert after.tokens_saved - before.tokens_saved == fed
    assert (before.prefix_hits, after.prefix_hits) == (0, 1)


def test_what_prompts_begin_with_is_computed_once(scheduler, model):
    system = "be " * 21
    ask(scheduler, Request(prompt(system + "a"), GREEDY))
    requests = [Request(prompt(system + letter), GREEDY) for letter in "bcdefg"]
    for request, updates in zip(requests, ask(scheduler, *requests), strict=True):
        assert updates[-1].cached_tokens == 2 * BLOCK
        assert said(updates) == alone(model, request)


@pytest.mark.parametrize("leaves", [False, True])
def test_what_prompts_that_come_together_begin_with_is_computed_once(model, leaves, monkeypatch):
    """Even if the one that computes it leaves in the middle: another takes over."""
    scheduler = Scheduler(model, BYTES, slots=6)
    listener = Listener(scheduler)
    requests = [Request(prompt("be " * 21 + letter * 9), GREEDY) for letter in "abcd"] + [Request(prompt("hi"), GREEDY)]
    with scheduler._changed:  # so that all join before the same step
        tickets = [listener.submit(request) for request in requests]
        feed = scheduler._batch.feed

        def feed_once(tokens, wanted):
            tickets[0].is_cancelled = leaves
            return feed(tokens, wanted)

        monkeypatch.setattr(scheduler._batch, "feed", feed_once)
    for request, updates in zip(requests[leaves:], listener.wait()[leaves:], strict=True):
        assert said(updates) == alone(model, request)
    sharing = 3 - leaves  # all but the one that computes, and the one that begins otherwise
    stats = scheduler.stats()
    in_vain = PIECE if leaves else 0
    assert stats.tokens_prefilled == sum(len(request.prompt) for request in requests[leaves:]) - sharing * 64 + in_vain
    assert stats.tokens_saved == sharing * 64
    scheduler.close(drain=True)


def test_prefixes_keep_within_their_bytes(model):
    ask(small := Scheduler(model, BYTES, slots=2), Request(prompt("x" * 70), GREEDY))
    room = small.stats().prefix_bytes
    small.close(drain=True)
    scheduler = Scheduler(model, BYTES, slots=2, prefix_bytes=room)
    requests = [Request(prompt(letter * 70), GREEDY) for letter in "abcdabcd"]
    for request, updates in zip(requests, ask(scheduler, *requests), strict=True):
        assert said(updates) == alone(model, request)
        assert scheduler.stats().prefix_bytes <= room
    scheduler.close(drain=True)


def test_without_room_for_prefixes_nothing_is_kept(model):
    scheduler = Scheduler(model, BYTES, slots=1, prefix_bytes=0)
    requests = [Request(prompt("x" * 70), GREEDY)] * 2
    for request, updates in zip(requests, ask(scheduler, *requests), strict=True):
        assert said(updates) == alone(model, request)
    assert scheduler.stats().tokens_saved == 0
    scheduler.close(drain=True)


def test_log_probabilities_are_the_models_own(scheduler, model):
    request = Request(prompt("hi"), SamplingConfig(temperature=2.0, max_tokens=5, sampling_seed=4, top_k=3), 2)
    (updates,) = ask(scheduler, request)
    ids, infos = list(request.prompt), [info for update in updates for info in update.tokens]
    assert infos
    for info in infos:
        logprob_V: Tensor = model(torch.tensor([ids]))[0][0, -1].detach().log_softmax(-1)
        assert info.logprob == pytest.approx(float(logprob_V[info.id]))
        best = logprob_V.topk(2)
        assert [token for token, _ in info.top] == best.indices.tolist()
        assert [logprob for _, logprob in info.top] == pytest.approx(best.values.tolist())
        ids.append(info.id)
    (updates,) = ask(scheduler, replace(request, top_logprobs=0))
    assert [info.id for update in updates for info in update.tokens] == [info.id for info in infos]
    assert {info.top for update in updates for info in update.tokens} == {()}


def test_in_float32_tokens_are_the_same_alone_and_among_31_others(sharp_model):
    """To the last bit: drawn from nearly flat distributions, tokens would differ soon if any number did."""
    model = sharp_model("modern").float()
    requests = [
        Request(
            prompt(text[:40] + "y" * number), SamplingConfig(temperature=50.0, max_tokens=30, sampling_seed=number), 0
        )
        for number, text in enumerate(SAYINGS[:8] * 4)
    ]
    scheduler = Scheduler(model, BYTES, slots=32)
    together = ask(scheduler, *requests)
    assert max(scheduler.stats().batch_sizes) > 16
    scheduler.close(drain=True)
    for request, among in zip(requests[:8], together, strict=False):
        scheduler = Scheduler(model, BYTES, slots=1)
        (alone,) = ask(scheduler, request)
        scheduler.close(drain=True)
        assert [update.tokens for update in alone] == [update.tokens for update in among]  # log-probabilities too
        assert said(alone) == said(among)


def test_greedy_replies_are_those_of_generate(sharp_model):
    model = sharp_model("gpt2").float()
    scheduler = Scheduler(model, BYTES)
    requests = [Request(prompt(text), GREEDY) for text in SAYINGS]
    replies = generate(model, BYTES, [request.prompt for request in requests], GREEDY)
    for reply, updates in zip(replies, ask(scheduler, *requests), strict=True):
        assert said(updates) == (reply.ids, reply.text, reply.finish_reason)
    scheduler.close(drain=True)


@pytest.fixture
def endless(sharp_model):
    """A scheduler of one slot whose model never ends by itself."""
    made = Scheduler(sharp_model("modern", context=4096, says=()), BYTES, slots=1, max_queue=3)
    yield made
    made.close(drain=False)


LONG = SamplingConfig(temperature=0.0, max_tokens=4000)


def test_a_cancelled_request_leaves_and_the_next_one_joins(endless):
    listener = Listener(endless)
    running, waiting = listener.submit(Request(prompt("hi"), LONG)), listener.submit(Request(prompt("hi"), LONG))
    listener.submit(Request(prompt("ho"), GREEDY))
    endless.cancel(waiting)
    endless.cancel(running)
    updates = listener.wait()
    assert [said(one)[2] for one in updates] == ["cancelled", "cancelled", "length"]
    assert not said(updates[1])[0]
    assert len(said(updates[0])[0]) < 4000
    endless.cancel(running)  # once more changes nothing
    assert [said(one)[2] for one in ask(endless, Request(prompt("ho"), GREEDY))] == ["length"]


def test_the_queue_is_bounded(endless):
    listener = Listener(endless)
    tickets = [listener.submit(Request(prompt("hi"), LONG))]
    while not listener.updates[0]:
        pass
    tickets += [listener.submit(Request(prompt("hi"), LONG)) for _ in range(3)]
    with pytest.raises(QueueFullError, match="3 requests wait already; try again in") as caught:
        endless.submit(Request(prompt("hi"), LONG), print)
    assert caught.value.retry_after >= 1
    for ticket in tickets:
        endless.cancel(ticket)
    listener.wait()
    ask(endless, Request(prompt("ho"), GREEDY))


def test_owners_are_served_in_turn(endless):
    listener = Listener(endless)
    blocker = listener.submit(Request(prompt("hi"), LONG))
    while not listener.updates[0]:
        pass
    for owner in ("ann", "ann", "bob"):
        listener.submit(Request(prompt("ho"), GREEDY, owner=owner))
    endless.cancel(blocker)
    listener.wait()
    assert listener.order == [0, 1, 3, 2]


def test_what_cannot_be_answered_is_refused_at_once(endless):
    with pytest.raises(TooLongError):
        endless.submit(Request([5] * 4096, GREEDY), print)
    with pytest.raises(ConfigError):
        endless.submit(Request(prompt("hi"), SamplingConfig(temperature=-1.0)), print)


def test_draining_finishes_what_runs(sharp_model):
    scheduler = Scheduler(sharp_model("gpt2", says=()), BYTES, slots=1)
    listener = Listener(scheduler)
    listener.submit(Request(prompt("hi"), replace(GREEDY, max_tokens=60)))
    while not listener.updates[0]:
        pass
    listener.submit(Request(prompt("ho"), GREEDY))
    scheduler.close(drain=True)
    assert [said(one)[2] for one in listener.wait()] == ["length", "cancelled"]
    with pytest.raises(QueueFullError, match="shutting down"):
        scheduler.submit(Request(prompt("hi"), GREEDY), print)


def test_closing_at_once_cancels_what_runs(sharp_model):
    scheduler = Scheduler(sharp_model("modern", context=4096, says=()), BYTES, slots=1)
    listener = Listener(scheduler)
    listener.submit(Request(prompt("hi"), LONG))
    scheduler.close(drain=False)
    assert [said(one)[2] for one in listener.wait()] == ["cancelled"]


def test_a_model_that_breaks_is_an_answer_too(sharp_model):
    model = sharp_model("gpt2")
    scheduler = Scheduler(model, BYTES, slots=2)
    with torch.no_grad():
        model.embedding.weight[BYTES.special["<|user|>"]] = float("nan")
    drawn = replace(GREEDY, temperature=1.0)
    broken, whole = ask(scheduler, Request(prompt("hi"), drawn), Request(prompt("hi"), drawn))
    assert broken[-1].finish_reason == whole[-1].finish_reason == "error"
    assert "not numbers" in broken[-1].error
    scheduler.close(drain=True)


def test_one_who_does_not_listen_holds_nobody_up(scheduler, model):
    def deaf(update: Update) -> None:
        raise RuntimeError("gone")

    scheduler.submit(Request(prompt("hi"), OPTIONS[2]), deaf)
    request = Request(prompt("hi"), GREEDY)
    assert said(ask(scheduler, request)[0]) == alone(model, request)
