"""Talk beside the facts: greetings, goodbyes, moods, jokes, questions to the assistant itself."""

from understudy.tasks.smalltalk.phrases import chat
from understudy.tasks.smalltalk.talk import Key, Pending, Talk, topic_of
from understudy.tasks.smalltalk.telling import ask_next
from understudy.tasks.smalltalk.topic import Exchange


def greet(talk: Talk) -> None:
    """Greet; the assistant greets back and, at times, asks something."""
    greeting = talk.pick(chat.greetings)
    user = talk.user_line(greeting, {})
    reply = talk.pick(chat.fine_replies if "how are you" in greeting else chat.greeting_replies)
    if talk.chance(0.45):
        asked = ask_next(talk)
    elif talk.chance(0.3):
        asked, talk.pending = talk.pick(chat.mood_prompts), Pending("mood")
    else:
        asked = ""
    talk.exchange(user, talk.reply_line(f"{reply} {asked}".rstrip(), {}))


def part(talk: Talk) -> None:
    """Say goodbye; so does the assistant, by name where it knows one."""
    slots = {"n": talk.facts.get(("name", ""), "")}
    pets = [value for (topic, _), value in talk.facts.items() if topic == "pet"]
    lines = chat.goodbye_replies
    if slots["n"] and talk.chance(0.5):
        lines = chat.goodbye_named
    elif len(pets) == 1 and talk.chance(0.3):
        lines, slots["p"] = chat.goodbye_pet, pets[0]
    talk.say(chat.goodbyes, lines, slots)


def answer_chat(talk: Talk, pending: Pending) -> None:
    """Answer a question of the assistant's that was not about a fact."""
    answers = chat.answers[pending.kind]
    # Rather the first, friendlier ones.
    said = answers[int(talk.rand() ** 1.5 * len(answers))]
    talk.say(said.user, said.reply or chat.jokes)


def say_once(talk: Talk, choices: tuple[Exchange, ...]) -> None:
    """Say something that has nothing to do with the facts, each thing at most once."""
    said = talk.pick(choices)
    if said not in talk.said:
        talk.said.add(said)
        talk.say(said.user, said.reply)
        talk.pending = Pending(said.then) if said.then else None


def joke(talk: Talk) -> None:
    """Ask for a joke."""
    talk.say(chat.joke_asks, chat.jokes)
    if talk.chance(0.3):
        talk.say(chat.after_joke.user, chat.after_joke.reply)


def with_more(talk: Talk) -> list[Key]:
    """Return the told facts that the user can talk on about."""
    return [key for key in talk.facts if topic_of(key).more]


def say_more(talk: Talk) -> None:
    """Talk on about a told fact without adding a new one."""
    key = talk.pick(with_more(talk))
    said = talk.pick(topic_of(key).more)
    talk.say(said.user, said.reply, talk.known(key), chat.chat_leads)
