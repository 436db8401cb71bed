"""A recorded run as a process of its own, on its own code; and `understudy runs rerun`."""

import os
import subprocess
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from understudy.console import say
from understudy.errors import UserError
from understudy.files import write_json
from understudy.runs.arguments import RunReference
from understudy.runs.find import find_run
from understudy.runs.process import environment
from understudy.runs.record import Record, read_record
from understudy.runs.rerun.packages import prepare_environment
from understudy.runs.rerun.tree import FOLDER, Tree, restore_tree

RERUN_OF = "UNDERSTUDY_RERUN_OF"
"""The environment variable that tells a run which one it repeats."""
CONFIG = "{config}"


@dataclass
class RerunOptions:
    """A run, and the environment to run it in."""

    run: RunReference
    build_environment: bool = False
    """First make a virtual environment with the exact versions that the run had (kept for the next time)."""


def main(options: RerunOptions, console: Console) -> int:
    """Run a run again: its exact code, its configuration and its seed, as a new run.

    The code is restored in a folder of its own, and your working tree stays as it is. It first says which
    packages differ from those of the first time, and which files have changed.
    """
    record = read_record(find_run(options.run))
    runs = record.folder.parent
    tree = restore_tree(record, runs / FOLDER / record.id)
    say(console, f"{record.id}: its code is in {tree.cwd}")
    python = prepare_environment(record, options.build_environment, console)
    for note in tree.notes:
        say(console, note, "yellow")
    child = Child(record, tree, runs, python)
    with suppress(KeyboardInterrupt):  # the child got it too, and saves what it has
        child.process.wait()
    code = child.process.wait()
    if folder := child.folder():
        say(console, f"{folder.name} repeats {record.id}; understudy runs compare {record.id} {folder.name}")
    return code


def command_of(record: Record, tree: Tree, python: Path) -> list[str]:
    """Return the command line that runs the record again; paths in the code of then become those in the tree.

    Raises UserError for a record without a command.
    """
    words = list(record.data.get("command") or [])
    if not words:
        raise UserError(f"run {record.id} did not record how to run it again (it was made by an early version)")
    if any("***" in word for word in words):
        tree.notes.append("its command line held a secret, which is *** now")
    # The configuration is read from a file: that of the first time may have changed.
    config = tree.root / "config.json"
    write_json(config, record.data.get("config") or {})

    # A script is run from the tree, wherever its path was in the command.
    top = str((record.data.get("code") or {}).get("top") or record.data["cwd"])
    for i, word in enumerate(words):
        if word == CONFIG:
            words[i] = str(config)
        elif word.startswith(f"{top}/") and tree.inside(word).exists():
            words[i] = str(tree.inside(word))

    # Several processes on this machine, as torchrun starts them
    processes = int(record.data.get("processes") or 1)
    if processes > 1:
        words = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *words]
    return [str(python), *words]


def variables_of(record: Record, tree: Tree, runs: Path) -> dict[str, str]:
    """Return the environment variables of the process: those here, but the run's where they change what is computed."""
    # A variable that changes what is computed and that the run did not have must not be inherited.
    here = environment()
    inherited = {name: value for name, value in os.environ.items() if name not in here}
    recorded = dict(record.data.get("environment") or {})
    threads = (record.data.get("compute") or {}).get("threads")
    if threads:
        recorded.setdefault("OMP_NUM_THREADS", str(threads))
    paths = [str(tree.package_parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    mine = {"PYTHONPATH": os.pathsep.join(paths), "UNDERSTUDY_RUNS": str(runs), RERUN_OF: record.id}
    return {**inherited, **recorded, **mine}


class Child:
    """The process of a rerun; its output goes to the terminal, or to the file `log`."""

    def __init__(self, record: Record, tree: Tree, runs: Path, python: Path, log: Path | None = None):
        self._record, self._runs = record, runs
        self._before = {path.name for path in runs.glob("*/")}
        with open(log, "wb") if log else nullcontext() as output:
            self.process = subprocess.Popen(
                command_of(record, tree, python),
                cwd=tree.cwd,
                env=variables_of(record, tree, runs),
                stdin=subprocess.DEVNULL if log else None,
                stdout=output,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=log is not None,  # Ctrl-C is for us to pass on
            )

    def folder(self) -> Path | None:
        """Return the folder of the new run, None until there is one."""
        for folder in sorted(self._runs.glob("*/"), reverse=True):
            if folder.name not in self._before and read_record(folder).data.get("rerun_of") == self._record.id:
                return folder
        return None
