"""Where the checkpoints of a run lie: checkpoints/step-000400/, each whole once its state.json is there."""

from pathlib import Path


def list_checkpoints(run_folder: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    folders = [path.parent for path in (run_folder / "checkpoints").glob("step-*/state.json")]
    return sorted(folders, key=lambda folder: (len(folder.name), folder.name))  # step-1000000 is the later one
