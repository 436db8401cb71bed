"""The folder of all runs: how their ids are made, and how a short name finds one.

Ids read well and sort by time: 20261123-1412-brave-otter. The adjective is the second of the minute and the animal the
64th of that second, both in alphabetical order, so ids sort by time to a sixty-fourth of a second.
"""

import os
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.console import progress
from understudy.errors import RunNotFoundError, UserError, suggestion
from understudy.files import write_atomically
from understudy.runs.record import Record, read_record

if TYPE_CHECKING:
    from rich.console import Console

LATEST = 30
MANY = 500  # runs take a tenth of a second to read; a progress bar appears from here on
MOST_CANDIDATES = 6

ADJECTIVES, ANIMALS = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8")).values()
SLOT = timedelta(seconds=1) / len(ANIMALS)


def run_id(now: datetime) -> str:
    """Return the id of a run that begins at `now` (local time).

    >>> run_id(datetime(2026, 11, 23, 14, 12, 3, 750_000))
    '20261123-1412-brave-otter'
    """
    return f"{now:%Y%m%d-%H%M}-{ADJECTIVES[now.second]}-{ANIMALS[now.microsecond * len(ANIMALS) // 1_000_000]}"


def words_of(run_id: str) -> str:
    """Return the words of an id: "brave-otter"."""
    return run_id.split("-", 2)[-1]


def matches(reference: str, run_id: str) -> bool:
    """Whether `reference` is the id, its words, or the beginning of one of them."""
    return bool(reference) and (run_id.startswith(reference) or words_of(run_id).startswith(reference))


def runs_folder() -> Path:
    """Return where runs are kept: the environment variable UNDERSTUDY_RUNS, or `runs` in the current folder."""
    runs = Path(os.environ.get("UNDERSTUDY_RUNS") or "runs").expanduser().absolute()
    if runs.is_file():
        raise UserError(f"runs are kept in a folder, and {runs} is a file; name a folder in UNDERSTUDY_RUNS")
    return runs


def make_runs_folder(folder: Path | str | None) -> Path:
    """Make the folder of all runs if need be, and return it. Raises UserError where it cannot be written to."""
    runs = runs_folder() if folder is None else Path(folder).absolute()
    try:
        if not runs.exists():
            runs.mkdir(parents=True, exist_ok=True)
            write_atomically(runs / ".gitignore", "*\n")  # git ignores the whole folder
        if not os.access(runs, os.W_OK | os.X_OK) or not runs.is_dir():
            raise PermissionError("not a folder that may be written to")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot keep runs in {runs}: {reason}; name another folder in UNDERSTUDY_RUNS") from error
    return runs


def claim_folder(runs: Path) -> Path:
    """Make the folder of a new run. Of two processes in one moment, the later takes the next free id."""
    now = datetime.now()
    while True:
        folder = runs / run_id(now)
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            now += SLOT


def list_ids(folder: Path | None = None) -> list[str]:
    """Return the ids of all runs, sorted. Folders without a run.json are not runs."""
    folder = folder or runs_folder()
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name[0] != "." and entry.is_dir())
    except OSError:
        return []
    return [name for name in names if os.path.isfile(f"{folder}/{name}/run.json")]


def list_runs(folder: Path | None = None, console: "Console | None" = None) -> list[Record]:
    """Return all runs, oldest first; none where the folder does not exist.

    With a console, a progress bar shows how far the reading of many runs has come.
    """
    folder = folder or runs_folder()
    ids = list_ids(folder)
    if console is None or len(ids) < MANY:
        return _records(folder, ids)
    with progress(console, "reading runs", total=len(ids)) as bar:
        return _records(folder, ids, bar.advance)


def latest_runs(count: int, folder: Path | None = None) -> tuple[list[Record], int]:
    """Return the latest runs, oldest first, and how many older ones there are. Reads only the runs that it returns."""
    folder = folder or runs_folder()
    # Ids tell which are the latest. They sort by time, except for an hour in autumn when clocks go back.
    ids = list_ids(folder)
    older = max(0, len(ids) - count)
    return _records(folder, ids[older:]), older


def find_run(reference: str, folder: Path | None = None, verbs: Collection[str] | None = None) -> Path:
    """Return the folder of the run that `reference` names.

    Args:
        reference: an id, the beginning of one, its words or their beginning (`brave-otter`), the path of a run's
            folder, `last`, or `last:VERB`.
        folder: where to look, by default `runs_folder()`.
        verbs: which runs may count as `last`, by default all.

    Raises:
        RunNotFoundError: the reference fits no run, or several.
    """
    # A path.
    if os.sep in reference or Path(reference, "run.json").is_file():
        path = Path(reference).expanduser().absolute()
        if not (path / "run.json").is_file():
            raise RunNotFoundError(f"no run at {path}: a run's folder holds a run.json")
        return path
    # The latest run.
    if reference == "last" or reference.startswith("last:"):
        return _last(reference.partition(":")[2], folder, verbs)

    # An id, or a part of one. Whole words win over the beginning of longer ones.
    folder = folder or runs_folder()
    ids = list_ids(folder)
    found = [run for run in ids if reference in (run, words_of(run))] or [run for run in ids if matches(reference, run)]
    if len(found) == 1:
        return folder / found[0]
    if found:
        # The newest come last, and are the likeliest to be meant.
        older = f" and {len(found) - MOST_CANDIDATES} more" if len(found) > MOST_CANDIDATES else ""
        newest = ", ".join(found[-MOST_CANDIDATES:])
        raise RunNotFoundError(f"{reference!r} may be any of {newest}{older}: write more of the id")
    if not ids:
        raise RunNotFoundError(f"no run {reference!r}: no runs in {folder} yet")
    close = suggestion(reference, ids if reference[:1].isdigit() else map(words_of, ids))
    raise RunNotFoundError(f"no run {reference!r} in {folder}{close or '; `understudy runs` lists them'}")


def ancestors(of: Iterable[str], known: Mapping[str, Record]) -> dict[str, str]:
    """Return the known runs that the runs `of` build on, directly or not, each with a run that builds on it."""
    found: dict[str, str] = {}
    ahead = list(of)
    while ahead:
        child = ahead.pop()
        parents = known[child].parents if child in known else ()
        new = [parent for parent in parents if parent in known and parent not in found]
        found.update(dict.fromkeys(new, child))
        ahead += new
    return found


def _records(folder: Path, ids: Iterable[str], each: Callable[[], None] = lambda: None) -> list[Record]:
    records = []
    for name in ids:
        records.append(read_record(folder / name))
        each()
    return sorted(records, key=lambda record: (record.created, record.id))


def _last(verb: str, folder: Path | None, verbs: Collection[str] | None) -> Path:
    if verb and verbs is not None and verb not in verbs:
        raise RunNotFoundError(f"a run of {verb!r} does not fit here: expected one of {', '.join(sorted(verbs))}")
    wanted = {verb} if verb else verbs
    # It is nearly always among the latest, so read only these at first.
    for found in (latest_runs(LATEST, folder)[0], None):
        records = [record for record in found or list_runs(folder) if record.status != "broken"]
        for record in reversed(records):
            if wanted is None or record.verb in wanted:
                return record.folder
    # There is none: say what there is instead.
    present = {record.verb for record in records}
    made = f"; there are runs of {', '.join(sorted(present))}" if present else ""
    kind = f" of {' or '.join(sorted(wanted))}" if wanted else ""
    raise RunNotFoundError(f"no run{kind} yet{made}{suggestion(verb, present)}")
