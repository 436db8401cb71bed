"""`understudy runs export`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from understudy.console import counted, size_of, text
from understudy.runs.archive_pack import pack
from understudy.runs.arguments import RunsReferences, find_runs
from understudy.runs.find import ancestors, list_runs
from understudy.runs.record import Record


@dataclass
class Options:
    """Writes runs, whole folders with their checkpoints, into one archive that `understudy runs import` takes in."""

    runs: RunsReferences
    to: str = ""
    """The archive: a name that ends in .tar.gz or .zip. By default a .tar.gz in this folder, named after the run."""
    parents: bool = False
    """Take along the runs that these build on."""
    no_checkpoints: bool = False
    """Leave the checkpoints out: the record without the weights."""


def main(options: Options, console: Console) -> None:
    """See `Options`."""
    records = find_runs(options.runs)
    known = {record.id: record for record in list_runs(records[0].folder.parent)}
    if options.parents:
        named = {record.id for record in records}
        records += [known[parent] for parent in ancestors(named, known) if parent not in named]
    target = Path(options.to or _default_name(records)).expanduser()
    packed = pack(records, target, checkpoints=not options.no_checkpoints)
    size = sum(run.bytes for run in packed.contents.runs)
    lines = [f"{counted(len(records), 'run')} ({size_of(size)}) in {target} ({size_of(target.stat().st_size)})"]
    lines += [f"left out, being no plain file: {path}" for path in packed.left_out]
    lines += _absent_parents(records)
    for line in lines:
        console.print(text(line), soft_wrap=True)


def _absent_parents(records: Sequence[Record]) -> Iterable[str]:
    packed = {record.id for record in records}
    for record in records:
        for parent in record.parents:
            if parent not in packed:
                yield f"{record.id} builds on {parent}, which is not in the archive: --parents takes it along"


def _default_name(records: Sequence[Record]) -> str:
    more = f"-and-{len(records) - 1}-more" if len(records) > 1 else ""
    return f"{records[0].id}{more}.tar.gz"
