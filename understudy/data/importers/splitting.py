"""The earlier conversations to learn from, the later ones to validate on; both files whole, or none."""

import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from understudy.data.importers.sort import Spool
from understudy.runs.disk import full_disk_named

STRADDLING = "in conversations that go on while validation begins"


@dataclass
class Part:
    """What was written to one file: conversations, the messages in them as they were sent, and when they were."""

    path: Path
    conversations: int = 0
    messages: int = 0
    first: float = float("inf")
    last: float = float("-inf")

    def add(self, start: float, end: float, messages: int) -> None:
        """Count one conversation."""
        self.conversations += 1
        self.messages += messages
        self.first, self.last = min(self.first, start), max(self.last, end)


def write(spool: Spool, train: Path, valid: Path, share: float, left_out: Counter[str]) -> tuple[Part, Part]:
    """Write both files. Every conversation of `valid` begins after the last message of `train` was sent.

    What is under way when validation begins is in neither: it would tell of both sides. Without anything to hold
    out, no file is left at `valid`.

    Raises:
        DiskFullError: there is no room; the files are as they were.
    """
    begin = spool.start_of_last(share)
    parts = Part(train), Part(valid)
    with full_disk_named(train.parent), _temporaries(part.path for part in parts) as temporaries:
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("x", encoding="utf-8", newline="\n")) for path in temporaries]
            for start, end, messages, line in spool.lines():
                if end >= begin > start:
                    left_out[STRADDLING] += messages
                    continue
                late = start >= begin
                parts[late].add(start, end, messages)
                files[late].write(line + "\n")
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for part, temporary in zip(parts, temporaries, strict=True):
            os.replace(temporary, part.path)
            if not part.conversations:
                part.path.unlink()
    return parts


@contextmanager
def _temporaries(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Names beside the paths, for files that take their places when all is written; what is left there goes."""
    names = [path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp") for path in paths]
    try:
        yield names
    finally:
        for name in names:
            name.unlink(missing_ok=True)
