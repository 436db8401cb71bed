"""A chat in the terminal: lines with history, replies that stream, and a few commands."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from understudy.acting.chat import Chat
from understudy.acting.sampling import SamplingConfig
from understudy.data.chats import Conversation, conversation_to_json
from understudy.data.smalltalk import DEMO_LINES
from understudy.lab.errors import ConfigError, UserError, suggestion
from understudy.lab.files import write_atomically
from understudy.models.device import pick_device
from understudy.training.checkpoint import load_model

HELP = {
    "/reset": "forget the conversation and begin anew",
    "/regen": "draw the last reply again",
    "/temperature X": "draw more boldly (above 1) or carefully (below 1; 0: always the likeliest)",
    "/why": "the last reply's tokens, how likely each was, and what else it might have been",
    "/save [FILE]": "write the conversation to a JSONL file",
    "/help": "this list",
    "/quit": "leave (or Ctrl-D); Ctrl-C stops a reply",
}


@dataclass(frozen=True)
class Config:
    """Chats with a trained model in the terminal; without a terminal, answers each line of standard input."""

    run: str = "smalltalk"
    """Whom to talk to: a run (its id, a beginning of it, last, last:finetune), a checkpoint's folder, or smalltalk:
    the built-in model, which is trained first (about three minutes) unless a finished one is there."""
    system: str | None = None
    """A first message that sets the scene, for models trained with one."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or cuda:0."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.5))


def main(config: Config, folder: Path, console: Console) -> None:
    """Chat with the model in `folder`, a run's or a checkpoint's."""
    loaded = load_model(folder, pick_device(config.device))
    chat = Chat(loaded.model, loaded.tokenizer, config.sampling, config.system)
    if sys.stdin.isatty():
        console.print(
            f"Talking with {loaded.folder.parent.parent.name}, {loaded.model.parameter_count():,} parameters."
        )
        console.print("Type /help for commands, Ctrl-D to leave.\n", style="dim")
        _interactive(chat, console)
    else:
        _piped(chat, console, (line.rstrip("\r\n") for line in sys.stdin))


def _interactive(chat: Chat, console: Console) -> None:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.history import FileHistory

    history = Path.home() / ".local" / "state" / "understudy" / "chat-history"
    history.parent.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)), auto_suggest=AutoSuggestFromHistory()
    )
    while True:
        try:
            line = session.prompt("you: ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if line in ("/quit", "/exit"):
            return
        try:
            _answer(chat, line, console)
        except UserError as error:
            console.print(Text(str(error), style="red"))


def _piped(chat: Chat, console: Console, lines: Iterable[str]) -> None:
    """Answer each line; with no line at all, show a sample conversation."""
    said = False
    for line in lines:
        if line.strip():
            said = True
            console.print(Text(f"you: {line}"), soft_wrap=True)
            _answer(chat, line.strip(), console)
    if not said:
        for line in DEMO_LINES:
            console.print(Text(f"you: {line}"), soft_wrap=True)
            _answer(chat, line, console)


def _answer(chat: Chat, line: str, console: Console) -> None:
    """Do what a line asks: a command, or a message to reply to."""
    if not line:
        return
    if line.startswith("/"):
        name, _, rest = line.partition(" ")
        if name not in COMMANDS:
            raise UserError(f"no command {name}{suggestion(name, COMMANDS) or '; /help lists them'}")
        COMMANDS[name](chat, rest.strip(), console)
    else:
        _stream(chat, chat.say(line), console)


def _stream(chat: Chat, pieces: Iterator[str], console: Console) -> None:
    """Show a reply as it comes; Ctrl-C stops it."""
    console.print("bot: ", style="bold green", end="")
    try:
        for piece in pieces:
            console.print(Text(piece), end="", soft_wrap=True)
            console.file.flush()
    except KeyboardInterrupt:
        pieces.close()  # type: ignore[attr-defined]
        console.print(" …", end="")
    console.print()
    if chat.last and chat.last.dropped:
        console.print(
            f"(the oldest {chat.last.dropped} messages no longer fit the context and were dropped)", style="dim"
        )


def _reset(chat: Chat, rest: str, console: Console) -> None:
    chat.reset()
    console.print("Forgotten.", style="dim")


def _regen(chat: Chat, rest: str, console: Console) -> None:
    if chat.last is None:
        raise UserError("/regen: there is no reply yet; say something first")
    _stream(chat, chat.regenerate(), console)


def _temperature(chat: Chat, rest: str, console: Console) -> None:
    try:
        chat.config = replace(chat.config, temperature=float(rest)).checked()
    except ValueError as error:
        raise ConfigError(f"/temperature {rest!r} is no number; try /temperature 0.7") from error
    console.print(f"Temperature {chat.config.temperature:g} from now on.", style="dim")


def _why(chat: Chat, rest: str, console: Console) -> None:
    table = Table("token", "probability", "instead", box=None)
    for choice in chat.why():
        others = "  ".join(f"{text!r} {probability:.1%}" for text, probability in choice.others)
        table.add_row(Text(repr(choice.text)), f"{choice.probability:.1%}", Text(others, style="dim"))
    if not table.row_count:
        raise UserError("/why: there is no reply yet; say something first")
    console.print(table)


def _save(chat: Chat, rest: str, console: Console) -> None:
    path = Path(rest or "conversation.jsonl").expanduser()
    if not chat.messages:
        raise UserError("/save: nothing was said yet")
    try:
        before = path.read_text() if path.exists() else ""
        write_atomically(path, before + conversation_to_json(Conversation(tuple(chat.messages))) + "\n")
    except OSError as error:
        raise UserError(f"/save: cannot write {path}: {error.strerror}; name another file") from error
    console.print(f"Saved to {path}.", style="dim")


def _help(chat: Chat, rest: str, console: Console) -> None:
    table = Table(box=None, show_header=False)
    for command, meaning in HELP.items():
        table.add_row(command, meaning)
    console.print(table)


COMMANDS: dict[str, Callable[[Chat, str, Console], None]] = {
    "/reset": _reset,
    "/regen": _regen,
    "/temperature": _temperature,
    "/why": _why,
    "/save": _save,
    "/help": _help,
}
