"""The command `understudy runs`: what was run, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from understudy.lab.errors import UserError, suggestion
from understudy.lab.options import parse
from understudy.lab.show import runs_table, set_note, show
from understudy.lab.store import find_run, list_runs, runs_folder

LATEST = 30
Reference = Annotated[str, tyro.conf.arg(metavar="ID")]


@dataclass
class ListOptions:
    """Lists the latest runs, newest last: id, verb, status, age, headline metric, note.

    More: "understudy runs show ID" shows the configuration, code, data, seeds, outcome and curve of one run;
    "understudy runs note ID TEXT" writes a note on a run, and takes it away without TEXT.

    ID may be shortened to any beginning (20261123-14) or to its words (brave-otter); last and last:VERB work too.
    Runs are kept in ./runs, or where the environment variable UNDERSTUDY_RUNS says.
    """

    all: bool = False
    """List every run, not only the latest 30."""


@dataclass
class ShowOptions:
    """Shows one run: configuration, code, data, parents, seeds, outcome, last metrics and curve."""

    run: Reference
    """The run: its id or any beginning of it, its words, the path of its folder, last, or last:VERB."""


@dataclass
class NoteOptions:
    """Writes a note on a run, which the list of runs shows."""

    run: Reference
    """The run: its id or any beginning of it, its words, the path of its folder, last, or last:VERB."""
    text: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="TEXT")] = ()
    """The note, in as many words as it takes; none takes the note away."""


def main(argv: Sequence[str], console: Console) -> int:
    """Does what `understudy runs *argv` asks, and returns the exit code. Raises UserError for a wrong command line."""
    command, rest = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("", argv)
    if command == "":
        _list(parse(ListOptions, rest, "understudy runs"), console)
    elif command == "show":
        show(find_run(parse(ShowOptions, _with_run(rest, command), "understudy runs show").run), console)
    elif command == "note":
        # The note's own words may begin with a dash.
        words = _with_run(rest, command)
        words = words if words[0] in ("-h", "--help") else [words[0], "--", *words[1:]]
        note = parse(NoteOptions, words, "understudy runs note")
        set_note(find_run(note.run), " ".join(note.text))
    else:
        close = suggestion(command, ["show", "note"]) or "; expected show, note, or nothing to list the runs"
        raise UserError(f"unknown command `understudy runs {command}`{close}")
    return 0


def _list(options: ListOptions, console: Console) -> None:
    records = list_runs()
    if not records:
        console.print(f"No runs in {runs_folder()} yet.", markup=False, highlight=False, soft_wrap=True)
        return
    shown = records if options.all else records[-LATEST:]
    if len(shown) < len(records):
        console.print(f"{len(records) - len(shown)} older runs: `understudy runs --all` lists them.\n", style="dim")
    console.print(runs_table(shown))


def _with_run(arguments: Sequence[str], command: str) -> list[str]:
    if not arguments:
        raise UserError(f"`understudy runs {command}` needs the id of a run, such as brave-otter or last")
    return list(arguments)
