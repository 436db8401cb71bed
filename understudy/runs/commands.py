"""The command `understudy runs`: what was run, and what came of it.

A command is a function `f(options: SomeOptions, console: Console) -> int | None` that lies beside the logic it calls.
Its docstring is the help, and its options are a dataclass. It returns the exit code, or None for 0.
"""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from inspect import getdoc

from rich.console import Console

from understudy.config import parse
from understudy.errors import UserError, suggestion
from understudy.runs.arguments import Words

# The commands: the function, named from `understudy.runs` on, and a line of help.
GROUPS = {
    "to look at": {
        "list": ("listing.print_list", "list the latest runs, or those that a query finds"),
        "show": ("pages.show.main", "show one run: configuration, code, data, seeds, checks, outcome, curves"),
        "compare": ("compare.terminal.main", "show what differs between runs, and which setting is better"),
        "report": ("pages.report.main", "write report.html into a run's folder: all about it on one page"),
        "containing": ("containing.list_containing", "list runs whose code holds a commit, a line or a definition"),
    },
    "to run again": {
        "rerun": ("rerun.child.main", "run a run again, on its exact code"),
        "verify": ("rerun.verify.main", "run it again and compare bit for bit"),
    },
    "to mark": {
        "note": ("marks.note", "write a note on a run"),
        "tag": ("marks.tag", "add tags to runs"),
        "untag": ("marks.untag", "remove tags from runs"),
        "pin": ("marks.pin", "keep runs from gc"),
        "unpin": ("marks.unpin", "let gc delete runs again"),
        "mark-bad": ("marks.mark_bad", "say that results are not to be trusted, and why"),
        "mark-good": ("marks.mark_good", "take that back"),
    },
    "to keep": {
        "export": ("archive.export_runs", "write runs into one archive"),
        "import": ("archive.import_runs", "add the runs of an archive"),
        "gc": ("cleanup.gc", "delete runs and leftovers; without --delete, say what would go and why"),
        "disk": ("disk.disk", "show what runs take on the disk"),
        "sync": ("mlflow.ui.sync_runs", "send runs to an MLflow store: what it lacks, nothing twice"),
        "ui": ("mlflow.ui.open_page", "open MLflow's page on all runs"),
    },
}
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
