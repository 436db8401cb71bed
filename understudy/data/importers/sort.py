"""Messages and conversations on disk during an import, so that it can sort more than memory holds.

They lie in a private database without a name, which disappears with the process, however that ends.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, NamedTuple

from understudy.console import counted
from understudy.data.importers.messages import ChatMessage, Reason
from understudy.errors import DataError, DiskFullError

CACHE_KIB = 16 * 1024
MOST_SPEAKERS = 100_000
TABLES = """
create table messages (source integer, chat text, time real, speaker integer, text text);
create table conversations (id integer primary key, start real, end real);
create table lines (conversation integer, messages integer, line text);
create table digests (digest blob primary key, source integer) without rowid;
"""


class Speaker(NamedTuple):
    """A person in the exports: the app, and the id and name there."""

    app: str
    key: str
    name: str


class SortedMessage(NamedTuple):
    """A message as it is kept: its chat (number of the export, and name), time, speaker's number and text."""

    chat: tuple[int, str]
    time: float
    speaker: int
    text: str


class MessageSorter:
    """Takes messages in any order and returns them chat by chat, sorted by time."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for line in ("journal_mode = off", "synchronous = off", f"cache_size = -{CACHE_KIB}", "temp_store = file"):
            self._database.execute(f"pragma {line}")
        self._database.executescript(TABLES)
        self._numbers: dict[tuple[str, str], int] = {}
        self.speakers: list[Speaker] = []
        self.messages_of: Counter[int] = Counter()
        """Messages per speaker, by the speaker's index in `speakers`."""

    def close(self) -> None:
        """Free the disk."""
        self._database.close()

    def add(self, source: int, app: str, messages: Iterable[ChatMessage | Reason], skipped: Counter[Reason]) -> int:
        """Store the messages of one export. Returns how many; those skipped are counted in `skipped`."""
        before = self.messages_of.total()

        def rows() -> Iterator[tuple[int, str, float, int, str]]:
            for message in messages:
                if isinstance(message, Reason):
                    skipped[message] += 1
                    continue
                number = self._numbers.setdefault((app, message.speaker), len(self.speakers))
                if number >= MOST_SPEAKERS:
                    raise DataError(f"more than {counted(MOST_SPEAKERS, 'speaker')}; expected an export of chats")
                if number == len(self.speakers):
                    self.speakers.append(Speaker(app, message.speaker, message.name))
                self.messages_of[number] += 1
                yield source, message.chat, message.time, number, message.text

        # One transaction, or each row would be its own.
        self._database.execute("begin")
        with _full_disk_named():
            self._database.executemany("insert into messages values (?, ?, ?, ?, ?)", rows())
            self._database.execute("commit")
        return self.messages_of.total() - before

    def span(self, source: int) -> tuple[float, float]:
        """Return when the first and the last message of an export were sent. It must have messages."""
        ((first, last),) = self._rows("select min(time), max(time) from messages where source = ?", source)
        return first, last

    def messages(self) -> Iterator[SortedMessage]:
        """Yield all messages, chat by chat, each chat by time; those of one moment in the order of their file."""
        query = "select source, chat, time, speaker, text from messages order by source, chat, time, rowid"
        for source, chat, time, speaker, text in self._rows(query):
            yield SortedMessage((source, chat), time, speaker, text)

    def add_span(self, number: int, start: float, end: float) -> None:
        """Note when a conversation, or its first piece, began and ended; a later piece moves the end."""
        kept = "insert into conversations values (?, ?, ?) on conflict (id) do update set end = excluded.end"
        self._one(kept, number, start, end)

    def add_line(self, number: int, messages: int, line: str) -> None:
        """Keep a conversation of `messages` messages, or a piece of it, as it is to be written."""
        self._one("insert into lines values (?, ?, ?)", number, messages, line)

    def is_repeated(self, digest: bytes, source: int) -> bool:
        """Return whether another export held the conversation with this digest before."""
        self._one("insert or ignore into digests values (?, ?)", digest, source)
        return bool(self._one("select source from digests where digest = ?", digest) != source)

    def has_lines(self) -> bool:
        """Return whether there is anything to write."""
        return bool(self._one("select exists (select 1 from lines)"))

    def start_of_last(self, share: float) -> float:
        """Return when the last `share` of the conversations begin, or inf if that leaves none before."""
        starts = "select start, end from conversations where id in (select conversation from lines)"
        count = self._one(f"select count(*) from ({starts})")
        held_out = max(1, round(share * count))
        if not share or held_out >= count:
            return inf
        begin = self._one(f"select start from ({starts}) order by start limit 1 offset ?", count - held_out)
        return begin if self._one(f"select count(*) from ({starts}) where end < ?", begin) else inf

    def lines(self) -> Iterator[tuple[float, float, int, str]]:
        """Yield (start, end, messages, line) of all that is to be written, by time."""
        return self._rows(
            "select start, end, messages, line from lines join conversations on conversations.id = conversation "
            "order by start, conversations.id, lines.rowid"
        )

    def _rows(self, query: str, *values: Any) -> Iterator[Any]:
        with _full_disk_named():
            yield from self._database.execute(query, values)

    def _one(self, query: str, *values: Any) -> Any:
        """Return the first value that a statement gives; None if it gives none."""
        return next(self._rows(query, *values), (None,))[0]


@contextmanager
def _full_disk_named() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" not in str(error) and "disk" not in str(error):
            raise
        raise DiskFullError(
            "no room left for the messages while they are sorted; free some, or name another folder in SQLITE_TMPDIR"
        ) from error
