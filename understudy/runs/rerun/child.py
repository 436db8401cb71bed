"""A recorded run as a process of its own, on its own code."""

import json
import os
import subprocess
import sys
from pathlib import Path

from understudy.errors import UserError
from understudy.files import write_json
from understudy.runs.process import environment
from understudy.runs.record import Record
from understudy.runs.rerun.tree import Tree

RERUN_OF = "UNDERSTUDY_RERUN_OF"
"""The environment variable that tells a run which one it repeats."""
CONFIG = "{config}"


def command_of(record: Record, tree: Tree, python: Path) -> list[str]:
    """The command line that runs it again, with the paths of the tree in the place of those of the first time.

    Raises UserError for a record without a command.
    """
    words = list(record.data.get("command") or [])
    if not words:
        raise UserError(f"run {record.id} did not record how to run it again (it was made by an early version)")
    if any("***" in word for word in words):
        tree.notes.append("its command line held a secret, which is *** now")
    config = tree.root / "config.json"
    write_json(config, record.data.get("config") or {})
    top = str((record.data.get("code") or {}).get("top") or record.data["cwd"])
    words = [str(config) if word == CONFIG else _moved(word, top, tree) for word in words]
    processes = int(record.data.get("processes") or 1)
    if processes > 1:
        words = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *words]
    return [str(python), *words]


def _moved(word: str, top: str, tree: Tree) -> str:
    return str(tree.inside(word)) if word.startswith(f"{top}/") and tree.inside(word).exists() else word


def variables_of(record: Record, tree: Tree, runs: Path) -> dict[str, str]:
    """The environment variables of the process: this one's, with those of the run that change what is computed."""
    here = environment()
    inherited = {name: value for name, value in os.environ.items() if name not in here}
    recorded = dict(record.data.get("environment") or {})
    threads = (record.data.get("compute") or {}).get("threads")
    if threads:
        recorded.setdefault("OMP_NUM_THREADS", str(threads))
    paths = [str(tree.package_parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    mine = {"PYTHONPATH": os.pathsep.join(paths), "UNDERSTUDY_RUNS": str(runs), RERUN_OF: record.id}
    return {**inherited, **recorded, **mine}


def start(record: Record, tree: Tree, runs: Path, python: Path | None = None, log: Path | None = None) -> "Child":
    """Starts the run again; its output goes to the terminal, or to the file `log`."""
    command = command_of(record, tree, python or Path(sys.executable))
    before = frozenset(path.name for path in runs.glob("*/"))
    output = open(log, "wb") if log else None  # noqa: SIM115 - the child has it for as long as it lives
    process = subprocess.Popen(
        command,
        cwd=tree.cwd,
        env=variables_of(record, tree, runs),
        stdin=subprocess.DEVNULL if log else None,
        stdout=output,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=log is not None,  # Ctrl-C is for us to pass on
    )
    if output:
        output.close()
    return Child(process, runs, record.id, before)


class Child:
    """The process, and the run that it records."""

    def __init__(self, process: "subprocess.Popen[bytes]", runs: Path, original: str, before: frozenset[str]) -> None:
        self.process = process
        self._runs, self._original, self._before = runs, original, before

    def folder(self) -> Path | None:
        """The folder of the run, once there is one."""
        for path in sorted(self._runs.glob("*/run.json"), reverse=True):
            if path.parent.name not in self._before and _repeats(path) == self._original:
                return path.parent
        return None


def _repeats(path: Path) -> str | None:
    try:
        found: str | None = json.loads(path.read_bytes()).get("rerun_of")
    except (OSError, ValueError):
        return None
    return found
