"""Arguments that several commands take."""

from typing import Annotated

import tyro

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
Query = Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="QUERY")]
