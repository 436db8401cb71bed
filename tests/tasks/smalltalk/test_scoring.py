import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.tasks.smalltalk import Question, is_right, refuses

NAME = Question(5, "recall", "name", "Ottoline", ("Mirela", "Bix"))
AGE = Question(5, "recall", "pet age", "7", ("3",))
COUNT = Question(5, "count", "pets", "2", ("0", "1", "3", "4"))
TOWN = Question(5, "recall", "home", "Port Zelmar", ("Bergen",))
REFUSE = Question(5, "refuse", "home", "", ("Ottoline", "7"))
SUM = Question(5, "sum", "numbers", "12", tuple(str(n) for n in range(21) if n not in (5, 7, 12)))

OLDER = Question(5, "compare", "pet age", "Bix", ("Mofi",))
ISNT = Question(5, "yes_no", "pet", "no", ("yes",))


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        (NAME, "Your name is Ottoline."),
        (NAME, "ottoline!"),
        (NAME, "Of course: you're OTTOLINE, aren't you?"),
        (AGE, "Bix is seven years old."),
        (AGE, "7."),
        (COUNT, "You have two: Bix and Mofi."),
        (TOWN, "You live in port zelmar."),
        (REFUSE, "I don't know where you live yet."),
        (REFUSE, "You haven’t told me that."),
        (SUM, "5 plus 7 is 12."),
        (SUM, "That's twelve!"),
        (OLDER, "Bix is 7 and Mofi is 3, so Bix is older."),
        (COUNT, "You have one cat and a dog, so two pets."),
        (ISNT, "No, Bix is your cat."),
    ],
)
def test_right(question: Question, reply: str):
    assert is_right(question, reply)


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        (NAME, "Your name is Ottolin."),
        (NAME, "Your name is Ottolinee."),
        (NAME, "Your name is Otto."),
        (NAME, "You are Ottoline or Mirela."),
        (NAME, "I don't know whether you are Ottoline."),
        (NAME, ""),
        (AGE, "Bix is 17."),
        (AGE, "Bix is 7 and Mofi is 3."),
        (COUNT, "You have twenty-two."),
        (COUNT, "You have one or two."),
        (TOWN, "You live in Zelmar."),
        (TOWN, "You live in Zelmar Port."),
        (REFUSE, "You live in Bergen."),
        (REFUSE, "I don't know, Ottoline."),
        (REFUSE, "I can't see it from here, seven."),
        (SUM, "5 plus 7 is 13."),
        (SUM, "5 plus 8 is 12."),
        (OLDER, "Bix is 7 and Mofi is 3, so Mofi is older."),
        (OLDER, "Bix is 7 and Mofi is 3."),
        (COUNT, "You have two cats and a dog, so three pets."),
        (ISNT, "Yes, Bix is your cat."),
        (ISNT, "Bix is a nice name."),
    ],
)
def test_wrong(question: Question, reply: str):
    assert not is_right(question, reply)


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=5))
def test_a_name_inside_a_longer_word_does_not_count(letters: str):
    assert not is_right(NAME, f"Your name is {letters}Ottoline.")
    assert not is_right(NAME, f"Your name is Ottoline{letters}.")


@given(st.text(" .,!?:;'\"-()", max_size=4), st.text(" .,!?:;'\"-()", max_size=4))
def test_punctuation_around_a_name_does_not_matter(before: str, after: str):
    assert is_right(NAME, f"You are {before}Ottoline{after}")


@given(st.text())
def test_any_text_can_be_scored(reply: str):
    assert is_right(REFUSE, reply) <= refuses(reply)
    assert not (is_right(NAME, reply) and refuses(reply))
