"""What a small model cannot do, cannot judge or does not understand: it says so, whatever the words are."""

from collections.abc import Callable

from understudy.tasks.smalltalk import words
from understudy.tasks.smalltalk.names import RUDE, coin, foreign, pick, split_of
from understudy.tasks.smalltalk.phrases import beyond
from understudy.tasks.smalltalk.style import decapitalised
from understudy.tasks.smalltalk.talk import Slots, Talk

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def ask(talk: Talk) -> None:
    """Ask for what the assistant refuses, or say what it does not understand."""
    said = talk.pick(beyond.asks)
    talk.question("refuse", "beyond", "", talk.rivals())
    talk.say(said.user, said.reply, _slots(talk))


def tell(talk: Talk) -> None:
    """Tell something that the assistant need not remember, or far too much at once."""
    if talk.chance(0.85):
        said = talk.pick(beyond.tells)
        return talk.say(said.user, said.reply, _slots(talk))
    lines = [talk.pick(talk.pick(beyond.tells).user).rstrip(".!") for _ in range(3 + int(talk.rand() * 5))]
    told = lines[0] + "".join(talk.pick(beyond.story["joins"]) + decapitalised(line) for line in lines[1:]) + "."
    talk.exchange(talk.user_line(told, _slots(talk)), talk.reply_line(talk.pick(beyond.story["reply"]), {}))


def _slots(talk: Talk) -> Slots:
    """Return words for all slots of beyond.toml: at times a made-up one, so that no word is the sign of anything."""
    drawn = {
        "n": beyond.nouns,
        "o": beyond.nouns,
        "ns": beyond.plurals,
        "j": beyond.adjectives,
        "d": beyond.done,
        "v": beyond.doing,
        "f": beyond.famous,
        "b": beyond.hurtful,
        "g": beyond.pleasing,
        "k": words.RELATIVES,
    }
    slots = {slot: _made_up(talk) if talk.chance(0.2) else talk.pick(known) for slot, known in drawn.items()}
    slots |= {"N": slots["n"].capitalize(), "Ns": slots["ns"].capitalize(), "V": slots["v"].capitalize()}
    slots["w"] = _made_up(talk)
    slots["r"] = _own(talk, lambda: "".join(pick(_LETTERS, talk.rand) for _ in range(3 + int(talk.rand() * 8))))
    slots["u"] = _own(talk, lambda: foreign("person", talk.rand))
    return slots


def _made_up(talk: Talk) -> str:
    return _own(talk, lambda: coin(talk.pick(("person", "town", "pet")), talk.rand))


def _own(talk: Talk, make: Callable[[], str]) -> str:
    """Return a word that belongs to the split."""
    while True:
        word = make().lower()
        if split_of(word) == talk.world.split and not RUDE.search(word):
            return word
