"""The command `understudy runs`: what was run, and what came of it.

A command is a function `f(options: SomeOptions, console: Console) -> int | None` that lies beside the logic it calls.
Its docstring is the help, and its options are a dataclass. It returns the exit code, or None for 0.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from inspect import getdoc
from pathlib import Path

from rich.console import Console

from understudy.config import parse
from understudy.errors import UserError, suggestion
from understudy.runs.arguments import Words

# The title of each group, and its commands by name: the function, named from `understudy.runs` on, and a line of help.
GROUPS: dict[str, dict[str, tuple[str, str]]] = tomllib.loads(
    Path(__file__).with_name("commands.toml").read_text("utf-8")
)
HELP = """
  understudy runs COMMAND --help   lists a command's options

Without a command, the latest runs are listed.
A run may be called by its id, any beginning of it (20261123-14), its words or their beginning (brave-otter),
the path of its folder, last, or last:VERB. Runs are kept in ./runs, or where UNDERSTUDY_RUNS says."""
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def main(argv: Sequence[str], console: Console) -> int:
    """Run the command line `understudy runs *argv` and return the exit code. Raises UserError for a wrong one."""
    if argv and argv[0] in ("-h", "--help", "help"):
        print("usage: understudy runs [COMMAND] [OPTIONS]")
        for title, commands in GROUPS.items():
            print(f"\n{title}")
            for name, (_, meaning) in commands.items():
                print(f"  {name:<12}{meaning}")
        print(HELP)
        return 0
    # Without the name of a command, the options are those of the list.
    name, rest = (argv[0], list(argv[1:])) if argv and not argv[0].startswith("-") else ("list", list(argv))
    if name not in COMMANDS:
        close = suggestion(name, COMMANDS) or "; `understudy runs --help` lists the commands"
        raise UserError(f"unknown command `understudy runs {name}`{close}")

    # Imported only now, because some commands need libraries that take long to load.
    module, _, attribute = COMMANDS[name][0].rpartition(".")
    function = getattr(import_module(f"understudy.runs.{module}"), attribute)
    kind = function.__annotations__["options"]

    # tyro would call the missing run an argument that is required; this says what to write.
    first, *others = fields(kind)
    if not rest and first.name in ("run", "runs") and first.default is MISSING:
        raise UserError(f"`understudy runs {name}` needs the id of a run, such as brave-otter or last")
    if any(field.type is Words for field in others) and rest[0] not in ("-h", "--help"):
        rest.insert(1, "--")  # a note may begin with a dash
    options = parse(kind, rest, f"understudy runs {name}", description=getdoc(function))
    return function(options, console) or 0
