"""The user asks what is answered with yes or no: is a told fact so, and is there a certain pet or relative?"""

from understudy.tasks.smalltalk.asking import askable, note_asked
from understudy.tasks.smalltalk.phrases import TOPICS, chat
from understudy.tasks.smalltalk.style import decapitalised
from understudy.tasks.smalltalk.talk import Key, Slots, Talk, claimed, topic_of


def checkable(talk: Talk) -> list[Key]:
    """Return the told facts of which one can ask whether they are so."""
    return [key for key in askable(talk, again=True) if topic_of(key).check]


def check(talk: Talk) -> None:
    """Ask whether a told fact is so: half of the times it is."""
    if talk.chance(0.2):
        return _have(talk)
    key, is_so = talk.pick(checkable(talk)), talk.chance(0.5)
    topic, value = topic_of(key), talk.facts[key]
    # Either the value is asked about or whose it is, such as the kind of the animal.
    if topic.check_about and talk.chance(0.5):
        claim = key[1] if is_so else _other_about(talk, key)
        asks, reply = topic.check_about, topic.when_reply[0]
    else:
        claim = value if is_so else _other_value(talk, key)
        asks, reply = topic.check, topic.reply[0]
    note_asked(talk, key)
    _answer(talk, key[0], asks, talk.known(key) | claimed(claim), "yes" if is_so else "no", reply)


def _have(talk: Talk) -> None:
    """Ask whether there is a certain pet or relative."""
    topic = talk.pick(("pet", "kin"))
    told = [key for key in talk.facts if key[0] == topic]
    if told and talk.chance(0.5):
        key = talk.pick(told)
        return _answer(
            talk, topic, TOPICS[topic].have, talk.known(key) | claimed(key[1]), "yes", TOPICS[topic].reply[0]
        )
    about = _other_about(talk, (topic, ""))
    said = talk.user_line(talk.pick(TOPICS[topic].have), claimed(about), chat.ask_leads)
    talk.question("yes_no", topic, "no", ["yes"])
    talk.exchange(said, talk.reply_line(talk.pick_plain(TOPICS[topic].lack), claimed(about)))


def _answer(talk: Talk, topic: str, asks: tuple[str, ...], slots: Slots, word: str, reply: str) -> None:
    """Ask, and answer with the word and the fact as it was told."""
    talk.question("yes_no", topic, word, ["no" if word == "yes" else "yes"])
    talk.say(asks, (f"{word.capitalize()}, {decapitalised(reply)}",), slots, chat.ask_leads)


def _other_value(talk: Talk, key: Key) -> str:
    """Return a value that the fact does not have: one that was told of another fact, or a new one."""
    rivals = [rival for rival in talk.rivals(key[0]) if rival.lower() != talk.facts[key].lower()]
    if rivals and talk.chance(0.5):
        return talk.pick(rivals)
    for _ in range(9):
        fact = talk.world.fact(*key)
        if fact and fact.value != talk.facts[key]:
            return fact.value
    return rivals[0] if rivals else "nobody"


def _other_about(talk: Talk, key: Key) -> str:
    """Return a kind of pet or a relation that is not the fact's: one of another fact, or one that was not told."""
    told = {about for _, about in talk.facts} | set(talk.kinds)
    others = [about for topic, about in talk.facts if topic == key[0] and about != key[1]]
    if key[1] and others and talk.chance(0.4):
        return talk.pick(others)
    return talk.world.kind(told) if key[0] == "pet" else talk.world.relation(told)
