"""The helping process of `stream`: replays the run every few seconds until the training closes its standard input."""

import os
import select
import sys
import time
from pathlib import Path

from understudy.errors import TrackingError
from understudy.runs.mlflow.address import Address, parse
from understudy.runs.mlflow.replay import replay
from understudy.runs.mlflow.store import Store, open_store
from understudy.runs.record import read_record

SECONDS_BETWEEN = 2.0
LONGEST_PAUSE = 30.0  # between attempts while the store is down
PAUSE_AT_THE_END = 0.3
SECONDS_AT_THE_END = 4.0  # of attempts: one that gets on may take as long as the training waits


def main(folder: str) -> None:
    """Streams the run in `folder` to the store that the first line of standard input names."""
    os.nice(19)  # the training comes first
    address = parse(sys.stdin.readline().strip())
    worker = _Worker(Path(folder), address)
    worker.follow()
    sys.exit(0 if worker.finish() else 1)


class _Worker:
    def __init__(self, folder: Path, address: Address) -> None:
        self._folder, self._address = folder, address
        self._store: Store | None = None
        self._training = os.getppid()
        self._said = False

    def follow(self) -> None:
        """Sends what is new, again and again, until the training has ended."""
        pause = 0.0
        while not self._has_ended(pause):
            pause = SECONDS_BETWEEN if self._try() else min(max(1.0, 2 * pause), LONGEST_PAUSE)

    def finish(self) -> bool:
        """Sends the rest; True when the store has all of it."""
        deadline = time.monotonic() + SECONDS_AT_THE_END
        while time.monotonic() < deadline:
            # A killed process closes its pipes a moment before it is gone.
            if read_record(self._folder).status != "running" and self._try():
                return True
            time.sleep(PAUSE_AT_THE_END)
        return False

    def _has_ended(self, seconds: float) -> bool:
        """Waits for the end of the training, but no longer than that. Its children may hold the pipe open."""
        closed, _, _ = select.select([sys.stdin], [], [], seconds)  # nothing more is ever written to it
        return bool(closed) or os.getppid() != self._training

    def _try(self) -> bool:
        try:
            self._store = self._store or open_store(self._address, self._folder.parent)
            replay(self._folder, self._store)
        except (TrackingError, OSError) as error:
            self._say_once(str(error))
            return False
        return True

    def _say_once(self, reason: str) -> None:
        if not self._said:
            self._said = True
            line = f"tracking: {reason}; the run goes on, and what is missing is sent when the store is back"
            print(" ".join(line.split()), flush=True)
