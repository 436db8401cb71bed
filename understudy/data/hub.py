"""Conversations by name from the Hub: `hub:NAME[:SPLIT[:SUBSET]]`, where a folder of data may stand for NAME.

They are written once to a file in the messages form (see `conversations`), which is read, hashed and recorded like any
other. A row is understood if one of its columns holds

- messages, conversations, conversation, dialog, dialogue, utterances or turns: a list of texts in turn, the first one
  the user's, or of objects with a role, from or speaker and a content, value or text; a column system, persona or
  personality goes before them;
- history and candidates (the last one true) or response, as in PERSONA-CHAT: rows that each repeat what was said before
  become one conversation.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.errors import DataError, HubError, MissingPackageError
from understudy.files import whole
from understudy.runs.find import make_runs_folder

PREFIX = "hub:"
LISTS = ("messages", "conversations", "conversation", "dialog", "dialogue", "utterances", "turns")
PERSONAS = ("system", "system_prompt", "persona", "personality")
SPEAKERS, TEXTS = ("role", "from", "speaker"), ("content", "value", "text")
ROLES = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "assistant", "bot", "chatbot", "model"), "assistant"),
}
SILENCE = "silence"  # PERSONA-CHAT's first message if the other person begins

Row = Mapping[str, Any]
Message = dict[str, str]


def fetch(path: str) -> Path:
    """Return the file with the conversations of `hub:…`. It is made once and found again without a network.

    Raises:
        MissingPackageError: the package `datasets` is not installed.
        HubError: the data set cannot be fetched.
        DataError: the name has another form, or its rows hold no conversations.
    """
    parts = path.removeprefix(PREFIX).split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise DataError(f"{path} is not a data set's name; expected hub:NAME, hub:NAME:SPLIT or hub:NAME:SPLIT:SUBSET")
    name, split, subset = [*parts, "", ""][:3]
    reference = name, split or "train", subset or None
    # What changes when a folder's files do; a data set of the Hub has no such files.
    inside = sorted(file for file in Path(name).rglob("*") if file.is_file()) if os.path.isdir(name) else []
    state = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in inside]
    digest = hashlib.sha256(json.dumps([*reference, state]).encode()).hexdigest()[:8]
    label = "-".join(part for part in reference if part).strip("./").replace("/", "-")
    file = make_runs_folder(None) / "cache" / "hub" / f"{label}-{digest}.jsonl"
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as building:
        with building.open("w", encoding="utf-8") as lines:
            for messages in conversations(_rows(*reference), path):
                lines.write(json.dumps({"messages": messages}, ensure_ascii=True) + "\n")
        if not building.stat().st_size:
            raise DataError(f"{path} has no rows; expected conversations")
    return file


def conversations(rows: Iterable[Row], source: str) -> Iterator[list[Message]]:
    """Yield the messages of each conversation in some rows. Raises DataError for a row of an unknown form."""
    waiting: list[Message] = []
    for row in rows:
        if "history" not in row:
            yield messages_of(row, source)
            continue
        grown = _persona_chat(row)
        if waiting and grown[: len(waiting)] != waiting:
            yield waiting
        waiting = grown
    if waiting:
        yield waiting


def messages_of(row: Row, source: str) -> list[Message]:
    """Return the messages of a row that is one conversation.

    >>> messages_of({"dialog": ["Hi!", "Hello."], "system": "Be brief."}, "hub:x")[1:]
    [{'role': 'user', 'content': 'Hi!'}, {'role': 'assistant', 'content': 'Hello.'}]
    """
    column = next((name for name in LISTS if isinstance(row.get(name), list | dict)), None)
    turns: Any = row[column] if column else []
    # `datasets` may give an object of lists for a list of objects.
    if isinstance(turns, Mapping):
        turns = [dict(zip(turns, values, strict=True)) for values in zip(*turns.values(), strict=True)]
    if turns and all(isinstance(turn, str) for turn in turns):
        messages = _in_turn(turns, first="user")
    elif turns and all(isinstance(turn, Mapping) and "history" in turn for turn in turns):
        return _persona_chat({**row, **turns[-1]})  # each turn repeats what was said before it
    else:
        messages = []
        for turn in filter(lambda turn: isinstance(turn, Mapping), turns):
            speaker = next((turn[key] for key in SPEAKERS if isinstance(turn.get(key), str)), None)
            text = next((turn[key] for key in TEXTS if isinstance(turn.get(key), str)), None)
            if speaker is None or text is None:
                messages.append({})
            else:  # an unknown role is kept: the reader of the file names it
                messages.append({"role": ROLES.get(speaker.lower(), speaker), "content": text})
    if not messages or {} in messages:
        raise DataError(
            f"{source} has no conversations in its columns {', '.join(row)}; expected one of {', '.join(LISTS)} or "
            "history"
        )
    return messages if messages[0]["role"] == "system" else [*_persona(row), *messages]


def _persona_chat(row: Row) -> list[Message]:
    # The true reply is the last candidate, and it is the assistant's.
    reply = row.get("response") or next(reversed(row.get("candidates") or []), None)
    said = [*row["history"], *([reply] if reply else [])]
    first = "user" if len(said) % 2 == 0 else "assistant"
    messages = [one for one in _in_turn(said, first) if one["content"].strip(" _").lower() != SILENCE]
    return [*_persona(row), *messages]


def _persona(row: Row) -> list[Message]:
    for name in PERSONAS:
        value = row.get(name)
        text = " ".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(text, str) and text.strip():
            return [{"role": "system", "content": text}]
    return []


def _in_turn(texts: Iterable[str], first: str) -> list[Message]:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]


def _rows(name: str, split: str, subset: str | None) -> Iterator[Row]:
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingPackageError(
            "data sets of the Hub need the package datasets: pip install 'understudy[hub]'"
        ) from error
    try:
        if (Path(name) / "dataset_dict.json").exists() or (Path(name) / "dataset_info.json").exists():
            saved = datasets.load_from_disk(name)
            found = saved[split] if isinstance(saved, dict) else saved
        else:
            found = datasets.load_dataset(name, subset, split=split, streaming=True)
        yield from found
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        told = " ".join(str(error).split())[:300]
        raise HubError(
            f"hub:{name} cannot be fetched (split {split}{f', subset {subset}' if subset else ''}): {told}; expected a "
            "data set of the Hub or a folder of one, and the name of a split in it"
        ) from error
