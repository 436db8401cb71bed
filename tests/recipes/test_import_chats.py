"""`understudy import-chats` as a user meets it: what it says of files, good and bad, and what it leaves behind."""

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.cli import main
from understudy.data.conversations import read_conversations
from understudy.data.files import Report
from understudy.data.importers import export_files, segment, sort

CHAT = """\
[12.03.24, 18:05:11] Ada: Hello Bob
[12.03.24, 18:05:20] Ada: how are you?
[12.03.24, 18:06:11] Bob: fine, write to bob@example.org
[13.03.24, 18:06:11] Bob: morning
[13.03.24, 18:07:11] Ada: hi
[14.03.24, 18:06:11] Bob: and again
[14.03.24, 18:07:11] Ada: yes
"""
TELEGRAM = {
    "name": "Bob",
    "type": "personal_chat",
    "id": 7,
    "messages": [
        {"id": n, "type": "message", "date": f"2024-03-{day}T18:05:11", "from": who, "from_id": key, "text": f"m{n}"}
        for n, (day, who, key) in enumerate(
            [(12, "Ada", "user1"), (12, "Bob", "user2"), (13, "Ada", "user1"), (13, "Bob", "user2")]
        )
    ],
}
SLACK_DAY = [
    {"type": "message", "user": user, "text": text, "ts": f"17102{n}0000.000100"}
    for n, (user, text) in enumerate([("U1", "hi"), ("U2", "ho")])
]


@pytest.fixture(autouse=True)
def files(here: Path) -> Path:
    """Exports, good and bad, in the current folder."""
    (here / "_chat.txt").write_text(CHAT)
    (here / "result.json").write_text(json.dumps(TELEGRAM, indent=1))
    (here / "empty.txt").write_text(" \n\n")
    (here / "book.txt").write_text("Once upon a time.\n" * 20)
    (here / "page.html").write_text("<!DOCTYPE html>\n<html><body>Exported Data</body></html>")
    (here / "talk.json").write_text('{"messages": [{"role": "user", "content": "hi"}]}\n')
    (here / "other.json").write_text('{"name": "x", "posts": []}')
    (here / "array.json").write_text('[{"a": 1}]')
    (here / "cut.json").write_text(json.dumps(TELEGRAM, indent=1)[:12])
    (here / "binary.dat").write_bytes(bytes(range(256)) * 10)
    (here / "none.json").write_text(json.dumps(TELEGRAM | {"messages": []}))
    (here / "notices.txt").write_text("12/03/2024, 18:05 - Ada added Bob\n12/03/2024, 18:05 - Ada: <Media omitted>\n")
    (here / "folder").mkdir()
    (here / "folder" / "note.txt").write_text("nothing here")
    (here / "void").mkdir()
    return here


def zipped(path: Path, contents: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line that is said of a mistake; nothing is written then."""

    def of(*arguments: str) -> str:
        before = sorted(Path.cwd().rglob("*"))
        capsys.readouterr()
        code = main(["import-chats", *arguments])
        captured = capsys.readouterr()
        assert code == 2, captured
        assert captured.err.count("\n") == 1, captured.err
        assert "Traceback" not in captured.out + captured.err
        assert sorted(Path.cwd().rglob("*")) == before
        return captured.err

    return of


LOOKED_FOR = ["looked for WhatsApp's text", "Telegram's result.json", "DiscordChatExporter", "Slack"]
MISTAKES = [
    ([], ["no files given", "understudy import-chats _chat.txt"]),
    (["_chta.txt"], ["no such file: _chta.txt", "did you mean _chat.txt"]),
    (["nowhere/x.txt"], ["no such file: nowhere/x.txt", "no folder nowhere"]),
    (["empty.txt"], ["empty.txt is empty", "expected an exported chat"]),
    (["book.txt"], ["book.txt is not an export known here", 'it begins "Once upon a time.', *LOOKED_FOR]),
    (["page.html"], ["it is a web page", "machine-readable JSON"]),
    (["talk.json"], ["it holds conversations already", "understudy finetune --data"]),
    (["other.json"], ["it is JSON with the keys 'name', 'posts'", *LOOKED_FOR]),
    (["array.json"], ["a JSON array, but not of Slack's messages"]),
    (["cut.json"], ["it is not valid JSON: line 2: the text ends within a string"]),
    (["binary.dat"], ["binary.dat is not an export known here", *LOOKED_FOR]),
    (["folder"], ["folder holds no export known here, in 1 .txt or .json file", "it begins"]),
    (["/dev/null"], ["/dev/null is not a regular file"]),
    (["void"], ["void holds no export known here, in 0 .txt or .json files"]),
    (["none.json"], ["nothing to learn from in none.json", "they hold no messages"]),
    (["notices.txt"], ["nothing to learn from in notices.txt", "1 message notices of the app", "1 message media"]),
    (["_chat.txt"], ["whose part is the bot to learn?", "--bot", "Ada (4 messages), Bob (3 messages)"]),
    (["_chat.txt", "--bot", "Adda"], ["no speaker is called 'Adda'", "did you mean Ada?", "Bob (3 messages)"]),
    (["_chat.txt", "--bot", "Ada", "--bot", "Bob"], ["no conversation is left", "only the bot speaks"]),
    (["_chat.txt", "--bot", "Ada", "--silence", "0"], ["--silence 0.0", "more than 0"]),
    (["_chat.txt", "--bot", "Ada", "--silence", "x"], ["--silence takes a number, not 'x'"]),
    (["_chat.txt", "--bot", "Ada", "--burst", "-1"], ["--burst -1.0", "0 or more"]),
    (["_chat.txt", "--bot", "Ada", "--valid-share", "1"], ["--valid-share 1.0", "below 1"]),
    (["_chat.txt", "--bot", "Ada", "--dates", "x"], ["--dates 'x' is unknown", "day-first"]),
    (["_chat.txt", "--bot", "Ada", "--out", "nowhere/x"], ["--out nowhere/x: there is no folder nowhere"]),
    (["_chat.txt", "--bto", "Ada"], ["did you mean --bot"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=lambda value: " ".join(value))
def test_a_mistake_is_named(arguments: list[str], words: list[str], complaint: Callable[..., str]) -> None:
    said = complaint(*arguments)
    for word in words:
        assert word in said


def test_damaged_archives(files: Path, complaint: Callable[..., str]) -> None:
    whole = zipped(files / "whole.zip", {"_chat.txt": CHAT * 100}).read_bytes()
    (files / "cut.zip").write_bytes(whole[:-40])
    assert "cut.zip: damaged zip archive" in complaint("cut.zip")
    (files / "flipped.zip").write_bytes(whole[:80] + bytes([whole[80] ^ 255]) + whole[81:])
    assert "flipped.zip:_chat.txt: damaged zip archive" in complaint("flipped.zip", "--bot", "Ada")
    zipped(files / "hollow.zip", {})
    assert "hollow.zip holds no export known here" in complaint("hollow.zip")
    zipped(files / "photos.zip", {"a.jpg": b"\xff\xd8", "notes.txt": "hello"})
    assert "photos.zip holds no export known here, in 1 .txt or .json file" in complaint("photos.zip")


def test_an_archive_that_unpacks_without_end_is_not_opened(files: Path, complaint: Callable[..., str]) -> None:
    zipped(files / "bomb.zip", {"_chat.txt": CHAT + "0" * 60_000_000})
    assert (files / "bomb.zip").stat().st_size < 100_000
    said = complaint("bomb.zip", "--bot", "Ada")
    assert re.search(r"bomb.zip:_chat.txt would unpack from \d+ kB to 60 MB", said)


def test_a_password(files: Path, complaint: Callable[..., str]) -> None:
    archive = bytearray(zipped(files / "secret.zip", {"_chat.txt": CHAT}).read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(signature) + place] |= 1
    (files / "secret.zip").write_bytes(archive)
    assert "secret.zip:_chat.txt is protected by a password" in complaint("secret.zip")


def test_paths_in_archives_lead_nowhere(files: Path) -> None:
    zipped(files / "sly.zip", {"../../_chat.txt": CHAT, "/etc/x.txt": "hello", "a\x1b[31m.txt": "hello"})
    before = {path.name for path in files.parent.iterdir()}
    assert main(["import-chats", "sly.zip", "--bot", "Ada"]) == 0
    assert {path.name for path in files.parent.iterdir()} == before


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["import-chats", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_what_is_said_and_written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    said = run("_chat.txt", "--bot", "ada", "--burst", "1", capsys=capsys)
    assert re.search(r"_chat.txt +WhatsApp +7 +2024-03-12 +2024-03-14", said)
    assert "_chat.txt: dates day-first: some dates have no other reading" in said
    assert "What became of 7 messages" in said
    assert re.search(r"5 +to learn from: 2 conversations, 2024-03-12 to 2024-03-13", said)
    assert re.search(r"2 +to validate on: 1 conversation, 2024-03-14 to 2024-03-14", said)
    assert "[email] in place of 1 e-mail" in said
    assert "next: understudy finetune --base gpt1 --data chats-train.jsonl --valid chats-valid.jsonl" in said
    assert Path("chats-train.jsonl").read_text().splitlines()[0] == json.dumps(
        {
            "messages": [
                {"role": "assistant", "content": "Hello Bob\nhow are you?"},
                {"role": "user", "content": "fine, write to [email]"},
            ]
        }
    )


def test_nothing_is_overwritten_unless_asked(capsys: pytest.CaptureFixture[str], complaint: Callable[..., str]) -> None:
    Path("chats-valid.jsonl").write_text("precious")
    assert "chats-valid.jsonl already exists; name other files with --out" in complaint("_chat.txt", "--bot", "Ada")
    assert Path("chats-valid.jsonl").read_text() == "precious"
    run("_chat.txt", "--bot", "Ada", "--force", capsys=capsys)
    assert "yes" in Path("chats-valid.jsonl").read_text()
    # Without anything held out, the file of last time does not stay.
    run("_chat.txt", "--bot", "Ada", "--force", "--valid-share", "0", capsys=capsys)
    assert not Path("chats-valid.jsonl").exists()


def test_a_failure_in_the_middle_leaves_everything_as_it_was(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("chats-train.jsonl").write_text("precious")
    before = sorted(files.rglob("*"))

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        main(["import-chats", "_chat.txt", "--bot", "Ada", "--force"])
    assert sorted(files.rglob("*")) == before
    assert Path("chats-train.jsonl").read_text() == "precious"


def test_truncated_json_is_read_so_far_and_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (files / "result.json").read_text()
    (files / "short.json").write_text(text[: text.index('"m3"')])
    said = run("short.json", "--bot", "Ada", capsys=capsys)
    assert re.search(r"damaged JSON in short.json, line \d+: .*the rest of it is lost: export again", said)
    assert "m1" in Path("chats-train.jsonl").read_text()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig", "latin-1", "cp1252"])
def test_encodings(encoding: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "_chat.txt").write_bytes(CHAT.replace("Hello", "Grüß Gott").encode(encoding))
    run("_chat.txt", "--bot", "Ada", capsys=capsys)
    assert "Grüß Gott Bob" in Path("chats-train.jsonl").read_text()


def test_broken_bytes_are_replaced_and_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = CHAT.replace("Hello", "Grüße Grüße X").encode().replace(b"X", b"\xff\xc3")
    (files / "_chat.txt").write_bytes(content)
    said = run("_chat.txt", "--bot", "Ada", capsys=capsys)
    assert "Grüße Grüße \ufffd\ufffd Bob" in Path("chats-train.jsonl").read_text()
    assert "1 message with broken characters" in said


def test_the_same_chat_from_two_files_counts_once(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "later.txt").write_text(CHAT + "[15.03.24, 18:06:11] Bob: new\n[15.03.24, 18:06:12] Ada: indeed\n")
    said = run("_chat.txt", "later.txt", "--bot", "Ada", "--valid-share", "0", capsys=capsys)
    assert re.search(r"7 +left out: in conversations that another file holds too", said)
    assert len(Path("chats-train.jsonl").read_text().splitlines()) == 4


def test_folders_and_archives_of_several_exports(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zipped(files / "all.zip", {"a/_chat.txt": CHAT, "result.json": json.dumps(TELEGRAM), "x.txt": "?", "b.png": b"1"})
    said = run("all.zip", "--bot", "Ada", capsys=capsys)
    assert "1 other file in all.zip left alone" in said
    assert "Telegram" in said
    with zipfile.ZipFile("all.zip") as archive:
        archive.extractall("all")
    assert "Telegram" in run("all", "--bot", "Ada", "--out", "again", capsys=capsys)
    for part in ("train", "valid"):
        assert Path(f"again-{part}.jsonl").read_text() == Path(f"chats-{part}.jsonl").read_text()


def test_a_slack_day_by_itself_and_a_workspace_with_damage(
    files: Path, capsys: pytest.CaptureFixture[str], complaint: Callable[..., str]
) -> None:
    (files / "2024-03-12.json").write_text(json.dumps(SLACK_DAY))
    assert "Slack" in run("2024-03-12.json", "--bot", "U1", "--silence", "9999", capsys=capsys)
    for name in ("dms/2024-03-12.json", "dms/2024-03-13.json"):
        path = files / "slack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(SLACK_DAY)[: -1 if "13" in name else None])
    said = run("slack", "--bot", "U1", "--silence", "9999", "--out", "slack", capsys=capsys)
    assert "no users.json: speakers go by their ids" in said
    assert "damaged JSON in slack/dms/2024-03-13.json, line 1" in said
    (files / "slack" / "users.json").write_text('[{"id": "U1"')
    assert "slack: the list of users is damaged (line 1:" in complaint("slack", "--bot", "U1", "--out", "x")


def test_a_workspace_among_other_exports(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users = [{"id": "U1", "name": "Ada"}, {"id": "U2", "name": "Bob"}]
    work = {"work/users.json": json.dumps(users), "work/general/2024-03-12.json": json.dumps(SLACK_DAY)}
    zipped(files / "mixed.zip", {"_chat.txt": CHAT, "work/notes.txt": "?", "result.json": json.dumps(TELEGRAM), **work})
    said = run("mixed.zip", "--bot", "Ada", "--silence", "9999", "--valid-share", "0", capsys=capsys)
    assert "mixed.zip: 1 other file in mixed.zip left alone" in said.replace("mixed.zip:work", "mixed.zip")
    assert Path("chats-train.jsonl").read_text().count('"ho"') == 1
    assert len(Path("chats-train.jsonl").read_text().splitlines()) == 3


def test_two_people_of_one_name_are_told_apart(files: Path, complaint: Callable[..., str]) -> None:
    twins = [message | {"from": "Ada"} for message in TELEGRAM["messages"]]  # type: ignore[operator, attr-defined]
    (files / "twins.json").write_text(json.dumps(TELEGRAM | {"messages": twins}))
    said = complaint("twins.json", "--bot", "Ada")
    assert "2 people are called 'Ada'; give --bot one of their ids: user1 (2 messages), user2 (2 messages)" in said
    assert main(["import-chats", "twins.json", "--bot", "user2"]) == 0


def test_a_conversation_without_end_is_cut_and_stays_on_one_side(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "LONGEST_CONVERSATION", 500)
    line = "[12.03.24, 18:05:{:02}] {}: message {}\n"
    long = "".join(line.format(n % 60, ("Ada", "Bob")[n % 2], n) for n in range(60))
    (files / "_chat.txt").write_text(long + CHAT.partition("\n[13")[2].join(["[13", ""]))
    run("_chat.txt", "--bot", "Ada", "--valid-share", "0.6", capsys=capsys)
    train, valid = (Path(f"chats-{part}.jsonl").read_text() for part in ("train", "valid"))
    assert all(f"message {n}" in train for n in range(60))
    assert len(train.splitlines()) > 5
    assert "message" not in valid.replace('"messages"', "")


def test_limits_on_what_is_held(files: Path, complaint: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort, "MOST_SPEAKERS", 3)
    (files / "_chat.txt").write_text("".join(f"[12.03.24, 18:05:11] Name{n}: hi\n" for n in range(5)))
    assert "more than 3 speakers; expected an export of chats" in complaint("_chat.txt")
    monkeypatch.setattr(export_files, "MOST_FILES", 3)
    zipped(files / "many.zip", {f"{n}.txt": CHAT for n in range(5)})
    assert "many.zip holds 5 files" in complaint("many.zip")


def test_it_asks_on_a_terminal(files: Path) -> None:
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "understudy", "import-chats", "_chat.txt"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown, answered = "", False
    end = time.monotonic() + 600
    while time.monotonic() < end:
        if select.select([mine], [], [], 0.2)[0]:
            try:
                shown += os.read(mine, 65536).decode(errors="replace")
            except OSError:
                break
        if not answered and "number or name:" in shown:
            os.write(mine, b"2\n")
            answered = True
    assert process.wait(600) == 0, shown
    assert "Who speaks" in shown
    assert '"role": "user", "content": "Hello Bob' in (files / "chats-train.jsonl").read_text()


def test_what_is_written_can_be_learned_from(capsys: pytest.CaptureFixture[str], tiny: list[str]) -> None:
    run("_chat.txt", "result.json", "--bot", "Ada", capsys=capsys)
    report = Report()
    assert list(read_conversations([Path("chats-train.jsonl"), Path("chats-valid.jsonl")], report, strict=True))
    assert main(["pretrain", "--data", "talk.jsonl", *tiny, "--steps", "2", "--sample-every", "0"]) == 0
    capsys.readouterr()
    data = ["--data", "chats-train.jsonl", "--valid", "chats-valid.jsonl", "--strict"]
    assert main(["finetune", *data, "--steps", "2", "--sample-every", "0"]) == 0
    assert "malformed" not in capsys.readouterr().out.replace("0 left out as malformed", "")


@pytest.fixture
def tiny() -> list[str]:
    """Options of a model that is made in a moment, with room for these conversations."""
    return shlex.split("--tokenizer bytes --layers 1 --width 16 --heads 2 --context 256 --batch-size 2")


MEASURE = """
import sys
from understudy.cli import main
code = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""


def peak_megabytes(*arguments: str) -> float:
    """How much memory an import takes in a process of its own, in MB."""
    done = subprocess.run([sys.executable, "-c", MEASURE, "import-chats", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]) * 1024 / 1e6


def write_big(kind: str, megabytes: int) -> str:
    """An export of that size, of small talk that goes on for years."""
    path = Path("big.txt" if kind == "whatsapp" else "big.json")
    words = "they talk of this and that, of cabbages and kings, " * 2
    with path.open("w") as file:
        file.write("" if kind == "whatsapp" else '{"name": "Bob", "type": "personal_chat", "id": 7, "messages": [\n')
        number = 0
        while file.tell() < megabytes * 1_000_000:
            moment = time.gmtime(1_400_000_000 + 700 * number + 40_000 * (number // 40))
            name = ("Ada", "Bob")[number % 2]
            if kind == "whatsapp":
                file.write(f"{time.strftime('%d/%m/%Y, %H:%M', moment)} - {name}: {number} {words}\n")
            else:
                date = time.strftime("%Y-%m-%dT%H:%M:%S", moment)
                message = {"id": number, "type": "message", "date": date, "from": name, "from_id": name, "text": words}
                file.write(("" if number == 0 else ",\n") + json.dumps(message))
            number += 1
        file.write("" if kind == "whatsapp" else "]}")
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whatsapp", "telegram"])
def test_memory_does_not_grow_with_the_export(kind: str) -> None:
    small = peak_megabytes(write_big(kind, 1), "--bot", "Ada", "--force")
    large = peak_megabytes(write_big(kind, 20), "--bot", "Ada", "--force")
    assert large < small + 40  # two caches of 16 MiB, and what is in flight
    assert large < 120
