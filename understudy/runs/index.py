"""The index of a runs folder: an SQLite file that spares the list of many runs the reading of every one.

The folders stay the truth. The index is brought up to date each time it is used: a run whose files have other times,
sizes or inodes than when it was read is read again. It may be deleted at any time; a damaged one is made anew; where it
cannot be read or written (a read-only folder, a full disk) the runs themselves are read.
"""

import contextlib
import fcntl
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.runs.journal import Tail, read_tail
from understudy.runs.record import Facts, Figures, facts_of, figures_of, read_data

NAME = "index.sqlite"
VERSION = 1
PATIENCE_SECONDS = 10.0
# The clock of a file system ticks in steps of up to two seconds: a file may change twice in one of them, unseen.
TICK_SECONDS = 2.0
WATCHED = (b"run.json", b"metrics.jsonl", b"marks.json", b"note.txt")
SCHEMA = """
CREATE TABLE runs (
    name BLOB PRIMARY KEY,     -- the folder's
    created REAL,              -- seconds since 1970
    facts BLOB,                -- JSON, see facts.py
    figures BLOB,              -- JSON: configuration, outcome, the last value of each metric
    tail BLOB,                 -- JSON: the inode of metrics.jsonl, and how many bytes of it are in the figures
    seen BLOB,                 -- times, sizes and inodes of the files when they were read; empty: read them again
    sum INTEGER                -- of the above: SQLite itself does not notice every damage
) WITHOUT ROWID;
"""


Rows = dict[bytes, Any]  # by name, as they lie in the table


@dataclass(frozen=True)
class Row:
    """A run as the index knows it. Its JSON is parsed when it is asked for."""

    name: str
    raw_facts: bytes
    raw_figures: bytes

    def facts(self) -> Facts:
        """See `Facts`."""
        values = json.loads(self.raw_facts)
        return Facts(**values | {name: tuple(values[name]) for name in ("parents", "tags")})

    def figures(self) -> Figures:
        """See `Figures`."""
        return Figures(**json.loads(self.raw_figures))


def read_rows(runs: Path, latest: int | None = None) -> tuple[list[Row], int]:
    """The runs in the folder `runs`, oldest first: all, or the latest, and how many older ones there are.

    Only the runs that are returned are checked for changes.
    """
    if not runs.is_dir():
        return [], 0
    with _alone(runs) as alone:
        known = _load(runs / NAME)
        rows, wanted = _up_to_date(known, runs, latest)
        if alone:
            _store(runs / NAME, known, rows)
    return [Row(os.fsdecode(row[0]), row[2], row[3]) for row in wanted], len(rows) - len(wanted)


@contextlib.contextmanager
def _alone(runs: Path) -> Iterator[bool]:
    """Whether this process has the index for itself now; somebody who holds it for too long is left alone.

    SQLite's own locks would do but for one case: a damaged file that one process replaces while another writes it.
    """
    descriptor = os.open(runs, os.O_RDONLY)
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    given_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > given_up:
                return False
            time.sleep(0.01)
        except OSError:  # a file system without locks
            return False


def _load(path: Path) -> Rows:
    """The rows of the index by name; none where it is missing, damaged or another version's."""
    if not path.exists():
        return {}
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                return {}
            rows = {row[0]: row for row in database.execute("SELECT * FROM runs")}
            return rows if all(row[-1] == _sum(row) for row in rows.values()) else {}
    except (sqlite3.Error, TypeError, ValueError):  # damage may change the type of a value, too
        return {}


def _store(path: Path, before: Rows, after: Rows) -> None:
    """Writes what has changed. A file without the rows that it should have is replaced."""
    gone = [(name,) for name in before.keys() - after.keys()]
    fresh = [row for name, row in after.items() if before.get(name) is not row]
    if not gone and not fresh:
        return
    try:
        if not before:
            _remove(path)
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            if not before:
                database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            database.executemany("DELETE FROM runs WHERE name = ?", gone)
            database.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", fresh)
    except (sqlite3.OperationalError, OSError):
        pass  # it will be written another time
    except sqlite3.DatabaseError:  # damage where no row lies
        _remove(path)


def _remove(path: Path) -> None:
    for file in path.parent.glob(f"{NAME}*"):
        with contextlib.suppress(OSError):
            file.unlink()


def _up_to_date(known: Rows, runs: Path, latest: int | None) -> tuple[Rows, list[Any]]:
    """The rows as they should be, and of these the latest, oldest first."""
    there = {os.fsencode(entry.name) for entry in os.scandir(runs) if entry.name[0] != "." and entry.is_dir()}
    rows = {name: row for name, row in known.items() if name in there}
    checked: set[bytes] = set()
    unchecked = there - rows.keys()
    while True:  # a run that is not what it was may leave the latest, and then an older one comes up
        _refresh(rows, runs, unchecked)
        checked |= unchecked
        wanted = _latest(rows, latest)
        unchecked = {row[0] for row in wanted} - checked
        if not unchecked:
            return rows, wanted


def _latest(rows: Rows, latest: int | None) -> list[Any]:
    ordered = sorted(rows.values(), key=lambda row: (row[1], row[0]))
    return ordered if latest is None else ordered[max(0, len(ordered) - latest) :]


def _sum(row: Any) -> int:
    return zlib.crc32(b"%b %r %b %b %b %b" % tuple(row[:6]))


def _refresh(rows: Rows, runs: Path, names: Iterable[bytes]) -> None:
    """Reads again the runs whose files are not as in their rows, and those without a row."""
    now, folder = time.time(), os.fsencode(runs)
    for name in names:
        row, signs = rows.get(name), _signs(os.path.join(folder, name))
        if row is None or signs is None or repr(signs).encode() != row[5]:
            found = signs and _read(runs / os.fsdecode(name), signs, row, now)
            if found:
                rows[name] = found
            else:
                rows.pop(name, None)


def _signs(folder: bytes) -> list[tuple[int, int, int]] | None:
    """What tells whether the files of a run have changed; None for a folder that holds no run."""
    signs: list[tuple[int, int, int]] = []
    for file in WATCHED:
        try:
            found = os.stat(folder + b"/" + file)
            # Not the time of the content: who sets that one back to what it was cannot set this one.
            signs.append((found.st_ctime_ns, found.st_size, found.st_ino))
        except OSError:
            if not signs:
                return None
            signs.append((0, 0, 0))
    return signs


def _read(folder: Path, signs: list[tuple[int, int, int]], row: Any, now: float) -> Any:
    """The row of a run as its files say it; None where it has gone meanwhile."""
    data = read_data(folder)
    if data is None and not (folder / "run.json").exists():
        return None
    tail = read_tail(folder / "metrics.jsonl", _tail_before(row))
    facts, figures = facts_of(folder, data), figures_of(data, tail.last)
    is_settled = max(changed for changed, *_ in signs) < (now - TICK_SECONDS) * 1e9
    found = (
        os.fsencode(folder.name),
        facts.created,
        json.dumps(vars(facts)).encode(),
        json.dumps(vars(figures)).encode(),
        json.dumps([tail.inode, tail.read]).encode(),
        repr(signs).encode() if is_settled else b"",
    )
    return (*found, _sum(found))


def _tail_before(row: Any) -> Tail:
    """Of a run that went on when it was read only the news matter; any other journal that changed was edited."""
    if row and json.loads(row[2])["status"] == "running":
        return Tail(json.loads(row[3])["metrics"], *json.loads(row[4]))
    return Tail()
