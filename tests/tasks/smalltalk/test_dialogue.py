import re
from collections import Counter
from functools import cache
from itertools import pairwise

import pytest

from understudy.tasks.smalltalk import DEMO_LINES, SmallTalk, generate, is_right, refuses, split_of, words
from understudy.tasks.smalltalk.dialogue import small_talk
from understudy.tasks.smalltalk.mix import MIX
from understudy.tasks.smalltalk.phrases import closed_words
from understudy.tasks.smalltalk.style import draw_style
from understudy.tasks.smalltalk.topic import read_toml
from understudy.tasks.smalltalk.world import combination_split

SPLITS = ("train", "valid", "test")
OPEN_TOPICS = ("name", "home", "pet", "kin", "pair")
REGISTERS = ("neat", "casual", "lower", "chatty", "formal", "terse")


@cache
def talks(split: str, count: int = 2000, seed: int = 3) -> tuple[SmallTalk, ...]:
    return tuple(generate(count, seed, split))


def everything() -> list[SmallTalk]:
    return [talk for split in SPLITS for talk in talks(split)]


def said(talk: SmallTalk, role: str) -> list[str]:
    return [message.content for message in talk.conversation.messages if message.role == role]


def words_of(talk: SmallTalk) -> set[str]:
    return {
        word for message in talk.conversation.messages for word in re.findall(r"[^\W\d_]+", message.content.lower())
    }


def open_words(split: str) -> set[str]:
    """Every word of a told name, town or pet name, in lower case."""
    values = (
        value
        for talk in talks(split)
        for question in talk.questions
        if question.topic in OPEN_TOPICS and question.kind == "recall"
        for value in (question.answer, *question.distractors)
    )
    firsts = {"port", "new", "saint", "lake", "san", "east", "old", "fort", "and"}
    return {word for value in values for word in value.lower().split()} - firsts


def test_same_arguments_give_the_same_conversations():
    assert list(generate(40, 7, "train")) == list(generate(40, 7, "train"))


def test_a_conversation_depends_on_seed_split_and_index_alone():
    first_forty = list(generate(40, 7, "valid"))
    assert [small_talk(7, "valid", index) for index in reversed(range(40))] == first_forty[::-1]
    assert small_talk(8, "valid", 0) != first_forty[0] != small_talk(7, "test", 0)


def test_turns_alternate_from_user_to_assistant():
    for talk in everything():
        roles = [message.role for message in talk.conversation.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_lines_are_tidy():
    for talk in everything():
        for message in talk.conversation.messages:
            assert message.content.strip() == message.content != ""
            assert not re.search(r"[{}]|  | [.,!?]|None", message.content), message.content


def test_the_assistant_writes_correct_articles_and_plurals():
    slips = re.compile(r"\ba (?=[aeiou])|\ban (?=[^aeiou])|\b1 years|\bone years|\bone pets|\b(two|three) pet\b", re.I)
    lines = [line for talk in everything() for line in said(talk, "assistant")]
    assert not [line for line in lines if slips.search(line.replace("a ukulele", ""))]


def test_questions_point_at_assistant_messages():
    for talk in everything():
        for question in talk.questions:
            assert talk.conversation.messages[question.index].role == "assistant"


def test_own_replies_are_right():
    for talk in everything():
        for question in talk.questions:
            reply = talk.conversation.messages[question.index].content
            assert is_right(question, reply), (question, reply)


def test_replies_naming_another_value_or_none_are_wrong():
    for talk in everything():
        for question in talk.questions:
            reply = talk.conversation.messages[question.index].content
            assert not is_right(question, "That's a good question!")
            assert question.kind == "refuse" or not is_right(question, "I don't know.")
            for distractor in question.distractors:
                assert not is_right(question, f"It's {distractor}.")
                assert not is_right(question, f"{reply} Or {distractor}.")


def test_replies_of_other_conversations_are_wrong():
    """The answer to the same question, heard elsewhere, never scores where the true value differs."""
    heard: dict[str, str] = {}
    compared = 0
    for talk in everything():
        for question in talk.questions:
            if question.kind == "recall" and question.topic in OPEN_TOPICS:
                elsewhere = heard.get(question.topic, "")
                if question.answer.lower() not in elsewhere.lower():
                    compared += 1
                    assert not is_right(question, elsewhere)
                heard[question.topic] = talk.conversation.messages[question.index].content
    assert compared > 5000


def test_refusals_name_no_told_value():
    for talk in everything():
        for question in talk.questions:
            reply = talk.conversation.messages[question.index].content
            assert refuses(reply) == (question.kind == "refuse")


def test_recall_questions_do_not_give_the_answer_away():
    for talk in everything():
        for question in talk.questions:
            if question.kind == "recall" and question.answer != "one":  # "One more thing: how old is Bix?"
                asked = talk.conversation.messages[question.index - 1].content.lower()
                assert not re.search(rf"\b{re.escape(question.answer.lower())}\b", asked), (question, asked)


def test_recalled_values_were_told_before_in_the_same_spelling():
    for talk in everything():
        for question in talk.questions:
            if question.kind == "recall" and question.topic in OPEN_TOPICS:
                messages = talk.conversation.messages[: question.index]
                assert any(question.answer in message.content for message in messages if message.role == "user")
                assert question.answer in talk.conversation.messages[question.index].content


def test_corrected_values_are_distractors():
    """ "Actually, my name is B": from then on B is right and A is wrong."""
    found = 0
    for talk in everything():
        names = [q for q in talk.questions if q.topic == "name" and q.kind == "recall"]
        for earlier, later in pairwise(names):
            if earlier.answer.lower() != later.answer.lower():
                found += 1
                assert earlier.answer in later.distractors
    assert found > 5


@pytest.mark.parametrize("held_out", ["valid", "test"])
def test_open_words_of_a_split_occur_in_no_other(held_out: str):
    own = open_words(held_out)
    assert len(own) > 600
    assert {split_of(word) for word in own} == {held_out}
    heard_in_training = set().union(*(words_of(talk) for talk in talks("train", 4000)))
    assert not own & heard_in_training


def test_words_that_training_never_shows_are_held_out_names():
    """The other way round: whatever else is said in the test split is also said in training."""
    known = set().union(*(words_of(talk) for talk in talks("train", 4000))) | closed_words()
    unknown = set().union(*(words_of(talk) for talk in talks("test"))) - known
    slips = re.compile(f"^(im|ive|ill|id|.*s|{'|'.join(read_toml('style.toml')['slips'].values())})$")
    assert {split_of(word) for word in unknown if not slips.match(word)} == {"test"}


def test_combinations_of_closed_facts_belong_to_the_split():
    for split in SPLITS:
        seen = Counter()
        for talk in talks(split):
            facts = {}
            for question in talk.questions:
                if question.kind == "recall":
                    facts.setdefault(question.topic, []).append((question.answer, talk.conversation, question.index))
            for job, *_ in facts.get("job", ()):
                for hobby, *_ in facts.get("hobby", ()):
                    seen["spare"] += 1
                    assert combination_split("spare", job, hobby) == split
            for activity, conversation, index in facts.get("plan", ()):
                line = conversation.messages[index - 1].content.lower()
                whens = [when for when, day in words.DAYS.items() if day.lower() in line]
                if len(whens) == 1:
                    seen["planned"] += 1
                    assert combination_split("planned", whens[0], activity) == split
        assert seen["spare"] > 5
        assert seen["planned"] > 50


def test_ages_told_of_pets_belong_to_the_split():
    digits = {word: str(number) for number, word in enumerate(words.NUMBERS)}
    pattern = re.compile(rf"Your ({'|'.join(words.PETS)}) is (\w+)\.")
    for split in SPLITS:
        told = [
            found.groups()
            for talk in talks(split)
            for line in said(talk, "assistant")
            for found in pattern.finditer(line)
        ]
        assert len(told) > 20
        for kind, age in told:
            assert combination_split("aged", kind, digits.get(age, age)) == split


def test_lengths_suit_a_context_of_512_tokens():
    """About three characters are a token; two more tokens frame each message."""
    sizes = [sum(len(m.content) / 3 + 2 for m in talk.conversation.messages) for talk in everything()]
    assert max(sizes) < 480
    assert 120 < sum(sizes) / len(sizes) < 260


def test_most_conversations_ask_for_two_to_six_facts():
    recalls = Counter(sum(question.kind == "recall" for question in talk.questions) for talk in everything())
    assert sum(recalls[number] for number in range(2, 7)) > 0.9 * sum(recalls.values())


def test_questions_come_at_all_distances():
    distances = Counter()
    for talk in talks("train"):
        lines = [message.content.lower() for message in talk.conversation.messages]
        for question in talk.questions:
            if question.kind == "recall" and question.topic == "name":
                told = next(i for i, line in enumerate(lines) if question.answer.lower() in line)
                distances[(question.index - told) // 2] += 1
    assert all(distances[turns] > 10 for turns in range(1, 10))
    assert distances[1] < 0.5 * sum(distances.values())


def test_every_kind_of_question_occurs():
    kinds = Counter(question.kind for talk in everything() for question in talk.questions)
    assert set(kinds) == {"recall", "who", "yes_no", "compare", "count", "refuse"}
    assert min(kinds.values()) > 100


def test_yes_and_no_follow_from_what_was_told():
    """An independent reading of "Is my name X?" and "Is X a dog?", by the answers to other questions."""
    name = re.compile(r"^is my name (.+)\?$", re.I)
    kind = re.compile(r"^is (?!it true)(.+) (?:a|an|my) ([a-z ]+)\?$", re.I)
    checked = Counter()
    for talk in everything():
        for question in (q for q in talk.questions if q.kind == "yes_no"):
            asked, reply = (message.content for message in talk.conversation.messages[question.index - 1 :][:2])
            if (asks := name.match(asked)) and (says := re.match(r"(Yes|No), your name is (.+)\.$", reply)):
                checked[says[1]] += 1
                assert (says[1] == "Yes") == (asks[1].lower() == says[2].lower()), (asked, reply)
            elif (asks := kind.match(asked)) and (says := re.match(r"(Yes|No), (.+) is your (.+)\.$", reply)):
                checked[says[1]] += 1
                assert asks[1].lower() == says[2].lower()
                assert (says[1] == "Yes") == (asks[2] == says[3]), (asked, reply)
    assert min(checked["Yes"], checked["No"]) > 20


def test_names_of_all_scripts_are_told_and_asked_for():
    asked = [q.answer for talk in everything() for q in talk.questions if q.kind == "recall"]
    for script in ("[à-ž]", "[а-яёіїєґ]", "[ά-ώ]", "[一-龥]", "[ぁ-ヿ]", "[가-힣]", "[ا-ي]", "[א-ת]", "[अ-ह]"):
        assert sum(bool(re.search(script, answer, re.I)) for answer in asked) > 20, script


def test_what_is_beyond_is_refused_whatever_the_words():
    replies = Counter()
    asked = set()
    for talk in talks("train"):
        for question in talk.questions:
            if question.topic == "beyond":
                said, reply = talk.conversation.messages[question.index - 1 :][:2]
                asked.add(said.content)
                replies[reply.content.rstrip(".!")] += 1
    assert len(asked) > 0.6 * sum(replies.values())
    assert min(replies.values()) > 20
    assert len(replies) < 30


def test_comparisons_and_counts_follow_from_what_was_told():
    """An independent reading of the lines "A is 7 and B is 3" and of the two names in the reply."""
    told = re.compile(r"(\w+) is (\w+)(?: years old)?(?: and|,) (\w+) is (\w+)")
    digits = {word: number for number, word in enumerate(words.NUMBERS)}
    checked = 0
    for talk in everything():
        for question in talk.questions:
            before = talk.conversation.messages[: question.index]
            found = [told.search(m.content) for m in before if m.role == "user"]
            ages = [match.groups() for match in found if match and match[2] in digits and match[4] in digits]
            if question.kind == "compare" and question.topic == "pet age" and len(ages) == 1:
                first, age, second, other = ages[0]
                older = re.search("older", before[-1].content) is not None
                expected = first if (digits[age] > digits[other]) == older else second
                corrected = any("already" in m.content or "Sorry" in m.content or "meant" in m.content for m in before)
                if not corrected and {first, second} == {question.answer, *question.distractors}:
                    checked += 1
                    assert question.answer == expected
    assert checked > 5


def test_arithmetic_is_refused():
    replies = [
        talk.conversation.messages[question.index].content
        for talk in everything()
        for question in talk.questions
        if question.topic == "numbers"
    ]
    assert len(replies) > 100
    assert all(refuses(reply) for reply in replies)


@pytest.mark.parametrize("register", REGISTERS)
def test_registers_look_as_they_should(register: str):
    lines = [line for i in range(150) for line in said(small_talk(5, "train", i, register=register), "user")]
    share = {
        "neat": sum(line[0].isupper() for line in lines),
        "casual": sum(line[0].islower() and line[-1] not in ".!" for line in lines),
        "lower": sum(line == line.lower() and not re.search(r"[.,!:]", line) for line in lines),
        "chatty": sum(line.endswith(("!", ":)", "?")) for line in lines),
        "formal": sum("'m " not in line and "What's" not in line for line in lines),
        "terse": sum(len(line.split()) < 7 for line in lines),
    }[register]
    assert share > 0.68 * len(lines)


def test_replies_are_short():
    lengths = [len(line.split()) for talk in talks("train") for line in said(talk, "assistant")]
    assert sum(lengths) / len(lengths) < 9
    assert max(lengths) < 32


def test_the_demonstration_tells_a_held_out_name():
    told = " ".join(DEMO_LINES)
    assert len(DEMO_LINES) == 8
    assert [split_of(name) for name in ("Ottoline", "Gruvhaven", "Percy") if name in told] == ["test"] * 3


def test_the_mix_names_only_what_exists():
    from understudy.tasks.smalltalk.dialogue import BEATS
    from understudy.tasks.smalltalk.phrases import TOPICS

    assert set(MIX.beats.names) == set(BEATS)
    assert set(MIX.told.names) == set(TOPICS) - {"name", "pair", "pet age", "kin age"} | {
        "two pets",
        "two kin",
        "a pair",
    }
    assert set(MIX.unknown.names) <= set(TOPICS)
    assert set(MIX.asked) <= set(TOPICS)
    assert {draw_style(register, False, lambda: 0.5).register for register in MIX.registers.names} == set(REGISTERS)
