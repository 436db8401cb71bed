import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.data import conversations as chats
from understudy.data import json_stream
from understudy.data.conversations import Conversation, Message, Report, conversation_to_json, read_conversations
from understudy.errors import DataError

GOOD = '{"messages": [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]}'
SHAREGPT = '{"id": 7, "conversations": [{"from": "human", "value": "Hi!"}, {"from": "gpt", "value": "Hello."}]}'
HELLO = Conversation((Message("user", "Hi!"), Message("assistant", "Hello.")))


def message(role: str = '"user"', content: str = '"x"') -> str:
    return f'{{"messages": [{{"role": {role}, "content": {content}}}]}}'


def read(tmp_path: Path, content: str | bytes, strict: bool = False) -> tuple[list[Conversation], Report]:
    path = tmp_path / "chats.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    report = Report()
    return list(read_conversations([path], report, strict)), report


@pytest.mark.parametrize(
    "content",
    [
        GOOD + "\n" + GOOD,
        f"\n  \n{GOOD}\r\n\r\n{GOOD}\r\n\n",
        SHAREGPT + "\n" + GOOD + "\n",
        f"[{GOOD},{SHAREGPT}]",
        f"\n[ {SHAREGPT}\n,\r\n{GOOD} ]\n",
        json.dumps([json.loads(GOOD), json.loads(SHAREGPT)], indent=3),
        b"\xef\xbb\xbf" + f"[{GOOD}, {GOOD}]".encode(),
        b"\xef\xbb\xbf" + f"{GOOD}\n{GOOD}".encode(),
        gzip.compress(f"{GOOD}\n{GOOD}".encode(), mtime=0),
        gzip.compress(b"\xef\xbb\xbf" + f"[{GOOD}, {GOOD}]".encode(), mtime=0),
    ],
)
def test_all_formats_are_told_by_content(tmp_path: Path, content: str | bytes) -> None:
    conversations, report = read(tmp_path, content)
    assert conversations == [HELLO, HELLO]
    assert (report.good, report.bad) == (2, 0)


def test_sharegpt_roles() -> None:
    names = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
    assert names == chats.SHAREGPT_ROLES


BAD = [
    (message('"usr"'), "unknown role 'usr'; expected system, user or assistant; did you mean user?"),
    (SHAREGPT.replace("gpt", "gtp"), "unknown role 'gtp'; expected system, human, user, gpt or assistant"),
    ("{nope", "invalid JSON (Expecting property name enclosed in double quotes at column 2)"),
    ('{"messages": [', "invalid JSON (Expecting value at column"),
    ("[" * 100_000, "invalid JSON (maximum recursion depth exceeded"),
    ('{"n": ' + "1" * 5000 + "}", "invalid JSON (Exceeds the limit"),
    ('"text"', "expected an object with messages, found a string"),
    ("[1]", "expected an object with messages, found a list"),
    ("12", "expected an object with messages, found a number"),
    ("null", "expected an object with messages, found null"),
    ('{"text": 1}', "no messages; expected a list under 'messages' or 'conversations', found keys: 'text'"),
    ("{}", "no messages; expected a list under 'messages' or 'conversations', found keys: none"),
    ('{"messages": "Hi!"}', "messages is a string; expected a list"),
    ('{"conversations": {}}', "conversations is an object; expected a list"),
    ('{"messages": []}', "empty conversation"),
    ('{"messages": [true]}', "message 1 is a boolean; expected an object"),
    ('{"messages": [{"content": "x"}]}', "message 1 has no role"),
    ('{"messages": [{"role": "user"}]}', "message 1 has no content"),
    (message("3"), "message 1: role is a number; expected a string"),
    (message(content="null"), "message 1: content is null; expected a string"),
    (message(content='" \\n\\t"'), "message 1 has empty content"),
    (message(content='"\\ud83d"'), "message 1: content has half a character"),
    (message(), "no assistant message"),
]


@pytest.mark.parametrize(("line", "problem"), BAD)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    conversations, report = read(tmp_path, f"{GOOD}\n\n{line}\n{GOOD}\n")
    assert conversations == [HELLO, HELLO]
    assert (report.good, report.bad) == (2, 1)
    assert report.problems[0].startswith(f"{tmp_path}/chats.jsonl:3: {problem}")


ENTRIES_BAD = [(line, problem) for line, problem in BAD if not problem.startswith("invalid JSON")]


@pytest.mark.parametrize(("entry", "problem"), ENTRIES_BAD)
def test_a_malformed_element_is_named_by_the_line_where_it_starts(tmp_path: Path, entry: str, problem: str) -> None:
    conversations, report = read(tmp_path, f"[{GOOD},\n\n  {entry}\n,{GOOD}]")
    assert conversations == [HELLO, HELLO]
    assert (report.good, report.bad) == (2, 1)
    assert report.problems[0].startswith(f"{tmp_path}/chats.jsonl:3: {problem}")


@pytest.mark.parametrize(
    ("content", "good", "problem"),
    [
        (f"[{GOOD},\n{GOOD}", 2, "2: invalid JSON (expected ',' or ']', found the end of the text)"),
        (f"[{GOOD}\n{GOOD}]", 1, "2: invalid JSON (expected ',' or ']', found '{')"),
        (f"[{GOOD},\n\n{GOOD[:40]}", 1, "3: invalid JSON (Expecting ':' delimiter)"),
        (f"[{GOOD},\n\n{GOOD[:45]}", 1, "3: invalid JSON (Unterminated string)"),
        (f"[{GOOD},\n tru", 1, "2: invalid JSON (Expecting value)"),
        (f"[{GOOD},\n{{'a': 1}}, {GOOD}]", 1, "2: invalid JSON (Expecting property name"),
        (f"[{GOOD},]", 1, "1: invalid JSON (Expecting value)"),
        (f"[{GOOD}]\n{GOOD}", 1, "2: invalid JSON (more text after the array's end)"),
    ],
)
def test_an_array_that_breaks_off_is_named_and_read_so_far(
    tmp_path: Path, content: str, good: int, problem: str
) -> None:
    conversations, report = read(tmp_path, content)
    assert conversations == [HELLO] * good
    assert report.bad == 1
    assert report.problems[0].startswith(f"{tmp_path}/chats.jsonl:{problem}")


@pytest.mark.parametrize("form", ["{good}\n\n{bad}\n{good}", "[{good},\n\n{bad},{good}]"])
def test_invalid_utf8_is_named_by_line(tmp_path: Path, form: str) -> None:
    content = form.format(good=GOOD, bad=GOOD.replace("Hi!", "caf\xe9")).encode("latin-1")
    conversations, report = read(tmp_path, content)
    assert conversations == [HELLO, HELLO]
    assert report.problems == [f"{tmp_path}/chats.jsonl:3: invalid UTF-8 (byte 0xe9 at column 47)"]


def test_invalid_utf8_inside_a_pretty_printed_element_is_named_by_its_own_line(tmp_path: Path) -> None:
    content = json.dumps([json.loads(GOOD), json.loads(GOOD)], indent=1).encode().replace(b"Hello", b"\xff", 1)
    assert read(tmp_path, content)[1].problems == [f"{tmp_path}/chats.jsonl:10: invalid UTF-8 (byte 0xff at column 17)"]


def test_strict_stops_at_the_first_problem(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"chats\.jsonl:2: unknown role 'usr'"):
        read(tmp_path, f"{GOOD}\n{message(chr(34) + 'usr' + chr(34))}\n{GOOD}", strict=True)


@pytest.mark.parametrize("content", ["", " \n\n", "[]", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf"])
def test_an_empty_file_is_said(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(DataError, match=r"chats\.jsonl is empty"):
        read(tmp_path, content)


def test_a_file_with_nothing_usable_names_its_first_problem(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing usable in .*chats\.jsonl: .*chats\.jsonl:2: invalid JSON"):
        read(tmp_path, "\nWhat a day.\nIndeed.\n")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"chats.jsonl cannot be read: No such file"):
        list(read_conversations([tmp_path / "chats.jsonl"], Report()))


def test_several_files_come_in_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in "ba"]
    for path in paths:
        path.write_text(GOOD.replace("Hello.", path.stem))
    assert [c.messages[-1].content for c in read_conversations(paths, Report())] == ["b", "a"]


@pytest.mark.parametrize("as_array", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, as_array: bool) -> None:
    entry = json.dumps({"messages": [{"role": "assistant", "content": "word " * 2000}]}) + (",\n" if as_array else "\n")
    path = tmp_path / "big"
    with path.open("w") as file:
        file.write("[" * as_array)
        file.writelines(entry for _ in range(2000))
        file.write((entry.strip().strip(",") + "]") * as_array)
    tracemalloc.start()
    count = sum(1 for _ in read_conversations([path], Report()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2000 + as_array
    assert path.stat().st_size > 20e6
    assert peak < 6e6


contents = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
messages = st.builds(Message, st.sampled_from(chats.ROLES), contents)
conversations = st.lists(messages, max_size=4).flatmap(
    lambda before: contents.map(lambda reply: Conversation((*before, Message("assistant", reply))))
)


@given(many=st.lists(conversations, min_size=1, max_size=4), chunk=st.integers(1, 40), as_array=st.booleans())
def test_written_and_read_is_the_same_whatever_the_window(
    tmp_path_factory: pytest.TempPathFactory, many: list[Conversation], chunk: int, as_array: bool
) -> None:
    lines = [conversation_to_json(conversation) for conversation in many]
    content = "[" + " ,\n".join(lines) + "]" if as_array else "\n".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK", chunk)
        found, report = read(tmp_path_factory.mktemp("chats"), content)
    assert found == many
    assert report.problems == []


def test_an_entry_without_end_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "LONGEST_ENTRY", 500)
    monkeypatch.setattr(json_stream, "CHUNK", 100)
    endless = GOOD.replace("Hi!", "Hi! " * 1000)
    for content, problem in (
        (f"{GOOD}\n{endless}", "an entry longer than 500 characters"),
        (f"[{GOOD},\n{endless}]", "invalid JSON (a value longer than 500 characters)"),
    ):
        conversations, report = read(tmp_path, content)
        assert conversations == [HELLO]
        assert report.problems == [f"{tmp_path}/chats.jsonl:2: {problem}; the rest of the file is left out"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
def test_a_number_cut_by_the_window_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    conversations, report = read(tmp_path, f"[{GOOD}, 123456,\n{GOOD}, 1234]")
    assert conversations == [HELLO, HELLO]
    assert report.bad == 2
