"""The command `understudy runs`: what was run, and what came of it.

A command is a module beside this one with a dataclass `Options`, whose docstring is its help, and
`main(options, console)`, which returns an exit code or None for 0. It is imported when it is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from rich.console import Console

from understudy.errors import UserError, suggestion
from understudy.options import parse


@dataclass(frozen=True)
class Command:
    """A command of `understudy runs`.

    `takes_run`: its first argument is a run, without which it can do nothing. `free_text`: the words after the run are
    anything, a dash before them too. `module` is where it lies if not in one of its own name.
    """

    meaning: str
    takes_run: bool = False
    free_text: bool = False
    module: str = ""


GROUPS = {
    "to look at": {
        "list": Command("list runs, or those that a query picks; without a command, the latest", module="listing"),
        "show": Command("one run: configuration, code, data, seeds, checks, outcome, curves", takes_run=True),
        "compare": Command("what differs between runs; which setting is better over its seeds", takes_run=True),
        "report": Command("write report.html into a run's folder: all about it on one page", takes_run=True),
        "containing": Command("the runs whose code holds a commit, a line or a definition"),
    },
    "to do again": {
        "rerun": Command("run a run again, on its exact code", takes_run=True),
        "verify": Command("run it again and compare bit for bit", takes_run=True),
    },
    "to mark": {
        "note": Command("write a note on a run", takes_run=True, free_text=True),
        "tag": Command("give runs a tag", takes_run=True),
        "untag": Command("take it away", takes_run=True),
        "pin": Command("keep runs from gc", takes_run=True),
        "unpin": Command("take the pin away", takes_run=True),
        "mark-bad": Command("say that results are not to be trusted, and why", takes_run=True, free_text=True),
        "mark-good": Command("take that back", takes_run=True),
    },
    "to keep": {
        "export": Command("write runs into one archive", takes_run=True),
        "import": Command("take in the runs of an archive", module="verbs.import_runs"),
        "gc": Command("delete runs and leftovers; without --delete, say what would go and why"),
        "disk": Command("what runs take on the disk"),
        "sync": Command("send runs to an MLflow store: what it lacks, nothing twice"),
        "ui": Command("MLflow's page on all runs"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def main(argv: Sequence[str], console: Console) -> int:
    """Does what `understudy runs *argv` asks, and returns the exit code. Raises UserError for a wrong command line."""
    if argv and argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    name, rest = (argv[0], list(argv[1:])) if argv and not argv[0].startswith("-") else ("list", list(argv))
    if name not in COMMANDS:
        close = suggestion(name, COMMANDS) or "; `understudy runs --help` lists the commands"
        raise UserError(f"unknown command `understudy runs {name}`{close}")
    command = COMMANDS[name]
    if command.takes_run and not rest:
        raise UserError(f"`understudy runs {name}` needs the id of a run, such as brave-otter or last")
    if command.free_text and rest[0] not in ("-h", "--help"):
        rest = [rest[0], "--", *rest[1:]]
    module = import_module(f"understudy.runs.{command.module or 'verbs.' + name.replace('-', '_')}")
    return module.main(parse(module.Options, rest, f"understudy runs {name}"), console) or 0


def _help() -> str:
    lines = ["usage: understudy runs [COMMAND] [OPTIONS]"]
    for title, commands in GROUPS.items():
        lines += ["", title, *(f"  {name:<12}{command.meaning}" for name, command in commands.items())]
    lines += [
        "",
        "  understudy runs COMMAND --help   lists a command's options",
        "",
        "A run may be called by its id, any beginning of it (20261123-14), its words or their beginning (brave-otter),",
        "the path of its folder, last, or last:VERB. Runs are kept in ./runs, or where UNDERSTUDY_RUNS says.",
    ]
    return "\n".join(lines)
