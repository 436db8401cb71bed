"""Conversations of the small world, one exchange after another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from understudy.data.conversations import Conversation
from understudy.tasks.smalltalk import asking, chatting, reckoning, telling
from understudy.tasks.smalltalk.agenda import draw_agenda
from understudy.tasks.smalltalk.mix import MIX, PRACTICE, Mix
from understudy.tasks.smalltalk.names import Split
from understudy.tasks.smalltalk.scoring import Question
from understudy.tasks.smalltalk.talk import Talk, new_talk

Beat = Callable[[Talk], None]

# name -> (what happens, when it can); the shares stand in mix.py
BEATS: dict[str, tuple[Beat, Callable[[Talk], bool]]] = {
    "tell": (telling.tell, lambda talk: bool(talk.agenda)),
    "recall": (asking.recall, asking.can_recall),
    "reverse": (asking.reverse, asking.can_reverse),
    "both": (asking.recall_two, lambda talk: len(talk.facts) > 1),
    "summary": (asking.summary, lambda talk: len(talk.facts) > 1 and not talk.done["summary"]),
    "compare": (reckoning.compare, lambda talk: _can_compare(talk)),
    "count": (reckoning.count, lambda talk: not talk.done["count"] and reckoning.has_pets(talk)),
    "told sum": (reckoning.add_told, lambda talk: not talk.done["told sum"] and reckoning.can_add_told(talk)),
    "sum": (reckoning.add, lambda talk: talk.done["sum"] < 2),
    "unknown": (asking.ask_unknown, lambda talk: talk.done["unknown"] < 2),
    "impossible": (asking.ask_impossible, lambda talk: talk.done["impossible"] < 2),
    "correct": (telling.correct, lambda talk: not talk.done["correct"] and telling.can_correct(talk)),
    "chat": (chatting.chatter, lambda talk: True),
    "about told": (chatting.say_more, chatting.can_say_more),
    "joke": (chatting.joke, lambda talk: not talk.done["joke"]),
    "self": (chatting.ask_about_assistant, lambda talk: talk.done["self"] < 2),
}
_RECALLING = ("recall", "reverse", "both", "summary")


@dataclass(frozen=True)
class SmallTalk:
    """A conversation and every question in it that has one right answer."""

    conversation: Conversation
    questions: tuple[Question, ...]


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
    talk = new_talk(seed, split, index, mix, register)
    talk.agenda = draw_agenda(talk.world)
    exchanges = int(mix.exchanges.draw(talk.rand))
    recalls = int(mix.recalls.draw(talk.rand))
    compares = talk.chance(mix.compared)
    if talk.chance(mix.greeting):
        chatting.greet(talk)
    while talk.characters < mix.characters and not _finished(talk, exchanges, recalls, compares):
        talk.next_turn()
        _step(talk, exchanges, recalls)
    if talk.chance(mix.goodbye):
        talk.next_turn()
        chatting.part(talk)
    return SmallTalk(Conversation(tuple(talk.messages)), tuple(talk.questions))


def _finished(talk: Talk, exchanges: int, recalls: int, compares: bool) -> bool:
    if talk.pending or len(talk.messages) < 2 * exchanges or (compares and _can_compare(talk)):
        return False
    return talk.recalls >= recalls or not (talk.agenda or asking.askable(talk))


def _can_compare(talk: Talk) -> bool:
    return not talk.done["compare"] and len(reckoning.comparable(talk)) == 2


def _step(talk: Talk, exchanges: int, recalls: int) -> None:
    """Add one exchange, or none where the drawn one turns out to be impossible."""
    pending, talk.pending = talk.pending, None
    if pending and pending.item:
        return telling.answer_fact(talk, pending)
    if pending:
        return chatting.answer_chat(talk, pending)
    before = talk.recalls
    name = _next_beat(talk, exchanges, recalls)
    BEATS[name][0](talk)
    if talk.recalls > before and talk.chance(talk.mix.praise):
        talk.next_turn()
        chatting.praise(talk)


def _next_beat(talk: Talk, exchanges: int, recalls: int) -> str:
    """Return what happens next: once the conversation is long enough, only the recall questions still owed."""
    owed = talk.recalls < recalls
    if len(talk.messages) >= 2 * exchanges:
        if owed and asking.can_recall(talk):
            return "recall"
        if _can_compare(talk):
            return "compare"
    while True:  # "chat" is always possible
        name = talk.mix.beats.draw(talk.rand)
        if (owed or name not in _RECALLING) and BEATS[name][1](talk):
            return name
