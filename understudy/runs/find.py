"""Finding runs: where they lie, which there are, and which one a short name means."""

import os
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from understudy.errors import RunNotFoundError, UserError, suggestion
from understudy.files import write_atomically
from understudy.runs.index import Row, read_rows
from understudy.runs.journal import Tail, read_tail
from understudy.runs.marks import Marks
from understudy.runs.process import status_of
from understudy.runs.record import Facts, Figures, facts_of, figures_of, read_data

MOST_CANDIDATES = 6
LATEST = 30


class Record:
    """A run as it lies on disk. What is not known yet is read when it is asked for."""

    def __init__(self, folder: Path, row: Row | None = None) -> None:
        self.folder = folder
        self._row = row

    def __repr__(self) -> str:
        return f"Record({str(self.folder)!r})"

    @property
    def id(self) -> str:
        """The run's id, which is its folder's name."""
        return self.folder.name

    @property
    def data(self) -> dict[str, Any]:
        """run.json, empty where it cannot be read (then `status` is "broken")."""
        return self._data or {}

    @cached_property
    def facts(self) -> Facts:
        """The short facts, the marks and the note."""
        return self._row.facts() if self._row else facts_of(self.folder, self._data)

    @cached_property
    def figures(self) -> Figures:
        """The configuration, the outcome and the last metrics, by name."""
        if self._row:
            return self._row.figures()
        return figures_of(self._data, read_tail(self.folder / "metrics.jsonl", Tail()).last)

    @cached_property
    def status(self) -> str:
        """As `status_of` says, or "broken"; it is what it was when it was first asked for."""
        facts = self.facts
        process = {"host": facts.host, "pid": facts.pid, "process_start": facts.process_start}
        return status_of({"status": facts.status, **process}, self.folder)

    @property
    def verb(self) -> str:
        """What was run: pretrain, finetune, ..."""
        return self.facts.verb

    @property
    def created(self) -> datetime:
        """When the run began; for a broken one, when its folder last changed."""
        return datetime.fromtimestamp(self.facts.created).astimezone()

    @property
    def marks(self) -> Marks:
        """What somebody marked the run with: bad, tags, pinned."""
        return Marks(self.facts.bad, self.facts.tags, self.facts.pinned)

    @property
    def note(self) -> str:
        """What somebody wrote about the run, or nothing."""
        return self.facts.note

    @cached_property
    def _data(self) -> dict[str, Any] | None:
        return read_data(self.folder)


def runs_folder() -> Path:
    """Where runs are kept: the environment variable UNDERSTUDY_RUNS, or `runs` in the current folder."""
    return Path(os.environ.get("UNDERSTUDY_RUNS") or "runs").expanduser().absolute()


def make_runs_folder(folder: Path | str | None) -> Path:
    """The folder of all runs, made if need be; a new one tells git to ignore it. UserError where it cannot be used."""
    runs = runs_folder() if folder is None else Path(folder).absolute()
    try:
        if not runs.exists():
            runs.mkdir(parents=True, exist_ok=True)
            write_atomically(runs / ".gitignore", "*\n")
        if not os.access(runs, os.W_OK | os.X_OK) or not runs.is_dir():
            raise PermissionError("not a folder that may be written to")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot keep runs in {runs}: {reason}; name another folder in UNDERSTUDY_RUNS") from error
    return runs


def read_record(folder: Path) -> Record:
    """The record of one run as it is now; never fails on a broken one."""
    record = Record(folder)
    _ = record.data, record.status  # the run may go on
    return record


def list_runs(folder: Path | None = None) -> list[Record]:
    """All runs, oldest first; none where the folder does not exist. Folders without a run.json are not runs."""
    return _records(folder, None)[0]


def latest_runs(count: int, folder: Path | None = None) -> tuple[list[Record], int]:
    """The latest runs, oldest first, and how many older ones there are."""
    return _records(folder, count)


def _records(folder: Path | None, latest: int | None) -> tuple[list[Record], int]:
    folder = folder or runs_folder()
    rows, older = read_rows(folder, latest)
    return [Record(folder / row.name, row) for row in rows], older


def find_run(reference: str, folder: Path | None = None, verbs: Collection[str] | None = None) -> Path:
    """The folder of the run that `reference` means.

    A reference is an id, the beginning of one, its words or their beginning (`brave-otter`), the path of a run's
    folder, `last`, or `last:VERB`. `verbs` says which runs may count as `last`. RunNotFoundError for none or several.
    """
    if os.sep in reference or Path(reference, "run.json").is_file():
        return _at_path(Path(reference).expanduser().absolute())
    if reference == "last" or reference.startswith("last:"):
        return _last(reference.partition(":")[2], folder, verbs)
    return _by_name(reference, folder or runs_folder())


def words_of(run_id: str) -> str:
    """The words of an id.

    >>> words_of("20261123-1412-brave-otter")
    'brave-otter'
    """
    return run_id.split("-", 2)[-1]


def means(reference: str, run_id: str) -> bool:
    """Whether the reference is the id, its words, or the beginning of one of them."""
    return bool(reference) and (run_id.startswith(reference) or words_of(run_id).startswith(reference))


def _at_path(path: Path) -> Path:
    if not (path / "run.json").is_file():
        raise RunNotFoundError(f"no run at {path}: a run's folder holds a run.json")
    return path


def _last(verb: str, folder: Path | None, verbs: Collection[str] | None) -> Path:
    if verb and verbs is not None and verb not in verbs:
        raise RunNotFoundError(f"a run of {verb!r} does not fit here: expected one of {', '.join(sorted(verbs))}")
    wanted = {verb} if verb else verbs
    for latest in (LATEST, None):  # it is seldom farther back
        records = [record for record in _records(folder, latest)[0] if record.status != "broken"]
        for record in reversed(records):
            if wanted is None or record.verb in wanted:
                return record.folder
    present = {record.verb for record in records}
    made = f"; there are runs of {', '.join(sorted(present))}" if present else ""
    kind = f" of {' or '.join(sorted(wanted))}" if wanted else ""
    raise RunNotFoundError(f"no run{kind} yet{made}{suggestion(verb, present)}")


def _by_name(reference: str, folder: Path) -> Path:
    names = _names(folder)
    exact = [name for name in names if reference in (name, words_of(name))]
    matches = _runs(folder, exact) or _runs(folder, [name for name in names if means(reference, name)])
    if len(matches) == 1:
        return folder / matches[0]
    if matches:
        raise RunNotFoundError(f"{reference!r} may be any of {_listed(matches)}: write more of the id")
    names = _runs(folder, names)
    if not names:
        raise RunNotFoundError(f"no run {reference!r}: there are no runs in {folder} yet")
    close = suggestion(reference, names if reference[:1].isdigit() else map(words_of, names))
    raise RunNotFoundError(f"no run {reference!r} in {folder}{close or '; `understudy runs` lists them'}")


def _names(folder: Path) -> list[str]:
    """What may be the names of runs."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.name[0] != "." and entry.is_dir())
    except OSError:
        return []


def _runs(folder: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if (folder / name / "run.json").is_file()]


def _listed(names: list[str]) -> str:
    newest = names[-MOST_CANDIDATES:]
    more = f" and {len(names) - len(newest)} more" if len(names) > len(newest) else ""
    return ", ".join(newest) + more
