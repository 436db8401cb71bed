"""Questions about told facts, answered by a tiny model and scored."""

import pytest

from understudy.acting.engine import generate_plain
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import render_prompt
from understudy.data.tokenizers import BPETokenizer, ByteTokenizer
from understudy.evaluation import replies
from understudy.evaluation.recall import LONGEST_ANSWER, answers, shares_right
from understudy.tasks.smalltalk import Question, generate

BYTES = ByteTokenizer()


@pytest.fixture(scope="module")
def talks():
    return list(generate(3, 3, "valid"))


@pytest.fixture(scope="module")
def tokenizer(talks):
    return BPETokenizer.train([m.content for talk in talks for m in talk.conversation.messages], vocab_size=500)


@pytest.mark.parametrize("kind", ["lstm", "modern"])
def test_answers_do_not_depend_on_how_many_are_given_at_once(sharp_model, talks, tokenizer, monkeypatch, kind):
    model = sharp_model(kind, context=600, tokenizer=tokenizer)
    together = answers(model, tokenizer, talks)
    assert len(together) == sum(len(talk.questions) for talk in talks) > 5
    assert len({text for _, text in together}) > 3
    for at_once in (1, 4) if kind == "lstm" else (4,):
        monkeypatch.setattr(replies, "GENERATED_AT_ONCE", at_once)
        assert answers(model, tokenizer, talks) == together
    monkeypatch.undo()
    assert len(answers(model, tokenizer, talks, most=4)) == 4


def test_an_answer_is_the_greedy_reply_to_all_before_the_question(sharp_model, talks, tokenizer):
    model = sharp_model("modern", context=600, tokenizer=tokenizer)
    model.train()
    said = {question: talk.conversation.messages[: question.index] for talk in talks for question in talk.questions}
    found = answers(model, tokenizer, talks, most=2)
    assert model.training, "the mode was not put back"
    model.eval()
    config = SamplingConfig(temperature=0.0, max_tokens=LONGEST_ANSWER)
    for question, text in found:
        (expected,) = generate_plain(model, tokenizer, [render_prompt(said[question], tokenizer)], config)
        assert text == expected.text


def test_conversations_longer_than_the_context_lose_their_beginning_and_leave_room_for_the_answer(sharp_model, talks):
    longest = max(
        len(render_prompt(talk.conversation.messages[: q.index], BYTES)) for talk in talks for q in talk.questions
    )
    for context in (longest, longest - 20):
        found = answers(sharp_model("lstm", context=context, says=()), BYTES, talks)  # which never ends by itself
        assert len(found) == sum(len(talk.questions) for talk in talks)
        assert {len(text) for _, text in found} == {LONGEST_ANSWER}


def test_shares_are_counted_for_each_kind_of_question():
    name = Question(1, "recall", "name", "Ottoline", ("Mirela",))
    home = Question(3, "refuse", "home", "")
    far = Question(5, "recall", "name", "Μίφέ", ())
    answered = [(name, "Ottoline!"), (name, "Mirela."), (name, ""), (name, "ottoline"), (home, "You never told me.")]
    assert shares_right(answered) == {"recall": 0.5, "refuse": 1.0}
    assert shares_right([(name, "Mirela."), (far, "You're Μίφέ.")]) == {"recall": 0.5, "scripts": 1.0}
    assert shares_right([]) == {}
