"""Conversations of the small world, one exchange after another."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from random import Random
from typing import NamedTuple

from understudy.data.conversations import Conversation
from understudy.tasks.smalltalk import asking, beyond, chatting, checking, reckoning, telling
from understudy.tasks.smalltalk.agenda import draw_agenda
from understudy.tasks.smalltalk.mix import MIX, PRACTICE, Mix
from understudy.tasks.smalltalk.names import Split
from understudy.tasks.smalltalk.phrases import chat
from understudy.tasks.smalltalk.scoring import Question
from understudy.tasks.smalltalk.talk import Talk


class Beat(NamedTuple):
    """Something that may happen in a conversation, when it can, and how often at most; the shares stand in mix.toml."""

    act: Callable[[Talk], None]
    possible: Callable[[Talk], object] = lambda _: True
    most: float = inf


BEATS = {
    "tell": Beat(telling.tell, lambda talk: talk.agenda),
    "recall": Beat(asking.recall, asking.askable),
    "reverse": Beat(asking.reverse, asking.reversible),
    "check": Beat(checking.check, checking.checkable, most=4),
    "both": Beat(asking.recall_two, lambda talk: len(talk.facts) > 1),
    "summary": Beat(asking.summary, lambda talk: len(talk.facts) > 1, most=1),
    "compare": Beat(reckoning.compare, reckoning.comparable, most=2),
    "count": Beat(reckoning.count, reckoning.pets, most=2),
    "reckon": Beat(reckoning.reckon, most=2),
    "unknown": Beat(asking.ask_unknown, most=2),
    "impossible": Beat(asking.ask_impossible, most=2),
    "beyond": Beat(beyond.ask),
    "idle": Beat(beyond.tell, most=2),
    "correct": Beat(telling.correct, telling.correctable, most=1),
    "chat": Beat(lambda talk: chatting.say_once(talk, chat.chats)),
    "about told": Beat(chatting.say_more, chatting.with_more, most=2),
    "joke": Beat(chatting.joke, most=1),
    "self": Beat(lambda talk: chatting.say_once(talk, chat.self), most=2),
}
_RECALLING = ("recall", "both", "summary")


@dataclass(frozen=True)
class SmallTalk:
    """A conversation and every question in it that has one right answer."""

    conversation: Conversation
    questions: tuple[Question, ...]


class Smalltalk:
    """Makes the conversations that `--data smalltalk` names (see `understudy.data.dataset.ConversationGenerator`)."""

    @cached_property
    def version(self) -> str:
        """A digest of the generator's source and phrases."""
        digest = hashlib.sha256()
        for path in sorted(path for path in Path(__file__).parent.rglob("*") if path.suffix in (".py", ".toml")):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def conversations(self, count: int, seed: int, part: Split) -> Iterator[Conversation]:
        """Make the first `count` conversations of a split."""
        return (talk.conversation for talk in generate(count, seed, part))


def generate(count: int, seed: int, split: Split) -> Iterator[SmallTalk]:
    """Yield the first `count` conversations of a split.

    Conversation i depends only on seed, split and i, so any stretch can be made again. Held out: a name, town or pet
    name that occurs in one split occurs in no other (`names.split_of`, by hash), and the same holds for combinations of
    job with hobby, pet kind with pet age, and day with activity (`world.combination_split`). Sums occur in all splits.

    >>> talk = next(generate(1, seed=0, split="train"))
    >>> [message.role for message in talk.conversation.messages[:2]]
    ['user', 'assistant']
    """
    mix = PRACTICE if split == "train" else MIX
    return (small_talk(seed, split, index, mix) for index in range(count))


def small_talk(seed: int, split: Split, index: int, mix: Mix = MIX, register: str | None = None) -> SmallTalk:
    """Return one conversation, in the given register or in one drawn from the mix."""
    talk = Talk(Random(f"smalltalk {seed} {split} {index}").random, split, mix, register)
    talk.agenda = draw_agenda(talk.world)
    exchanges = int(mix.exchanges.draw(talk.rand))
    recalls = int(mix.recalls.draw(talk.rand))
    compares = talk.chance(mix.compared)

    # A greeting, one exchange after another, and a goodbye.
    if talk.chance(mix.greeting):
        chatting.greet(talk)
    # Strangers try all kinds of things first.
    while talk.chance(mix.strange_start):
        talk.next_turn()
        beyond.ask(talk)
    while talk.characters < mix.characters and not _finished(talk, exchanges, recalls, compares):
        talk.next_turn()
        _step(talk, exchanges, recalls)
    if talk.chance(mix.goodbye):
        talk.next_turn()
        chatting.part(talk)
    return SmallTalk(Conversation(tuple(talk.messages)), tuple(talk.questions))


def _finished(talk: Talk, exchanges: int, recalls: int, compares: bool) -> bool:
    if talk.pending or len(talk.messages) < 2 * exchanges or (compares and _can(talk, "compare")):
        return False
    return talk.recalls >= recalls or not (talk.agenda or asking.askable(talk, again=True))


def _can(talk: Talk, name: str) -> bool:
    return talk.done[name] < BEATS[name].most and bool(BEATS[name].possible(talk))


def _step(talk: Talk, exchanges: int, recalls: int) -> None:
    """Add one exchange, or none where the drawn one turns out to be impossible."""
    pending, talk.pending = talk.pending, None
    if pending and pending.item:
        return telling.answer_fact(talk, pending)
    if pending:
        return chatting.answer_chat(talk, pending)
    said, asked = len(talk.messages), talk.recalls
    name = _next_beat(talk, exchanges, recalls)
    BEATS[name].act(talk)
    talk.done[name] += len(talk.messages) > said
    if talk.recalls > asked and talk.chance(talk.mix.praise):
        talk.next_turn()
        talk.say(chat.after_recall.user, chat.after_recall.reply)


def _next_beat(talk: Talk, exchanges: int, recalls: int) -> str:
    """Return what happens next: once the conversation is long enough, only the recall questions still owed."""
    owed = talk.recalls < recalls
    if len(talk.messages) >= 2 * exchanges:
        if owed and _can(talk, "recall"):
            return "recall"
        if _can(talk, "compare"):
            return "compare"
    # "chat" is always possible.
    while True:
        name = talk.mix.beats.draw(talk.rand)
        if (owed or name not in _RECALLING) and _can(talk, name):
            return name
