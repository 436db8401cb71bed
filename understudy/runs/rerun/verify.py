"""Does the record still give the same? `verify` runs it again in a fresh process and compares bit for bit."""

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.files import write_json
from understudy.runs.journal import read_metrics
from understudy.runs.record import Record, read_record
from understudy.runs.rerun.causes import likely_causes
from understudy.runs.rerun.child import Child, start
from understudy.runs.rerun.floats import Likeness, compare, compare_outcomes
from understudy.runs.rerun.tree import FOLDER, Tree, put_up

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 60.0  # for a run that was asked to stop to save its checkpoint


@dataclass(frozen=True)
class Verdict:
    """What came of it. `causes`: why it differs, likeliest first, in the order in which to look."""

    identical: bool
    likeness: Likeness
    causes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folder: Path | None = None
    """Where the tree and the second run are to be seen, when they differ."""


def verify(record: Record, steps: int | None, python: Path | None, progress: Callable[[int | None], None]) -> Verdict:
    """Runs it again, for `steps` steps or to its end, and compares; the second run stays out of the list of runs.

    Its data are tokenized anew, for a cache could hide what has changed. It is stopped as soon as something differs.
    Raises UserError for a run that cannot be run again, or whose second run fails.
    """
    if record.status == "running":
        raise UserError(f"run {record.id} is still running; verify it when it has ended")
    root = record.folder.parent / FOLDER / record.id
    tree = put_up(record, root)
    runs = root / "runs"
    runs.mkdir()
    child = start(record, tree, runs, python, log=root / "console.log")
    try:
        stopped = _follow(child, record, steps, progress)
    except BaseException:
        child.process.kill()
        child.process.wait()
        raise
    verdict = _judge(record, child, tree, steps, stopped)
    write_json(record.folder / "verified.json", _told(verdict, steps))
    if verdict.identical:
        shutil.rmtree(root, ignore_errors=True)
    return verdict


def _follow(child: Child, record: Record, steps: int | None, progress: Callable[[int | None], None]) -> bool:
    """Waits for the child, and stops it after `steps` steps or at the first difference; whether it was stopped."""
    stopped, deadline = False, 0.0
    while child.process.poll() is None:
        time.sleep(POLL_SECONDS)
        folder = child.folder()
        if folder is None:
            continue
        likeness = compare(record.folder, folder, steps, partial=True)
        progress(likeness.last_step)
        enough = steps is not None and (likeness.last_step or 0) >= steps
        if (enough or likeness.difference) and not stopped:
            child.process.send_signal(signal.SIGINT)
            stopped, deadline = True, time.monotonic() + PATIENCE_SECONDS
        if stopped and time.monotonic() > deadline:
            child.process.kill()
    return stopped


def _judge(record: Record, child: Child, tree: Tree, steps: int | None, stopped: bool) -> Verdict:
    folder = child.folder()
    if folder is None or (child.process.returncode != 0 and not stopped and record.status == "finished"):
        raise UserError(f"the second run failed: {_last_line(tree.root / 'console.log')}; see {tree.root}/console.log")
    # A run that did not come to its end is compared as far as it came.
    until = steps if steps is not None or record.status == "finished" else last_step(record)
    likeness = compare(record.folder, folder, until, partial=stopped or record.status != "finished")
    again = read_record(folder)
    difference = likeness.difference
    if not difference and not stopped and record.status == "finished":
        difference = compare_outcomes(record.data.get("outcome") or {}, again.data.get("outcome") or {})
    likeness = Likeness(likeness.lines, likeness.checkpoints, difference, likeness.last_step)
    if not difference and not likeness.lines:
        raise UserError(f"run {record.id} logged nothing to compare")
    causes = likely_causes(record, again, tree) if difference else []
    return Verdict(difference is None, likeness, causes, tree.notes, folder=tree.root if difference else None)


def last_step(record: Record) -> int | None:
    """The last step that the run logged anything at."""
    return max((row["step"] for row in read_metrics(record.folder / "metrics.jsonl")), default=None)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"


def _told(verdict: Verdict, steps: int | None) -> dict[str, Any]:
    return {
        "time": time.time(),
        "identical": verdict.identical,
        "steps": steps,
        "lines": verdict.likeness.lines,
        "checkpoints": verdict.likeness.checkpoints,
        "difference": str(verdict.likeness.difference) if verdict.likeness.difference else None,
        "causes": verdict.causes,
    }
