"""Who speaks in the exports, and whose part the bot learns."""

from collections.abc import Callable, Sequence

from understudy.console import counted, visible
from understudy.data.importers.sort import Spool
from understudy.errors import ConfigError, suggestion

LISTED = 12  # speakers that a message names


def by_messages(spool: Spool) -> list[int]:
    """The numbers of the speakers, the most talkative first."""
    return [number for number, _ in spool.messages_of.most_common()]


def choose(spool: Spool, names: Sequence[str], ask: Callable[[], str] | None) -> frozenset[int]:
    """The speakers whose part the bot learns.

    Args:
        spool: holds the messages.
        names: what `--bot` names: names or the app's ids, each of the same person.
        ask: asks the user for one, where no name was given and there is somebody to ask.

    Raises:
        ConfigError: nobody is named, or speaks under the name, or two people do.
    """
    if not names and ask:
        names = [ask()]
    if not names:
        raise ConfigError(f"whose part is the bot to learn? name a speaker with --bot; {who_speaks(spool)}")
    return frozenset(number for name in names for number in _called(spool, name))


def who_speaks(spool: Spool) -> str:
    """The speakers and how much they say, in a few words."""
    numbers = by_messages(spool)
    said = [f"{visible(spool.speakers[n].name)} ({counted(spool.messages_of[n], 'message')})" for n in numbers[:LISTED]]
    more = [f"and {len(numbers) - LISTED:,} more"] if len(numbers) > LISTED else []
    return f"who speaks: {', '.join(said + more)}"


def _called(spool: Spool, name: str) -> list[int]:
    everybody = range(len(spool.speakers))
    found = [n for n in everybody if name in (spool.speakers[n].name, spool.speakers[n].key)]
    found = found or [n for n in everybody if spool.speakers[n].name.casefold() == name.casefold()]
    if not found:
        close = suggestion(name, {speaker.name for speaker in spool.speakers})
        raise ConfigError(f"nobody is called {name!r}{close}; {who_speaks(spool)}")
    apps = [spool.speakers[number].app for number in found]
    if len(set(apps)) < len(apps):
        ids = ", ".join(f"{spool.speakers[n].key} ({counted(spool.messages_of[n], 'message')})" for n in found)
        raise ConfigError(f"{len(found)} people are called {name!r}; give --bot one of their ids: {ids}")
    return found
