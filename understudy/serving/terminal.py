"""A chat in the terminal: lines with history, replies that stream, and a few commands."""

import os
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import tyro
from rich.console import Console
from rich.text import Text

from understudy.acting.chat import Chat
from understudy.acting.sampling import SamplingConfig
from understudy.config import RunName
from understudy.console import printable, say, table
from understudy.data.conversations import Conversation, conversation_to_json
from understudy.errors import ConfigError, UserError, suggestion
from understudy.files import write_atomically
from understudy.models.device import ServingDtype, pick_device
from understudy.models.language_model import LanguageModel
from understudy.native.dispatch import announcement
from understudy.runs.find import runs_folder
from understudy.tasks.smalltalk import DEMO_LINES
from understudy.training.loading import load_to_serve, resolve


@dataclass(frozen=True)
class Config:
    """Chats with a trained model in the terminal; without a terminal, answers each line of standard input."""

    run: tyro.conf.Positional[RunName] = "smalltalk"
    """Who to talk to: a run (its id, a beginning of it, last, last:finetune), a checkpoint's folder, or smalltalk,
    the built-in model, which is trained first (four minutes at most) unless a finished one is there."""
    system: str | None = None
    """A first message that sets the scene, for models trained with one."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or cuda:0."""
    dtype: ServingDtype = "auto"
    """Number format of the weights: auto is float32 on a CPU and that of the training on a GPU; bfloat16 and int8 (CPU)
    are faster and less exact."""
    sampling: SamplingConfig = field(default_factory=lambda: SamplingConfig(temperature=0.5))


def main(config: Config, console: Console) -> None:
    """Chat with the model that `config.run` names."""
    loaded = load_to_serve(resolve(config.run), pick_device(config.device), config.dtype)
    if loaded.state["progress"].get("kind") == "text":
        raise ConfigError(
            f"{config.run} was trained on plain text and has not learned to take turns; fine-tune it on conversations, "
            f"or try: understudy sample {config.run} --prompt ..."
        )
    announce(loaded.model)
    chat = Chat(loaded.model, loaded.tokenizer, config.sampling, config.system)

    # A person types at a terminal; from a pipe or a file each line is a message.
    if sys.stdin and sys.stdin.isatty():
        name = loaded.folder.parent.parent.name if loaded.folder.parent.name == "checkpoints" else loaded.folder.name
        console.print(Text(f"Talking with {name}, {loaded.model.parameter_count():,} parameters."))
        console.print("Type /help for commands, Ctrl-D to leave.\n", style="dim")
        chat_by_keys(chat, console)
        reference = Path(config.run).name if Path(config.run).parent == runs_folder() else config.run
        say(console, f"To talk with it in a browser: understudy serve {reference}", "dim")
    else:
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        chat_by_lines(chat, console, sys.stdin or ())


def chat_by_keys(chat: Chat, console: Console) -> None:
    """Answer lines typed at a terminal until the user leaves."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    file = history_file()
    session: PromptSession[str] = PromptSession(
        history=FileHistory(file) if file else InMemoryHistory(), auto_suggest=AutoSuggestFromHistory()
    )
    while True:
        try:
            line = session.prompt("you: ").strip()
            # Keys that are not UTF-8 arrive as lone surrogates, which no tokenizer takes.
            answer(chat, line.encode("utf-8", "replace").decode(), console)
        except UserError as error:
            console.print(Text(str(error), style="red"))
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def history_file() -> Path | None:
    """Return the file of the lines typed, below XDG_STATE_HOME or ~/.local/state; None where it cannot be written."""
    file = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "understudy" / "chat-history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except OSError:
        return None
    return file


def chat_by_lines(chat: Chat, console: Console, lines: Iterable[str]) -> None:
    """Answer each line; without any, show a sample conversation."""
    given = (line.strip() for line in lines if line.strip())
    first = next(given, None)
    with suppress(EOFError):
        for line in DEMO_LINES if first is None else chain([first], given):
            console.print(Text(f"you: {line}"), soft_wrap=True)
            answer(chat, line, console)


def answer(chat: Chat, line: str, console: Console) -> None:
    """Run a command, or reply to a message."""
    if not line:
        return
    if not line.startswith("/"):
        show_reply(chat, chat.say(line), console)
        return
    name, _, rest = line.partition(" ")
    if name not in COMMANDS:
        raise UserError(f"no command {name}{suggestion(name, COMMANDS) or '; /help lists them'}")
    if name in ("/regen", "/why") and chat.last is None:
        raise UserError(f"{name}: no reply yet; say something first")
    COMMANDS[name].run(chat, rest.strip(), console)


def show_reply(chat: Chat, pieces: Generator[str], console: Console) -> None:
    """Print a reply as it streams. Ctrl-C stops the reply; without a terminal it ends the chat."""
    try:
        # A message that cannot be answered is refused here, before anything is shown.
        first = next(pieces)
        console.print("bot: ", style="bold green", end="")
        for piece in chain([first], pieces):
            console.print(Text(printable(piece)), end="", soft_wrap=True)
            console.file.flush()
    except KeyboardInterrupt:
        pieces.close()
        if not sys.stdin.isatty():
            raise
        console.print(" …", end="")
    console.print()
    if chat.last and chat.last.dropped:
        console.print(
            f"(the oldest {chat.last.dropped} messages no longer fit the context and were dropped)", style="dim"
        )


def announce(model: LanguageModel) -> None:
    """Warn on stderr when decoding is slow. Temporary reasons are shown only on a terminal."""
    line, lasting = announcement(model) or ("", False)
    if lasting or (line and sys.stderr.isatty()):
        Console(stderr=True).print(Text(line), style="dim")


# --- commands: given the rest of the line, each does what COMMANDS says ---


def _reset(chat: Chat, rest: str, console: Console) -> None:
    chat.reset()
    console.print("Forgotten.", style="dim")


def _regenerate(chat: Chat, rest: str, console: Console) -> None:
    show_reply(chat, chat.regenerate(), console)


def _temperature(chat: Chat, rest: str, console: Console) -> None:
    try:
        chat.config = replace(chat.config, temperature=float(rest)).checked()
    except ValueError as error:
        raise ConfigError(f"/temperature {rest!r} is not a number; try /temperature 0.7") from error
    console.print(f"Temperature {chat.config.temperature:g} from now on.", style="dim")


def _why(chat: Chat, rest: str, console: Console) -> None:
    shown = table("token", "probability", "instead")
    for token in chat.why():
        others = "  ".join(f"{text!r} {probability:.1%}" for text, probability in token.others)
        shown.add_row(Text(repr(token.text)), f"{token.probability:.1%}", Text(others, style="dim"))
    console.print(shown)


def _save(chat: Chat, rest: str, console: Console) -> None:
    path = Path(rest or "conversation.jsonl")
    said = tuple(message for message in chat.messages if message.content.strip())  # files hold no empty replies
    if not any(message.role == "assistant" for message in said):
        raise UserError("/save: no reply yet; say something first")
    try:
        # Append to what the file holds, of which the last line may lack its end.
        path = path.expanduser()
        before = path.read_bytes() if path.exists() else b""
        if before and not before.endswith(b"\n"):
            before += b"\n"
        write_atomically(path, before + conversation_to_json(Conversation(said)).encode() + b"\n")
    except (OSError, RuntimeError) as error:  # RuntimeError: ~name of a user without a home
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"/save: cannot write {path}: {reason}; name another file") from error
    console.print(Text(f"Saved to {path}.", style="dim"))


def _help(chat: Chat, rest: str, console: Console) -> None:
    shown = table("", "", header=False)
    for each in dict.fromkeys(COMMANDS.values()):
        shown.add_row(each.usage, each.meaning)
    console.print(shown)


def _quit(chat: Chat, rest: str, console: Console) -> None:
    raise EOFError


class ChatCommand(NamedTuple):
    """A line that begins with a slash: how it is typed, what it does, and the function that does it."""

    usage: str
    meaning: str
    run: Callable[[Chat, str, Console], None]


COMMANDS = {
    command.usage.split()[0]: command
    for command in (
        ChatCommand("/reset", "forget the conversation and start again", _reset),
        ChatCommand("/regen", "draw the last reply again", _regenerate),
        ChatCommand(
            "/temperature X", "draw more boldly (above 1) or carefully (below 1; 0: always the likeliest)", _temperature
        ),
        ChatCommand("/why", "the last reply's tokens, how likely each was, and what else it might have been", _why),
        ChatCommand("/save [FILE]", "write the conversation to a JSONL file", _save),
        ChatCommand("/help", "this list", _help),
        ChatCommand("/quit", "leave (or Ctrl-D); Ctrl-C stops a reply", _quit),
    )
}
COMMANDS["/exit"] = COMMANDS["/quit"]
