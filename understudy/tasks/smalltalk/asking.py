"""The user asks for told facts, for facts that were not told, and for what nobody can know."""

from collections.abc import Sequence
from functools import cache
from itertools import product

from understudy.tasks.smalltalk import words
from understudy.tasks.smalltalk.mix import Shares
from understudy.tasks.smalltalk.phrases import TOPICS, chat, questions
from understudy.tasks.smalltalk.style import decapitalised
from understudy.tasks.smalltalk.talk import Key, Pending, Talk, listed, numbered, numbered_slots, topic_of
from understudy.tasks.smalltalk.topic import Lines

_SUMMARY_ORDER = ("name", "home", "job", "pet", "kin", "hobby", "food")
_MANY = ("pet", "kin", "plan", "pair", "pet age", "kin age")  # several facts of these may be told


def askable(talk: Talk) -> list[Key]:
    """The told facts that were not yet asked for twice."""
    return [key for key in talk.facts if talk.asked[key] < 2]


def can_recall(talk: Talk) -> bool:
    """Whether there is something to ask for that was not just asked for."""
    return any(key != talk.last_asked for key in askable(talk))


def recall(talk: Talk) -> None:
    """A told fact is asked for."""
    key = _asked_key(talk)
    question, opener = _question(talk, key)
    slots = talk.known(key)
    user = talk.user_line(question, slots, chat.ask_leads)
    talk.question("recall", key[0], slots["v"], talk.rivals(key[0]))
    talk.exchange(user, talk.reply_line(_reply(talk, topic_of(key).reply, opener), slots))


def can_reverse(talk: Talk) -> bool:
    """Whether there is a fact that can be asked for the other way round ("Who is Bix?")."""
    return bool(_reversible(talk))


def reverse(talk: Talk) -> None:
    """The value is given, and whom or when it is about is asked for."""
    key = talk.pick_key(_reversible(talk))
    slots, topic = talk.known(key), topic_of(key)
    about = slots.get("d", key[1])
    _note_asked(talk, key)
    rivals = [_bare(other) for other in talk.facts if (other[0] == "plan") == (key[0] == "plan")]
    user = talk.user_line(talk.pick(topic.when), slots, chat.ask_leads)
    talk.question("recall", f"{key[0]} reversed", about, [rival for rival in rivals if rival and rival != about])
    talk.exchange(user, talk.reply_line(talk.pick_plain(topic.when_reply), slots))


def recall_two(talk: Talk) -> None:
    """Two told facts are asked for in one line."""
    first = _asked_key(talk)
    second = talk.pick_key([key for key in talk.facts if key != first])
    _note_asked(talk, second)
    keys = (first, second)
    slots = numbered_slots([talk.known(key) for key in keys])
    asks = [numbered(talk.pick(_nameless(topic_of(key).ask)[:3]), place) for place, key in enumerate(keys)]
    mine = [numbered(_nameless(topic_of(key).mine)[0], place) for place, key in enumerate(keys)]
    wrapped = talk.pick(questions.wrapped_two).format(*mine)
    asked = wrapped if talk.chance(0.4) else f"{asks[0][:-1]} and {decapitalised(asks[1])}"
    user = talk.user_line(asked, slots, chat.ask_leads)
    values = [talk.facts[key] for key in keys]
    said = {part for value in values for part in (value, *value.split(" and "))}
    for key, value in zip(keys, values, strict=True):
        talk.question("recall", key[0], value, [rival for rival in talk.rivals(key[0]) if rival not in said])
    talk.exchange(user, talk.reply_line(_plain_together(keys), slots))


def summary(talk: Talk) -> None:
    """The user asks what the assistant knows; it says the two or three most important things told."""
    talk.done["summary"] += 1
    rank = {topic: place for place, topic in enumerate(_SUMMARY_ORDER)}
    keys = sorted(talk.facts, key=lambda key: rank.get(key[0], len(rank)))[:3]
    slots = numbered_slots([talk.known(key) for key in keys])
    user = talk.user_line(talk.pick(questions.summary_asks), {}, chat.ask_leads)
    value, topic = talk.facts[keys[0]], keys[0][0]
    _note_asked(talk, keys[0])
    told_too = [part for key in keys for part in talk.facts[key].split(" and ")]
    talk.question("recall", topic, value, [rival for rival in talk.rivals(topic) if rival not in told_too])
    talk.exchange(user, talk.reply_line(_plain_together(tuple(keys)), slots))


def ask_unknown(talk: Talk) -> None:
    """The user asks for a fact that was never told, or for somebody never mentioned."""
    talk.done["unknown"] += 1
    if talk.chance(0.2):
        return _ask_stranger(talk)
    key = _untold(talk)
    topic = topic_of(key)
    question, opener = _question(talk, key)
    slots = talk.slots(key)
    user = talk.user_line(question, slots, chat.ask_leads)
    replies = questions.refusals
    prompts = key[0] not in _MANY and topic.prompt
    fact = talk.world.fact(key[0]) if prompts and not _on_agenda(talk, key) and talk.chance(0.5) else None
    if fact:
        replies, talk.pending = questions.refusals_asking, Pending("short", (fact,))
    reply = talk.pick(replies).format(yours=topic.yours, prompt=talk.pick(topic.prompt))
    if opener == "yes" and talk.chance(0.3):
        reply = "No, " + decapitalised(reply)
    talk.question("refuse", key[0], "", talk.all_values())
    talk.exchange(user, talk.reply_line(reply, slots))


def ask_impossible(talk: Talk) -> None:
    """The user asks for what a small language model cannot see or was never taught."""
    talk.done["impossible"] += 1
    said = questions.impossible[int(talk.rand() * len(questions.impossible))]
    user = talk.user_line(talk.pick(said.user), {"country": talk.pick(words.COUNTRIES)}, chat.ask_leads)
    talk.question("refuse", "world", "", talk.all_values())
    talk.exchange(user, talk.reply_line(talk.pick(said.reply), {}))


def _ask_stranger(talk: Talk) -> None:
    name = talk.world.word(talk.pick(("person", "pet")))
    slots = {"v": name.lower() if talk.style.lower else name}
    user = talk.user_line(talk.pick(questions.who_asks), slots, chat.ask_leads)
    talk.question("refuse", "stranger", "", talk.all_values())
    talk.exchange(user, talk.reply_line(talk.pick(questions.who_refusals), slots))


def _asked_key(talk: Talk) -> Key:
    """The told fact to ask for: names and homes rather than others, and rather one not asked for before."""
    mix = talk.mix
    keys = [key for key in askable(talk) if key != talk.last_asked] or list(talk.facts)
    shares = {key: mix.asked.get(key[0], 1.0) * mix.asked_again ** talk.asked[key] for key in keys}
    chosen = Shares(shares).draw(talk.rand)
    _note_asked(talk, chosen)
    return chosen


def _nameless(lines: Lines) -> Lines:
    """Those that do not say a pet's name, which may be what the other half of the question asks for."""
    return tuple(line for line in lines if "{p}" not in line)


def _reversible(talk: Talk) -> list[Key]:
    return [key for key in askable(talk) if key != talk.last_asked and topic_of(key).when]


def _note_asked(talk: Talk, key: Key) -> None:
    talk.asked[key] += 1
    talk.last_asked = key


def _question(talk: Talk, key: Key) -> tuple[str, str]:
    """A question for the fact, and which opener its answer may take: "yes", "no" or none."""
    topic, register = topic_of(key), talk.style.register
    if register == "terse" and topic.terse_ask and talk.chance(0.7):
        return talk.pick(topic.terse_ask), ""
    if topic.polar and talk.chance(0.15):
        return talk.pick(topic.polar), "yes"
    if talk.chance(0.6 if register == "formal" else 0.38):
        wrapped = _wrapped(key[0], register == "formal" and talk.chance(0.7))
        return wrapped[int(talk.rand() * len(wrapped))]
    return talk.pick(topic.ask), ""


@cache
def _wrapped(topic: str, formal: bool) -> tuple[tuple[str, str], ...]:
    """Every wrapping of what the user calls the fact, with the opener for its answer."""
    wrappings = questions.wrapped_formal if formal else questions.wrapped
    pairs = [(wrapping, opener) for opener, lines in wrappings.items() for wrapping in lines]
    return tuple((line.replace("{mine}", mine), opener) for (line, opener), mine in product(pairs, TOPICS[topic].mine))


def _reply(talk: Talk, lines: Lines, opener: str) -> str:
    line = talk.pick_plain(lines)
    if opener and talk.chance(0.5):
        return talk.pick(questions.openers[opener]) + decapitalised(line)
    return line


def _plain_together(keys: Sequence[Key]) -> str:
    """The plainest answers for several facts, as one sentence with numbered slots."""
    lines = [numbered(topic_of(key).reply[0], place).rstrip(".") for place, key in enumerate(keys)]
    rest = [decapitalised(line) for line in lines[1:]]
    return listed([lines[0], *rest]) + "."


def _untold(talk: Talk) -> Key:
    """Something that was not told, and about which nothing is told that would make the question unclear."""
    told_abouts = {about for _, about in talk.facts} | set(talk.kinds)
    for _ in range(20):
        topic = talk.mix.unknown.draw(talk.rand)
        if topic == "pet age" and talk.chance(0.7):
            known = [about for name, about in talk.facts if name == "pet" and ("pet age", about) not in talk.facts]
            if known:
                return topic, talk.pick(known)
        elif topic in ("pet", "kin", "plan"):
            about = _new_about(talk, topic)
            if about not in told_abouts:
                return topic, about
        elif topic not in _MANY and (topic, "") not in talk.facts:
            return topic, ""
    return "kin", talk.world.relation(told_abouts)


def _new_about(talk: Talk, topic: str) -> str:
    if topic == "plan":
        return talk.pick(tuple(words.DAYS))
    return talk.world.kind() if topic == "pet" else talk.world.relation()


def _on_agenda(talk: Talk, key: Key) -> bool:
    return any(fact.key == key for item in talk.agenda for fact in item)


def _bare(key: Key) -> str:
    return words.DAYS[key[1]] if key[0] == "plan" else key[1]
