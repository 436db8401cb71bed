"""Whether a run repeats itself: `understudy runs verify` runs it again and compares bit for bit."""

import shutil
import signal
import time
from dataclasses import asdict, dataclass, replace

from rich.console import Console

from understudy.config import in_range
from understudy.console import Bar, and_more, counted, progress, say
from understudy.errors import UserError
from understudy.files import write_json
from understudy.runs.compare.code import code_ids
from understudy.runs.compare.differences import ABSENT, differing
from understudy.runs.find import find_run
from understudy.runs.journal import read_metrics
from understudy.runs.record import Record, read_record
from understudy.runs.rerun.child import Child, RerunOptions
from understudy.runs.rerun.floats import BitComparison, compare_bits, compare_outcomes
from understudy.runs.rerun.packages import environment_differences, prepare_environment
from understudy.runs.rerun.tree import FOLDER, Tree, restore_tree

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 60.0  # for a run that was asked to stop to save its checkpoint
MOST_NAMED = 5
LOG = "console.log"
# What differs without changing figures; the number of threads is looked at by itself.
NO_CAUSES = ("platform", "host", "environment.OMP_NUM_THREADS")


@dataclass
class VerifyOptions(RerunOptions):
    """A run, the environment to run it in, and how far to repeat it."""

    steps: int | None = None
    """Compare only this many steps; by default all."""


def main(options: VerifyOptions, console: Console) -> int:
    """Run a run again in a fresh process, on its exact code, and compare every figure bit for bit.

    Metrics are compared as floats, weights by their hash at each checkpoint. Prints "identical" (exit code 0), or
    the first step that differs and the likely causes (exit code 1).
    """
    if options.steps is not None:
        in_range("--steps", options.steps, 1)
    record = read_record(find_run(options.run))
    python = prepare_environment(record, options.build_environment, console)
    if record.status == "running":
        raise UserError(f"run {record.id} is still running; verify it when it has ended")

    # The second run is not listed among the runs. Its data are tokenized again: a cache could hide what has changed.
    tree = restore_tree(record, record.folder.parent / FOLDER / record.id)
    runs = tree.root / "runs"
    runs.mkdir()
    with progress(console, "running again", total=options.steps or last_step(record)) as bar:
        child = Child(record, tree, runs, python, log=tree.root / LOG)
        try:
            stopped = _follow(child, record, options.steps, bar)
        except BaseException:
            child.process.kill()
            child.process.wait()
            raise
    found, again = _compare(record, child, tree, options.steps, stopped)
    causes = likely_causes(record, again, tree) if found.difference else []

    # `runs show` reads this, and so may other programs.
    told = {"time": time.time(), "identical": not found.difference, "steps": options.steps, "causes": causes}
    write_json(record.folder / "verified.json", told | asdict(found))

    # The result in one line, then the causes of a difference
    for note in tree.notes:
        say(console, note, "yellow")
    if not found.difference:
        compared = f"{counted(found.lines, 'line')} of metrics"
        if found.checkpoints:
            compared += f" and the weights of {counted(found.checkpoints, 'checkpoint')}"
        say(console, f"{record.id}: identical, bit for bit: {compared}", "green")
        shutil.rmtree(tree.root, ignore_errors=True)
        return 0
    say(console, f"{record.id}: differs from {found.difference}", "red")
    for number, cause in enumerate(causes, start=1):
        say(console, f"  likely cause {number}, {cause}")
    say(console, f"  the second run is in {tree.root}", "dim")
    return 1


def last_step(record: Record) -> int | None:
    """Return the last step at which the run logged anything."""
    return max((row["step"] for row in read_metrics(record.folder / "metrics.jsonl")), default=None)


def _follow(child: Child, record: Record, steps: int | None, bar: Bar) -> bool:
    """Wait for the child; stop it after `steps` steps or at the first difference. Returns whether it was stopped."""
    stopped, deadline = False, 0.0
    while child.process.poll() is None:
        time.sleep(POLL_SECONDS)
        folder = child.folder()
        if folder is None:
            continue
        found = compare_bits(record.folder, folder, steps, partial=True)
        bar.update(completed=found.last_step or 0)
        # As Ctrl-C does: the run saves its checkpoint and ends. One that does not is killed.
        enough = steps is not None and (found.last_step or 0) >= steps
        if (enough or found.difference) and not stopped:
            child.process.send_signal(signal.SIGINT)
            stopped, deadline = True, time.monotonic() + PATIENCE_SECONDS
        if stopped and time.monotonic() > deadline:
            child.process.kill()
    return stopped


def _compare(
    record: Record, child: Child, tree: Tree, steps: int | None, stopped: bool
) -> tuple[BitComparison, Record]:
    """Compare the run with the child's, which has ended; return that one's record, too."""
    folder = child.folder()
    finished = record.status == "finished"
    if folder is None or (child.process.returncode != 0 and not stopped and finished):
        log = tree.root / LOG
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        raise UserError(f"the second run failed: {lines[-1] if lines else 'it said nothing'}; see {log}")

    # A run that did not come to its end is compared as far as it came.
    until = steps if steps is not None or finished else last_step(record)
    found, again = compare_bits(record.folder, folder, until, partial=stopped or not finished), read_record(folder)
    if not found.difference and not stopped and finished:
        found = replace(found, difference=compare_outcomes(record.outcome, again.outcome))
    if not found.difference and not found.lines:
        raise UserError(f"run {record.id} logged nothing to compare")
    return found, again


def likely_causes(then: Record, now: Record, tree: Tree) -> list[str]:
    """Return what differs between a run and its rerun in `tree`, in the order in which to look at it.

    Where code, data, environment, hardware and thread count are the same, the computation itself is not deterministic.
    """
    causes: dict[str, list[str]] = {"code": [], "data": [], "environment": [], "hardware": [], "thread count": []}
    # Files of the tree have other paths than the first time. What only the first run had read is not a difference.
    old_code, new_code = (code_ids(record.folder) or {} for record in (then, now))
    found = differing([old_code, {tree.original(path): name for path, name in new_code.items()}])
    for path, (before, after) in found.items():
        if before is ABSENT and not path.startswith("/"):
            causes["code"].append(f"{path} (only now)")
        elif before is not ABSENT and after is not ABSENT:
            causes["code"].append(path)

    # Data that are gone stop a rerun before it begins, so only changed files matter.
    hashes = [{tree.original(file["path"]): file["sha256"] for file in run.data.get("data", [])} for run in (then, now)]
    causes["data"] = [path for path, values in differing(hashes).items() if ABSENT not in values]

    # Python, packages, variables, hardware and threads
    kinds = {"hardware": "hardware", "processes": "thread count", "compute": "thread count"}
    for name, words in environment_differences(then.data, now.data).items():
        if name not in NO_CAUSES:
            causes[kinds.get(name.partition(".")[0], "environment")].append(words)

    told = [f"{kind}: {and_more(lines, MOST_NAMED, '; ')}" for kind, lines in causes.items() if lines]
    if then.data.get("resumed"):
        told.append(
            "the run was resumed, maybe with other code: only a run that was never interrupted is sure to repeat itself"
        )
    return told or [
        "nondeterminism: code, data, environment, hardware and threads are the same, so an operation gives other bits "
        "each time, or the program draws random numbers without a seed, or reads the clock"
    ]
