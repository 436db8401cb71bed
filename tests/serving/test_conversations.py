"""The store of conversations: what was written is there after a crash, and each owner sees only what is theirs."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from understudy.errors import DataError
from understudy.serving.conversations import ConversationStore


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "conversations.sqlite"


@pytest.fixture
def store(path) -> Iterator[ConversationStore]:
    store = ConversationStore(path)
    yield store
    store.close()


def test_a_conversation_is_a_tree_of_which_the_path_to_the_leaf_is_shown(store):
    name = store.create("ann", "Hi", system="Be brief.").id
    hi = store.append("ann", name, None, "user", "Hi")
    first = store.append("ann", name, hi.id, "assistant", "Hello.", "otter", "stop", {"dropped": 2})
    second = store.append("ann", name, hi.id, "assistant", "Good day.", "otter", "length")
    read = store.read("ann", name)
    assert (read.system, read.leaf, read.messages) == ("Be brief.", second.id, [hi, first, second])
    assert read.path(read.leaf) == [hi, second]
    assert (first.details, first.finish_reason, first.model) == ({"dropped": 2}, "stop", "otter")
    store.change("ann", name, leaf=first.id, system="Be kind.")
    read = store.read("ann", name)
    assert (read.path(read.leaf), read.system) == ([hi, first], "Be kind.")
    assert read.path(None) == []


def test_a_reply_is_flagged_and_rewritten_and_both_are_taken_back(store):
    name = store.create("ann", "Hi").id
    reply = store.append("ann", name, None, "assistant", "Hello.")
    assert store.judge("ann", name, reply.id, flag="bad").flag == "bad"
    judged = store.judge("ann", name, reply.id, rewrite="Good day.")
    assert (judged.flag, judged.content, judged.said) == ("bad", "Hello.", "Good day.")
    assert store.judge("ann", name, reply.id, rewrite=None, flag=None) == reply
    assert store.judge("ann", name, reply.id, rewrite="").said == ""


def test_what_changed_last_comes_first(store):
    first, second = (store.create("ann", title).id for title in ("first", "second"))
    assert [heading.title for heading in store.headings("ann")] == ["second", "first"]
    store.append("ann", second, None, "user", "a")
    store.append("ann", first, None, "user", "b")
    assert [heading.title for heading in store.headings("ann")] == ["first", "second"]
    assert [each.id for each in store.read_all("ann")] == [first, second]


def test_nobody_reads_or_changes_what_is_anothers(store):
    name = store.create("ann", "Hi").id
    hi = store.append("ann", name, None, "user", "Hi")
    before = store.read("ann", name)
    for forbidden in (
        lambda: store.read("bob", name),
        lambda: store.change("bob", name, system="no"),
        lambda: store.delete("bob", name),
        lambda: store.append("bob", name, hi.id, "user", "no"),
        lambda: store.judge("bob", name, hi.id, flag="bad"),
    ):
        with pytest.raises(KeyError):
            forbidden()
    assert store.headings("bob") == store.read_all("bob") == []
    assert store.read("ann", name) == before


def test_messages_of_different_conversations_do_not_mix(store):
    one, other = (store.create("ann", title).id for title in "ab")
    hi = store.append("ann", one, None, "user", "Hi")
    for mixed in (
        lambda: store.append("ann", other, hi.id, "assistant", "no"),
        lambda: store.change("ann", other, leaf=hi.id),
        lambda: store.judge("ann", other, hi.id, flag="bad"),
        lambda: store.append("ann", one, hi.id + 1, "assistant", "no"),
    ):
        with pytest.raises(KeyError):
            mixed()


def test_what_is_deleted_is_gone_from_the_file(store, path):
    kept, gone = (store.create("ann", title).id for title in ("kept", "gone"))
    parent = None
    for text in ("a secret of mine", "another secret"):
        parent = store.append("ann", gone, parent, "user", text).id
    store.append("ann", kept, None, "user", "no matter")
    store.delete("ann", gone)
    assert [each.id for each in store.read_all("ann")] == [kept]
    store.close()
    assert b"secret" not in path.read_bytes()


def test_threads_share_a_store(store):
    name = store.create("ann", "many").id
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.append("ann", name, None, "user", str(i)), range(100)))
    assert sorted(int(message.content) for message in store.read("ann", name).messages) == list(range(100))


def test_what_was_written_survives_kill_9(path):
    writer = (
        "import sys; from pathlib import Path; from understudy.serving.conversations import ConversationStore\n"
        "store = ConversationStore(Path(sys.argv[1])); name = store.create('ann', 'Hi').id; parent = None\n"
        "for i in range(10**9):\n"
        "    parent = store.append('ann', name, parent, 'user', str(i)).id; print(i, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", writer, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) == 20:
                break
        os.kill(process.pid, signal.SIGKILL)
    store = ConversationStore(path)
    (read,) = store.read_all("ann")
    said = [int(message.content) for message in read.path(read.leaf)]
    assert said[:21] == list(range(21))
    assert said == list(range(len(said)))
    store.close()


def test_the_file_is_for_its_owner_alone(store, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["folder", "text", "later", "missing"])
def test_a_file_that_cannot_be_used_is_named(kind, path):
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("no database " * 100)
    elif kind == "later":
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 9")
    else:
        path = path.parent / "nowhere" / path.name
    with pytest.raises(DataError, match=str(path)):
        ConversationStore(path)
