"""The user asks for what follows from told facts, counts and comparisons, and for arithmetic."""

from understudy.tasks.smalltalk.phrases import chat, questions
from understudy.tasks.smalltalk.talk import Key, Talk, listed
from understudy.tasks.smalltalk.words import NUMBERS, PETS, with_article


def comparable(talk: Talk) -> list[Key]:
    """Return two told ages that can be compared, of the user's only two pets or of two relatives; else nothing."""
    for topic in ("pet age", "kin age"):
        keys = [key for key in talk.facts if key[0] == topic]
        others_told = pets(talk) if topic == "pet age" else 2
        if len(keys) == 2 == others_told and _number(talk, keys[0]) != _number(talk, keys[1]):
            return keys
    return []


def compare(talk: Talk) -> None:
    """Ask which of two is the older or the younger."""
    more = talk.pick(("older", "older", "younger"))
    keys = comparable(talk)
    first, second = keys if talk.chance(0.5) else keys[::-1]
    winner, loser = sorted(keys, key=lambda key: _number(talk, key), reverse=more == "older")
    if first[0] == "pet age":
        names = {key: talk.facts["pet", key[1]] for key in keys}
        asks, replies = questions.compare_pets[more], questions.compare_pets_replies
        slots = {"p": names[first], "q": names[second], "w": names[winner]}
        right, wrong = names[winner], names[loser]
    else:
        asks, replies = questions.compare_kin[more], questions.compare_kin_replies
        slots = {"a": first[1], "b": second[1], "w": winner[1]}
        right, wrong = winner[1], loser[1]
    slots |= {"more": more, "m": talk.facts[first], "n": talk.facts[second]}
    talk.question("compare", first[0], right, [wrong])
    talk.say(asks, replies, slots, chat.ask_leads)


def pets(talk: Talk) -> int:
    """Return how many pets were told about."""
    return len(talk.kinds) + 2 * sum(topic == "pair" for topic, _ in talk.facts)


def count(talk: Talk) -> None:
    """Ask how many pets were told about, of all kinds or of one."""
    number, pairs = pets(talk), [kind for topic, kind in talk.facts if topic == "pair"]
    named = [key for key in talk.facts if key[0] in ("pet", "pair")]
    if named and talk.chance(0.3):
        topic, kind = key = talk.pick(named)
        number = 2 if topic == "pair" else 1
        slots = talk.known(key) | {"w": NUMBERS[number], "of": PETS[kind] if topic == "pair" else kind}
        talk.question("count", "pets", str(number), _numbers_but(number))
        return talk.say(questions.count_kind, questions.count_kind_replies, slots, chat.ask_leads)
    kinds = [with_article(kind) for kind in talk.kinds] + [f"two {PETS[kind]}" for kind in pairs]
    slots = {"w": NUMBERS[number], "pets": "pet" if number == 1 else "pets", "list": listed(kinds)}
    talk.question("count", "pets", str(number), _numbers_but(number))
    talk.say(questions.count_pets, questions.count_pets_replies, slots, chat.ask_leads)


def reckon(talk: Talk) -> None:
    """Ask for arithmetic, which the assistant refuses: a model of this size gets most sums wrong."""
    asks = talk.pick((questions.sums, questions.sums, questions.other_reckoning))
    x, z = (1 + int(talk.rand() ** 2 * 200) for _ in range(2))
    as_words = max(x, z) < len(NUMBERS) and talk.chance(0.25)
    slots = {"x": NUMBERS[x] if as_words else str(x), "z": NUMBERS[z] if as_words else str(z)}
    talk.question("refuse", "numbers", "", ())
    talk.say(asks, questions.reckoning_refusals, slots, chat.ask_leads)


def _number(talk: Talk, key: Key) -> int:
    value = talk.facts[key]
    return int(value) if value.isdigit() else NUMBERS.index(value)


def _numbers_but(*right: int) -> list[str]:
    return [str(number) for number in range(21) if number not in right]
