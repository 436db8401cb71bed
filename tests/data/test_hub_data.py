"""Data sets in `datasets`' own formats, as folders: no network is asked."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from understudy.data.conversations import read_conversations
from understudy.data.files import DataFiles, Report, expand
from understudy.data.hub import conversations, fetch, messages_of
from understudy.errors import DataError, HubError, MissingPackageError

datasets = pytest.importorskip("datasets", reason="needs the extra hub")

USER, ASSISTANT = {"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}
PLAIN = [USER, ASSISTANT]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


FORMS: list[dict[str, Any]] = [
    {"messages": PLAIN},
    {"messages": {"role": ["user", "assistant"], "content": ["Hi!", "Hello."]}},
    {"conversations": [{"from": "human", "value": "Hi!"}, {"from": "gpt", "value": "Hello."}]},
    {"conversation": [{"speaker": "User", "text": "Hi!"}, {"speaker": "bot", "text": "Hello."}], "id": 7},
    {"dialog": ["Hi!", "Hello."]},
    {"dialogue": ["Hi!", "Hello."]},
    {"utterances": ["Hi!", "Hello."], "act": [0, 1]},
    {"turns": ["Hi!", "Hello."]},
    {"history": ["Hi!"], "candidates": ["No.", "Hello."]},
    {"history": ["Hi!"], "response": "Hello."},
    {"history": ["__ SILENCE __", "Hi!"][1:], "candidates": ["Hello."]},
]


@pytest.mark.parametrize("row", FORMS)
def test_each_form_is_understood(row: dict[str, Any]) -> None:
    assert list(conversations([row], "hub:x")) == [PLAIN]


@pytest.mark.parametrize("column", ["system", "persona", "personality"])
def test_the_persona_comes_first(column: str) -> None:
    value = "I ski. I hike." if column == "system" else ["I ski.", "I hike."]
    system = {"role": "system", "content": "I ski. I hike."}
    assert messages_of({"dialog": ["Hi!", "Hello."], column: value}, "hub:x") == [system, *PLAIN]
    assert messages_of({"messages": [system, *PLAIN], column: "other"}, "hub:x") == [system, *PLAIN]


def persona_chat(conversation: int, said: list[str]) -> list[dict[str, Any]]:
    """Row for row as PERSONA-CHAT lies on the Hub: what was said, and candidates for what comes next."""
    return [
        {
            "personality": [f"I am number {conversation}."],
            "candidates": ["Never.", said[at]],
            "history": said[:at],
            "conv_id": conversation,
        }
        for at in range(1, len(said), 2)
    ]


def test_rows_that_repeat_what_was_said_become_one_conversation() -> None:
    rows = [
        *persona_chat(0, ["a", "b", "c", "d"]),
        *persona_chat(1, ["a", "b"]),
        *persona_chat(2, ["e", "f", "g", "h"]),
    ]
    made = list(conversations(rows, "hub:x"))
    texts = [[message["content"] for message in messages] for messages in made]
    assert texts == [["I am number 0.", *"abcd"], ["I am number 1.", *"ab"], ["I am number 2.", *"efgh"]]
    assert [message["role"] for message in made[0]] == ["system", "user", "assistant", "user", "assistant"]


def test_one_who_begins_unasked_has_no_silence_put_before() -> None:
    (made,) = conversations([{"history": ["__ SILENCE __"], "candidates": ["Hello."]}], "hub:x")
    assert made == [ASSISTANT]


def test_personas_own_file_holds_utterances_that_each_repeat_the_rest() -> None:
    row = {"personality": ["I ski."], "utterances": persona_chat(0, ["a", "b", "c", "d"])}
    (made,) = conversations([row], "hub:x")
    assert [message["content"] for message in made] == ["I am number 0.", *"abcd"]


def test_a_saved_data_set_is_read_by_split(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"Hi {n}"}, ASSISTANT]} for n in range(3)]
    splits = {"train": datasets.Dataset.from_list(rows), "test": datasets.Dataset.from_list(rows[:1])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    read = list(read_conversations(expand(f"hub:{tmp_path / 'saved'}"), Report()))
    assert [talk.messages[0].content for talk in read] == ["Hi 0", "Hi 1", "Hi 2"]
    assert len(list(read_conversations(expand("hub:saved:test"), Report()))) == 1
    with pytest.raises(HubError, match=r"hub:saved cannot be fetched \(split validation\)"):
        expand("hub:saved:validation")


def test_a_folder_of_files_is_read_and_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "talks"
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(json.dumps({"dialog": ["Hi!", f"Hello {n}."]}) for n in range(4)))
    (file,) = expand("hub:talks")
    files = DataFiles.resolve(["hub:talks"])
    assert ([each.path for each in files.train], files.kind) == ([file], "chats")
    assert file.parent == tmp_path / "runs" / "cache" / "hub"
    assert [json.loads(line)["messages"][1]["content"] for line in file.read_text().splitlines()] == [
        f"Hello {n}." for n in range(4)
    ]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "datasets", None)
        assert expand("hub:talks") == [file]
    (folder / "train.jsonl").write_text(json.dumps({"dialog": ["Bye!", "Goodbye, then."]}))
    assert expand("hub:talks") != [file]


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "train.jsonl").write_text('{"price": 3, "dialog": null}')
    with pytest.raises(
        DataError, match="hub:prices has no conversations in its columns price, dialog; expected one of"
    ):
        fetch("hub:prices")
    for name in ("hub:", "hub:a::b", "hub:a:b:c:d"):
        with pytest.raises(DataError, match="expected hub:NAME, hub:NAME:SPLIT or hub:NAME:SPLIT:SUBSET"):
            fetch(name)
    with pytest.raises(HubError, match=r"hub:missing/nothing cannot be fetched \(split train\)"):
        fetch("hub:missing/nothing")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match=r"need the package datasets: pip install 'understudy\[hub\]'"):
        fetch("hub:missing/nothing")
    assert not list((tmp_path / "runs" / "cache" / "hub").iterdir())


def test_what_no_reader_takes_is_left_out_and_told(tmp_path: Path) -> None:
    rows = [{"messages": PLAIN}, {"messages": [USER, {"role": "tool", "content": "3"}, ASSISTANT]}]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    report = Report()
    assert len(list(read_conversations(expand("hub:saved"), report))) == 1
    assert "unknown role 'tool'" in report.problems[0]
