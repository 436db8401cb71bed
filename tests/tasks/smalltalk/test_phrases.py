import re
from string import Formatter

import pytest

from understudy.tasks.smalltalk.phrases import TOPICS, beyond, chat, closed_words, others, questions
from understudy.tasks.smalltalk.topic import Exchange, Topic

USER_FIELDS = ("tell", "tell_asking", "short", "polar_short", "terse", "ask", "terse_ask", "polar", "when", "fix")
USER_FIELDS += ("check", "check_about", "have")
ASSISTANT_FIELDS = (
    "prompt",
    "polar_prompt",
    "echo",
    "echo_answering",
    "reply",
    "fix_echo",
    "when_reply",
    "liking",
    "lack",
)
SLOTS = {"x", "xa", "v", "V", "va", "Va", "vs", "a", "A", "aa", "Aa", "as", "As", "d", "p", "y"}


def lines(topic: Topic, fields: tuple[str, ...]) -> list[str]:
    return [line for field in fields for line in getattr(topic, field)]


def exchanges() -> list[Exchange]:
    said = [*beyond.asks, *beyond.tells, *chat.chats, *chat.self, chat.after_recall, chat.after_joke, chat.declines]
    return said + [more for topic in TOPICS.values() for more in topic.more]


def tables() -> list[tuple[str, tuple[str, ...]]]:
    tables = {name: table for file in (beyond, chat, others, questions) for name, table in vars(file).items()}
    return [(name, table) for name, table in tables.items() if isinstance(table, tuple)]


def test_there_are_hundreds_of_phrasings_on_both_sides():
    user = {line for topic in TOPICS.values() for line in lines(topic, USER_FIELDS)}
    user |= {line for said in exchanges() for line in said.user}
    assistant = {line for topic in TOPICS.values() for line in lines(topic, ASSISTANT_FIELDS)}
    assistant |= {line for said in exchanges() for line in said.reply}
    assert len(user) > 600
    assert len(assistant) > 400


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_topics_are_complete_sentences_with_known_slots(topic: Topic):
    for line in lines(topic, (*USER_FIELDS, *ASSISTANT_FIELDS)):
        assert re.search(r"[.!?]$", line), line
        assert re.match(r"[A-Z]|\{[A-Zvp]", line), line
        assert {name for _, name, _, _ in Formatter().parse(line) if name} <= SLOTS


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_nouns_and_clauses_fit_into_sentences(topic: Topic):
    for line in (*topic.mine, *topic.clause, topic.yours):
        assert not re.search(r"[.!?]$", line), line
        assert re.match(r"[a-z{]|I\b", line), line


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_questions_never_hold_the_value(topic: Topic):
    for line in (*topic.ask, *topic.terse_ask, *topic.polar, *topic.mine):
        assert not re.search(r"\{[vV]", line), line
    for line in topic.when:
        assert "{v}" in line, line
        assert "{a}" not in line, line


@pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
def test_answers_say_the_value(topic: Topic):
    for line in topic.reply:
        assert re.search(r"\{([vV]|va|Va)\}", line), line
    assert not topic.reply[0].startswith("{"), "the plainest form is a full sentence"


def test_no_line_fell_apart_into_letters():
    """A line that lacks its brackets is a string, and would be said letter by letter."""
    for name, table in tables():
        assert all(not isinstance(line, str) or len(line) > 2 for line in table), name
    for topic in TOPICS.values():
        assert all(len(line) > 2 for line in lines(topic, (*USER_FIELDS, *ASSISTANT_FIELDS)))
    for said in exchanges():
        assert isinstance(said.user, tuple), said
        assert isinstance(said.reply, tuple), said


def test_every_answer_kind_asked_for_is_known():
    assert {said.then for said in exchanges() if said.then} <= set(chat.answers)


def test_closed_words_hold_what_is_said_and_listed():
    assert {"remember", "pancakes", "plumber", "saturday", "guitar", "bicycle"} <= closed_words()
    assert not {"v", "aa", "mine", "ottoline"} & closed_words() - {"mine"}
