"""From messages to conversations: cut by silence, bursts merged, speakers mapped to user and assistant."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from understudy.data.conversations import Conversation, Message, conversation_to_json
from understudy.data.importers.sort import Row, Spool

LONGEST_TALK = 1_000_000  # characters after which a conversation without silence goes on as another

NO_REPLY = "in conversations in which the bot says nothing"
ALONE = "in conversations in which nobody but the bot speaks"
REPEATED = "in conversations that another file holds too"


@dataclass(frozen=True)
class Cutting:
    """How messages become conversations.

    Attributes:
        bots: the numbers of the speakers whose part the bot learns.
        silence: seconds without a message after which a new conversation begins.
        burst: seconds within which messages of one side are one.
        names: how each speaker is called where a conversation has more than two.
    """

    bots: frozenset[int]
    silence: float
    burst: float
    names: Callable[[int], str]


def collect(spool: Spool, cutting: Cutting, left_out: Counter[str], progress: Callable[[int], None]) -> None:
    """Cut all messages into conversations, which the spool keeps.

    Args:
        spool: holds the messages.
        cutting: how to cut.
        left_out: takes up how many messages are in no conversation that is kept, and why.
        progress: is told how many messages were done.
    """
    for number, talk in enumerate(cut(spool.rows(), cutting.silence)):
        first = last = None
        for piece in pieces(talk):
            first, last = first or piece[0], piece[-1]
            progress(len(piece))
            if reason := one_sided(piece, cutting.bots) or _repeated(piece, spool):
                left_out[reason] += len(piece)
            else:
                conversation = Conversation(tuple(turns(piece, cutting)))
                spool.add_line(number, len(piece), conversation_to_json(conversation))
        assert first is not None
        assert last is not None
        spool.add_talk(number, first.time, last.time)


def cut(rows: Iterable[Row], silence: float) -> Iterator[Iterator[Row]]:
    """The messages of each conversation. Take them before going on to the next.

    >>> rows = [Row((0, ""), time, 0, text) for time, text in ((0, "a"), (10, "b"), (50, "c"))]
    >>> [[row.text for row in talk] for talk in cut(rows, silence=20)]
    [['a', 'b'], ['c']]
    """
    previous: Row | None = None
    number = 0

    def talk_of(row: Row) -> int:
        nonlocal previous, number
        if previous and (row.chat != previous.chat or row.time - previous.time > silence):
            number += 1
        previous = row
        return number

    return (talk for _, talk in groupby(rows, key=talk_of))


def pieces(talk: Iterable[Row]) -> Iterator[list[Row]]:
    """A conversation whole, or in several pieces where it is longer than any that people have in one go."""
    piece: list[Row] = []
    size = 0
    for row in talk:
        if piece and size + len(row.text) > LONGEST_TALK:
            yield piece
            piece, size = [], 0
        piece.append(row)
        size += len(row.text) + 50  # short messages take memory too
    if piece:
        yield piece


def one_sided(talk: Iterable[Row], bots: Collection[int]) -> str:
    """Why there is nothing to learn from this; empty where somebody speaks and the bot does too."""
    sides = {row.speaker in bots for row in talk}
    if sides == {False}:
        return NO_REPLY
    return ALONE if sides == {True} else ""


def turns(talk: Iterable[Row], cutting: Cutting) -> Iterator[Message]:
    r"""The messages of a conversation, those in a burst as one, a line each.

    Where several people speak with the bot, what each of them says begins with the name: "Bob: Hello\nEve: Hi".
    """
    rows = list(talk)
    named = len({row.speaker for row in rows if row.speaker not in cutting.bots}) > 1
    lines: list[str] = []
    for before, row in zip([None, *rows], rows, strict=False):
        ours = row.speaker in cutting.bots
        if before and (ours != (before.speaker in cutting.bots) or row.time - before.time > cutting.burst):
            yield _message(lines, before.speaker in cutting.bots)
            lines = []
        again = bool(lines) and before is not None and before.speaker == row.speaker
        lines.append(row.text if ours or not named or again else f"{cutting.names(row.speaker)}: {row.text}")
    yield _message(lines, rows[-1].speaker in cutting.bots)


def _message(lines: list[str], ours: bool) -> Message:
    return Message("assistant" if ours else "user", "\n".join(lines))


def _repeated(talk: list[Row], spool: Spool) -> str:
    """Whether another export held the same conversation, word for word and minute for minute."""
    digest = hashlib.blake2b(digest_size=16)
    for row in talk:
        digest.update(f"{row.time}\0{row.speaker}\0{row.text}\0".encode())
    return REPEATED if spool.is_repeated(digest.digest(), talk[0].chat[0]) else ""
