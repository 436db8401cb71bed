"""A full disk: how a run notices, and how it still writes down that it ended so."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from understudy.errors import DiskFullError

LEAST_RESERVED = 256 << 10
NO_ROOM = 4 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """Some room on the disk that is given back when the run ends, so that even on a full disk it can say how."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".reserve.tmp"
        self._held = False

    def hold(self) -> None:
        """Takes the room, or what there is of it."""
        self._held = True
        with contextlib.suppress(OSError):
            # The record is written anew, beside the old one; it may have grown by then.
            size = max(LEAST_RESERVED, 2 * self._path.with_name("run.json").stat().st_size)
            self._path.write_bytes(os.urandom(size))  # a disk that compresses would make nothing of zeros

    def release(self) -> None:
        """Gives it back, if this process holds it."""
        if self._held:
            with contextlib.suppress(OSError):
                self._path.unlink()


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Makes whatever error a full disk causes a DiskFullError that names the disk of `folder`."""
    try:
        yield
    except Exception as error:
        if problem := full_disk(error, folder):
            raise DiskFullError(problem) from error
        raise


def full_disk(error: BaseException | None, folder: Path) -> str:
    """One line on the disk that was full when a run in `folder` met this error; empty where that was not the cause."""
    while error and not _means_full(error):
        error = error.__cause__ or error.__context__
    if error is None:
        return ""
    if isinstance(error, OSError) and error.errno == errno.EDQUOT:
        return f"the quota on the disk of {folder} is used up: free some room there"
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = 0
    if free > NO_ROOM:  # then it was another disk
        return f"no room left on a disk, though there is on that of {folder}: {' '.join(str(error).split())}"
    return f"no room left on the disk of {folder}: free some there"


def _means_full(error: BaseException) -> bool:
    """Libraries that write by themselves have errors of their own, with the system's words in them."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return any(os.strerror(number) in str(error) for number in FULL)
