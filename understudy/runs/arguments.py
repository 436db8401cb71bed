"""Arguments that several commands take."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from understudy.errors import RunNotFoundError
from understudy.runs.find import find_run, list_runs
from understudy.runs.query import is_query, matching
from understudy.runs.record import Record, read_record

RunReference = Annotated[
    str,
    tyro.conf.arg(
        metavar="ID",
        help="The run: its id or any beginning of it, its words, the path of its folder, last, or last:VERB.",
    ),
]
RunReferences = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(
        metavar="ID",
        help="The runs: ids or beginnings of them, their words, paths of their folders, last, or last:VERB.",
    ),
]
Words = Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="TEXT")]
Query = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(
        metavar="[QUERY]",
        help='Which runs, such as "verb=finetune and not bad": see `understudy runs list --help`.',
        help_behavior_hint="",
    ),
]
QUERY_OR_ID = "A run: its id or any beginning of it, its words, the path of its folder, last, or last:VERB; or a query."
RunsReference = Annotated[str, tyro.conf.arg(metavar="ID|QUERY", help=QUERY_OR_ID)]
RunsReferences = Annotated[
    tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="ID|QUERY", help=QUERY_OR_ID.replace("A run", "Runs"))
]
Tags = Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="TAG")]


def runs_meant(reference: str) -> list[Record]:
    """The run that the reference names, or those that it finds as a query; RunNotFoundError for none."""
    if Path(reference, "run.json").is_file() or not is_query(reference):
        return [read_record(find_run(reference))]
    found = matching(reference, list_runs())
    if not found:
        raise RunNotFoundError(f"no run fits `{reference}`")
    return found


def all_meant(references: Sequence[str]) -> list[Record]:
    """The runs that the references name or find, each once."""
    if not references:
        raise RunNotFoundError("no run is named: write the id of one, such as brave-otter or last, or a query")
    found = {record.folder: record for reference in references for record in runs_meant(reference)}
    return list(found.values())
