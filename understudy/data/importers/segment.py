"""From sorted messages to conversations in files: whose part the bot learns, cut at gaps, split by time.

Messages of one side close together are joined, speakers become user and assistant, and the later conversations are
held out for validation.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from understudy.console import and_more, counted, visible
from understudy.data.conversations import Conversation, Message, conversation_to_json
from understudy.data.importers.messages import Reason
from understudy.data.importers.sort import MessageSorter, SortedMessage
from understudy.errors import ConfigError, suggestion
from understudy.files import whole
from understudy.runs.disk import full_disk_named

LONGEST_CONVERSATION = 1_000_000  # characters after which a conversation without gaps continues as another
SPEAKERS_LISTED = 12


def speakers_by_messages(sorter: MessageSorter) -> list[int]:
    """Return the numbers of the speakers, the most talkative first."""
    return [number for number, _ in sorter.messages_of.most_common()]


def choose_bots(sorter: MessageSorter, names: Sequence[str], ask: Callable[[], str] | None) -> frozenset[int]:
    """Return the numbers of the speakers whose part the bot learns.

    Args:
        sorter: holds the messages.
        names: what `--bot` gives: names or the app's ids, all of the same person.
        ask: asks the user for a name if none was given; None if it cannot ask.

    Raises:
        ConfigError: no name is given, or a name is unknown or that of two people.
    """
    speakers = sorter.speakers

    def who_speaks() -> str:
        numbers = speakers_by_messages(sorter)
        said = (f"{visible(speakers[n].name)} ({counted(sorter.messages_of[n], 'message')})" for n in numbers)
        return f"who speaks: {and_more(said, SPEAKERS_LISTED)}"

    if not names and ask:
        names = [ask()]
    if not names:
        raise ConfigError(f"whose part is the bot to learn? name a speaker with --bot; {who_speaks()}")
    bots: set[int] = set()
    for name in names:
        found = [n for n, speaker in enumerate(speakers) if name in (speaker.name, speaker.key)]
        found = found or [n for n, speaker in enumerate(speakers) if speaker.name.casefold() == name.casefold()]
        if not found:
            close = suggestion(name, {speaker.name for speaker in speakers})
            raise ConfigError(f"no speaker is called {name!r}{close}; {who_speaks()}")
        # The same name in two apps is the same person; in one app there are two people.
        if len({speakers[n].app for n in found}) < len(found):
            ids = ", ".join(f"{speakers[n].key} ({counted(sorter.messages_of[n], 'message')})" for n in found)
            raise ConfigError(f"{len(found)} people are called {name!r}; give --bot one of their ids: {ids}")
        bots.update(found)
    return frozenset(bots)


def collect(
    sorter: MessageSorter,
    bots: frozenset[int],
    gap: float,
    turns_of: Callable[[list[SortedMessage]], Iterator[Message]],
    skipped: Counter[Reason],
    advance: Callable[[int], None],
) -> None:
    """Cut all messages into conversations, which the sorter keeps.

    Args:
        sorter: holds the messages.
        bots: the numbers of the speakers whose part the bot learns.
        gap: seconds without a message after which a new conversation begins.
        turns_of: makes the turns of a conversation.
        skipped: counts the messages that are in no conversation that is kept, by reason.
        advance: called with the number of messages done.
    """
    number = -1
    for piece, begins in cut(sorter.messages(), gap):
        number += begins
        advance(len(piece))
        sorter.add_span(number, piece[0].time, piece[-1].time)
        # There is nothing to learn unless both the bot and another person speak.
        sides = {message.speaker in bots for message in piece}
        if len(sides) == 1:
            skipped[Reason.ALONE if True in sides else Reason.NO_REPLY] += len(piece)
            continue
        # Another export may have held the same conversation, word for word and minute for minute.
        digest = hashlib.blake2b(digest_size=16)
        for message in piece:
            digest.update(f"{message.time}\0{message.speaker}\0{message.text}\0".encode())
        if sorter.is_repeated(digest.digest(), piece[0].chat[0]):
            skipped[Reason.REPEATED] += len(piece)
            continue
        sorter.add_line(number, len(piece), conversation_to_json(Conversation(tuple(turns_of(piece)))))


def cut(messages: Iterable[SortedMessage], gap: float) -> Iterator[tuple[list[SortedMessage], bool]]:
    """Cut messages into conversations; one that is longer than people have in one go comes in several pieces.

    Yields:
        a list of messages, and whether they begin a conversation or continue the one before.

    >>> messages = [SortedMessage((0, ""), time, 0, text) for time, text in ((0, "a"), (10, "b"), (50, "c"))]
    >>> [([message.text for message in piece], begins) for piece, begins in cut(messages, gap=20)]
    [(['a', 'b'], True), (['c'], True)]
    """
    piece: list[SortedMessage] = []
    begins, size = True, 0
    for message in messages:
        if piece:
            apart = message.chat != piece[-1].chat or message.time - piece[-1].time > gap
            if apart or size + len(message.text) > LONGEST_CONVERSATION:
                yield piece, begins
                piece, begins, size = [], apart, 0
        piece.append(message)
        # Short messages take memory too.
        size += len(message.text) + 50
    if piece:
        yield piece, begins


def turns(
    messages: Sequence[SortedMessage], bots: frozenset[int], merge_within: float, name_of: Callable[[int], str]
) -> Iterator[Message]:
    r"""Yield the turns of a conversation: messages of one side close together are one, a line each.

    If several people speak with the bot, what each of them says begins with the name: "Bob: Hello\nEve: Hi".
    """
    named = len({message.speaker for message in messages} - bots) > 1
    lines: list[str] = []
    before = messages[0]
    for message in messages:
        ours = message.speaker in bots
        if ours != (before.speaker in bots) or message.time - before.time > merge_within:
            yield Message("assistant" if before.speaker in bots else "user", "\n".join(lines))
            lines = []
        is_same = bool(lines) and before.speaker == message.speaker
        prefix = f"{name_of(message.speaker)}: " if named and not ours and not is_same else ""
        lines.append(prefix + message.text)
        before = message
    yield Message("assistant" if before.speaker in bots else "user", "\n".join(lines))


@dataclass
class WrittenFile:
    """What was written to one file: conversations, the messages in them as they were sent, and their time span."""

    path: Path
    conversations: int = 0
    messages: int = 0
    first: float = float("inf")
    last: float = float("-inf")


def write_split(
    sorter: MessageSorter, train: Path, valid: Path, share: float, skipped: Counter[Reason]
) -> tuple[WrittenFile, WrittenFile]:
    """Write the earlier conversations to `train` and the later ones, about `share` of them, to `valid`.

    Every conversation of `valid` begins after the last message of `train` was sent. Conversations that span the
    boundary are dropped from both files. If nothing is held out, `valid` is not written.

    Raises:
        DiskFullError: the disk is full; the files are as they were.
    """
    boundary = sorter.start_of_last(share)
    written = WrittenFile(train), WrittenFile(valid)
    with full_disk_named(train.parent), ExitStack() as stack:
        paths = [stack.enter_context(whole(file.path)) for file in written]
        streams = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in paths]
        for start, end, messages, line in sorter.lines():
            if end >= boundary > start:
                skipped[Reason.STRADDLING] += messages
                continue
            late = start >= boundary
            file = written[late]
            file.conversations += 1
            file.messages += messages
            file.first, file.last = min(file.first, start), max(file.last, end)
            streams[late].write(line + "\n")
        for stream in streams:
            stream.flush()
            os.fsync(stream.fileno())
    for file in written:
        if not file.conversations:
            file.path.unlink()
    return written
