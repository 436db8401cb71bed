"""What many runs share is on disk once: whole files by content, linked into each run's folder."""

import contextlib
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
        if not kept.exists():
            building = self.folder / f".{name}.{secrets.token_hex(6)}.tmp"
            try:
                make(building)
                os.replace(building, kept)
            finally:
                building.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            try:
                os.link(kept, target)
            except FileExistsError:
                raise
            except OSError:
                shutil.copyfile(kept, target)
