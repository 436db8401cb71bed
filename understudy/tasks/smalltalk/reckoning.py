"""The user asks for what follows from told facts, and for sums: counting, comparing, adding."""

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


def add(talk: Talk) -> None:
    """Ask for a sum: of two numbers up to ten the assistant knows it, and it refuses all other reckoning."""
    if talk.chance(talk.mix.too_hard):
        asks = questions.sum_others if talk.chance(0.4) else questions.sum_beyond
        low = 2 if asks is questions.sum_others else 11
        x, z = low + int(talk.rand() ** 2 * 200), 1 + int(talk.rand() ** 2 * 100)
        numbers = {"x": str(x), "z": str(z)} if talk.chance(0.5) else {"x": str(z), "z": str(x)}
        talk.question("refuse", "numbers", "", ())
        return talk.say(asks, questions.sum_refusals, numbers, chat.ask_leads)
    x, z = (1 + int(talk.rand() * 10) for _ in range(2))
    as_words = talk.chance(0.25)
    asked = {"x": NUMBERS[x] if as_words else str(x), "z": NUMBERS[z] if as_words else str(z)}
    user = talk.user_line(talk.pick(questions.sum_asks), asked, chat.ask_leads)
    talk.question("sum", "numbers", str(x + z), _numbers_but(x, z, x + z))
    slots = {"x": str(x), "z": str(z), "w": str(x + z)}
    talk.exchange(user, talk.reply_line(talk.pick_plain(questions.sum_replies), slots))


def pet_ages(talk: Talk) -> list[Key]:
    """Return the ages of pets that were told."""
    return [key for key in talk.facts if key[0] == "pet age"]


def add_told(talk: Talk) -> None:
    """Ask for a sum of told numbers: the ages of two pets together, or the age of one in a year or two."""
    keys = comparable(talk)
    if keys and keys[0][0] == "pet age" and talk.chance(0.6):
        x, z = (_number(talk, key) for key in keys)
        asks, replies = questions.told_sum_asks, questions.told_sum_replies
        slots = {"p": talk.facts["pet", keys[0][1]], "q": talk.facts["pet", keys[1][1]]}
    else:
        key = talk.pick(pet_ages(talk))
        x, z = _number(talk, key), 1 + int(talk.rand() * 2)
        asks, replies = questions.later_asks[str(z)], questions.later_replies
        slots = {"p": talk.facts["pet", key[1]]}
    slots |= {"x": str(x), "z": str(z), "w": str(x + z), "W": str(x + z)}
    talk.question("sum", "ages", str(x + z), _numbers_but(x, z, x + z))
    talk.say(asks, replies, slots, chat.ask_leads)


def _number(talk: Talk, key: Key) -> int:
    value = talk.facts[key]
    return int(value) if value.isdigit() else NUMBERS.index(value)


def _numbers_but(*right: int) -> list[str]:
    return [str(number) for number in range(21) if number not in right]
