"""Replaying many runs, with a progress bar."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from understudy.errors import TrackingError
from understudy.runs.mlflow.replay import replay
from understudy.runs.mlflow.store import Store


@dataclass
class Done:
    """How many runs came to what, and why some failed, by their folder."""

    sent: int = 0
    current: int = 0
    deleted: int = 0
    broken: int = 0
    failed: dict[Path, str] = field(default_factory=dict)


def replay_all(folders: Sequence[Path], store: Store, console: Console) -> Done:
    """Brings the store up to date with the runs in these folders.

    A run that the store refuses is passed over and named at the end; when the store itself is down, its TrackingError
    is raised.
    """
    done = Done()
    with _progress(console) as progress:
        for folder in progress.track(folders, description="syncing"):
            _replay_one(folder, store, done)
    return done


def _replay_one(folder: Path, store: Store, done: Done) -> None:
    try:
        came_to = replay(folder, store)
    except (TrackingError, OSError) as error:
        store.ask()  # raises when it is not this run's fault
        done.failed[folder] = str(error)
        return
    setattr(done, came_to, getattr(done, came_to) + 1)


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
