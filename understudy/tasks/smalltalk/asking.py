"""The user asks for told facts, for facts that were not told, and for what cannot be known."""

from collections.abc import Sequence
from functools import cache
from itertools import product

from understudy.tasks.smalltalk import words
from understudy.tasks.smalltalk.mix import Shares
from understudy.tasks.smalltalk.phrases import TOPICS, chat, questions
from understudy.tasks.smalltalk.style import decapitalised
from understudy.tasks.smalltalk.talk import Key, Pending, Talk, claimed, listed, numbered, numbered_slots, topic_of
from understudy.tasks.smalltalk.topic import Lines

_SUMMARY_ORDER = ("name", "home", "job", "pet", "kin", "hobby", "food")
_MANY = ("pet", "kin", "plan", "pair", "pet age", "kin age")  # several facts of these may be told


def askable(talk: Talk, again: bool = False) -> list[Key]:
    """Return the told facts that were asked for at most once; the one that was asked for last only `again`."""
    return [key for key in talk.facts if talk.asked[key] < 2 and (again or key != talk.last_asked)]


def recall(talk: Talk) -> None:
    """Ask for a told fact."""
    key = _asked_key(talk)
    question, opener = _question(talk, key)
    slots = talk.known(key)
    user = talk.user_line(question, slots, chat.ask_leads)
    talk.question("recall", key[0], slots["v"], talk.rivals(key[0]))
    reply = talk.pick_plain(topic_of(key).reply)
    if opener and talk.chance(0.5):
        reply = talk.pick(questions.openers[opener]) + decapitalised(reply)
    talk.exchange(user, talk.reply_line(reply, slots))


def reversible(talk: Talk) -> list[Key]:
    """Return the facts that can be asked for the other way round ("Who is Bix?")."""
    return [key for key in askable(talk) if topic_of(key).when]


def reverse(talk: Talk) -> None:
    """Give the value and ask whom or when it is about."""
    key = talk.pick(reversible(talk))
    slots, topic = talk.known(key), topic_of(key)
    # A name is of somebody: of a pet, a relative or the user; a plan is for a day.
    planned = key[0] == "plan"
    about = slots.get("d") or key[1] or "you"
    note_asked(talk, key)
    rivals = [words.DAYS[on] if planned else on for topic_, on in talk.facts if (topic_ == "plan") == planned]
    kind = "recall" if planned else "who"
    talk.question(kind, f"{key[0]} reversed", about, [rival for rival in rivals if rival and rival != about])
    talk.say(topic.when, topic.when_reply, slots, chat.ask_leads, plain=True)


def recall_two(talk: Talk) -> None:
    """Ask for two told facts in one line."""
    first = _asked_key(talk)
    second = talk.pick([key for key in talk.facts if key != first])
    note_asked(talk, second)
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
    """Ask what the assistant knows: it says the two or three most important things told."""
    rank = {topic: place for place, topic in enumerate(_SUMMARY_ORDER)}
    keys = sorted(talk.facts, key=lambda key: rank.get(key[0], len(rank)))[:3]
    slots = numbered_slots([talk.known(key) for key in keys])
    value, topic = talk.facts[keys[0]], keys[0][0]
    note_asked(talk, keys[0])
    told_too = [part for key in keys for part in talk.facts[key].split(" and ")]
    talk.question("recall", topic, value, [rival for rival in talk.rivals(topic) if rival not in told_too])
    user = talk.user_line(talk.pick(questions.summary_asks), {}, chat.ask_leads)
    talk.exchange(user, talk.reply_line(_plain_together(keys), slots))


def ask_unknown(talk: Talk) -> None:
    """Ask for a fact that was never told, or for a stranger."""
    if talk.chance(0.2):
        name = talk.world.word(talk.pick(("person", "pet")))
        slots = {"v": name.lower() if talk.style.lower else name}
        slots |= claimed(talk.world.kind())
        talk.question("refuse", "stranger", "", talk.rivals())
        return talk.say(questions.who_asks, questions.who_refusals, slots, chat.ask_leads)
    if not talk.kinds and not any(topic == "pair" for topic, _ in talk.facts) and talk.chance(0.1):
        talk.question("refuse", "pets", "", talk.rivals())
        return talk.say(questions.count_pets, questions.count_none, {}, chat.ask_leads)
    key = _untold(talk)
    topic = topic_of(key)
    question, opener = _question(talk, key)
    slots = talk.slots(key)
    claim = talk.world.fact(*key) if topic.check and key[0] != "pet age" and talk.chance(0.25) else None
    if claim:
        question, opener = talk.pick(topic.check), ""
        slots |= claimed(claim.value)
    user = talk.user_line(question, slots, chat.ask_leads)
    replies = questions.refusals
    prompts = key[0] not in _MANY and topic.prompt
    to_come = any(fact.key == key for item in talk.agenda for fact in item)
    fact = claim or talk.world.fact(key[0]) if prompts and not to_come and talk.chance(0.5) else None
    if fact:
        replies, talk.pending = questions.refusals_asking, Pending("short", (fact,))
    reply = talk.pick(replies).format(yours=topic.yours, prompt=talk.pick(topic.prompt))
    if opener == "yes" and talk.chance(0.3):
        reply = "No, " + decapitalised(reply)
    talk.question("refuse", key[0], "", talk.rivals())
    talk.exchange(user, talk.reply_line(reply, slots))


def ask_impossible(talk: Talk) -> None:
    """Ask for what a small language model cannot see or was never taught."""
    said = talk.pick(questions.impossible)
    user = talk.user_line(talk.pick(said.user), {"country": talk.pick(words.COUNTRIES)}, chat.ask_leads)
    talk.question("refuse", "world", "", talk.rivals())
    talk.exchange(user, talk.reply_line(talk.pick(said.reply), {}))


def _asked_key(talk: Talk) -> Key:
    """Return the told fact to ask for: names and homes more often, and those asked for before less often."""
    mix = talk.mix
    # Where all were asked for often or just now, any of them.
    keys = askable(talk) or list(talk.facts)
    shares = {key: mix.asked.get(key[0], 1.0) * mix.asked_again ** talk.asked[key] for key in keys}
    chosen = Shares(shares).draw(talk.rand)
    note_asked(talk, chosen)
    return chosen


def _nameless(lines: Lines) -> Lines:
    """Return the lines without a pet's name, which the other half of the question may ask for."""
    return tuple(line for line in lines if "{p}" not in line)


def note_asked(talk: Talk, key: Key) -> None:
    """Remember that a fact was asked for."""
    talk.asked[key] += 1
    talk.last_asked = key


def _question(talk: Talk, key: Key) -> tuple[str, str]:
    """Return a question for the fact, and the opener that its answer may take: "yes", "no" or none."""
    topic, register = topic_of(key), talk.style.register
    if register == "terse" and topic.terse_ask and talk.chance(0.7):
        return talk.pick(topic.terse_ask), ""
    if topic.polar and talk.chance(0.15):
        return talk.pick(topic.polar), "yes"
    if talk.chance(0.6 if register == "formal" else 0.38):
        return talk.pick(_wrapped(key[0], register == "formal" and talk.chance(0.7)))
    return talk.pick(topic.ask), ""


@cache
def _wrapped(topic: str, formal: bool) -> tuple[tuple[str, str], ...]:
    """Return every wrapping of what the user calls the fact, with the opener for its answer."""
    wrappings = questions.wrapped_formal if formal else questions.wrapped
    pairs = [(wrapping, opener) for opener, lines in wrappings.items() for wrapping in lines]
    return tuple((line.replace("{mine}", mine), opener) for (line, opener), mine in product(pairs, TOPICS[topic].mine))


def _plain_together(keys: Sequence[Key]) -> str:
    """Return the plainest answers for several facts, as one sentence with numbered slots."""
    lines = [numbered(topic_of(key).reply[0], place).rstrip(".") for place, key in enumerate(keys)]
    rest = [decapitalised(line) for line in lines[1:]]
    return listed([lines[0], *rest]) + "."


def _untold(talk: Talk) -> Key:
    """Return a fact that was not told, such that no told fact makes the question unclear."""
    told_abouts = {about for _, about in talk.facts} | set(talk.kinds)
    for _ in range(20):
        topic = talk.mix.unknown.draw(talk.rand)
        if topic == "pet age" and talk.chance(0.7):
            known = [about for name, about in talk.facts if name == "pet" and ("pet age", about) not in talk.facts]
            if known:
                return topic, talk.pick(known)
        elif topic in ("pet", "kin", "plan"):
            about = talk.world.kind() if topic == "pet" else talk.world.relation() if topic == "kin" else ""
            about = about or talk.pick(tuple(words.DAYS))
            if about not in told_abouts:
                return topic, about
        elif topic not in _MANY and (topic, "") not in talk.facts:
            return topic, ""
    return "kin", talk.world.relation(told_abouts)
