"""A run and the folder that records it, as the program that runs writes them."""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import override

from understudy.config import child_seed
from understudy.console import interrupt, on_signals
from understudy.errors import DiskFullError, UserError
from understudy.files import fingerprint, locked, plain, write_json
from understudy.runs.code import opened_files, snapshot
from understudy.runs.code.secrets import masked
from understudy.runs.disk import full_disk, full_disk_named, reserve
from understudy.runs.find import claim_folder, make_runs_folder
from understudy.runs.journal import Journal, append_line
from understudy.runs.process import heartbeat, surroundings, this_process
from understudy.runs.record import read_record

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["NullRecorder", "Recorder", "Run"]

MAY_HOLD_SECRETS = ("argv", "command", "config", "error", "resumed")
"""The parts of a record that are searched for secrets when they are written."""


class Recorder(Protocol):
    """All of a run that a training loop sees. `Run` records to its folder, `NullRecorder` records nothing."""

    folder: Path
    """Where the checkpoints go."""
    record: dict[str, Any]
    """What run.json holds: read it, and change it by `update`."""

    @property
    def id(self) -> str:
        """The run's id, such as `20261123-1412-brave-otter`."""

    @property
    def console(self) -> "Console":
        """The terminal, for progress bars."""

    def log(self, step: int, **values: Any) -> None:
        """Append the metrics of a step to metrics.jsonl."""

    def sample(self, step: int, **fields: Any) -> None:
        """Append a sample of the model's output to samples.jsonl."""

    def checkpoint(self, step: int, weights: Path) -> None:
        """Append the hash of the weights saved after a step to checkpoints.jsonl."""

    def say(self, text: str, style: str | None = None) -> None:
        """Print text and append it to console.log."""

    def update(self, **fields: Any) -> None:
        """Change fields of run.json."""


class Run:
    """A run and its folder `runs/<id>/`: run.json, metrics.jsonl, samples.jsonl, console.log, heartbeat, code/.

    As a context manager it records how it ended: "finished", "interrupted" (Ctrl-C or SIGTERM) or "failed"; exceptions
    go on. One process writes a run; all that it logged survives `kill -9`.

        with Run.create("pretrain", sys.argv, config, seed=1) as run:
            torch.manual_seed(run.seed("init"))
            run.log(0, loss=2.5)
            run.finish(headline=["loss", 2.5])
    """

    _quiet = False

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record
        self._lock = threading.RLock()  # re-entrant: SIGTERM may come while this thread holds it
        self._cleanup = contextlib.ExitStack()
        self._reserve = contextlib.ExitStack()
        self._metrics: Journal | None = None
        self._snapshot: snapshot.Snapshot | None = None
        self._opened_files: opened_files.OpenedFiles | None = None
        self._sweeping = threading.Lock()

    @classmethod
    def create(
        cls,
        verb: str,
        argv: Sequence[str],
        config: Any,
        runs_folder: Path | str | None = None,
        parents: Sequence[str] = (),
        seed: int = 0,
        command: Sequence[str] | None = None,
    ) -> "Run":
        """Make the folder of a new run and record what it starts from, the exact code included.

        From here on the files that the process opens are noted, and those that the snapshot lacks are kept.

        Args:
            verb: what is run; `last:VERB` finds it.
            argv: the command line.
            config: a configuration (a dataclass) or a dictionary.
            runs_folder: where runs are kept; by default `find.runs_folder()`.
            parents: the ids of the runs that this one builds on.
            seed: the seed from which each generator gets its own, by name: `run.seed("init")`.
            command: the arguments after `python` that run it again; by default this process's own. "{config}" in it
                stands for a JSON file with the recorded configuration.
        """
        opened_files.begin()
        runs = make_runs_folder(runs_folder)
        with full_disk_named(runs):
            folder = claim_folder(runs)
            record = {
                "id": folder.name,
                "verb": verb,
                "argv": list(argv),
                "cwd": str(Path.cwd()),
                "status": "running",
                "rerun_of": os.environ.get("UNDERSTUDY_RERUN_OF"),
                "created": _now(),
                "ended": None,
                "config": plain(config),
                "seed": seed,
                "seeds": {},
                "data": [],
                "parents": list(parents),
                "outcome": {},
                "checks": [],
                "code": {},
                **this_process(),
                **surroundings(),
                "command": list(sys.orig_argv[1:] if command is None else command),
            }
            run = cls(folder, record)
            # A run that cannot be recorded leaves no empty folder.
            try:
                run._save()
            except OSError:
                folder.rmdir()
                raise
            run.update(code=run._keep_code(folder.name, folder / "code"))
        return run

    @classmethod
    def reopen(cls, folder: Path | str, argv: Sequence[str] | None = None) -> "Run":
        """Open a run that was interrupted, failed or died, to go on with it; "resumed" in run.json says when.

        Raises UserError where the run is alive, finished or unreadable.
        """
        opened_files.begin()
        folder = Path(folder).absolute()
        if not folder.is_dir():
            raise UserError(f"no run to resume at {folder}: it is not a folder")
        # Of two processes that resume the same run at once, one waits here and then finds it running.
        with locked(folder):
            found = read_record(folder)
            place = f"process {found.data.get('pid')} on {found.data.get('host')}"
            problems = {
                "running": f"is still running ({place}): stop it first, then resume it",
                "finished": "is finished and cannot be resumed; start a new run from it instead",
                "broken": "cannot be resumed: its run.json is missing or damaged",
            }
            if found.status in problems:
                raise UserError(f"run {found.id} {problems[found.status]}")
            run = cls(folder, found.data)
            run.record.update(status="running", ended=None, **this_process())
            run.record.pop("error", None)
            run._save()
        before = run.record.get("resumed", [])
        name = f"resumed-{len(before) + 1}"
        code = run._keep_code(f"{run.id}-{name}", folder / "code" / name)
        entry = {"time": _now(), "argv": list(sys.argv if argv is None else argv), "code": code}
        run.update(resumed=[*before, entry])
        return run

    @property
    def id(self) -> str:
        """The run's id, such as `20261123-1412-brave-otter`."""
        return self.folder.name

    @property
    def verb(self) -> str:
        """What is run: pretrain, finetune, ..."""
        return str(self.record["verb"])

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as a dictionary; `config.from_dict` makes it a dataclass again."""
        return dict(self.record["config"])

    @cached_property
    def console(self) -> "Console":
        """The terminal, or whatever standard output is."""
        from rich.console import Console

        return Console(quiet=self._quiet)

    def seed(self, name: str) -> int:
        """Return, and record, the seed of the generator of this name. The same name always gives the same number."""
        number = child_seed(self.record["seed"], name)
        if name not in self.record["seeds"]:
            self.update(seeds={name: number})
        return number

    def log(self, step: int, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        if self._metrics is None:
            self._metrics = Journal(self.folder / "metrics.jsonl")
        self._metrics.log(step, **values)

    def checkpoint(self, step: int, weights: Path) -> None:
        """Append the hash of the weights saved after a step to checkpoints.jsonl, which `runs verify` compares."""
        row = {"step": int(step), "time": time.time(), "sha256": fingerprint(weights)["sha256"]}
        append_line(self.folder / "checkpoints.jsonl", row)

    def sample(self, step: int, **fields: Any) -> None:
        """Append one line to samples.jsonl, such as a reply of the model."""
        append_line(self.folder / "samples.jsonl", {"step": int(step), **fields})

    def say(self, text: str, style: str | None = None) -> None:
        """Print text (in a rich style) and append it to console.log. Brackets are not markup."""
        from rich.text import Text

        self._write_console_log(text)
        self.console.print(Text(text, style=style or ""), soft_wrap=True)

    def add_data(self, path: Path | str, found: dict[str, Any] | None = None) -> dict[str, Any]:
        """Record the fingerprint of a file that the run reads, and return it. A changed file gets a second entry.

        `found` is the fingerprint, where it is known already.
        """
        found = found or fingerprint(path)
        with self._lock:
            if found not in self.record["data"]:
                self.update(data=[*self.record["data"], found])
        return found

    def update(self, **fields: Any) -> None:
        """Change run.json: a dictionary is merged into the one that is there, anything else replaces the old value."""
        with self._lock:
            for name, value in plain(fields).items():
                old = self.record.get(name)
                both = isinstance(old, dict) and isinstance(value, dict)
                self.record[name] = old | value if both else value
            self._save()

    def finish(self, **outcome: Any) -> None:
        """Add figures to the outcome. Lists show `headline=[name, value]`."""
        self.update(outcome=outcome)

    def __enter__(self) -> "Run":
        self._reserve.enter_context(reserve(self.folder))
        self._cleanup.enter_context(on_signals(interrupt, signal.SIGTERM))
        self._cleanup.enter_context(heartbeat(self.folder / "heartbeat", self._sweep_opened_files))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cleanup:
            # The reserve first: on a full disk what follows needs its room.
            self._reserve.close()
            self._sweep_opened_files()
            if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
                status = "finished"
            else:
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            full = full_disk(error, self.folder) if status == "failed" else ""
            if self._snapshot and (problem := self._snapshot.finish()):
                self.update(code={"error": problem})
            # The folder may be gone or the disk full: that must not hide the error that is on its way.
            with contextlib.suppress(OSError) if error else contextlib.nullcontext():
                if status == "failed" and error:
                    self._write_console_log("".join(traceback.format_exception(error)))
                    self.record["error"] = full or " ".join(f"{type(error).__name__}: {error}".split())
                self.update(status=status, ended=_now())
            if full:
                raise DiskFullError(full) from error

    def _save(self) -> None:
        hidden = {name: masked(self.record[name]) for name in MAY_HOLD_SECRETS if name in self.record}
        write_json(self.folder / "run.json", self.record | hidden)

    def _write_console_log(self, text: str) -> None:
        with open(self.folder / "console.log", "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(masked(text).rstrip("\n") + "\n")

    def _keep_code(self, name: str, destination: Path) -> dict[str, Any]:
        runs = self.folder.parent
        self._snapshot = snapshot.take(Path.cwd(), name, destination, runs / snapshot.POOL, exclude=[runs])
        code = self._snapshot.record
        top = Path(code.get("top") or Path.cwd())
        self._opened_files = opened_files.OpenedFiles(destination, top, self._snapshot.held, runs)
        self._sweep_opened_files()
        if code["kind"] == "none":
            self.say(f"The code of this run could not be kept: {code['error']}", style="yellow")
        return code

    def _sweep_opened_files(self) -> None:
        if self._opened_files:
            # The run matters more than a full disk.
            with self._sweeping, contextlib.suppress(OSError):
                self._opened_files.sweep({entry["path"] for entry in self.record["data"]})


class NullRecorder(Run):
    """A run that writes and prints nothing, for processes that only help: a torchrun rank above 0, the doctor.

    Its seeds and configuration are those of the run that it follows; `update` changes its record in memory only.
    """

    _quiet = True

    @classmethod
    def follow(cls, folder: Path | str) -> "NullRecorder":
        """Return a null recorder for the run in `folder`. Raises UserError where run.json cannot be read."""
        found = read_record(Path(folder).absolute())
        if found.status == "broken":
            raise UserError(f"no run to follow at {found.folder}: its run.json cannot be read")
        return cls(found.folder, found.data)

    @override
    def __enter__(self) -> "NullRecorder":
        self._cleanup.enter_context(on_signals(interrupt, signal.SIGTERM))
        return self

    def _write_nothing(self, *_: Any, **__: Any) -> None: ...

    log = sample = checkpoint = _save = _write_console_log = _write_nothing


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
