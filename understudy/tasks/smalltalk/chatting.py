"""Talk beside the facts: greetings, goodbyes, moods, jokes, questions to the assistant itself."""

from understudy.tasks.smalltalk.phrases import chat
from understudy.tasks.smalltalk.talk import Pending, Talk, topic_of
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
    user = talk.user_line(talk.pick(chat.goodbyes), {})
    talk.exchange(user, talk.reply_line(talk.pick(lines), slots))


def answer_chat(talk: Talk, pending: Pending) -> None:
    """Answer a question of the assistant's that was not about a fact."""
    answers = chat.answers[pending.kind]
    said = answers[int(talk.rand() ** 1.5 * len(answers))]  # rather the first, friendlier ones
    talk.exchange(talk.user_line(talk.pick(said.user), {}), talk.reply_line(talk.pick(said.reply or chat.jokes), {}))


def chatter(talk: Talk) -> None:
    """Say something that has nothing to do with the facts, each thing at most once."""
    index = int(talk.rand() * len(chat.chats))
    if talk.done[f"chat {index}"]:
        return
    talk.done[f"chat {index}"] += 1
    said = chat.chats[index]
    _say(talk, said)
    if said.then:
        talk.pending = Pending(said.then)


def praise(talk: Talk) -> None:
    """Confirm what was just recalled."""
    _say(talk, chat.after_recall)


def ask_about_assistant(talk: Talk) -> None:
    """Ask the assistant about itself, each thing at most once."""
    index = int(talk.rand() * len(chat.self))
    if not talk.done[f"self {index}"]:
        talk.done[f"self {index}"] += 1
        talk.done["self"] += 1
        _say(talk, chat.self[index])


def joke(talk: Talk) -> None:
    """Ask for a joke."""
    talk.done["joke"] += 1
    talk.exchange(talk.user_line(talk.pick(chat.joke_asks), {}), talk.reply_line(talk.pick(chat.jokes), {}))
    if talk.chance(0.3):
        _say(talk, chat.after_joke)


def can_say_more(talk: Talk) -> bool:
    """Return whether the user can talk on about something told."""
    return talk.done["about told"] < 2 and any(topic_of(key).more for key in talk.facts)


def say_more(talk: Talk) -> None:
    """Talk on about a told fact without adding a new one."""
    talk.done["about told"] += 1
    key = talk.pick_key([key for key in talk.facts if topic_of(key).more])
    more = topic_of(key).more
    said = more[int(talk.rand() * len(more))]
    slots = talk.known(key)
    user = talk.user_line(talk.pick(said.user), slots, chat.chat_leads)
    talk.exchange(user, talk.reply_line(talk.pick(said.reply), slots))


def _say(talk: Talk, said: Exchange) -> None:
    talk.exchange(talk.user_line(talk.pick(said.user), {}), talk.reply_line(talk.pick(said.reply), {}))
