"""What many runs share is on disk once: whole files by content, linked into each run's folder."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path


class Pool:
    """A folder of files that never change, named after their content.

    A run's folder gets a hard link, so it is complete by itself and may be copied anywhere; a thousand runs of one tree
    cost one file. Where the file system has no hard links the file is copied.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, target: Path, make: Callable[[Path], None]) -> None:
        """Links the file called `name` to `target`; `make(path)` writes it where the pool does not hold it yet."""
        kept = self.folder / name
        for _ in range(2):  # a file that no run has yet may be cleaned away between the two
            if not kept.exists():
                self._make(kept, make)
            try:
                return _link(kept, target)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(f"{kept} went away twice while it was being linked to {target}")

    def _make(self, kept: Path, make: Callable[[Path], None]) -> None:
        building = self.folder / f".{kept.name}.{secrets.token_hex(6)}.tmp"
        try:
            make(building)
            os.replace(building, kept)
        finally:
            building.unlink(missing_ok=True)


def _link(kept: Path, target: Path) -> None:
    try:
        os.link(kept, target)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(kept, target)
