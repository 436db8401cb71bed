"""Messages and conversations on the disk while an import goes on, so that it sorts more than the memory holds.

They lie in a private database without a name, which is gone with the process that made it, however that ends.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from math import inf
from typing import Any, NamedTuple

from understudy.console import counted
from understudy.data.importers.messages import LeftOut, Said
from understudy.errors import DataError, DiskFullError

CACHE_KIB = 16 * 1024
AT_ONCE = 2_000
MOST_SPEAKERS = 100_000
TABLES = """
create table said (source integer, chat text, time real, speaker integer, text text);
create table talks (id integer primary key, start real, end real);
create table lines (talk integer, messages integer, line text);
create table digests (digest blob primary key, source integer) without rowid;
"""


class Speaker(NamedTuple):
    """Somebody who speaks: in which app, under which id and name."""

    app: str
    key: str
    name: str


class Row(NamedTuple):
    """A message as it is kept: which chat it stands in, when it was said, by whom (a number), and what."""

    chat: tuple[int, str]
    time: float
    speaker: int
    text: str


class Spool:
    """Takes messages in any order and gives them back chat by chat in the order in which they were said."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for line in ("journal_mode = off", "synchronous = off", f"cache_size = -{CACHE_KIB}", "temp_store = file"):
            self._database.execute(f"pragma {line}")
        self._database.executescript(TABLES)
        self._numbers: dict[tuple[str, str], int] = {}
        self.speakers: list[Speaker] = []
        self.messages_of: Counter[int] = Counter()
        """How many messages each speaker has, by the number that is the place in `speakers`."""

    def close(self) -> None:
        """Gives the disk back."""
        self._database.close()

    def take(self, source: int, app: str, messages: Iterable[Said | LeftOut], left_out: Counter[str]) -> int:
        """Take in the messages of one export; how many, and in `left_out` how many were not kept, and why."""
        kept, rest = 0, iter(messages)
        self._database.execute("begin")
        with _trouble_named():
            while some := list(islice(rest, AT_ONCE)):
                left_out.update(one.reason for one in some if isinstance(one, LeftOut))
                rows = [self._row(source, app, one) for one in some if isinstance(one, Said)]
                self._database.executemany("insert into said values (?, ?, ?, ?, ?)", rows)
                kept += len(rows)
            self._database.execute("commit")
        return kept

    def span(self, source: int) -> tuple[float, float]:
        """When the first and the last message of an export was said; it has one."""
        query = "select {}(time) from said where source = ?"
        return self._one(query.format("min"), source), self._one(query.format("max"), source)

    def rows(self) -> Iterator[Row]:
        """All messages, chat by chat, each chat in order; those of one moment in the order of their file."""
        with _trouble_named():
            found = self._database.execute(
                "select source, chat, time, speaker, text from said order by source, chat, time, rowid"
            )
            for source, chat, time, speaker, text in found:
                yield Row((source, chat), time, speaker, text)

    def add_talk(self, number: int, start: float, end: float) -> None:
        """Note when a conversation began and ended."""
        with _trouble_named():
            self._database.execute("insert into talks values (?, ?, ?)", (number, start, end))

    def add_line(self, talk: int, messages: int, line: str) -> None:
        """Keep a part of a conversation, or the whole, as it is to be written; `messages` stand in it."""
        with _trouble_named():
            self._database.execute("insert into lines values (?, ?, ?)", (talk, messages, line))

    def is_repeated(self, digest: bytes, source: int) -> bool:
        """Whether another export brought the conversation with this digest before."""
        with _trouble_named():
            self._database.execute("insert or ignore into digests values (?, ?)", (digest, source))
            found = self._database.execute("select source from digests where digest = ?", (digest,))
            return bool(found.fetchone()[0] != source)

    def has_lines(self) -> bool:
        """Whether there is anything to be written."""
        return bool(self._one("select exists (select 1 from lines)"))

    def start_of_last(self, share: float) -> float:
        """When the last `share` of the conversations to be written begin; inf where that would leave none before."""
        with _trouble_named():
            starts = "select start, end from talks where id in (select talk from lines)"
            count = self._one(f"select count(*) from ({starts})")
            held_out = max(1, round(share * count))
            if not share or held_out >= count:
                return inf
            begin = self._one(f"select start from ({starts}) order by start limit 1 offset ?", count - held_out)
            return begin if self._one(f"select count(*) from ({starts}) where end < ?", begin) else inf

    def lines(self) -> Iterator[tuple[float, float, int, str]]:
        """(start, end, messages, line) of what is to be written, in the order of time."""
        with _trouble_named():
            yield from self._database.execute(
                "select start, end, messages, line from lines join talks on talks.id = lines.talk "
                "order by start, talks.id, lines.rowid"
            )

    def _one(self, query: str, *values: float) -> Any:
        return self._database.execute(query, values).fetchone()[0]

    def _row(self, source: int, app: str, said: Said) -> tuple[int, str, float, int, str]:
        number = self._numbers.get((app, said.speaker))
        if number is None:
            number = self._numbers[app, said.speaker] = len(self.speakers)
            self.speakers.append(Speaker(app, said.speaker, said.name))
            if number >= MOST_SPEAKERS:
                raise DataError(f"more than {counted(MOST_SPEAKERS, 'speaker')}; expected an export of chats")
        self.messages_of[number] += 1
        return source, said.chat, said.time, number, said.text


@contextmanager
def _trouble_named() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" not in str(error) and "disk" not in str(error):
            raise
        raise DiskFullError(
            "no room left for the messages while they are sorted; free some, or name another folder in SQLITE_TMPDIR"
        ) from error
