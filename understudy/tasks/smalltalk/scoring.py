"""Exact scores: is this reply the right answer to that question?

A reply is right when the answer stands in it as a whole word or phrase and no distractor does. Where it concludes ("Bix
is 7 and Mo is 3, so Bix is older."), only the conclusion counts. Capitals do not matter, and numbers may be digits or
words. A reply that says that it does not know is never right, unless the question asks for just that: a "refuse"
question is answered right by any reply that holds one of REFUSALS and no distractor.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from understudy.tasks.smalltalk.topic import Lines, read_toml
from understudy.tasks.smalltalk.words import NUMBERS

REFUSALS: Lines = read_toml("scoring.toml")["refusals"]
_DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)}
_TENS = dict(zip(["thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], range(30, 100, 10), strict=True))
_DIGITS |= {word: str(tens) for word, tens in _TENS.items()}
_COMPOUND = re.compile(rf"\b(twenty|{'|'.join(_TENS)})[- ](one|two|three|four|five|six|seven|eight|nine)\b")


@dataclass(frozen=True)
class Question:
    """What the assistant message at `index` of the conversation has to say, and which other values would be wrong."""

    index: int
    kind: str  # "recall", "who", "yes_no", "compare", "count" or "refuse"
    topic: str
    answer: str
    distractors: tuple[str, ...] = ()


def is_right(question: Question, reply: str) -> bool:
    """Return whether the reply answers the question.

    >>> question = Question(3, "recall", "name", "Ottoline", ("Mirela",))
    >>> [is_right(question, reply) for reply in ("Your name is ottoline.", "Ottoline or Mirela?", "It's Otto.")]
    [True, False, False]
    >>> is_right(Question(3, "count", "pets", "2", ("1", "3")), "You have two pets.")
    True
    >>> is_right(Question(3, "refuse", "home", ""), "You haven't told me where you live.")
    True
    """
    concluded = reply if question.kind == "refuse" else reply.rpartition(", so ")[2]
    said = normalised(concluded)
    if any(normalised(distractor) in said for distractor in question.distractors):
        return False
    if question.kind == "refuse":
        return refuses(reply)
    return normalised(question.answer) in said and not refuses(reply)


def refuses(reply: str) -> bool:
    """Return whether the reply says that it does not know or cannot know."""
    lower = reply.lower().replace("’", "'")
    return any(refusal in lower for refusal in REFUSALS)


@lru_cache(maxsize=10_000)
def normalised(text: str) -> str:
    """Return the words in lower case, number words as digits, each between blanks: " you have 2 pets "."""
    lower = _COMPOUND.sub(lambda both: str(int(_DIGITS[both[1]]) + int(_DIGITS[both[2]])), text.lower())
    words = re.findall(r"[^\W_]+", lower)
    return f" {' '.join(_DIGITS.get(word, word) for word in words)} "
