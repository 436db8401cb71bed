"""The conversations of the chat page, kept in one SQLite file.

A conversation is a tree: another reply to the same message, or an edited message, stands beside the first one under the
same parent. The path from its `leaf` up to the root is what is shown and what the model is given.
"""

import json
import os
import secrets
import sqlite3
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from understudy.errors import DataError

Role = Literal["user", "assistant"]
Flag = Literal["good", "bad"]

VERSION = 1
SCHEMA = """
CREATE TABLE conversations (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, system TEXT NOT NULL, leaf INTEGER,
    created TEXT NOT NULL, updated TEXT NOT NULL
);
CREATE INDEX by_owner ON conversations (owner, updated);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, conversation TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
    parent INTEGER, role TEXT NOT NULL, content TEXT NOT NULL, rewrite TEXT, flag TEXT,
    model TEXT NOT NULL, finish_reason TEXT NOT NULL, details TEXT NOT NULL, created TEXT NOT NULL
);
CREATE INDEX by_conversation ON messages (conversation);
"""


@dataclass(frozen=True)
class StoredMessage:
    """A message of a user, or a model's reply with what was thought of it."""

    id: int
    parent: int | None
    role: Role
    content: str
    rewrite: str | None
    """What a person wrote in place of the reply."""
    flag: Flag | None
    model: str
    """Whose reply it is; empty for a user's message."""
    finish_reason: str
    details: dict[str, Any]
    """A reply's `sampling` options, its `tokens` with their log-probabilities, and how many messages were `dropped`."""
    created: str

    @property
    def said(self) -> str:
        """The text that counts from here on: the rewritten one where there is one."""
        return self.content if self.rewrite is None else self.rewrite


@dataclass(frozen=True)
class Heading:
    """A conversation as it stands in a list."""

    id: str
    title: str
    created: str
    updated: str


@dataclass(frozen=True)
class StoredConversation(Heading):
    """A conversation with all its messages, in the order in which they were written."""

    system: str
    leaf: int | None
    messages: list[StoredMessage] = field(default_factory=list)

    def path(self, leaf: int | None) -> list[StoredMessage]:
        """Return the messages from the root down to `leaf`; none for None."""
        by_id = {message.id: message for message in self.messages}
        found = []
        while leaf is not None:
            found.append(by_id[leaf])
            leaf = found[-1].parent
        return found[::-1]


class ConversationStore:
    """A SQLite file of conversations, each of which only its owner can see or change.

    What a method has written survives `kill -9`. Threads may share a store, and processes its file.
    A conversation or message that is not there, or is another owner's, raises KeyError.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises DataError where it cannot be used."""
        self._lock = threading.Lock()
        try:
            # What people said to a model is for their eyes.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, timeout=30, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._db.executescript(
                # What is deleted is overwritten, and so cannot be read out of the file.
                "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;"
            )
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                (version,) = self._db.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in SCHEMA.split(";"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"cannot keep conversations in {path}: {reason}; name another file") from error
        if version > VERSION:
            raise DataError(f"{path} was written by a later understudy (form {version}, expected {VERSION}); update it")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def headings(self, owner: str) -> list[Heading]:
        """Return the owner's conversations, the one changed last first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, title, created, updated FROM conversations WHERE owner = ? "
                "ORDER BY updated DESC, rowid DESC",
                (owner,),
            ).fetchall()
        return [Heading(**row) for row in rows]

    def read(self, owner: str, conversation: str) -> StoredConversation:
        """Return a conversation."""
        with self._lock:
            return self._read(self._owned(owner, conversation))

    def read_all(self, owner: str) -> list[StoredConversation]:
        """Return all of the owner's conversations, oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM conversations WHERE owner = ? ORDER BY rowid", (owner,)).fetchall()
            return [self._read(row) for row in rows]

    def create(self, owner: str, title: str, system: str = "") -> StoredConversation:
        """Begin a conversation."""
        name, now = secrets.token_urlsafe(12), _now()
        with self._lock, self._db:
            self._db.execute(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, NULL, ?, ?)", (name, owner, title, system, now, now)
            )
            return self._read(self._owned(owner, name))

    def change(self, owner: str, conversation: str, **values: str | int) -> None:
        """Set the `system` message or the `leaf` of a conversation."""
        with self._lock, self._db:
            self._owned(owner, conversation)
            if "leaf" in values:
                self._message(conversation, values["leaf"])
            for name, value in values.items():
                assert name in ("system", "leaf")
                self._db.execute(f"UPDATE conversations SET {name} = ? WHERE id = ?", (value, conversation))

    def delete(self, owner: str, conversation: str) -> None:
        """Remove a conversation with all that was said."""
        with self._lock, self._db:
            self._owned(owner, conversation)
            self._db.execute("DELETE FROM conversations WHERE id = ?", (conversation,))

    def append(
        self,
        owner: str,
        conversation: str,
        parent: int | None,
        role: Role,
        content: str,
        model: str = "",
        finish_reason: str = "",
        details: dict[str, Any] | None = None,
    ) -> StoredMessage:
        """Add a message below `parent` (None: as a first one), and make it the leaf."""
        with self._lock, self._db:
            self._owned(owner, conversation)
            if parent is not None:
                self._message(conversation, parent)
            now = _now()
            written = self._db.execute(
                "INSERT INTO messages VALUES (NULL, ?, ?, ?, ?, NULL, NULL, ?, ?, ?, ?)",
                (conversation, parent, role, content, model, finish_reason, json.dumps(details or {}), now),
            )
            self._db.execute(
                "UPDATE conversations SET leaf = ?, updated = ? WHERE id = ?", (written.lastrowid, now, conversation)
            )
            return self._message(conversation, written.lastrowid)

    def judge(self, owner: str, conversation: str, message: int, **values: str | None) -> StoredMessage:
        """Set the `flag` or the `rewrite` of a reply, or take it away with None."""
        with self._lock, self._db:
            self._owned(owner, conversation)
            self._message(conversation, message)
            for name, value in values.items():
                assert name in ("flag", "rewrite")
                self._db.execute(f"UPDATE messages SET {name} = ? WHERE id = ?", (value, message))
            return self._message(conversation, message)

    def _owned(self, owner: str, conversation: str) -> sqlite3.Row:
        query = "SELECT * FROM conversations WHERE id = ? AND owner = ?"
        row: sqlite3.Row | None = self._db.execute(query, (conversation, owner)).fetchone()
        if row is None:
            raise KeyError(f"no conversation {conversation!r}")
        return row

    def _message(self, conversation: str, message: int | str | None) -> StoredMessage:
        query = "SELECT * FROM messages WHERE id = ? AND conversation = ?"
        row = self._db.execute(query, (message, conversation)).fetchone()
        if row is None:
            raise KeyError(f"no message {message} in this conversation")
        return _as_message(row)

    def _read(self, row: sqlite3.Row) -> StoredConversation:
        messages = self._db.execute("SELECT * FROM messages WHERE conversation = ? ORDER BY id", (row["id"],))
        values = {name: row[name] for name in ("id", "title", "created", "updated", "system", "leaf")}
        return StoredConversation(**values, messages=[_as_message(message) for message in messages])


def _as_message(row: sqlite3.Row) -> StoredMessage:
    values = {name: row[name] for name in row.keys() if name != "conversation"}  # noqa: SIM118 (a Row iterates values)
    return StoredMessage(**values | {"details": json.loads(row["details"])})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
