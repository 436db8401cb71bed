"""The user tells: unasked, in answer to the assistant, several facts at once, or taking back what was said before."""

import re
from functools import lru_cache

from understudy.tasks.smalltalk import words
from understudy.tasks.smalltalk.agenda import Item
from understudy.tasks.smalltalk.phrases import TOPICS, chat, others
from understudy.tasks.smalltalk.style import led_in
from understudy.tasks.smalltalk.talk import Key, Pending, Slots, Talk, numbered, numbered_slots, topic_of
from understudy.tasks.smalltalk.topic import Lines
from understudy.tasks.smalltalk.world import Fact

# Topics with lines of their own for being told together.
_TOGETHER: dict[Lines, dict[str, Lines]] = {of: one for one in others.together for of in one["of"]}
_AGES = ("pet age", "kin age")


def tell(talk: Talk) -> None:
    """Tell the next item of the agenda, at times joined with those after it."""
    item = talk.agenda.pop(0)
    if _lacks_name(talk, item):
        return
    while len(item) < 3 and talk.agenda and _can_join(item, talk.agenda[0]) and talk.chance(talk.mix.several):
        item += talk.agenda.pop(0)
    if len(item) == 1 and item[0].topic in others.intro and talk.chance(talk.mix.kind_first):
        _tell_kind(talk, item, intro=False)
    elif item[0].topic == "name" and len(item) == 1 and talk.chance(0.12):
        slots = talk.learn(item[0])
        user = _line(talk, talk.pick(TOPICS["name"].tell_asking), slots)
        talk.exchange(user, talk.reply_line(talk.pick(TOPICS["name"].echo_answering), slots))
    else:
        # Slots are plain for one fact, numbered ({v0}, {v1}) for several.
        each = [talk.learn(fact) for fact in item]
        slots = each[0] if len(each) == 1 else numbered_slots(each)
        user = _line(talk, _phrase(talk, item), slots)
        talk.exchange(user, _followed_up(talk, item, _echo(talk, item, slots)))


def answer_fact(talk: Talk, pending: Pending) -> None:
    """Answer the assistant's question for the first fact of an item; the rest is told later."""
    item, rest = pending.item[:1], pending.item[1:]
    if rest:
        talk.agenda.insert(0, rest)
    topic = topic_of(item[0].key)
    if pending.kind == "intro" and item[0].topic == "pet" and talk.chance(2 * talk.mix.kind_first):
        return _tell_kind(talk, item, intro=True)
    if talk.chance(0.03):
        return talk.exchange(talk.user_line(talk.pick(chat.declines.user), {}), talk.pick(chat.declines.reply))
    lines = topic.polar_short if pending.kind == "polar" else topic.short
    lines = others.intro[item[0].topic]["short"] if pending.kind == "intro" else lines
    slots = talk.learn(item[0])
    user = talk.user_line(talk.pick(lines), slots)
    talk.exchange(user, _followed_up(talk, item, _echo(talk, item, slots)))


def correct(talk: Talk) -> None:
    """Take a fact back and tell it differently: from now on only the new value counts."""
    topic, about = talk.pick(correctable(talk))
    fact = talk.world.fact(topic, about)
    if fact is None or fact.value == talk.facts[fact.key]:
        return
    slots = talk.learn(fact)
    phrases = topic_of(fact.key)
    talk.say(phrases.fix, phrases.fix_echo, slots)
    # More likely than ever to be asked for.
    talk.asked[fact.key] = -1


def correctable(talk: Talk) -> list[Key]:
    """Return the told facts that can be taken back."""
    return [key for key in talk.facts if topic_of(key).fix]


def ask_next(talk: Talk) -> str:
    """Return a question of the assistant's for the next thing on the user's agenda, or nothing."""
    if not talk.agenda or _lacks_name(talk, talk.agenda[0]):
        return ""
    fact = talk.agenda[0][0]
    kind, prompts = _prompts(talk, fact)
    if not prompts:
        return ""
    talk.pending = Pending(kind, talk.agenda.pop(0))
    return talk.pick(prompts).format_map(talk.slots(fact.key))


def _prompts(talk: Talk, fact: Fact) -> tuple[str, Lines]:
    """Return what kind of answer the assistant's questions for a fact want, and the questions."""
    topic = topic_of(fact.key)
    # A question about family does not include the boss.
    if fact.about in words.NOT_FAMILY:
        return "", ()
    # Whether there are pets or relatives is asked before their names.
    if fact.topic in others.intro:
        again = any(told == fact.topic for told, _ in talk.facts) or (fact.topic == "pet" and talk.kinds)
        return "intro", others.intro[fact.topic]["more" if again else "prompt"]
    if topic.polar_prompt and talk.chance(0.5):
        return "polar", topic.polar_prompt
    return "short", topic.prompt


def _line(talk: Talk, template: str, slots: Slots) -> str:
    """Return the user's line, after a greeting where it is the very first."""
    if not talk.messages and talk.style.register != "terse" and talk.chance(0.5):
        return talk.user_line(led_in(talk.pick(chat.greeting_leads), template), slots)
    return talk.user_line(template, slots, _leads(talk))


def _leads(talk: Talk) -> Lines:
    if not talk.messages:
        return ()
    return chat.tell_leads + chat.more_leads if len(talk.facts) > 1 else chat.tell_leads


def _lacks_name(talk: Talk, item: Item) -> bool:
    """Return whether the item tells the age of a pet or relative whose name was never told."""
    named = {fact.key for fact in item} | set(talk.facts)
    return any(fact.topic in _AGES and (fact.topic.split()[0], fact.about) not in named for fact in item)


def _can_join(item: Item, following: Item) -> bool:
    facts = (*item, *following)
    return len(following) == 1 and all(topic_of(fact.key).clause and fact.topic not in _AGES for fact in facts)


def _tell_kind(talk: Talk, item: Item, intro: bool) -> None:
    """Mention a pet or a relative without the name; the assistant asks for it."""
    fact = item[0]
    slots = talk.slots(fact.key)
    if fact.topic == "pet":
        talk.kinds.append(fact.about)
    lines = others.kind[fact.topic]
    user = talk.user_line(talk.pick(lines["short" if intro else "tell"]), slots, () if intro else _leads(talk))
    reply = f"{talk.pick(lines['echo'])} {talk.pick(topic_of(fact.key).prompt)}"
    talk.exchange(user, talk.reply_line(reply, slots))
    talk.pending = Pending("short", item)


def _phrase(talk: Talk, item: Item) -> str:
    if len(item) == 1:
        topic = topic_of(item[0].key)
        return talk.pick(topic.terse if talk.style.register == "terse" and topic.terse else topic.tell)
    together = _TOGETHER.get(tuple(fact.topic for fact in item))
    # Facts without clauses can only be told in lines made for them.
    if together and (not _can_join(item[:1], item[1:]) or talk.chance(0.7)):
        return talk.pick(together["tell"])
    clauses = tuple(talk.pick(topic_of(fact.key).clause) for fact in item)
    return _joined(talk.pick(chat.joined[str(len(item))]), clauses)


@lru_cache(maxsize=50_000)
def _joined(pattern: str, clauses: Lines) -> str:
    """Return one line of several clauses, with numbered slots and capitals at the start of sentences."""
    line = pattern.format(*(numbered(clause, place) for place, clause in enumerate(clauses)))
    return re.sub(r"(^|\. )([a-z])", lambda start: start[1] + start[2].upper(), re.sub(r"(^|\. )\{a", r"\1{A", line))


def _echo(talk: Talk, item: Item, slots: Slots) -> str:
    """Return what the assistant says on being told; nearly always it repeats the value."""
    if len(item) == 1:
        return talk.reply_line(talk.pick(topic_of(item[0].key).echo), slots)
    together = _TOGETHER.get(tuple(fact.topic for fact in item))
    if together and "echo" in together:
        return talk.reply_line(talk.pick(together["echo"]), slots)
    places = [0, len(item) - 1] if talk.chance(0.4) else [0 if item[0].topic == "name" else len(item) - 1]
    echoes = [numbered(talk.pick(topic_of(item[place].key).echo), place) for place in places]
    return talk.reply_line(" ".join(echoes), slots)


def _followed_up(talk: Talk, item: Item, echo: str) -> str:
    """Return the echo, with or without a question of the assistant's after it."""
    liking = topic_of(item[-1].key).liking
    if liking and len(item) == 1 and talk.chance(0.15):
        talk.pending = Pending("liking")
        return f"{echo} {talk.pick(liking)}"
    if talk.chance(talk.mix.ask_back):
        return f"{echo} {ask_next(talk)}".rstrip()
    return echo
