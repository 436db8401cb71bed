"""A conversation while it is being made: what was said, what was told, and who has to answer what next."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from understudy.data.conversations import Message
from understudy.tasks.smalltalk import words
from understudy.tasks.smalltalk.mix import Mix
from understudy.tasks.smalltalk.names import Rand, Split, pick
from understudy.tasks.smalltalk.phrases import TOPICS, chat
from understudy.tasks.smalltalk.scoring import Question, normalised
from understudy.tasks.smalltalk.style import draw_style, dressed, led_in, slipped
from understudy.tasks.smalltalk.topic import Exchange, Lines, Topic
from understudy.tasks.smalltalk.words import with_article
from understudy.tasks.smalltalk.world import Fact, World

T = TypeVar("T")
Key = tuple[str, str]  # topic and about, see Fact.key
Slots = dict[str, str]
_SLOT = re.compile(r"\{(\w+)\}")
_OPEN_TOPICS = ("name", "home", "pet", "pair", "kin")
# Topics whose values could be taken for one another; every other topic stands for itself.
_GROUPS = dict.fromkeys(("name", "kin", "pet", "pair"), "who")
_GROUPS |= dict.fromkeys(("food", "dislike"), "food") | dict.fromkeys(("age", "pet age", "kin age"), "number")


@dataclass(frozen=True)
class Pending:
    """What the assistant has just asked for: a fact ("short", "polar" or "intro"), or a key of `chat.answers`."""

    kind: str
    item: tuple[Fact, ...] = ()


class Talk:
    """The state of one conversation; the functions of telling, asking and chatting each add exchanges to it."""

    def __init__(self, rand: Rand, split: Split, mix: Mix, register: str | None = None):
        self.rand, self.mix = rand, mix
        self.world = World(split, mix, rand)
        self.american = rand() < mix.american
        self._own_style = draw_style(register or mix.registers.draw(rand), self.american, rand)
        self.style = self._own_style
        self.messages: list[Message] = []
        self.questions: list[Question] = []
        self.facts: dict[Key, str] = {}  # as spelled by the user, in the order of telling
        self.kinds: list[str] = []  # kinds of single pets told about, named or not
        self.old: list[tuple[str, str]] = []  # (topic, value) of everything taken back
        self.asked: Counter[Key] = Counter()
        self.last_asked: Key | None = None
        self.done: Counter[str] = Counter()  # by name of the beat
        self.said: set[Exchange] = set()  # what is said once only
        self.agenda: list[tuple[Fact, ...]] = []
        self.pending: Pending | None = None
        self.recalls = 0  # how many recall questions were asked
        self.characters = 0

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices, all equally likely."""
        return pick(choices, self.rand)

    def pick_plain(self, lines: Lines) -> str:
        """Return one of the lines, the first and plainest more often than the others."""
        return lines[0] if self.rand() < self.mix.plain_reply else pick(lines, self.rand)

    def chance(self, probability: float) -> bool:
        """Return true with the given probability."""
        return self.rand() < probability

    def next_turn(self) -> None:
        """Choose how the user's next line is written: nearly always like the others."""
        self.style = self._own_style
        if self.rand() < self.mix.drift:
            self.style = draw_style(self.mix.registers.draw(self.rand), self.american, self.rand)

    def user_line(self, template: str, slots: Slots, leads: Sequence[str] = ()) -> str:
        """Return a line of the user's in the style of this turn."""
        register = self.style.register
        if leads and register not in ("terse", "formal") and self.rand() < self.mix.lead_in:
            template = led_in(self.pick(leads), template)
        elif register == "chatty" and self.messages and re.match(r"[\w{]", template) and self.rand() < 0.25:
            template = led_in(self.pick(chat.chatty_leads), template)
        text = dressed(template, self.style)
        if self.rand() < self.mix.typo:
            text = slipped(text, self.rand)
        text = text.format_map(slots)
        if register == "chatty":
            text += self.pick(("", "", "", "!" if text.endswith("!") else "", " :)"))
        return text.lower() if self.style.lower else text

    def reply_line(self, template: str, slots: Slots) -> str:
        """Return a line of the assistant's: always neat, at times as cheerful as a chatty user."""
        if self.style.register == "chatty" and template.endswith(".") and self.rand() < 0.3:
            template = template[:-1] + "!"
        return template.format_map(slots)

    def exchange(self, user: str, reply: str) -> None:
        """Add one line of each side."""
        self.messages += (Message("user", user), Message("assistant", reply))
        self.characters += len(user) + len(reply)

    def say(
        self, user: Lines, reply: Lines, slots: Slots | None = None, leads: Lines = (), plain: bool = False
    ) -> None:
        """Add one of the user's lines and one of the assistant's, rather the plainest if `plain`."""
        said = self.user_line(self.pick(user), slots or {}, leads)
        answer = self.pick_plain(reply) if plain else self.pick(reply)
        self.exchange(said, self.reply_line(answer, slots or {}))

    def question(self, kind: str, topic: str, answer: str, distractors: Sequence[str]) -> None:
        """Record that the assistant's line of the coming exchange answers a question."""
        right = normalised(answer)
        wrong = dict.fromkeys(other for other in distractors if normalised(other) not in right)
        self.recalls += kind == "recall"
        self.questions.append(Question(len(self.messages) + 1, kind, topic, answer, tuple(wrong)))

    def learn(self, fact: Fact) -> Slots:
        """Record a fact as told, in this turn's spelling. Returns its slots."""
        value = fact.value.lower() if self.style.lower and fact.topic in _OPEN_TOPICS else fact.value
        if fact.key in self.facts:
            self.old.append((fact.topic, self.facts[fact.key]))
        self.facts[fact.key] = value
        if fact.topic == "pet" and fact.about not in self.kinds:
            self.kinds.append(fact.about)
        return self.slots(fact.key, value)

    def known(self, key: Key) -> Slots:
        """Return the slots of a told fact."""
        return self.slots(key, self.facts[key])

    def slots(self, key: Key, value: str = "") -> Slots:
        """Return what fills the slots of the topic's phrases; topic.py lists them."""
        topic, about = key
        slots = {"v": value, "V": _capital(value), "a": about, "A": _capital(about)}
        if topic in ("job", "colour") and value:
            slots |= {"va": with_article(value), "Va": _capital(with_article(value)), "vs": value + "s"}
        elif topic in ("pet", "pair", "pet age"):
            aa, plural = with_article(about), words.PETS[about]
            slots |= {"aa": aa, "Aa": _capital(aa), "as": plural, "As": _capital(plural)}
        elif topic == "kin":
            slots["aa"] = with_article(about)
        elif topic == "plan":
            slots["d"] = words.DAYS[about]
        if topic in ("pet age", "kin age"):
            slots["p"] = self.facts.get((topic.split()[0], about), "")
            slots["y"] = "year" if value in ("1", "one") else "years"
        return slots

    def rivals(self, topic: str = "") -> list[str]:
        """Return every value told, now or before, that could be confused with one of this topic; all without one."""
        told = [(key[0], value) for key, value in self.facts.items()] + self.old
        group = _GROUPS.get(topic, topic)
        alike = [(other, value) for other, value in told if not topic or _GROUPS.get(other, other) == group]
        return [part for other, value in alike for part in (value.split(" and ") if other == "pair" else [value])]


def topic_of(key: Key) -> Topic:
    """Return the phrases for a fact."""
    return TOPICS[key[0]]


@cache
def numbered(template: str, place: int) -> str:
    """Return the template with its slots numbered, so that it can share a line with others.

    >>> numbered("{aa} called {v}", 1)
    '{aa1} called {v1}'
    """
    return _SLOT.sub(rf"{{\g<1>{place}}}", template)


def numbered_slots(each: Sequence[Slots]) -> Slots:
    """Return the slots of several facts for numbered templates."""
    return {f"{name}{place}": value for place, slots in enumerate(each) for name, value in slots.items()}


def claimed(value: str) -> Slots:
    """Return the slots of what a question asks about."""
    return {"x": value, "xa": with_article(value)}


def listed(parts: Sequence[str]) -> str:
    """Return the parts as one list.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
