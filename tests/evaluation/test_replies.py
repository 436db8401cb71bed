"""The model in the place of the one who replied: which turns there are, what stands beside the true reply, and hits."""

import numpy as np
import pytest

from understudy.acting.engine import generate_plain
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import render, render_prompt
from understudy.data.conversations import Conversation, Message
from understudy.data.tokenizers import ByteTokenizer
from understudy.evaluation import replies
from understudy.evaluation.metrics import hit, plain_words
from understudy.evaluation.ranking import candidate_scores
from understudy.evaluation.replies import CANDIDATES, Turn, distractors, hits, own_replies, own_turns, turns_of
from understudy.models.language_model import LanguageModel

BYTES = ByteTokenizer()
END = BYTES.special["<|end|>"]
ROLES = ("user", "assistant")


def talk(*said: str) -> Conversation:
    return Conversation(tuple(Message(ROLES[i % 2], text) for i, text in enumerate(said)))


def turns_in(*conversations: Conversation) -> list[Turn]:
    return turns_of(((i, render(each, BYTES)) for i, each in enumerate(conversations)), BYTES)


@pytest.fixture(scope="module")
def turns() -> list[Turn]:
    random = np.random.default_rng(2)
    texts = ["".join(random.choice([*"abcdefgh"], 5)) for _ in range(60)]
    return turns_in(*(talk("hi", one, "no", two) for one, two in zip(texts[::2], texts[1::2], strict=True)))


def silent() -> None:
    pass


def test_turns_are_the_assistants_replies_with_all_before_them():
    conversation = Conversation(
        (Message("system", "be"), Message("user", "hi"), Message("assistant", "yo"), Message("assistant", ""))
    )
    first, second = turns_in(conversation)
    assert first.prompt == render_prompt(conversation.messages[:2], BYTES)
    assert (first.reply, first.text) == ([*b"yo", END], "yo")
    assert second.prompt == render_prompt(conversation.messages[:3], BYTES)
    assert (second.reply, second.text) == ([END], "")
    assert first.earlier(BYTES) == []
    assert second.earlier(BYTES) == ["yo"]
    assert turns_in(talk("nobody answers")) == []


def test_distractors_are_other_replies_of_other_conversations_each_once(turns):
    alike = Turn(99, [], [*b"The ", *turns[0].reply], f"The {turns[0].text.upper()}!")  # which ConvAI2 takes for equal
    pool = [*turns, alike]
    random = np.random.default_rng(0)
    for turn in [*turns, *turns[:1] * 20]:
        found = distractors(turn, pool, random)
        assert found is not None
        texts = [" ".join(plain_words(BYTES.decode(reply))) for reply in found]
        assert len(set(texts)) == len(texts) == CANDIDATES - 1
        own = [other.reply for other in turns if other.conversation == turn.conversation]
        assert not any(reply in own for reply in found)
        assert " ".join(plain_words(turn.text)) not in texts
    few = [turn for turn in turns if turn.conversation < CANDIDATES // 2]  # two replies each, less those of one
    assert distractors(few[0], few, random) is None


def test_distractors_come_by_chance_alike_from_all(turns):
    random = np.random.default_rng(1)
    drawn = [tuple(reply) for _ in range(600) for reply in distractors(turns[0], turns, random)]
    counts = {reply: drawn.count(reply) for reply in set(drawn)}
    assert len(counts) == len(turns) - 2
    assert min(counts.values()) > 0.75 * len(drawn) / len(counts)


@pytest.mark.parametrize("kind", ["lstm", "modern"])
def test_hits_are_those_of_each_turn_scored_by_itself(sharp_model, turns, kind):
    model: LanguageModel = sharp_model(kind)
    model.train()
    found = hits(model, turns, turns, 7, silent)
    assert model.training, "the mode was not put back"
    model.eval()
    random = np.random.default_rng(7)
    expected = []
    for turn in turns:
        others = distractors(turn, turns, random)
        assert others
        expected.append(hit(candidate_scores(model, turn.prompt, [turn.reply, *others]).tolist()))
    assert found == expected
    assert 0 < sum(found) < len(found), "always the same: this proves little"
    assert found == hits(model, turns, turns, 7, silent) != hits(model, turns, turns, 8, silent)


def test_long_candidates_are_cut_to_what_the_context_leaves(sharp_model, turns):
    longest = max(len(turn.prompt) + len(turn.reply) for turn in turns)
    pool = [*turns, *turns_in(*(talk("hi", f"{letter}" * 60) for letter in "abcdef"))]
    model = sharp_model("gpt2", context=longest)
    assert len(hits(model, turns, pool, 0, silent) or []) == len(turns)


def test_too_few_replies_to_choose_from_give_no_hits(sharp_model, turns):
    assert hits(sharp_model("gpt1"), turns[:4], turns[:4], 0, silent) is None


@pytest.mark.parametrize("kind", ["lstm", "modern"])
def test_the_model_replies_to_what_was_said_before_each_reply(sharp_model, turns, kind, monkeypatch):
    model, config = sharp_model(kind), SamplingConfig(temperature=0.0, max_tokens=9)
    prompts = [turn.prompt for turn in turns]
    expected = [reply.text for reply in generate_plain(model, BYTES, prompts, config)]
    assert len(set(expected)) > 5
    steps: list[int] = []
    assert own_replies(model, BYTES, prompts, config, lambda: steps.append(1)) == expected
    assert len(steps) == len(turns)
    monkeypatch.setattr(replies, "GENERATED_AT_ONCE", 5)
    assert own_replies(model, BYTES, prompts, config, silent) == expected


def test_own_turns_are_the_assistants_alone():
    messages = [Message("system", "be kind"), Message("user", "hi"), Message("assistant", "yo"), Message("user", "so")]
    assert own_turns(render_prompt(messages, BYTES), BYTES) == [[*b"yo"], []]
    assert own_turns([BYTES.special["<|bos|>"], *b"some text"], BYTES) == []
    assert own_turns([*render_prompt(messages, BYTES), *b"an"], BYTES) == [[*b"yo"], [*b"an"]]
