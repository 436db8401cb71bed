"""Chats by lines: commands, files and what comes through a pipe."""

import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
import torch
from rich.console import Console

from understudy import cli
from understudy.acting.chat import Chat
from understudy.acting.sampling import SamplingConfig
from understudy.data.conversations import Conversation, Message, read_conversations
from understudy.data.files import Report
from understudy.data.tokenizers import ByteTokenizer
from understudy.errors import ConfigError, TooLongError, UserError
from understudy.serving.terminal import COMMANDS, answer, chat_by_lines, history_file, show_reply
from understudy.tasks.smalltalk import DEMO_LINES

BYTES = ByteTokenizer()
GREEDY = SamplingConfig(temperature=0.0, max_tokens=8)


@pytest.fixture
def chat(model) -> Chat:
    return Chat(model, BYTES, GREEDY)


def new_console() -> Console:
    return Console(file=StringIO(), width=100)


def piped(chat: Chat, *lines: str) -> str:
    console = new_console()
    chat_by_lines(chat, console, lines)
    return console.file.getvalue()


def expected(model, *lines: str, config: SamplingConfig = GREEDY) -> str:
    """What a chat of these lines shows."""
    chat = Chat(model, BYTES, config)
    return "".join(f"you: {line}\nbot: {''.join(chat.say(line))}\n" for line in lines)


# --- lines and commands ---


def test_each_line_is_answered(chat, model):
    assert piped(chat, "hi", "", "  what is it \t", " ") == expected(model, "hi", "what is it")


@pytest.mark.parametrize("lines", [(), ("", " ")])
def test_without_a_line_there_is_a_sample_conversation(chat, model, lines):
    shown = piped(chat, *lines)
    assert [line[5:] for line in shown.splitlines() if line.startswith("you: ")] == list(DEMO_LINES)
    assert shown.startswith(expected(model, DEMO_LINES[0]))


def test_replies_are_shown_as_they_are_but_command_no_terminal(chat):
    def pieces() -> Iterator[str]:
        yield from ("a\n", "\n", "  [b]x[/b]", " 🙂", ":smile:", "\x1b[2J\x07\x9b", "z" * 150, " ", "y")

    console = new_console()
    show_reply(chat, pieces(), console)
    assert console.file.getvalue() == "bot: a\n\n  [b]x[/b] 🙂:smile:\ufffd[2J\ufffd\ufffd" + "z" * 150 + " y\n"


def test_regen_draws_the_same_message_again(chat, model):
    shown = piped(chat, "hi", "/regen", "/regen")
    reply = expected(model, "hi").partition("\n")[2]
    assert shown == f"you: hi\n{reply}you: /regen\n{reply}you: /regen\n{reply}"
    assert len(chat.messages) == 2


def test_temperature(chat):
    assert "Temperature 1.5 from now on." in piped(chat, "/temperature 1.5")
    assert chat.config.temperature == 1.5
    for given, kind, words in [
        ("hot", ConfigError, "/temperature 'hot' is not a number; try /temperature 0.7"),
        ("", ConfigError, "/temperature '' is not a number"),
        ("-1", ConfigError, "--temperature -1.0 is out of range; expected 0 to 100"),
        ("nan", ConfigError, "--temperature nan is out of range"),
    ]:
        with pytest.raises(kind, match=f"^{words}"):
            answer(chat, f"/temperature {given}", new_console())
        assert chat.config.temperature == 1.5


def test_why(chat):
    shown = piped(chat, "hi", "/why")
    table = shown.partition("you: /why\n")[2].splitlines()
    assert table[0].split() == ["token", "probability", "instead"]
    assert [row.split()[0] for row in table[1:]] == [repr(choice.text) for choice in chat.why()]
    assert f"{chat.why()[0].probability:.1%}" in table[1]
    assert all(repr(text) in table[1] for text, _ in chat.why()[0].others)


def test_reset(chat, model):
    assert piped(chat, "hi", "/reset", "hi") == expected(model, "hi") + "you: /reset\nForgotten.\n" + expected(
        model, "hi"
    )


@pytest.mark.parametrize("command", ["/regen", "/why", "/save x.jsonl"])
def test_what_needs_a_reply_says_so(chat, command):
    for _ in range(2):
        with pytest.raises(UserError, match=f"^{command.split()[0]}: no reply yet; say something first"):
            answer(chat, command, new_console())
        chat.reset()
    assert not Path("x.jsonl").exists()


def test_help_lists_each_command(chat):
    shown = piped(chat, "/help")
    assert all(command.usage in shown and command.meaning in shown for command in COMMANDS.values())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/regn", r"no command /regn; did you mean /regen or /reset\?"),
        ("/temprature 1", r"no command /temprature; did you mean /temperature\?"),
        ("/xyzzy", "no command /xyzzy; /help lists them"),
        ("/", "no command /; /help lists them"),
    ],
)
def test_unknown_commands_are_named(chat, line, words):
    with pytest.raises(UserError, match=words):
        answer(chat, line, new_console())


@pytest.mark.parametrize("command", ["/quit", "/exit"])
def test_nothing_follows_quit(chat, model, command):
    assert piped(chat, "hi", command, "what is it") == expected(model, "hi") + f"you: {command}\n"


def test_a_message_too_long_is_refused_before_anything_is_shown(chat, model):
    console = new_console()
    with pytest.raises(TooLongError):
        answer(chat, "x" * 300, console)
    assert console.file.getvalue() == ""
    assert piped(chat, "hi") == expected(model, "hi")


def test_dropped_messages_are_told_of(sharp_model):
    chat = Chat(sharp_model("modern", context=48), BYTES, GREEDY)
    shown = piped(chat, *["on and on and on"] * 3)
    assert "(the oldest 2 messages no longer fit the context and were dropped)" in shown
    assert "(the oldest 4 messages no longer fit the context and were dropped)" in shown


# --- /save ---


def saved(path: str | Path) -> list[Conversation]:
    report = Report()
    conversations = list(read_conversations([Path(path)], report))
    assert not report.problems
    return conversations


def test_what_is_saved_can_be_learned_from(chat):
    piped(chat, "hi", "what is it", "/save")
    first = Conversation(tuple(chat.messages))
    assert saved("conversation.jsonl") == [first]
    piped(chat, "no", "/save")
    assert saved("conversation.jsonl") == [first, Conversation(tuple(chat.messages))]


def test_a_file_without_a_last_line_end_is_gone_on_with(chat, home):
    (home / "é [").mkdir(parents=True)
    (home / "é [" / "b].jsonl").write_text('{"messages": [{"role": "assistant", "content": "é"}]}', encoding="utf-8")
    assert f"Saved to {home}/é [/b].jsonl.\n" in piped(chat, "hi", "/save ~/é [/b].jsonl").replace("\n", "") + "\n"
    assert saved(home / "é [" / "b].jsonl") == [
        Conversation((Message("assistant", "é"),)),
        Conversation(tuple(chat.messages)),
    ]


def test_empty_replies_are_not_saved(chat):
    piped(chat, "hi")
    chat.messages += [Message("user", "well?"), Message("assistant", "")]
    piped(chat, "/save")
    assert [message.content for message in saved("conversation.jsonl")[0].messages] == [
        "hi",
        chat.messages[1].content,
        "well?",
    ]
    chat.messages = chat.messages[2:]
    with pytest.raises(UserError, match="/save: no reply yet"):
        answer(chat, "/save", new_console())


@pytest.mark.parametrize("where", ["no/such/folder/x.jsonl", ".", "~nobody-of-that-name/x.jsonl", "x" * 300])
def test_what_cannot_be_saved_says_so(chat, where):
    piped(chat, "hi")
    with pytest.raises(UserError, match=r"^/save: cannot write .*; name another file$"):
        answer(chat, f"/save {where}", new_console())


# --- the programs ---


def run_cli(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def give_stdin(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(content), encoding="utf-8"))


def test_lines_through_a_real_pipe(checkpoint, model):
    lines = b"hi\nwhat is it\r\n\n/save talk.jsonl\n/sav\nnever answered\n"
    command = [sys.executable, "-m", "understudy", "chat", checkpoint, "--temperature", "0", "--max-tokens", "8"]
    done = subprocess.run(command, input=lines, capture_output=True, timeout=600)
    assert done.stdout.decode() == expected(model, "hi", "what is it") + (
        "you: /save talk.jsonl\nSaved to talk.jsonl.\nyou: /sav\n"
    )
    assert done.stderr.decode() == "no command /sav; did you mean /save?\n"
    assert done.returncode == 2
    assert [m.content for m in saved("talk.jsonl")[0].messages if m.role == "user"] == ["hi", "what is it"]
    assert not Path("home").exists(), "a chat without a terminal keeps no history"


CHAT = ("--temperature", "0", "--max-tokens", "8")


def test_nothing_to_read_shows_a_sample_conversation(capsys, monkeypatch, checkpoint):
    give_stdin(monkeypatch, b"")
    code, out, err = run_cli(capsys, "chat", checkpoint, *CHAT)
    assert (code, err) == (0, "")
    assert out.count("you: ") == out.count("bot: ") == len(DEMO_LINES)
    monkeypatch.setattr(sys, "stdin", None)  # as python has it where standard input is closed
    assert run_cli(capsys, "chat", checkpoint, *CHAT) == (0, out, "")


def test_a_model_of_plain_text_does_not_chat(capsys, save, model):
    assert cli.main(["chat", save(model, kind="text", name="text")]) == 2
    said = capsys.readouterr().err
    assert "was trained on plain text and has not learned to take turns" in said
    assert "understudy sample" in said


def test_a_message_too_long_ends_with_code_2(capsys, monkeypatch, checkpoint, model):
    give_stdin(monkeypatch, b"hi\n" + b"x" * 300 + b"\n")
    code, out, err = run_cli(capsys, "chat", checkpoint, *CHAT)
    assert (code, out) == (2, expected(model, "hi") + f"you: {'x' * 300}\n")
    assert re.fullmatch(
        r"a last message of 302 tokens .* leave no room for 8 more in a context of 200; shorten it\n", err
    )


def test_bytes_that_are_no_text(capsys, monkeypatch, checkpoint):
    give_stdin(monkeypatch, b"\xff\xfe hi\n")
    code, out, err = run_cli(capsys, "chat", checkpoint, *CHAT)
    assert (code, err) == (0, "")
    assert out.startswith("you: \ufffd\ufffd hi\nbot: ")


def test_ctrl_c_ends_a_chat_without_a_terminal(capsys, monkeypatch, model):
    give_stdin(monkeypatch, b"")
    calls: list[int] = []

    def interrupt(core: torch.nn.Module, inputs: object, outputs: object) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt

    hook = model.core.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        piped(Chat(model, BYTES, GREEDY), "hi", "what is it")
    hook.remove()
    assert len(calls) == 4


def test_where_the_history_lies(home, monkeypatch, tmp_path):
    assert history_file() == home / ".local" / "state" / "understudy" / "chat-history"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert history_file() == tmp_path / "state" / "understudy" / "chat-history"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert history_file() is None
