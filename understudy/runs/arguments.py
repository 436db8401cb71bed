"""The arguments that several commands of `understudy runs` take."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from understudy.errors import RunNotFoundError
from understudy.runs.find import find_run, list_ids, list_runs, matches, runs_folder
from understudy.runs.query import is_query, matching
from understudy.runs.record import Record, read_record

_NAMES = "id or any beginning of it, its words, the path of its folder, last, or last:VERB"
_Several = tyro.conf.Positional[tuple[str, ...]]

RunReference = Annotated[str, tyro.conf.arg(metavar="ID", help=f"The run: its {_NAMES}.")]
RunsReference = Annotated[str, tyro.conf.arg(metavar="ID|QUERY", help=f"A run: its {_NAMES}; or a query.")]
RunsReferences = Annotated[_Several, tyro.conf.arg(metavar="ID|QUERY", help=f"Runs, each by its {_NAMES}; or queries.")]
Query = Annotated[
    _Several,
    tyro.conf.arg(
        metavar="[QUERY]",
        help='Which runs, such as "verb=finetune and not bad": see `understudy runs list --help`.',
        help_behavior_hint="",
    ),
]
Tags = Annotated[_Several, tyro.conf.arg(metavar="TAG")]
Words = Annotated[_Several, tyro.conf.arg(metavar="TEXT")]


@dataclass
class OneRun:
    """The options of a command that takes a run."""

    run: RunReference


@dataclass
class SeveralRuns:
    """The options of a command that takes runs."""

    runs: RunsReferences


def find_runs(references: Sequence[str], console: Console | None = None, beginnings: bool = False) -> list[Record]:
    """Return the runs that the references name or, where one is a query, find; each run once.

    Args:
        references: as `find_run` takes them, or queries.
        console: shows how far the reading of many runs has come.
        beginnings: the beginning of an id or of its words names every run whose id begins so.

    Raises:
        RunNotFoundError: no reference is given, or one of them finds no run.
    """
    if not references:
        raise RunNotFoundError("no run is named: write the id of one, such as brave-otter or last, or a query")
    found: dict[Path, Record] = {}
    for reference in references:
        if is_query(reference):
            records = matching(reference, list_runs(console=console))
        else:
            named = [runs_folder() / name for name in list_ids() if beginnings and matches(reference, name)]
            records = list(map(read_record, named or [find_run(reference)]))
        if not records:
            raise RunNotFoundError(f"no run fits `{reference}`")
        found |= {record.folder: record for record in records}
    return list(found.values())
